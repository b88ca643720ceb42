#include "base/log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <algorithm>
#include <atomic>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/log_format.h"

namespace ztna::log {
namespace {

std::atomic<Level> g_level{Level::info};
std::atomic<Format> g_format{Format::text};

// spdlog brings the clock, the lock and the unbroken write; the rest of the line is its payload.
constexpr const char* kTextPattern = "%Y-%m-%dT%H:%M:%S.%eZ %v";
constexpr const char* kJsonPattern = R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ",%v})";

void set_pattern(spdlog::logger& logger, Format format) {
  logger.set_pattern(format == Format::json ? kJsonPattern : kTextPattern, spdlog::pattern_time_type::utc);
}

spdlog::logger& logger() {
  static const auto kInstance = [] {
    auto made = std::make_unique<spdlog::logger>("ztna", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_level(spdlog::level::trace);
    set_pattern(*made, Format::text);
    return made;
  }();
  return *kInstance;
}

/// Octets that are no UTF-8 become U+FFFD: a log line is always valid.
std::string quoted(std::string_view text, bool ascii_only) {
  return nlohmann::json(text).dump(-1, ' ', ascii_only, nlohmann::json::error_handler_t::replace);
}

bool is_plain(std::string_view value) {
  return !value.empty() &&
         std::ranges::all_of(value, [](char c) { return c > ' ' && c <= '~' && c != '"' && c != '\\' && c != '='; });
}

}  // namespace

std::string_view to_string(Level level) {
  switch (level) {
    case Level::trace: return "trace";
    case Level::debug: return "debug";
    case Level::info: return "info";
    case Level::warn: return "warn";
    case Level::error: return "error";
    case Level::off: return "off";
  }
  return "unknown";
}

std::string format_text(Level level, std::string_view message, Fields fields) {
  std::string out = fmt::format("{} {}", to_string(level), message);
  for (const auto& field : fields) {
    fmt::format_to(std::back_inserter(out), " {}=", field.key);
    // A terminal must not obey what a peer named itself: everything but plain ASCII is escaped.
    out += is_plain(field.value) ? field.value : quoted(field.value, true);
  }
  return out;
}

std::string format_json(Level level, std::string_view message, Fields fields) {
  std::string out = fmt::format(R"("level":"{}","message":{})", to_string(level), quoted(message, false));
  for (const auto& field : fields) {
    // "nan" and the like are no JSON numbers.
    const bool bare = field.number && nlohmann::json::accept(field.value);
    fmt::format_to(std::back_inserter(out), ",{}:{}", quoted(field.key, false),
                   bare ? field.value : quoted(field.value, false));
  }
  return out;
}

void configure(Level level, Format format) {
  g_level = level;
  g_format = format;
  set_pattern(logger(), format);
}

bool enabled(Level level) { return level != Level::off && level >= g_level.load(std::memory_order_relaxed); }

void write(Level level, std::string_view message, Fields fields) {
  if (!enabled(level)) return;
  const auto line = g_format.load(std::memory_order_relaxed) == Format::json ? format_json(level, message, fields)
                                                                             : format_text(level, message, fields);
  logger().log(spdlog::level::info, spdlog::string_view_t{line.data(), line.size()});
}

}  // namespace ztna::log
