// Log lines: a fixed message, then key=value. State changes, never packets; never payloads, keys or tokens.
//
//   log::info("service registered", {{"service", id}, {"connector", name}});
//
// Text: `2026-01-01T00:00:00.000Z info service registered service=web connector=c1`; JSON: one object a line.
#pragma once

#include <fmt/format.h>

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace ztna::log {

enum class Level : std::uint8_t { trace, debug, info, warn, error, off };
enum class Format : std::uint8_t { text, json };

struct Field {
  std::string_view key;
  std::string value;
  bool number = false;

  Field(std::string_view k, std::string_view v) : key(k), value(v) {}
  Field(std::string_view k, const std::string& v) : key(k), value(v) {}
  Field(std::string_view k, const char* v) : key(k), value(v) {}
  Field(std::string_view k, bool v) : key(k), value(v ? "true" : "false"), number(true) {}
  template <std::integral T>
  Field(std::string_view k, T v) : key(k), value(fmt::format("{}", v)), number(true) {}
  template <std::floating_point T>
  Field(std::string_view k, T v) : key(k), value(fmt::format("{:.3f}", v)), number(true) {}
};
using Fields = std::initializer_list<Field>;

/// Call once at start, before any thread. Lines go to standard error.
void configure(Level level, Format format);
bool enabled(Level level);
void write(Level level, std::string_view message, Fields fields);

inline void trace(std::string_view m, Fields f = {}) {
  if (enabled(Level::trace)) write(Level::trace, m, f);
}
inline void debug(std::string_view m, Fields f = {}) {
  if (enabled(Level::debug)) write(Level::debug, m, f);
}
inline void info(std::string_view m, Fields f = {}) { write(Level::info, m, f); }
inline void warn(std::string_view m, Fields f = {}) { write(Level::warn, m, f); }
inline void error(std::string_view m, Fields f = {}) { write(Level::error, m, f); }

}  // namespace ztna::log
