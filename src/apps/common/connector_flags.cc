#include "apps/common/load.h"

namespace ztna::apps {
namespace {

constexpr Program<config::ConnectorConfig> kProgram{"app-connector",           "connector.json",
                                                    config::parse_connector,   config::default_connector,
                                                    identity::Role::connector, identity::Purpose::client};

/// Checked here, used as text: apply() gives it to the services it is for.
Result<std::string> parse_forward(std::string_view text) {
  const auto target = config::parse_host_and_port(text);
  if (!target) return fail(target.error());
  if (!target->port) return fail(Errc::invalid_argument, "needs host:port");
  return std::string{text};
}

void add_flags(Flags& flags, config::ConnectorOverrides& o) {
  flags.group("Connection");
  flags.list("--server", "HOST[:PORT]", "Intermediate; repeat for several (127.0.0.1:4433)", config::parse_server,
             o.servers);
  flags.toggle("--no-verify-peer", "Development only: do not check the Intermediate's certificate",
               [&o] { o.verify_peer = false; });
  flags.group("Services");
  flags.list("--service", "ID", "Service to offer; repeat, or use the config's list (default)",
             config::parse_service_id, o.services);
  flags.list("--forward", "HOST:PORT", "Backend of --service (127.0.0.1:8080)", parse_forward, o.forwards);
  flags.list("--service-ip", "ADDR", "Virtual address that packets for --service must carry", config::parse_virtual_ip,
             o.service_ips);
  flags.group("Direct paths");
  flags.value("--p2p-cert", "FILE", "Certificate that Agents see (the Connector's own)", parse_path_flag, o.p2p_cert);
  flags.value("--p2p-key", "FILE", "Its private key", parse_path_flag, o.p2p_key);
  flags.value("--p2p-listen-port", "PORT", "UDP port; 0: any (4434)", parse_port_or_zero_flag, o.p2p_port);
  flags.list("--external-ip", "ADDR", "Extra candidate address, behind 1:1 NAT; IPv4, IPv6 or both",
             config::parse_virtual_ip, o.external_ips);
  flags.toggle("--no-birthday", "No birthday search, where the NATs allow a direct path by that only",
               [&o] { o.birthday = false; });
}

}  // namespace

std::variant<ConnectorRun, Exit> parse_connector_command_line(int argc, const char* const* argv,
                                                              const Environment& env) {
  std::ostream& out = env.out != nullptr ? *env.out : std::cout;
  std::ostream& err = env.err != nullptr ? *env.err : std::cerr;
  Flags flags{std::string{kProgram.name}, "Offers private services to Agents; dials out, listens to nobody else."};
  CommonFlags common;
  config::ConnectorOverrides overrides;
  ConnectorRun run;
  add_flags(flags, overrides);
  add_common_flags(flags, common, overrides, kProgram.file_name, 9091);
  if (const auto code = flags.parse(argc, argv, out, err)) return Exit{*code};
  if (const auto exit = load_run(kProgram, common, overrides, env, run)) return *exit;
  return run;
}

}  // namespace ztna::apps
