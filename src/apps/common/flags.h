// CLI11 with this project's manners: every bad value is collected as one line "--flag value: rule", and an unknown flag
// is answered with the nearest known one.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "config/problem.h"

namespace ztna::apps {

/// What every daemon takes besides its configuration.
struct CommonFlags {
  std::optional<std::string> config_file;
  bool check_config = false;
};

class Flags {
 public:
  Flags(std::string program, const std::string& description);

  CLI::App& app() { return app_; }
  CLI::App* command(const std::string& name, const std::string& help);
  /// Heading that the following flags stand under.
  void group(std::string name) { group_ = std::move(name); }

  /// `parser`: Result<T>(std::string_view). The last one given counts.
  template <typename Parser, typename Target>
  CLI::Option* value(const std::string& names, const std::string& type, const std::string& help, Parser parser,
                     Target& target) {
    return raw(names, type, help, [this, parser, &target](const std::string& flag, const std::string& text) {
      if (auto parsed = checked(flag, text, parser)) target = std::move(*parsed);
    });
  }
  /// May be repeated.
  template <typename Parser, typename T>
  CLI::Option* list(const std::string& names, const std::string& type, const std::string& help, Parser parser,
                    std::vector<T>& target) {
    return raw_list(names, type, help, [this, parser, &target](const std::string& flag, const std::string& text) {
      if (auto parsed = checked(flag, text, parser)) target.push_back(std::move(*parsed));
    });
  }
  void toggle(const std::string& name, const std::string& help, std::function<void()> on);
  void problem(std::string_view text) { problems_.emplace_back(text); }

  /// Nothing: go on. Else all is said and the program ends.
  std::optional<int> parse(int argc, const char* const* argv, std::ostream& out, std::ostream& err);

 private:
  using Handler = std::function<void(const std::string& flag, const std::string& text)>;
  CLI::Option* raw(const std::string& names, const std::string& type, const std::string& help, Handler handler);
  CLI::Option* raw_list(const std::string& names, const std::string& type, const std::string& help, Handler handler);
  template <typename Parser>
  auto checked(const std::string& flag, const std::string& text, Parser& parser)
      -> std::optional<typename decltype(parser(std::string_view{}))::value_type> {
    auto parsed = parser(std::string_view{text});
    if (parsed) return std::move(*parsed);
    problems_.push_back(fmt::format("{} {}: {}", flag, text.empty() ? "\"\"" : text, parsed.error().text));
    return std::nullopt;
  }
  std::string explain(const CLI::ParseError& error) const;

  std::string program_;
  CLI::App app_;
  std::string group_ = "Options";
  config::Problems problems_;
};

/// A whole number from `min` to `max`; the error's text is the rule.
Result<std::uint64_t> parse_number(std::string_view text, std::uint64_t min, std::uint64_t max);
Result<std::uint16_t> parse_port_flag(std::string_view text);          // 1 to 65535
Result<std::uint16_t> parse_port_or_zero_flag(std::string_view text);  // 0 to 65535
Result<std::string> parse_path_flag(std::string_view text);            // not empty

}  // namespace ztna::apps
