#include "apps/common/flags.h"

#include <charconv>
#include <ostream>

#include "apps/common/exit.h"

namespace ztna::apps {

Flags::Flags(std::string program, const std::string& description)
    : program_(std::move(program)), app_(description, program_) {
  app_.set_help_flag("-h,--help", "Show this help and end")->group("General");
  app_.set_version_flag("--version", program_ + " " ZTNA_VERSION, "Show the version and end")->group("General");
  app_.get_formatter()->column_width(34);
  app_.get_formatter()->label("OPTIONS", "FLAGS");
  app_.get_formatter()->label("SUBCOMMAND", "COMMAND");
  app_.get_formatter()->label("REQUIRED", "");
  app_.footer("A value in parentheses is the default. A flag beats the config file.");
  app_.fallthrough();
}

CLI::App* Flags::command(const std::string& name, const std::string& help) {
  auto* command = app_.add_subcommand(name, help);
  command->fallthrough();
  return command;
}

CLI::Option* Flags::raw(const std::string& names, const std::string& type, const std::string& help, Handler handler) {
  auto* option = app_.add_option_function<std::string>(
      names, [handler = std::move(handler), names](const std::string& text) { handler(names, text); }, help);
  return option->type_name(type)->multi_option_policy(CLI::MultiOptionPolicy::TakeLast)->group(group_);
}

CLI::Option* Flags::raw_list(const std::string& names, const std::string& type, const std::string& help,
                             Handler handler) {
  auto* option = app_.add_option_function<std::vector<std::string>>(
      names,
      [handler = std::move(handler), names](const std::vector<std::string>& all) {
        for (const auto& text : all) handler(names, text);
      },
      help);
  option->allow_extra_args(false);
  return option->type_name(type)->group(group_);
}

void Flags::toggle(const std::string& name, const std::string& help, std::function<void()> on) {
  app_.add_flag_callback(name, std::move(on), help)->group(group_);
}

namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (auto at = text.find(from); at != std::string::npos; at = text.find(from, at)) text.replace(at, from.size(), to);
}

/// The library's help with one blank line between groups, and headings that say what users call it.
std::string tidy(std::string help) {
  replace_all(help, "\nUsage: ", "\n\x01Usage: ");
  replace_all(help, "\x01", "\n");
  replace_all(help, "\n\n\n", "\n\n");
  replace_all(help, "Subcommands:", "Commands:");
  replace_all(help, "Positionals:", "By place:");
  replace_all(help, "-h,--help ", "-h, --help");
  replace_all(help, "-c,--count N ", "-c, --count N");
  return help;
}

}  // namespace

std::string Flags::explain(const CLI::ParseError& error) const {
  const std::string what = error.what();
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr) {  // "--server: 1 required HOST missing"
    return fmt::format("{}: needs a value; --help shows which", what.substr(0, what.find(':')));
  }
  if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr) return what + "; --help shows what goes where";
  if (dynamic_cast<const CLI::ExtrasError*>(&error) == nullptr) return what;
  const auto extras = app_.remaining(true);
  if (extras.empty()) return what;
  const auto flag = extras.front().substr(0, extras.front().find('='));
  std::vector<std::string> names;
  if (!flag.starts_with('-')) {
    for (const auto* command : app_.get_subcommands([](const CLI::App*) { return true; }))
      names.push_back(command->get_name());
    const auto near = config::nearest(flag, {names.begin(), names.end()});
    if (near.empty() || near == flag) return fmt::format("{}: not expected here; --help shows what is", flag);
    return fmt::format("{}: unknown command; did you mean {}?", flag, near);
  }
  const auto add_names = [&names](const CLI::App& app) {
    for (const auto* option : app.get_options()) {
      for (const auto& name : option->get_lnames()) names.push_back("--" + name);
    }
  };
  add_names(app_);
  for (const auto* command : app_.get_subcommands()) add_names(*command);
  const auto near = config::nearest(flag, {names.begin(), names.end()});
  return near.empty() ? fmt::format("{}: unknown flag; --help shows the known ones", flag)
                      : fmt::format("{}: unknown flag; did you mean {}?", flag, near);
}

std::optional<int> Flags::parse(int argc, const char* const* argv, std::ostream& out, std::ostream& err) {
  try {
    app_.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    out << tidy(app_.help());
    return kExitOk;
  } catch (const CLI::CallForVersion& version) {
    out << version.what() << '\n';
    return kExitOk;
  } catch (const CLI::ParseError& error) {
    problems_.push_back(explain(error));
  }
  for (const auto& problem : problems_) refuse(err, program_, problem);
  if (problems_.empty()) return std::nullopt;
  return kExitUsage;
}

Result<std::uint64_t> parse_number(std::string_view text, std::uint64_t min, std::uint64_t max) {
  std::uint64_t number = 0;
  const auto* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error == std::errc{} && stop == end && number >= min && number <= max) return number;
  return fail(Errc::invalid_argument, "needs a whole number from {} to {}", min, max);
}

Result<std::uint16_t> parse_port_flag(std::string_view text) {
  return parse_number(text, 1, 65535).map([](auto n) { return static_cast<std::uint16_t>(n); });
}

Result<std::uint16_t> parse_port_or_zero_flag(std::string_view text) {
  return parse_number(text, 0, 65535).map([](auto n) { return static_cast<std::uint16_t>(n); });
}

Result<std::string> parse_path_flag(std::string_view text) {
  if (!text.empty()) return std::string{text};
  return fail(Errc::invalid_argument, "needs the path of a file");
}

}  // namespace ztna::apps
