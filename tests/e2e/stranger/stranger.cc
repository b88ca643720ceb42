// A QUIC client without any of our clients' scruples: it checks neither its own certificate nor what it says. Prints
// how the server took it, as one JSON object:
//
//   ztna-stranger [--ca FILE] [--cert FILE --key FILE] [--alpn NAME] [--finish] [--seconds N] [--when TYPE:HEX]...
//                 HOST PORT [HEX...]
//
// HEX are octets for a stream, sent once the handshake is confirmed; --finish ends it with them. Those of --when are
// sent once, when a control message of that type (two digits) has come; with several for one type the first for the
// first message, and so on. It waits N seconds (3) for the connection to be closed.
#include <poll.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "os/clock.h"
#include "os/system_random.h"
#include "os/udp_socket.h"
#include "quic/endpoint.h"
#include "wire/control/framer.h"

namespace ztna {
namespace {

struct Settings {
  std::string host, ca, cert, key, alpn = "ztna-v1";
  std::uint16_t port = 0;
  bool finish = false;
  double seconds = 3;
  std::vector<std::string> hex, when;
};

std::string read_file(const std::string& path) {
  if (path.empty()) return {};
  std::ifstream in{path, std::ios::binary};
  if (!in) throw std::runtime_error(path + ": cannot be read");
  return {std::istreambuf_iterator<char>{in}, {}};
}

ByteVector from_hex(const std::string& text) {
  ByteVector octets;
  for (std::size_t at = 0; at + 1 < text.size(); at += 2) {
    octets.push_back(static_cast<std::uint8_t>(std::stoul(text.substr(at, 2), nullptr, 16)));
  }
  return octets;
}

class Stranger final : public quic::ConnectionHandler, public quic::PacketSink {
 public:
  Stranger(const Settings& settings, os::UdpSocket socket) : settings_(settings), socket_(std::move(socket)) {}

  void run(std::shared_ptr<const quic::TlsContext> tls, const SocketAddress& server) {
    auto endpoint = quic::Endpoint::create({}, random_, nullptr);
    const quic::Path path{socket_.local(), server};
    quic::ConnectOptions options;
    options.tls = std::move(tls);
    auto connection = endpoint->connect(options, path, *this, os::now());
    if (!connection) throw std::runtime_error(connection.error().text);
    connection_ = *connection;
    const auto end = os::now() + std::chrono::duration_cast<Duration>(std::chrono::duration<double>(settings_.seconds));
    os::ReceiveBuffers buffers;
    while (!closed_ && os::now() < end) {
      endpoint->flush(os::now(), *this);
      const auto pause = std::clamp<Duration>(std::min(endpoint->deadline(), end) - os::now(), Duration{}, 100ms);
      pollfd wait{socket_.fd(), POLLIN, 0};
      ::poll(&wait, 1, static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(pause).count()));
      const auto got = socket_.receive(buffers);
      for (const auto& datagram : got.datagrams) {
        datagram.for_each([&](MutableBytes packet) { endpoint->receive(path, packet, os::now(), *this); });
      }
      if (os::now() >= endpoint->deadline()) endpoint->on_deadline(os::now());
    }
    if (!closed_) connection_->close(0, "enough");
    endpoint->flush(os::now(), *this);
  }

  nlohmann::json report() const { return report_; }

  // quic::ConnectionHandler
  Result<void> verify_peer(Bytes) override { return {}; }
  void on_established() override {
    report_["established"] = true;
    const auto stream = connection_->open_stream();
    if (!stream) return;
    for (const auto& text : settings_.when) {
      const auto octets = from_hex(text.substr(0, 2));
      if (octets.size() == 1 && text.size() > 3) replies_.push_back({octets[0], from_hex(text.substr(3))});
    }
    for (const auto& text : settings_.hex) (void)connection_->write(*stream, Bytes{from_hex(text)});
    if (settings_.finish) connection_->finish(*stream);
  }
  void on_closed(const quic::CloseReason& reason) override {
    if (closed_ || reason.by == quic::CloseReason::By::local) return;
    closed_ = true;
    report_["closed"] = {{"by_peer", reason.by == quic::CloseReason::By::peer},
                         {"application", reason.application},
                         {"code", reason.code},
                         {"text", reason.text}};
  }
  void on_stream_data(quic::StreamId id, Bytes octets, bool) override {
    auto& received = report_["received"].get_ref<std::string&>();
    for (const auto octet : octets) fmt::format_to(std::back_inserter(received), "{:02x}", octet);
    (void)framer_.push(octets, [&](const wire::Frame& frame) -> Result<void> {
      const auto reply = std::ranges::find(replies_, frame.type, &Reply::type);
      if (reply == replies_.end()) return {};
      (void)connection_->write(id, Bytes{reply->octets});
      replies_.erase(reply);
      return {};
    });
  }

  // quic::PacketSink
  std::size_t headroom(const quic::Path&) const override { return 0; }
  void send(const quic::Path& path, MutableBytes buffer, std::size_t segment) override {
    (void)socket_.send(path.remote, buffer, segment);
  }
  bool writable() const override { return true; }

 private:
  struct Reply {
    std::uint8_t type;
    ByteVector octets;
  };
  const Settings& settings_;
  os::UdpSocket socket_;
  os::SystemRandom random_;
  quic::Connection* connection_ = nullptr;
  bool closed_ = false;
  wire::Framer framer_;
  std::vector<Reply> replies_;
  nlohmann::json report_ = {{"established", false}, {"closed", nullptr}, {"received", ""}};
};

template <typename T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().text);
  return std::move(*result);
}

void run(const Settings& settings) {
  quic::TlsOptions tls;
  tls.ca_pem = read_file(settings.ca);
  tls.cert_pem = read_file(settings.cert);
  tls.key_pem = read_file(settings.key);
  tls.alpn = settings.alpn;
  tls.verify_peer = !settings.ca.empty();
  const SocketAddress server{must(IpAddress::parse(settings.host)), settings.port};
  Stranger stranger{settings, must(os::UdpSocket::connect(server))};
  stranger.run(must(quic::TlsContext::create(quic::Side::client, std::move(tls))), server);
  std::cout << stranger.report().dump() << '\n';
}

}  // namespace
}  // namespace ztna

int main(int argc, char** argv) try {
  ztna::Settings settings;
  CLI::App app{"A QUIC client for tests of refusals"};
  app.add_option("host", settings.host)->required();
  app.add_option("port", settings.port)->required();
  app.add_option("hex", settings.hex);
  app.add_option("--ca", settings.ca);
  app.add_option("--cert", settings.cert);
  app.add_option("--key", settings.key);
  app.add_option("--alpn", settings.alpn);
  app.add_option("--seconds", settings.seconds);
  app.add_option("--when", settings.when)->take_all()->allow_extra_args(false);
  app.add_flag("--finish", settings.finish);
  CLI11_PARSE(app, argc, argv);
  ztna::run(settings);
  return 0;
} catch (const std::exception& error) {
  std::cerr << "ztna-stranger: " << error.what() << '\n';
  return 1;
}
