// From flags to a configuration: find the file, read it, put the flags over it, judge the whole.
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <iostream>
#include <string>
#include <string_view>
#include <variant>

#include "apps/common/command_line.h"
#include "apps/common/flags.h"

namespace ztna::apps {

inline constexpr std::size_t kMaxConfigBytes = 1U << 20;

/// The flags that all daemons have, each put into `overrides`.
template <typename Overrides>
void add_common_flags(Flags& flags, CommonFlags& common, Overrides& overrides, std::string_view file_name,
                      std::uint16_t metrics_port) {
  flags.group("General");
  flags.value("--config", "FILE", fmt::format("Config file (else /etc/ztna/{0}, then ./{0})", file_name),
              parse_path_flag, common.config_file);
  flags.toggle("--check-config", "Check config and certificates, say what is wrong, end",
               [&] { common.check_config = true; });
  flags.group("Certificates");
  flags.value("--ca-cert", "FILE", "CA that peers must chain to (certs/ca.pem beside the config)", parse_path_flag,
              overrides.ca_cert);
  flags.value("--cert", "FILE", "Own certificate (certs/cert.pem beside the config)", parse_path_flag, overrides.cert);
  flags.value("--key", "FILE", "Its private key (certs/key.pem beside the config)", parse_path_flag, overrides.key);
  flags.group("Operation");
  flags.value("--log-level", "LEVEL", "trace, debug, info, warn, error or off (info)", config::parse_log_level,
              overrides.log_level);
  flags.value("--log-format", "FORMAT", "text or json (text)", config::parse_log_format, overrides.log_format);
  flags.value("--metrics-port", "PORT", fmt::format("HTTP for /metrics, /healthz, /readyz; 0: off ({})", metrics_port),
              parse_port_or_zero_flag, overrides.metrics_port);
  flags.value("--metrics-bind", "ADDR", "Its address (127.0.0.1)", config::parse_ip, overrides.metrics_bind);
  flags.value("--state-dir", "DIR", "Where keys that outlive a restart are kept", parse_path_flag, overrides.state_dir);
  flags.value("--keylog-file", "FILE", "Developers only: write TLS secrets here", parse_path_flag,
              overrides.keylog_file);
}

inline std::string directory_of(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return {};
  return slash == 0 ? "/" : path.substr(0, slash);
}

/// The file that was named, or the first that exists of the two usual places, or none (empty).
inline std::string find_config(const CommonFlags& common, const Environment& env, std::string_view file_name) {
  if (common.config_file) return *common.config_file;
  auto system = fmt::format("{}/{}", env.system_dir, file_name);
  if (::access(system.c_str(), F_OK) == 0) return system;
  auto local = env.local_dir.empty() ? std::string{file_name} : fmt::format("{}/{}", env.local_dir, file_name);
  if (::access(local.c_str(), F_OK) == 0) return local;
  return {};
}

/// One daemon: what differs between the three. `Config parse(text, file, directory)` and so on are found by overload.
template <typename Config>
struct Program {
  using Parse = config::Parsed<Config> (*)(std::string_view, std::string_view, std::string_view);
  std::string_view name;       // "app-connector"
  std::string_view file_name;  // "connector.json"
  Parse parse;
  Config (*defaults)(std::string_view directory);
  identity::Role role;
  identity::Purpose purpose;  // of its certificate to the Intermediate; the Intermediate's own: server
};

template <typename Config, typename Overrides>
config::Parsed<Config> load(const Program<Config>& program, const std::string& file, const std::string& local_dir,
                            const Overrides& overrides) {
  config::Parsed<Config> config = program.defaults(local_dir);
  if (!file.empty()) {
    const auto text = read_file("config file", file, kMaxConfigBytes);
    if (!text) return tl::unexpected{config::Problems{fmt::format("{}: {}", program.name, text.error().text)}};
    config = program.parse(*text, file, directory_of(file));
    if (!config) return config;
  }
  config::Problems problems = apply(overrides, *config);
  for (auto& problem : finish(*config)) problems.push_back(std::move(problem));
  if (problems.empty()) return config;
  for (auto& problem : problems) problem = fmt::format("{}: {}", program.name, problem);
  return tl::unexpected{std::move(problems)};
}

/// --check-config after the configuration itself was found good.
template <typename Config>
Exit check_identity(const Program<Config>& program, const Run<Config>& run, const Environment& env, std::ostream& out,
                    std::ostream& err) {
  bool good = true;
  const auto check = [&](const config::IdentityFiles& files, identity::Purpose purpose, const IdentityFlags& flags) {
    IdentityPem pem;
    const auto problems = read_identity(files, pem, flags);
    for (const auto& problem : problems) refuse(err, program.name, problem.text);
    good = good && problems.empty();
    if (!problems.empty() || !env.check_identity) return;
    if (const auto checked = env.check_identity(files, program.role, purpose); !checked) {
      refuse(err, program.name, checked.error().text);
      good = false;
    }
  };
  check(run.config.identity, program.purpose, {});
  if constexpr (requires { run.config.p2p_identity(); }) {
    const bool same = run.config.p2p_identity() == run.config.identity;
    if (!same || good) {
      check(run.config.p2p_identity(), identity::Purpose::server,
            same ? IdentityFlags{} : IdentityFlags{"--ca-cert", "--p2p-cert", "--p2p-key"});
    }
  }
  if (!good) return Exit{kExitUsage};
  for (const auto& line : run.warnings) err << program.name << ": warning: " << line << '\n';
  out << run.config_file << ": ok\n";
  return Exit{kExitOk};
}

/// Fills `run`, or says what is wrong.
template <typename Config, typename Overrides>
std::optional<Exit> load_run(const Program<Config>& program, const CommonFlags& common, const Overrides& overrides,
                             const Environment& env, Run<Config>& run) {
  std::ostream& out = env.out != nullptr ? *env.out : std::cout;
  std::ostream& err = env.err != nullptr ? *env.err : std::cerr;
  run.config_file = find_config(common, env, program.file_name);
  if (common.check_config && run.config_file.empty()) {
    return refuse(err, program.name,
                  fmt::format("--check-config: no config file at {}/{} or ./{}; name one with --config FILE",
                              env.system_dir, program.file_name, program.file_name));
  }
  run.reload = [program, file = run.config_file, local = env.local_dir, overrides] {
    return load(program, file, local, overrides);
  };
  auto config = run.reload();
  if (!config) {
    for (const auto& problem : config.error()) err << problem << '\n';
    return Exit{kExitUsage};
  }
  run.config = std::move(*config);
  run.warnings = warnings(run.config);
  for (auto& line : identity_warnings(run.config.identity)) run.warnings.push_back(std::move(line));
  if (common.check_config) return check_identity(program, run, env, out, err);
  return std::nullopt;
}

}  // namespace ztna::apps
