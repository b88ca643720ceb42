#include "apps/common/load.h"
#include "base/workers.h"

namespace ztna::apps {
namespace {

constexpr Program<config::IntermediateConfig> kProgram{"intermediate-server",        "intermediate.json",
                                                       config::parse_intermediate,   config::default_intermediate,
                                                       identity::Role::intermediate, identity::Purpose::server};

Result<unsigned> parse_workers(std::string_view text) {
  return parse_number(text, 0, kMaxWorkers).map([](auto n) { return static_cast<unsigned>(n); });
}

Result<std::uint16_t> parse_admin_port(std::string_view text) {
  auto port = parse_port_or_zero_flag(text);
  if (port && *port != 0) return fail(Errc::invalid_argument, "not in this release; leave it out or give 0");
  return port;
}

/// `intermediate-server [PORT [CERT [KEY [BIND]]]]`: the same settings by place.
struct Places {
  std::optional<std::uint16_t> port;
  std::optional<std::string> cert, key;
  std::optional<IpAddress> bind;
};

void add_flags(Flags& flags, config::IntermediateOverrides& o, std::optional<std::uint16_t>& admin_port) {
  flags.group("Listening");
  flags.value("--port", "PORT", "UDP port (4433)", parse_port_flag, o.port);
  flags.value("--probe-port", "PORT", "Second UDP port, for NAT discovery; 0: none (PORT + 2)", parse_port_or_zero_flag,
              o.probe_port);
  flags.list("--bind", "ADDR", "Address to listen on; repeat for several (0.0.0.0 and ::)", config::parse_bind_ip,
             o.bind_addrs);
  flags.list("--external-ip", "ADDR", "Own public address behind 1:1 NAT, never probed; IPv4, IPv6 or both",
             config::parse_virtual_ip, o.external_ips);
  flags.toggle("--disable-retry", "No stateless Retry: sources are not validated before handshakes",
               [&o] { o.disable_retry = true; });
  flags.value("--workers", "N", "Threads; 0: one a core (0)", parse_workers, o.workers);
  flags.group("Certificates");
  flags.toggle("--require-client-cert", "Clients need a certificate with a ZTNA identity (on)",
               [&o] { o.require_client_cert = true; });
  flags.toggle("--no-require-client-cert", "Development only: refuse clients without one after the handshake",
               [&o] { o.require_client_cert = false; });
  flags.toggle("--no-verify-peer", "Development only: do not check client certificates",
               [&o] { o.verify_peer = false; });
  flags.group("Operation");
  flags.value("--admin-port", "PORT", "REST API and dashboard (not in this release; 0: off)", parse_admin_port,
              admin_port);
}

void add_places(Flags& flags, Places& places) {
  flags.group("By place, instead of the flags");
  flags.value("PORT", "", "as --port", parse_port_flag, places.port);
  flags.value("CERT", "", "as --cert", parse_path_flag, places.cert);
  flags.value("KEY", "", "as --key", parse_path_flag, places.key);
  flags.value("BIND", "", "as --bind", config::parse_bind_ip, places.bind);
}

/// Adds a problem where a setting was given both ways.
void merge(const Places& places, config::IntermediateOverrides& o, config::Problems& problems) {
  const auto take = [&](std::string_view name, const auto& place, auto& flag) {
    if (place && flag) problems.push_back(fmt::format("{}: given by place, too; keep one of them", name));
    if (place) flag = place;
  };
  take("--port", places.port, o.port);
  take("--cert", places.cert, o.cert);
  take("--key", places.key, o.key);
  if (!places.bind) return;
  if (!o.bind_addrs.empty()) problems.emplace_back("--bind: given by place, too; keep one of them");
  o.bind_addrs = {*places.bind};
}

}  // namespace

std::variant<IntermediateRun, Exit> parse_intermediate_command_line(int argc, const char* const* argv,
                                                                    const Environment& env) {
  std::ostream& out = env.out != nullptr ? *env.out : std::cout;
  std::ostream& err = env.err != nullptr ? *env.err : std::cerr;
  Flags flags{std::string{kProgram.name},
              "The public meeting point of Agents and Connectors; relays what it cannot read."};
  CommonFlags common;
  config::IntermediateOverrides overrides;
  std::optional<std::uint16_t> admin_port;
  Places places;
  IntermediateRun run;
  add_flags(flags, overrides, admin_port);
  add_common_flags(flags, common, overrides, kProgram.file_name, 9090);
  add_places(flags, places);
  if (const auto code = flags.parse(argc, argv, out, err)) return Exit{*code};
  config::Problems problems;
  merge(places, overrides, problems);
  for (const auto& problem : problems) refuse(err, kProgram.name, problem);
  if (!problems.empty()) return Exit{kExitUsage};
  if (const auto exit = load_run(kProgram, common, overrides, env, run)) return *exit;
  return run;
}

}  // namespace ztna::apps
