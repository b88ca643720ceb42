#include "apps/common/load.h"

namespace ztna::apps {
namespace {

constexpr Program<config::AgentConfig> kProgram{"ztna-agent",          "agent.json",
                                                config::parse_agent,   config::default_agent,
                                                identity::Role::agent, identity::Purpose::client};
constexpr std::uint64_t kMaxAutoStop = 366 * 24 * 3600;
constexpr std::uint64_t kMaxPings = 1'000'000;

Result<std::string> parse_service_or_all(std::string_view text) {
  if (text == "*") return std::string{text};
  return config::parse_service_id(text);
}

Result<std::chrono::seconds> parse_seconds(std::string_view text) {
  return parse_number(text, 0, kMaxAutoStop).map([](auto n) { return std::chrono::seconds{n}; });
}

Result<unsigned> parse_mtu(std::string_view text) {
  return parse_number(text, config::kDefaultMtu, 65535).map([](auto n) { return static_cast<unsigned>(n); });
}

void add_flags(Flags& flags, config::AgentOverrides& o) {
  flags.group("Connection");
  flags.list("--server", "HOST[:PORT]", "Intermediate; repeat for several (port 4433)", config::parse_server,
             o.servers);
  flags.list("--service", "ID", "Service to reach; repeat; none: all that policy allows", parse_service_or_all,
             o.services);
  flags.group("Tunnel device");
  flags.value("--tun-name", "NAME", "TUN device (ztna0)", config::parse_tun_name, o.tun_name);
  flags.list("--route", "NETWORK", "Network of the services; repeat (10.100.0.0/24 and fd5a:7a74:6e61::/64)",
             config::parse_pool, o.routes);
  flags.value("--mtu", "BYTES", "MTU of the TUN device (1280)", parse_mtu, o.mtu);
  flags.group("Direct paths");
  flags.toggle("--no-birthday", "No birthday search, where the NATs allow a direct path by that only",
               [&o] { o.birthday = false; });
  flags.group("Operation");
  flags.value("--auto-stop", "SECONDS", "End after this time; 0: never (0)", parse_seconds, o.auto_stop);
  flags.value("--control-socket", "FILE", "Socket for status, ping and down (/run/ztna/agent.sock)", parse_path_flag,
              o.control_socket);
}

/// down, status, ping and doctor talk to a running agent: a file that cannot be used must not keep them from it.
std::optional<Exit> load_for_client(const CommonFlags& common, const config::AgentOverrides& overrides,
                                    const Environment& env, AgentRun& run) {
  std::ostream& err = env.err != nullptr ? *env.err : std::cerr;
  run.config = config::default_agent(env.local_dir);
  run.config_file = find_config(common, env, kProgram.file_name);
  if (!run.config_file.empty()) {
    config::Problems problems;
    if (const auto text = read_file("config file", run.config_file, kMaxConfigBytes); !text) {
      problems.push_back(fmt::format("{}: {}", kProgram.name, text.error().text));
    } else if (auto parsed = config::parse_agent(*text, run.config_file, directory_of(run.config_file))) {
      run.config = std::move(*parsed);
    } else {
      problems = std::move(parsed.error());
    }
    if (!problems.empty() && common.config_file) {
      for (const auto& problem : problems) err << problem << '\n';
      return Exit{kExitUsage};
    }
    for (auto& problem : problems) run.warnings.push_back(fmt::format("config file not used: {}", problem));
  }
  apply(overrides, run.config);
  return std::nullopt;
}

}  // namespace

std::variant<AgentRun, Exit> parse_agent_command_line(int argc, const char* const* argv, const Environment& env) {
  std::ostream& out = env.out != nullptr ? *env.out : std::cout;
  std::ostream& err = env.err != nullptr ? *env.err : std::cerr;
  Flags flags{std::string{kProgram.name}, "Reaches private services through a zero-trust tunnel."};
  CommonFlags common;
  config::AgentOverrides overrides;
  AgentRun run;
  add_flags(flags, overrides);
  add_common_flags(flags, common, overrides, kProgram.file_name, 0);
  flags.app().require_subcommand(0, 1);
  flags.command("up", "Connect and stay connected (also without a command)");
  auto* down = flags.command("down", "Stop the running agent");
  auto* status = flags.command("status", "What the running agent is connected to, and how");
  status->add_flag("--json", run.status_json, "As JSON");
  status->add_flag("--watch", run.status_watch, "Again and again, until Ctrl-C");
  auto* ping = flags.command("ping", "Measure the way to a service: relay or direct, round-trip time");
  std::string ping_count = "4";
  ping->add_option("SERVICE", run.ping_service, "Service id")->required()->type_name("");
  ping->add_option("-c,--count", ping_count, "How many (4)")->type_name("N");
  auto* doctor = flags.command("doctor", "What works on this network, and what would mend the rest");
  doctor->add_flag("--json", run.doctor_json, "As JSON");
  auto* enroll = flags.command("enroll", "Get a certificate (not in this release)")->fallthrough(false)->allow_extras();

  if (const auto code = flags.parse(argc, argv, out, err)) return Exit{*code};
  if (enroll->parsed()) return refuse(err, kProgram.name, "enroll: not in this release");
  if (ping->parsed()) {
    run.command = AgentCommand::ping;
    if (const auto id = config::parse_service_id(run.ping_service); !id) {
      return refuse(err, kProgram.name, fmt::format("ping {}: {}", run.ping_service, id.error().text));
    }
    const auto count = parse_number(ping_count, 1, kMaxPings);
    if (!count) return refuse(err, kProgram.name, fmt::format("--count {}: {}", ping_count, count.error().text));
    run.ping_count = static_cast<unsigned>(*count);
  }
  if (down->parsed()) run.command = AgentCommand::down;
  if (doctor->parsed()) run.command = AgentCommand::doctor;
  if (status->parsed()) run.command = AgentCommand::status;
  const bool client = run.command != AgentCommand::up && !common.check_config;
  const auto exit =
      client ? load_for_client(common, overrides, env, run) : load_run(kProgram, common, overrides, env, run);
  if (exit) return *exit;
  return run;
}

}  // namespace ztna::apps
