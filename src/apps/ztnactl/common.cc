#include <fmt/chrono.h>

#include <chrono>

#include "apps/ztnactl/commands.h"

namespace ztna::ctl {

WallTime now() { return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()); }

identity::KeyType key_type_from(const std::string& text) {
  return text == "ed25519" ? identity::KeyType::ed25519 : identity::KeyType::p256;
}

void add_key_type_option(CLI::App& app, std::string& value) {
  app.add_option("--key-type", value, "p256 or ed25519")
      ->capture_default_str()
      ->type_name("TYPE")
      ->check([](const std::string& text) {
        return text == "p256" || text == "ed25519" ? std::string{} : fmt::format("\"{}\" is not p256 or ed25519", text);
      });
}

CLI::Validator range(unsigned low, unsigned high) { return CLI::Range(low, high).description(""); }

std::string date_text(WallTime time) { return fmt::format("{:%Y-%m-%d %H:%M:%S} UTC", time); }

std::string span_text(std::chrono::seconds span) {
  const auto total = span.count();
  const auto days = total / 86'400;
  const auto hours = total / 3'600 % 24;
  const auto minutes = total / 60 % 60;
  if (days >= 100) return fmt::format("{} days", days);
  if (days > 0) return fmt::format("{} day{} {} h", days, days == 1 ? "" : "s", hours);
  if (hours > 0) return fmt::format("{} h {} min", hours, minutes);
  if (minutes > 0) return fmt::format("{} min", minutes);
  return fmt::format("{} s", total);
}

std::string shell_quoted(const std::string& text) {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-";
  if (!text.empty() && text.find_first_not_of(kPlain) == std::string::npos) return text;
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string{"'\\''"} : std::string{c};
  return out + "'";
}

}  // namespace ztna::ctl
