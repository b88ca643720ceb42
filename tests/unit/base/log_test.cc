// Log lines: what is escaped, and that lines are whole.
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>
#include <thread>
#include <vector>

#include "base/log_format.h"

namespace ztna::log {
namespace {

nlohmann::json parsed(std::string_view members) { return nlohmann::json::parse("{" + std::string{members} + "}"); }

TEST(LogText, ValuesThatCouldForgeALineAreEscaped) {
  EXPECT_EQ(format_text(Level::warn, "peer refused", {{"name", "a\nb"}}), R"(warn peer refused name="a\nb")");
  EXPECT_EQ(format_text(Level::warn, "m", {{"name", "x service=web"}}), R"(warn m name="x service=web")");
  EXPECT_EQ(format_text(Level::warn, "m", {{"name", "\"\\"}}), R"(warn m name="\"\\")");
  EXPECT_EQ(format_text(Level::warn, "m", {{"name", "\x1b[2J"}}), R"(warn m name="\u001b[2J")");
  EXPECT_EQ(format_text(Level::warn, "m", {{"name", "\u202e"}}), R"(warn m name="\u202e")");
  EXPECT_EQ(format_text(Level::warn, "m", {{"name", ""}}), R"(warn m name="")");
  EXPECT_EQ(format_text(Level::warn, "m", {{"name", "\xff"}}), R"(warn m name="\ufffd")");
}

TEST(LogText, PlainFields) {
  EXPECT_EQ(
      format_text(Level::info, "service registered", {{"service", "web"}, {"port", 443}, {"ok", true}, {"rtt", 1.5}}),
      "info service registered service=web port=443 ok=true rtt=1.500");
  EXPECT_EQ(format_text(Level::error, "m", {}), "error m");
}

TEST(LogJson, AnyOctetsGiveAnObject) {
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  const auto object = parsed(format_json(Level::info, "a \"message\"", {{"name", all}, {"text", "\u00e9\n"}}));
  EXPECT_EQ(object["level"], "info");
  EXPECT_EQ(object["message"], "a \"message\"");
  EXPECT_EQ(object["text"], "\u00e9\n");
  EXPECT_EQ(object["name"].get<std::string>().substr(0, 128), all.substr(0, 128));
}

TEST(LogJson, NumbersAreNumbers) {
  const auto object = parsed(format_json(Level::info, "m", {{"n", -5}, {"b", false}, {"f", 2.5}}));
  EXPECT_EQ(object["n"], -5);
  EXPECT_EQ(object["b"], false);
  EXPECT_EQ(object["f"], 2.5);
  const auto odd = parsed(format_json(Level::info, "m", {{"f", std::numeric_limits<double>::quiet_NaN()}}));
  EXPECT_EQ(odd["f"], "nan");
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in{text};
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

TEST(Log, LevelAndFormatOfWholeLines) {
  configure(Level::warn, Format::text);
  testing::internal::CaptureStderr();
  info("below the level");
  warn("shown", {{"k", "v"}});
  configure(Level::trace, Format::json);
  trace("traced");
  configure(Level::off, Format::text);
  error("off");
  const auto lines = lines_of(testing::internal::GetCapturedStderr());
  configure(Level::info, Format::text);
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_TRUE(std::regex_match(lines[0], std::regex{R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z warn shown k=v)"}))
      << lines[0];
  const auto object = nlohmann::json::parse(lines[1]);
  EXPECT_EQ(object["message"], "traced");
  EXPECT_TRUE(
      std::regex_match(object["time"].get<std::string>(), std::regex{R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)"}));
  EXPECT_FALSE(enabled(Level::off));
}

TEST(Log, LinesOfManyThreadsStayWhole) {
  configure(Level::info, Format::json);
  testing::internal::CaptureStderr();
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([t] {
        for (int i = 0; i < 200; ++i) info("busy", {{"thread", t}, {"i", i}});
      });
    }
  }
  const auto lines = lines_of(testing::internal::GetCapturedStderr());
  configure(Level::info, Format::text);
  EXPECT_EQ(lines.size(), 800U);
  for (const auto& line : lines) ASSERT_TRUE(nlohmann::json::accept(line)) << line;
}

}  // namespace
}  // namespace ztna::log
