// The table of bad files (bad_cases.json, which test_schema.py holds the JSON Schemas to, too), then the good ones.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "config/agent.h"
#include "config/connector.h"
#include "config/intermediate.h"

namespace ztna::config {
namespace {

using Json = nlohmann::ordered_json;
using testing::ElementsAre;
using testing::IsEmpty;

const std::filesystem::path kRoot = ZTNA_SOURCE_DIR;

std::string read(const std::filesystem::path& path) {
  std::ifstream in{path};
  EXPECT_TRUE(in) << path;
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

Problems problems_of(const std::string& kind, const std::string& text) {
  const auto file = kind + ".json";
  const auto of = [](const auto& parsed) { return parsed ? Problems{} : parsed.error(); };
  if (kind == "agent") return of(parse_agent(text, file, ""));
  if (kind == "connector") return of(parse_connector(text, file, ""));
  return of(parse_intermediate(text, file, ""));
}

TEST(BadFiles, EachSaysWhatIsWrong) {
  const auto cases = Json::parse(read(kRoot / "tests/unit/config/bad_cases.json"));
  ASSERT_GT(cases.size(), 80U);
  for (const auto& row : cases) {
    const auto text = row.contains("text") ? row["text"].get<std::string>() : row["config"].dump();
    EXPECT_EQ(problems_of(row["file"], text), row["problems"].get<Problems>()) << text;
  }
}

TEST(BadFiles, CutsAndFlippedBitsOfTheExamplesAreSurvived) {
  for (const std::string kind : {"agent", "connector", "intermediate"}) {
    const auto text = read(kRoot / "packaging/examples" / (kind + ".full.json"));
    for (std::size_t i = 0; i < text.find_last_of('}'); i += 2) {
      EXPECT_THAT(problems_of(kind, text.substr(0, i)), testing::SizeIs(1)) << i;
    }
    for (std::size_t i = 0; i < text.size(); i += 3) {
      for (const int bit : {static_cast<int>(i % 7), 7}) {
        auto flipped = text;
        flipped[i] = static_cast<char>(flipped[i] ^ (1 << bit));
        for (const auto& line : problems_of(kind, flipped)) EXPECT_EQ(line.find('\n'), std::string::npos) << line;
      }
    }
  }
}

TEST(BadFiles, ValuesAreCutAndStayOneLine) {
  const auto problems = problems_of("agent", R"({"serverHost": "a\n)" + std::string(500, 'x') + "\"}");
  EXPECT_THAT(problems, ElementsAre("agent.json: serverHost = \"a\\n" + std::string(76, 'x') +
                                    "...: needs a host name or an IP address"));
}

TEST(GoodFiles, ExamplesAreTaken) {
  for (const std::string kind : {"agent", "connector", "intermediate"}) {
    for (const std::string size : {"minimal", "full"}) {
      EXPECT_THAT(problems_of(kind, read(kRoot / "packaging/examples" / (kind + "." + size + ".json"))), IsEmpty());
    }
    EXPECT_THAT(problems_of(kind, "{}"), IsEmpty());
    EXPECT_THAT(problems_of(kind, "\xEF\xBB\xBF{\"_comment\": [1], \"_comment2\": null}"), IsEmpty());
  }
}

/// All defaults that a schema names, as one file.
Json defaults_of(const Json& object) {
  auto out = Json::object();
  for (const auto& [key, field] : object["properties"].items()) {
    if (field.contains("default")) {
      out[key] = field["default"];
    } else if (field.contains("properties")) {
      out[key] = defaults_of(field);
    }
  }
  return out;
}

TEST(GoodFiles, DefaultsOfTheSchemasAreThoseOfTheProgram) {
  const auto text_of = [](const std::string& kind) {
    auto file = defaults_of(Json::parse(read(kRoot / "packaging/schema" / (kind + ".schema.json"))));
    file.erase("serverPort");  // needs a serverHost, which has no default
    return file.dump();
  };
  const auto agent = parse_agent(text_of("agent"), "agent.json", "/etc/ztna");
  ASSERT_TRUE(agent) << agent.error().front();
  EXPECT_EQ(*agent, default_agent("/etc/ztna"));
  const auto connector = parse_connector(text_of("connector"), "connector.json", "/etc/ztna");
  ASSERT_TRUE(connector) << connector.error().front();
  EXPECT_EQ(*connector, default_connector("/etc/ztna"));
  const auto intermediate = parse_intermediate(text_of("intermediate"), "intermediate.json", "/etc/ztna");
  ASSERT_TRUE(intermediate) << intermediate.error().front();
  EXPECT_EQ(*intermediate, default_intermediate("/etc/ztna"));
}

TEST(AgentFile, MinimalMeansWhatItSays) {
  const auto config = parse_agent(read(kRoot / "packaging/examples/agent.minimal.json"), "agent.json", "/etc/ztna");
  ASSERT_TRUE(config);
  EXPECT_THAT(config->servers, ElementsAre(Server{"vpn.example.com", 4433}));
  EXPECT_THAT(config->services, ElementsAre(AgentService{"web", {IpAddress::v4(0x0A64000A)}}));
  EXPECT_EQ(config->identity,
            (IdentityFiles{"/etc/ztna/certs/ca.pem", "/etc/ztna/certs/cert.pem", "/etc/ztna/certs/key.pem"}));
  EXPECT_THAT(finish(*config), IsEmpty());
}

TEST(AgentFile, ServiceIdComesFirstAndJoinsItsDefinition) {
  const auto config = parse_agent(
      R"({"serviceId": "b", "services": [{"id": "a"}, {"id": "b", "virtualIp": "10.100.0.7"}]})", "agent.json", "");
  ASSERT_TRUE(config);
  EXPECT_THAT(config->services, ElementsAre(AgentService{"b", {IpAddress::v4(0x0A640007)}}, AgentService{"a", {}}));
  EXPECT_TRUE(parse_agent(R"({"serviceId": "*"})", "agent.json", "")->all_services());
}

TEST(AgentFile, PinnedAddressOutsideOfTheRoutesGetsAHostRoute) {
  const auto config =
      parse_agent(R"({"services": [{"id": "a", "virtualIp": ["10.7.0.1", "fd5a:7a74:6e61::9"]}]})", "", "");
  ASSERT_TRUE(config);
  const auto routes = config->tunnel_routes();
  ASSERT_EQ(routes.size(), 3U);
  EXPECT_EQ(to_string(routes[2]), "10.7.0.1/32");
}

TEST(AgentFile, FinishRefusesWhatNoFieldAloneShows) {
  auto config =
      parse_agent(R"({"services": [{"id": "a", "virtualIp": "10.100.0.254"}, {"id": "b", "virtualIp": "10.9.9.9"},
                                             {"id": "c", "virtualIp": "10.9.9.9"}]})",
                  "", "");
  ASSERT_TRUE(config);
  EXPECT_THAT(finish(*config),
              ElementsAre("no server is named; set \"serverHost\" in the config file or give --server HOST[:PORT]",
                          "service a: virtualIp 10.100.0.254 is one of the Agent's own two addresses in 10.100.0.0/24; "
                          "choose another",
                          "service c: virtualIp 10.9.9.9 is that of service b, too; choose another"));
}

TEST(ConnectorFile, ServicesReachWhatTheySayAndNothingElse) {
  const auto config = parse_connector(read(kRoot / "packaging/examples/connector.full.json"), "connector.json", "/x");
  ASSERT_TRUE(config);
  ASSERT_EQ(config->services.size(), 4U);
  const auto& web = config->services[0];
  EXPECT_EQ(web.backend_port_for(Transport::tcp, 80), 8080);
  EXPECT_EQ(web.backend_port_for(Transport::tcp, 8080), std::nullopt);
  EXPECT_EQ(web.backend_port_for(Transport::udp, 80), std::nullopt);
  EXPECT_EQ(web.service_ips.size(), 2U);
  const auto& lab = config->services[1];
  EXPECT_EQ(lab.backend_port_for(Transport::udp, 7010), 7010);
  EXPECT_EQ(lab.backend_port_for(Transport::udp, 7011), std::nullopt);
  EXPECT_EQ(lab.backend_port_for(Transport::udp, 80), std::nullopt);
  EXPECT_EQ(config->services[2].backend_host, "fd00::53");
  EXPECT_THAT(config->services[3].ports, IsEmpty());
  EXPECT_EQ(config->p2p_identity().cert, "/x/certs/cert.pem");
  EXPECT_THAT(config->servers, ElementsAre(Server{"vpn.example.com", 4433}, Server{"2001:db8::7", 4433}));
}

TEST(ConnectorFile, AnyMeansTcpAndUdp) {
  const auto config = parse_connector(R"({"services": [{"id": "a", "backend": "[fd00::1]:53"}]})", "", "");
  ASSERT_TRUE(config);
  EXPECT_THAT(config->services[0].ports,
              ElementsAre(PortRange{Transport::tcp, 53, 53}, PortRange{Transport::udp, 53, 53}));
}

TEST(ConnectorFlags, ServiceReplacesTheListAndKeepsDefinitions) {
  auto config = *parse_connector(
      R"({"services": [{"id": "a", "backend": "h:1", "protocol": "tcp"}, {"id": "b", "backend": "h:2"}]})", "", "");
  EXPECT_THAT(apply(ConnectorOverrides{.services = {"a", "new"}}, config), IsEmpty());
  ASSERT_EQ(config.services.size(), 2U);
  EXPECT_EQ(config.services[0].backend_port, 1);
  EXPECT_EQ(config.services[1].id, "new");
  EXPECT_EQ(config.services[1].backend_port, 8080);
}

TEST(ConnectorFlags, ForwardGoesWithItsService) {
  auto config = default_connector("");
  EXPECT_THAT(apply(ConnectorOverrides{.services = {"a", "b"}, .forwards = {"h:1", "[fd00::1]:2"}}, config), IsEmpty());
  EXPECT_EQ(config.services[1].backend_host, "fd00::1");
  EXPECT_EQ(config.services[1].backend_port_for(Transport::udp, 2), 2);
  config.services.resize(2);
  EXPECT_THAT(apply(ConnectorOverrides{.forwards = {"h:1"}}, config),
              ElementsAre("--forward: the config file has 2 services; say which with --service ID"));
  EXPECT_THAT(apply(ConnectorOverrides{.services = {"a", "b", "c"}, .forwards = {"h:1", "h:2"}}, config),
              ElementsAre("--forward: 2 backends for 3 services; give one for each --service, or one for all"));
}

TEST(DirectPaths, DefaultsAndSpellingsOfBothEnds) {
  DirectPaths off;
  off.enabled = off.port_mapping = off.birthday = false;
  off.port = 5000;
  off.external_ips = {*parse_ip("203.0.113.7"), *parse_ip("2001:db8::7")};
  const auto agent = parse_agent(R"({"p2p": {"enabled": false, "port": 5000, "portMapping": false, "birthday": false,
                                             "externalIp": ["203.0.113.7", "2001:db8::7"]}})",
                                 "", "");
  ASSERT_TRUE(agent);
  EXPECT_EQ(agent->p2p, off);
  const auto connector = parse_connector(R"({"p2p": {"enabled": false, "port": 5000, "port_mapping": false,
                                             "birthday": false, "external_ip": ["203.0.113.7", "2001:db8::7"]}})",
                                         "", "");
  ASSERT_TRUE(connector);
  EXPECT_EQ(static_cast<const DirectPaths&>(connector->p2p), off);
  EXPECT_EQ(default_agent("").p2p, DirectPaths{});
  EXPECT_EQ(default_agent("").p2p.port, 0);
  EXPECT_EQ(default_connector("").p2p.port, 4434);
  EXPECT_TRUE(default_connector("").p2p.enabled && default_connector("").p2p.port_mapping);
}

TEST(Pools, ReservedAddressesAreTheEnds) {
  EXPECT_EQ(to_string(tun_address(*parse_pool("10.100.0.0/24"))), "10.100.0.254");
  EXPECT_EQ(to_string(reentry_address(*parse_pool("10.100.0.0/24"))), "10.100.0.253");
  EXPECT_EQ(to_string(tun_address(*parse_pool("10.100.0.0/29"))), "10.100.0.6");
  EXPECT_EQ(to_string(tun_address(*parse_pool("fd5a:7a74:6e61::/64"))), "fd5a:7a74:6e61::fffe");
  EXPECT_EQ(to_string(reentry_address(*parse_pool("fd5a:7a74:6e61::/64"))), "fd5a:7a74:6e61::fffd");
}

TEST(Servers, TextFormsOfTheCommandLine) {
  EXPECT_EQ(*parse_server("vpn.example.com"), (Server{"vpn.example.com", 4433}));
  EXPECT_EQ(*parse_server("[2001:db8::1]:5"), (Server{"2001:db8::1", 5}));
  EXPECT_EQ(to_string(*parse_server("[2001:DB8::1]")), "[2001:db8::1]:4433");
  for (const auto* bad : {"", ":", ":4433", "a:", "a:b", "a:0", "a:65536", "a:080", "a:+1", "2001:db8::1", "[::1",
                          "[::1]5", "[10.0.0.1]:5", "-a:1", "a..b", "1.2.3:4", "a b"}) {
    EXPECT_FALSE(parse_server(bad)) << bad;
  }
}

TEST(Warnings, EachDeveloperSwitchIsNamed) {
  EXPECT_THAT(warnings(default_intermediate("")), IsEmpty());
  EXPECT_EQ(
      warnings(*parse_intermediate(
                   R"({"verify_peer": false, "require_client_cert": false, "disable_retry": true, "keylog_file": "k"})",
                   "", ""))
          .size(),
      4U);
  EXPECT_EQ(warnings(*parse_connector(R"({"verify_peer": false})", "", "")).size(), 1U);
  EXPECT_EQ(warnings(*parse_agent(R"({"keylogFile": "k"})", "", "")).size(), 1U);
}

TEST(IntermediateFile, ProbePortIsAnotherPort) {
  auto config = *parse_intermediate("{}", "", "");
  EXPECT_FALSE(config.probe_port);
  EXPECT_EQ(default_probe_port(4433), 4435);
  EXPECT_EQ(default_probe_port(65'534), 65'532);
  EXPECT_THAT(finish(config), IsEmpty());
  config = *parse_intermediate(R"({"port": 5000, "probe_port": 5001})", "", "");
  EXPECT_EQ(config.probe_port, 5001);
  EXPECT_THAT(finish(config), IsEmpty());
  IntermediateOverrides flags;
  flags.port = 5001;
  EXPECT_THAT(apply(flags, config), IsEmpty());
  EXPECT_THAT(finish(config), ElementsAre("probe_port 5001: is the port itself; choose another, or 0 for none"));
  flags.probe_port = 0;
  EXPECT_THAT(apply(flags, config), IsEmpty());
  EXPECT_EQ(config.probe_port, 0);
  EXPECT_THAT(finish(config), IsEmpty());
}

TEST(Warnings, ExternalAddressesAreNoReasonForOne) {
  EXPECT_THAT(warnings(*parse_intermediate(R"({"external_ip": "203.0.113.7"})", "", "")), IsEmpty());
  EXPECT_THAT(warnings(*parse_connector(R"({"p2p": {"external_ip": "203.0.113.7"}})", "", "")), IsEmpty());
}

}  // namespace
}  // namespace ztna::config
