// Real loopback connections. No sleeps: what must happen after a time is waited for on the socket itself.
#include "http/server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

namespace ztna::http {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class Client {
 public:
  explicit Client(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const timeval limit{5, 0};  // a server that never answers fails the test, not the suite
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
  }
  ~Client() { ::close(fd_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  bool connected() const { return connected_; }
  bool send(std::string_view text) {
    return ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
  }
  /// Until the server closes; "TIMEOUT" is added when it does not.
  std::string read_all() {
    std::string all;
    char block[4096];
    for (;;) {
      const auto n = ::recv(fd_, block, sizeof block, 0);
      if (n > 0) {
        all.append(block, static_cast<std::size_t>(n));
      } else {
        const bool late = n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
        return late ? all + "TIMEOUT" : all;
      }
    }
  }
  /// Until `end` was read.
  std::string read_until(std::string_view end) {
    std::string all;
    char c = 0;
    while (!all.ends_with(end) && ::recv(fd_, &c, 1, 0) == 1) all += c;
    return all;
  }

 private:
  int fd_;
  bool connected_ = false;
};

class HttpServer : public testing::Test {
 protected:
  void start(ServerOptions options = {}, std::function<Readiness()> readiness = {}) {
    auto started = Server::start(options, metrics_, std::move(readiness));
    ASSERT_TRUE(started) << started.error().text;
    server_ = std::move(*started);
  }
  std::string ask(std::string_view request) {
    Client client{server_->port()};
    EXPECT_TRUE(client.send(request));
    return client.read_all();
  }
  std::string get(std::string_view path) {
    return ask(fmt::format("GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path));
  }

  Counter value_;
  Metrics metrics_;
  std::unique_ptr<Server> server_;
};

TEST_F(HttpServer, PortThatIsTakenIsOneClearLine) {
  start();
  const auto second = Server::start({.port = server_->port()}, metrics_, {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::conflict);
  EXPECT_EQ(second.error().text,
            fmt::format("metrics port: 127.0.0.1:{} is taken by another program; stop it or choose another port",
                        server_->port()));
}

TEST_F(HttpServer, AddressOfAnotherMachineIsOneClearLine) {
  const auto started = Server::start({.bind = IpAddress::v4(0xC0000201)}, metrics_, {});
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().text, "metrics port: 192.0.2.1 is no address of this machine; choose another to bind to");
}

TEST_F(HttpServer, JunkIsClosedWithoutAnAnswer) {
  start();
  EXPECT_EQ(ask("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 this is no HTTP\r\n\r\n"), "");
  EXPECT_EQ(ask("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "");
  EXPECT_EQ(ask("GET /healthz\r\n\r\n"), "");
  EXPECT_THAT(get("/healthz"), StartsWith("HTTP/1.1 200 OK\r\n"));
}

TEST_F(HttpServer, OtherMethodsGet405) {
  start();
  for (const auto* method : {"POST", "PUT", "DELETE", "OPTIONS", "TRACE"}) {
    const auto answer = ask(fmt::format("{} /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", method));
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 405 Method Not Allowed\r\n")) << method;
    EXPECT_THAT(answer, HasSubstr("Allow: GET, HEAD\r\n")) << method;
  }
}

TEST_F(HttpServer, OtherPathsGet404) {
  start();
  for (const auto* path : {"/", "/metrics/", "/healthz/../metrics", "/etc/passwd", "http://x/metrics", "*"}) {
    EXPECT_THAT(get(path), StartsWith("HTTP/1.1 404 Not Found\r\n")) << path;
  }
}

TEST_F(HttpServer, OversizedHeaderGets431) {
  start();
  const auto answer = ask("GET /metrics HTTP/1.1\r\nX: " + std::string(20'000, 'x') + "\r\n\r\n");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 431 Request Header Fields Too Large\r\n"));
  EXPECT_THAT(answer, Not(EndsWith("TIMEOUT")));
}

TEST_F(HttpServer, OversizedBodyGets413BeforeItIsRead) {
  start();
  const auto answer = ask("GET /metrics HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\nabc");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 413 Payload Too Large\r\n"));
  EXPECT_THAT(answer, Not(EndsWith("TIMEOUT")));
  EXPECT_THAT(ask("GET /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n" + std::string(65536, 'x')),
              StartsWith("HTTP/1.1 413 Payload Too Large\r\n"));
}

TEST_F(HttpServer, SlowClientIsClosedAndHoldsNobodyUp) {
  start({.timeout = std::chrono::milliseconds{200}});
  Client slow{server_->port()};
  ASSERT_TRUE(slow.send("GET /metr"));
  Client silent{server_->port()};
  EXPECT_THAT(get("/healthz"), EndsWith("\r\n\r\nok"));
  EXPECT_EQ(slow.read_all(), "");
  EXPECT_EQ(silent.read_all(), "");
}

TEST_F(HttpServer, IdleKeepAliveConnectionIsClosed) {
  start({.timeout = std::chrono::milliseconds{200}});
  EXPECT_THAT(ask("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"), EndsWith("\r\n\r\nok"));
}

TEST_F(HttpServer, MoreConnectionsThanAllowedAreClosedAtOnce) {
  start({.max_connections = 2});
  {
    Client first{server_->port()};
    Client second{server_->port()};
    for (auto* client : {&first, &second}) {  // both are being served, not only in the backlog
      ASSERT_TRUE(client->send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"));
      ASSERT_THAT(client->read_until("\r\n\r\nok"), HasSubstr("200 OK"));
    }
    Client third{server_->port()};
    EXPECT_EQ(third.read_all(), "");
  }
  // Places come back once the server has seen the others leave.
  std::string answer;
  for (int attempt = 0; attempt < 1000 && answer.empty(); ++attempt) answer = get("/healthz");
  EXPECT_THAT(answer, EndsWith("\r\n\r\nok"));
}

TEST_F(HttpServer, HealthzAnswersOk) {
  start();
  const auto answer = get("/healthz?from=probe");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\nok"));
}

TEST_F(HttpServer, HeadAnswersTheHeaderOnly) {
  start();
  const auto answer = ask("HEAD /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(answer, HasSubstr("Content-Length: 2\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\n"));
}

TEST_F(HttpServer, ReadyzFollowsTheProvider) {
  std::atomic<bool> ready{false};
  start({}, [&] { return ready ? Readiness{true, "registered"} : Readiness{false, "draining"}; });
  EXPECT_THAT(get("/readyz"), StartsWith("HTTP/1.1 503 Service Unavailable\r\n"));
  EXPECT_THAT(get("/readyz"), EndsWith("\r\n\r\ndraining"));
  ready = true;
  EXPECT_THAT(get("/readyz"), StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(get("/readyz"), EndsWith("\r\n\r\nregistered"));
}

TEST_F(HttpServer, MetricsAreReadAtEachScrape) {
  metrics_.counter("ztna_registrations_total", "One accepted registration.", value_);
  start();
  EXPECT_THAT(get("/metrics"), HasSubstr("\nztna_registrations_total 0\n"));
  value_.add(5);
  const auto answer = get("/metrics");
  EXPECT_THAT(answer, HasSubstr("\nztna_registrations_total 5\n"));
  EXPECT_THAT(answer, HasSubstr("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
}

TEST_F(HttpServer, OneConnectionServesSeveralRequestsPipelined) {
  start();
  Client client{server_->port()};
  ASSERT_TRUE(client.send(
      "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
  const auto answers = client.read_all();
  EXPECT_EQ(answers.find("HTTP/1.1 200 OK"), 0U);
  EXPECT_NE(answers.find("HTTP/1.1 200 OK", 1), std::string::npos);
}

TEST_F(HttpServer, ParallelScrapesAllSucceed) {
  for (int i = 0; i < 200; ++i) metrics_.counter(fmt::format("m{}", i), "A count.", value_);
  start();
  std::atomic<int> good{0};
  std::vector<std::thread> scrapers;
  for (int i = 0; i < 8; ++i) {
    scrapers.emplace_back([&] {
      for (int n = 0; n < 20; ++n) good += get("/metrics").find("\nm199 ") != std::string::npos ? 1 : 0;
    });
  }
  for (int i = 0; i < 1000; ++i) value_.add();
  for (auto& scraper : scrapers) scraper.join();
  EXPECT_EQ(good, 160);
}

TEST_F(HttpServer, StopsWhileClientsAreConnected) {
  start();
  Client half{server_->port()};
  ASSERT_TRUE(half.send("GET /"));
  EXPECT_THAT(get("/healthz"), EndsWith("ok"));
  const auto port = server_->port();
  server_.reset();
  EXPECT_EQ(half.read_all(), "");
  EXPECT_FALSE(Client{port}.connected());
}

TEST_F(HttpServer, ListensOnIpv6) {
  start({.bind = *IpAddress::parse("::1")});
  const int fd = ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in6 to{};
  to.sin6_family = AF_INET6;
  to.sin6_port = htons(server_->port());
  to.sin6_addr = in6addr_loopback;
  EXPECT_EQ(::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
  ::close(fd);
}

}  // namespace
}  // namespace ztna::http
