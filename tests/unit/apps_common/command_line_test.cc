// The three command lines as a user types them: refusals first.
#include "apps/common/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace ztna::apps {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;
namespace fs = std::filesystem;

class CommandLine : public testing::Test {
 protected:
  CommandLine() {
    char name[] = "/tmp/ztna-command-line-XXXXXX";
    folder_ = ::mkdtemp(name);
    env_.out = &out_;
    env_.err = &err_;
    env_.system_dir = folder_ / "etc";
    env_.local_dir = folder_ / "here";
    fs::create_directories(folder_ / "etc/certs");
    fs::create_directories(folder_ / "here");
  }
  ~CommandLine() override { fs::remove_all(folder_); }

  fs::path write(const std::string& name, const std::string& text) {
    const auto path = folder_ / name;
    std::ofstream{path} << text;
    return path;
  }
  void write_identity() {
    for (const auto* name : {"ca", "cert", "key"}) {
      ::chmod(write(fmt::format("etc/certs/{}.pem", name), "-----BEGIN X-----\n").c_str(), 0600);
    }
  }
  template <typename Parse>
  auto call(Parse parse, const char* program, std::vector<std::string> words) {
    out_.str("");
    err_.str("");
    std::vector<const char*> argv{program};
    for (const auto& word : words) argv.push_back(word.c_str());
    return parse(static_cast<int>(argv.size()), argv.data(), env_);
  }
  auto agent(std::vector<std::string> words) { return call(parse_agent_command_line, "ztna-agent", std::move(words)); }
  auto connector(std::vector<std::string> words) {
    return call(parse_connector_command_line, "app-connector", std::move(words));
  }
  auto intermediate(std::vector<std::string> words) {
    return call(parse_intermediate_command_line, "intermediate-server", std::move(words));
  }
  template <typename Parsed>
  static int code(const Parsed& parsed) {
    const auto* exit = std::get_if<Exit>(&parsed);
    return exit != nullptr ? exit->code : -1;
  }

  std::string line_;
  fs::path folder_;
  std::ostringstream out_, err_;
  Environment env_;
};

TEST_F(CommandLine, RefusalsAreOneLineAndCode2) {
  const std::vector<std::tuple<std::string, std::vector<std::string>, std::string>> cases{
      {"a", {"--sever", "x"}, "ztna-agent: --sever: unknown flag; did you mean --server?"},
      {"a", {"--zzz"}, "ztna-agent: --zzz: unknown flag; --help shows the known ones"},
      {"a", {"statsu"}, "ztna-agent: statsu: unknown command; did you mean status?"},
      {"a", {"--server"}, "ztna-agent: --server: needs a value; --help shows which"},
      {"a", {"--server", "a:b"}, "ztna-agent: --server a:b: needs a port from 1 to 65535 after the colon"},
      {"a", {}, "ztna-agent: no server is named; set \"serverHost\" in the config file or give --server HOST[:PORT]"},
      {"a",
       {"--server", "h", "--route", "10.1.0.0/24", "--route", "10.2.0.0/24"},
       "ztna-agent: --route 10.2.0.0/24: is a second one of its family; at most one IPv4 and one IPv6"},
      {"a", {"ping"}, "ztna-agent: SERVICE is required; --help shows what goes where"},
      {"a", {"ping", "web", "--count", "0"}, "ztna-agent: --count 0: needs a whole number from 1 to 1000000"},
      {"a", {"doctor", "--x"}, "ztna-agent: --x: unknown flag; --help shows the known ones"},
      {"a", {"enroll", "token"}, "ztna-agent: enroll: not in this release"},
      {"a", {"--config", "/nope/x.json"}, "ztna-agent: config file /nope/x.json: no such file"},
      {"c", {"--forward", "h"}, "app-connector: --forward h: needs host:port"},
      {"c", {"--p2p-cert", "x"}, "app-connector: --p2p-cert: needs --p2p-key beside it"},
      {"c",
       {"--service", "Web"},
       "app-connector: --service Web: needs labels of a-z, 0-9 and '-' (1 to 63 each, no '-' at their ends), joined by "
       "dots"},
      {"i", {"99999"}, "intermediate-server: PORT 99999: needs a whole number from 1 to 65535"},
      {"i", {"4433", "c", "k", "::", "more"}, "intermediate-server: more: not expected here; --help shows what is"},
      {"i", {"4433", "--port", "4434"}, "intermediate-server: --port: given by place, too; keep one of them"},
      {"i",
       {"--admin-port", "9443"},
       "intermediate-server: --admin-port 9443: not in this release; leave it out or give 0"},
      {"i",
       {"--bind", "eth0"},
       "intermediate-server: --bind eth0: needs an address of this machine, or 0.0.0.0 or :: for all"},
  };
  for (const auto& [program, words, line] : cases) {
    const int ended = program == "a"   ? code(agent(words))
                      : program == "c" ? code(connector(words))
                                       : code(intermediate(words));
    EXPECT_EQ(ended, 2) << line;
    EXPECT_EQ(err_.str(), line + "\n");
    EXPECT_EQ(out_.str(), "");
  }
}

TEST_F(CommandLine, AllBadFlagsAreNamedAtOnce) {
  EXPECT_EQ(code(agent({"--mtu", "10", "--tun-name", "a/b"})), 2);
  EXPECT_THAT(err_.str(), HasSubstr("--mtu 10: "));
  EXPECT_THAT(err_.str(), HasSubstr("--tun-name a/b: "));
}

TEST_F(CommandLine, ProblemsOfTheFileNameIt) {
  const auto path = write("etc/connector.json", R"({"services": [{"id": "web", "backend": "10.0.0.5"}]})");
  EXPECT_EQ(code(connector({})), 2);
  EXPECT_EQ(err_.str(),
            path.string() + ": services[0].backend = \"10.0.0.5\": needs host:port, or \"ports\" beside it\n");
}

TEST_F(CommandLine, CheckConfigNamesEachUnreadableFile) {
  const auto path = write("etc/agent.json", R"({"serverHost": "h"})");
  EXPECT_EQ(code(agent({"--check-config"})), 2);
  EXPECT_THAT(err_.str(),
              HasSubstr("--ca-cert " + (folder_ / "etc/certs/ca.pem").string() +
                        ": no such file; make a CA with \"ztnactl ca init\" and copy its certificate here, or name "
                        "another with --ca-cert FILE\n"));
  EXPECT_THAT(err_.str(), HasSubstr("\nztna-agent: --key "));
  write_identity();
  write("etc/certs/cert.pem", "hello");
  EXPECT_EQ(code(agent({"--check-config"})), 2);
  EXPECT_THAT(err_.str(), HasSubstr("cert.pem: is no PEM file; name another with --cert FILE\n"));
  write_identity();
  env_.check_identity = [](const config::IdentityFiles& files, identity::Role role,
                           identity::Purpose purpose) -> Result<void> {
    EXPECT_EQ(role, identity::Role::agent);
    EXPECT_EQ(purpose, identity::Purpose::client);
    return fail(Errc::crypto, "{}: belongs to another key", files.cert);
  };
  EXPECT_EQ(code(agent({"--check-config"})), 2);
  EXPECT_THAT(err_.str(), HasSubstr("cert.pem: belongs to another key\n"));
  env_.check_identity = {};
  EXPECT_EQ(code(agent({"--check-config"})), 0);
  EXPECT_EQ(out_.str(), path.string() + ": ok\n");
  EXPECT_EQ(err_.str(), "");
}

TEST_F(CommandLine, CheckConfigReadsTheFilesOfDirectPaths) {
  write_identity();
  write("etc/connector.json", R"({"p2p": {"cert": "no-cert.pem", "key": "certs/key.pem"}})");
  EXPECT_EQ(code(connector({"--check-config"})), 2);
  EXPECT_THAT(err_.str(),
              StartsWith("app-connector: --p2p-cert " + (folder_ / "etc/no-cert.pem").string() + ": no such file"));
}

TEST_F(CommandLine, CheckConfigJudgesTheConnectorsCertificateForBothSides) {
  write_identity();
  write("etc/connector.json", "{}");
  std::vector<identity::Purpose> purposes;
  env_.check_identity = [&](const config::IdentityFiles&, identity::Role role,
                            identity::Purpose purpose) -> Result<void> {
    EXPECT_EQ(role, identity::Role::connector);
    purposes.push_back(purpose);
    return {};
  };
  EXPECT_EQ(code(connector({"--check-config"})), 0);
  EXPECT_EQ(purposes, (std::vector{identity::Purpose::client, identity::Purpose::server}));
}

TEST_F(CommandLine, CheckConfigWithoutAFileSaysWhereItLooked) {
  EXPECT_EQ(code(intermediate({"--check-config"})), 2);
  EXPECT_THAT(err_.str(), HasSubstr("no config file at " + (folder_ / "etc").string() + "/intermediate.json or "));
}

TEST_F(CommandLine, HelpAndVersionEndWith0) {
  EXPECT_EQ(code(agent({"--help"})), 0);
  EXPECT_THAT(out_.str(), HasSubstr("Usage: ztna-agent [FLAGS] [COMMAND]"));
  EXPECT_THAT(out_.str(), HasSubstr("\nCommands:\n"));
  EXPECT_EQ(out_.str().find("\n\n\n"), std::string::npos);
  std::istringstream lines{out_.str()};
  while (std::getline(lines, line_)) EXPECT_LE(line_.size(), 120U) << line_;
  EXPECT_EQ(code(intermediate({"--version"})), 0);
  EXPECT_EQ(out_.str(), "intermediate-server " ZTNA_VERSION "\n");
}

TEST_F(CommandLine, SystemFileComesBeforeTheLocalOne) {
  write("here/intermediate.json", R"({"port": 2})");
  EXPECT_EQ(std::get<IntermediateRun>(intermediate({})).config.port, 2);
  write("etc/intermediate.json", R"({"port": 1})");
  EXPECT_EQ(std::get<IntermediateRun>(intermediate({})).config.port, 1);
  EXPECT_EQ(
      std::get<IntermediateRun>(intermediate({"--config", (folder_ / "here/intermediate.json").string()})).config.port,
      2);
}

TEST_F(CommandLine, AFlagBeatsTheFileAndReloadKeepsTheFlag) {
  write("etc/intermediate.json", R"({"port": 1, "metrics_port": 5})");
  const auto parsed = intermediate({"--port", "7", "--bind", "::1", "--bind", "127.0.0.1"});
  const auto& run = std::get<IntermediateRun>(parsed);
  EXPECT_EQ(run.config.port, 7);
  EXPECT_EQ(run.config.metrics.port, 5);
  EXPECT_EQ(run.config.bind_addrs.size(), 2U);
  write("etc/intermediate.json", R"({"port": 1, "metrics_port": 6})");
  EXPECT_EQ(run.reload()->port, 7);
  EXPECT_EQ(run.reload()->metrics.port, 6);
  write("etc/intermediate.json", R"({"prot": 1})");
  EXPECT_FALSE(run.reload());
}

TEST_F(CommandLine, EitherEndSwitchesBirthdaySearchesOff) {
  write("etc/connector.json", R"({"p2p": {"birthday": true}})");
  EXPECT_TRUE(std::get<ConnectorRun>(connector({})).config.p2p.birthday);
  EXPECT_FALSE(std::get<ConnectorRun>(connector({"--no-birthday"})).config.p2p.birthday);
  EXPECT_TRUE(std::get<AgentRun>(agent({"--server", "h"})).config.p2p.birthday);
  EXPECT_FALSE(std::get<AgentRun>(agent({"--server", "h", "--no-birthday"})).config.p2p.birthday);
}

TEST_F(CommandLine, IntermediateTakesFourByPlace) {
  const auto parsed = intermediate({"5000", "c.pem", "k.pem", "127.0.0.1"});
  const auto& config = std::get<IntermediateRun>(parsed).config;
  EXPECT_EQ(config.port, 5000);
  EXPECT_EQ(config.identity.cert, "c.pem");
  EXPECT_EQ(config.identity.key, "k.pem");
  EXPECT_THAT(config.bind_addrs, ElementsAre(IpAddress::v4(0x7F000001)));
}

TEST_F(CommandLine, DefaultsAreThoseOfTheProductPage) {
  const auto c = std::get<ConnectorRun>(connector({})).config;
  EXPECT_THAT(c.servers, ElementsAre(config::Server{"127.0.0.1", 4433}));
  ASSERT_EQ(c.services.size(), 1U);
  EXPECT_EQ(c.services[0].id, "default");
  EXPECT_EQ(c.services[0].backend_port, 8080);
  EXPECT_EQ(c.p2p.port, 4434);
  EXPECT_EQ(c.metrics.port, 9091);
  const auto i = std::get<IntermediateRun>(intermediate({})).config;
  EXPECT_EQ(i.port, 4433);
  EXPECT_EQ(i.metrics.port, 9090);
  EXPECT_TRUE(i.verify_peer && i.require_client_cert && !i.disable_retry);
  const auto a = std::get<AgentRun>(agent({"--server", "h"})).config;
  EXPECT_EQ(a.tun_name, "ztna0");
  EXPECT_EQ(to_string(a.routes[0]), "10.100.0.0/24");
  EXPECT_EQ(a.metrics.port, 0);
  EXPECT_TRUE(a.all_services());
}

TEST_F(CommandLine, DevelopmentSwitchesWarn) {
  EXPECT_EQ(std::get<IntermediateRun>(intermediate({"--no-verify-peer", "--no-require-client-cert"})).warnings.size(),
            2U);
  EXPECT_EQ(std::get<ConnectorRun>(connector({"--no-verify-peer"})).warnings.size(), 1U);
}

TEST_F(CommandLine, KeyThatEverybodyCanReadIsWarnedOf) {
  write_identity();
  write("etc/connector.json", "{}");
  EXPECT_TRUE(std::get<ConnectorRun>(connector({})).warnings.empty());
  ::chmod((folder_ / "etc/certs/key.pem").c_str(), 0644);
  EXPECT_THAT(std::get<ConnectorRun>(connector({})).warnings, ElementsAre(HasSubstr("close it with chmod 600")));
}

TEST_F(CommandLine, AgentCommands) {
  const auto status = agent({"--control-socket", "/x", "status", "--json"});
  EXPECT_EQ(std::get<AgentRun>(status).command, AgentCommand::status);
  EXPECT_TRUE(std::get<AgentRun>(status).status_json);
  EXPECT_EQ(std::get<AgentRun>(status).config.control_socket, "/x");
  const auto ping = agent({"ping", "web", "--count", "2", "--control-socket", "/y"});
  EXPECT_EQ(std::get<AgentRun>(ping).ping_service, "web");
  EXPECT_EQ(std::get<AgentRun>(ping).ping_count, 2U);
  EXPECT_EQ(std::get<AgentRun>(agent({"up", "--server", "h"})).command, AgentCommand::up);
  EXPECT_EQ(std::get<AgentRun>(agent({"down"})).command, AgentCommand::down);
}

TEST_F(CommandLine, StatusWorksBesideABrokenFileUnlessItWasNamed) {
  const auto path = write("etc/agent.json", "{");
  const auto parsed = agent({"status"});
  EXPECT_EQ(std::get<AgentRun>(parsed).warnings.size(), 1U);
  EXPECT_EQ(code(agent({"--config", path.string(), "status"})), 2);
}

}  // namespace
}  // namespace ztna::apps
