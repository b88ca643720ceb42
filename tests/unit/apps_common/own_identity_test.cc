// A program's own certificate, as it is judged at start: refusals first.
#include "apps/common/own_identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "support/sim_quic.h"

namespace ztna::apps {
namespace {

using testing::AllOf;
using testing::HasSubstr;
namespace fs = std::filesystem;

class OwnIdentityTest : public testing::Test {
 protected:
  OwnIdentityTest() {
    char name[] = "/tmp/ztna-own-identity-XXXXXX";
    folder_ = ::mkdtemp(name);
    files_ = {folder_ / "ca.pem", folder_ / "cert.pem", folder_ / "key.pem"};
    write(files_.ca_cert, ca_.pem());
  }
  ~OwnIdentityTest() override { fs::remove_all(folder_); }

  static void write(const std::string& path, const std::string& text) { std::ofstream{path} << text; }
  void write_leaf(const test::LeafSpec& spec) {
    const auto leaf = ca_.issue(spec);
    write(files_.cert, leaf.cert);
    write(files_.key, leaf.key);
  }
  static test::LeafSpec agent() {
    return {.dns = {"agent.web.ztna"}, .uris = {"spiffe://example.org/agent/a1"}, .purpose = test::Purpose::client};
  }
  static test::LeafSpec intermediate() {
    return {.dns = {"i1.test"}, .uris = {"spiffe://example.org/intermediate/i1"}, .purpose = test::Purpose::server};
  }
  std::string refusal(identity::Role role, identity::Purpose purpose) const {
    const auto own = load_own_identity(files_, role, purpose);
    return own ? "taken" : own.error().text;
  }

  test::TestCa ca_;
  fs::path folder_;
  config::IdentityFiles files_;
};

TEST_F(OwnIdentityTest, AMissingFileIsNamed) {
  write_leaf(agent());
  fs::remove(files_.key);
  EXPECT_THAT(refusal(identity::Role::agent, identity::Purpose::client),
              AllOf(HasSubstr("--key"), HasSubstr(files_.key)));
}

TEST_F(OwnIdentityTest, AnotherRoleIsRefusedWithTheCommandThatMendsIt) {
  write_leaf(agent());
  EXPECT_THAT(refusal(identity::Role::connector, identity::Purpose::client),
              AllOf(HasSubstr(files_.cert), HasSubstr("ztnactl issue connector --name NAME --service ID")));
  EXPECT_THAT(refusal(identity::Role::intermediate, identity::Purpose::server),
              HasSubstr("ztnactl issue intermediate --name NAME --host HOST"));
}

TEST_F(OwnIdentityTest, AnExpiredCertificateIsRefused) {
  auto spec = agent();
  spec.not_after = std::chrono::seconds{-60};
  write_leaf(spec);
  EXPECT_THAT(refusal(identity::Role::agent, identity::Purpose::client),
              AllOf(HasSubstr("expired"), HasSubstr("ztnactl issue agent")));
}

TEST_F(OwnIdentityTest, AKeyOfAnotherCertificateIsRefusedWithTheFilesNamed) {
  write_leaf(agent());
  write(files_.key, ca_.issue(agent()).key);
  const auto own = load_own_identity(files_, identity::Role::agent, identity::Purpose::client);
  ASSERT_TRUE(own) << own.error().text;
  const auto context = make_tls_context(*own, quic::Side::client, {.alpn = "ztna-v1"}, "");
  ASSERT_FALSE(context);
  EXPECT_THAT(context.error().text, AllOf(HasSubstr(files_.cert), HasSubstr(files_.key)));
}

TEST_F(OwnIdentityTest, ACertificateOfAnotherCaIsRefused) {
  write_leaf(agent());
  write(files_.ca_cert, test::TestCa{"another CA"}.pem());
  EXPECT_THAT(refusal(identity::Role::agent, identity::Purpose::client),
              AllOf(HasSubstr(files_.cert), HasSubstr("not issued by this CA"), HasSubstr(files_.ca_cert)));
}

TEST_F(OwnIdentityTest, AGoodOneIsTaken) {
  write_leaf(agent());
  const auto own = load_own_identity(files_, identity::Role::agent, identity::Purpose::client);
  ASSERT_TRUE(own) << own.error().text;
  EXPECT_EQ(own->identity.name, "a1");
  EXPECT_FALSE(own->leaf.empty());
  EXPECT_TRUE(make_tls_context(*own, quic::Side::client, {.alpn = "ztna-v1"}, ""));
}

TEST_F(OwnIdentityTest, BothSidesWriteTheKeyLogTheyWereAskedFor) {
  test::SimWorld world{1};
  const auto context = [&](const test::LeafSpec& spec, identity::Role role, quic::Side side,
                           const std::string& keylog) {
    write_leaf(spec);
    const auto own = load_own_identity(
        files_, role, side == quic::Side::client ? identity::Purpose::client : identity::Purpose::server);
    if (!own) throw std::runtime_error(own.error().text);
    return make_tls_context(*own, side, {.alpn = "ztna-v1"}, keylog).value();
  };
  const auto text = [](const std::string& path) {
    std::ostringstream all;
    all << std::ifstream{path}.rdbuf();
    return all.str();
  };
  test::RecordingAcceptor acceptor;
  acceptor.tls = context(intermediate(), identity::Role::intermediate, quic::Side::server, folder_ / "server.keys");
  auto& server = world.add({}, &acceptor);
  auto& client = world.add({}, nullptr);
  const quic::Path path{*SocketAddress::parse("192.0.2.1:5000"), *SocketAddress::parse("192.0.2.2:4433")};
  server.bind(path.remote);
  client.bind(path.local);
  quic::ConnectOptions options;
  options.tls = context(agent(), identity::Role::agent, quic::Side::client, folder_ / "client.keys");
  test::RecordingHandler handler;
  ASSERT_TRUE(client->connect(options, path, handler, world.now()));
  ASSERT_TRUE(world.run_until([&] { return handler.established; }, 10s));
  EXPECT_THAT(text(folder_ / "server.keys"), HasSubstr("SERVER_TRAFFIC_SECRET_0"));
  EXPECT_THAT(text(folder_ / "client.keys"), HasSubstr("SERVER_TRAFFIC_SECRET_0"));
}

}  // namespace
}  // namespace ztna::apps
