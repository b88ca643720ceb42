#include "http/server.h"

#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <thread>

#include "http/metrics_page.h"

namespace ztna::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace bhttp = boost::beast::http;
using tcp = asio::ip::tcp;
using Request = bhttp::request<bhttp::string_body>;

constexpr std::size_t kMaxDrain = 64 * 1024;   // read and thrown away, so that an error answer is not cut by a RST
constexpr std::chrono::seconds kDrainTime{1};  // and for so long
constexpr std::chrono::milliseconds kAcceptPause{100};  // after a failure (out of descriptors): try again, do not spin

asio::ip::address to_asio(const IpAddress& ip) {
  const auto octets = ip.octets();
  if (ip.is_v4()) return asio::ip::address_v4{ip.v4_host_order()};
  asio::ip::address_v6::bytes_type bytes{};
  std::copy(octets.begin(), octets.end(), bytes.begin());
  return asio::ip::address_v6{bytes};
}

tl::unexpected<Error> cannot_listen(const ServerOptions& options, const boost::system::error_code& error) {
  const auto where = to_string(SocketAddress{options.bind, options.port});
  if (error == asio::error::address_in_use) {
    return fail(Errc::conflict, "metrics port: {} is taken by another program; stop it or choose another port", where);
  }
  if (error == asio::error::access_denied) {
    return fail(Errc::denied, "metrics port: no permission to listen on {}; choose a port above 1023", where);
  }
  if (error.value() == EADDRNOTAVAIL) {
    return fail(Errc::invalid_argument, "metrics port: {} is no address of this machine; choose another to bind to",
                to_string(options.bind));
  }
  return fail(Errc::io, "metrics port: cannot listen on {}: {}", where, error.message());
}

struct Answer {
  bhttp::status status = bhttp::status::ok;
  std::string body;
  const char* type = "text/plain; charset=utf-8";
};

bhttp::message_generator to_message(const Answer& answer, unsigned version, bool head, bool keep_alive) {
  bhttp::response<bhttp::string_body> response{answer.status, version};
  response.set(bhttp::field::content_type, answer.type);
  response.set(bhttp::field::cache_control, "no-store");
  response.set("X-Content-Type-Options", "nosniff");
  if (answer.status == bhttp::status::method_not_allowed) response.set(bhttp::field::allow, "GET, HEAD");
  response.keep_alive(keep_alive);
  if (head) {
    bhttp::response<bhttp::empty_body> bare{std::move(response.base())};
    bare.content_length(answer.body.size());
    return bare;
  }
  response.body() = answer.body;
  response.prepare_payload();
  return response;
}

/// Holds one of the server's places for connections.
class Place {
 public:
  explicit Place(std::size_t& taken) : taken_(&taken) { ++taken; }
  Place(Place&& other) noexcept : taken_(std::exchange(other.taken_, nullptr)) {}
  Place& operator=(Place&&) = delete;
  ~Place() {
    if (taken_ != nullptr) --*taken_;
  }

 private:
  std::size_t* taken_;
};

}  // namespace

class Server::Impl {
 public:
  Impl(const ServerOptions& options, const Metrics& metrics, std::function<Readiness()> readiness)
      : options_(options), metrics_(metrics), readiness_(std::move(readiness)), acceptor_(context_) {}

  ~Impl() {
    context_.stop();
    if (thread_.joinable()) thread_.join();
  }

  boost::system::error_code listen() {
    const tcp::endpoint endpoint{to_asio(options_.bind), options_.port};
    boost::system::error_code error;
    const auto step = [&](auto&& call) {
      if (!error) call();
    };
    step([&] { acceptor_.open(endpoint.protocol(), error); });
    step([&] { acceptor_.set_option(tcp::acceptor::reuse_address(true), error); });
    if (options_.bind.is_v6()) step([&] { acceptor_.set_option(asio::ip::v6_only(true), error); });
    step([&] { acceptor_.bind(endpoint, error); });
    step([&] { acceptor_.listen(asio::socket_base::max_listen_connections, error); });
    step([&] { port_ = acceptor_.local_endpoint(error).port(); });
    return error;
  }

  void run() {
    asio::co_spawn(context_, accept_all(), asio::detached);
    // Signals belong to the program's own loop: this thread takes none.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread{[this] { context_.run(); }};
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  std::uint16_t port() const { return port_; }

 private:
  asio::awaitable<void> accept_all();
  asio::awaitable<void> serve(tcp::socket socket, Place place);
  asio::awaitable<void> refuse(beast::tcp_stream& stream, bhttp::status status);
  Answer answer(const Request& request) const;

  const ServerOptions options_;
  const Metrics& metrics_;
  const std::function<Readiness()> readiness_;
  std::size_t connections_ = 0;  // before context_: coroutines that die with it still count down
  std::uint16_t port_ = 0;
  asio::io_context context_{1};
  tcp::acceptor acceptor_;
  std::thread thread_;
};

Answer Server::Impl::answer(const Request& request) const {
  if (request.method() != bhttp::verb::get && request.method() != bhttp::verb::head) {
    return {bhttp::status::method_not_allowed, "only GET and HEAD\n"};
  }
  const auto target = request.target();
  const auto path = target.substr(0, target.find('?'));
  if (path == "/healthz") return {bhttp::status::ok, "ok"};
  if (path == "/metrics") return {bhttp::status::ok, render_metrics(metrics_), kMetricsContentType};
  if (path == "/readyz") {
    if (!readiness_) return {bhttp::status::ok, "ok"};
    auto now = readiness_();
    return {now.ready ? bhttp::status::ok : bhttp::status::service_unavailable, std::move(now.text)};
  }
  return {bhttp::status::not_found, "here are /metrics, /healthz and /readyz\n"};
}

asio::awaitable<void> Server::Impl::accept_all() {
  for (;;) {
    boost::system::error_code error;
    auto socket = co_await acceptor_.async_accept(asio::redirect_error(asio::use_awaitable, error));
    if (error) {
      asio::steady_timer pause{context_, kAcceptPause};
      co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, error));
    } else if (connections_ < options_.max_connections) {
      asio::co_spawn(context_, serve(std::move(socket), Place{connections_}), asio::detached);
    }  // else: closed here
  }
}

/// Says why, and lets the client read it: closing with its octets unread would send a RST over the answer.
asio::awaitable<void> Server::Impl::refuse(beast::tcp_stream& stream, bhttp::status status) {
  boost::system::error_code error;
  auto token = asio::redirect_error(asio::use_awaitable, error);
  const Answer said{status, std::string{bhttp::obsolete_reason(status)} + "\n"};
  co_await beast::async_write(stream, to_message(said, 11, false, false), token);
  if (error) co_return;
  stream.socket().shutdown(tcp::socket::shutdown_send, error);
  stream.expires_after(kDrainTime);
  std::array<char, 4096> rest;
  for (std::size_t drained = 0; !error && drained < kMaxDrain;) {
    drained += co_await stream.async_read_some(asio::buffer(rest), token);
  }
}

asio::awaitable<void> Server::Impl::serve(tcp::socket socket, Place /*place*/) {
  beast::tcp_stream stream{std::move(socket)};
  beast::flat_buffer buffer{options_.max_header_bytes + options_.max_body_bytes};
  boost::system::error_code error;
  auto token = asio::redirect_error(asio::use_awaitable, error);
  for (;;) {
    bhttp::request_parser<bhttp::string_body> parser;
    parser.header_limit(static_cast<std::uint32_t>(options_.max_header_bytes));
    parser.body_limit(options_.max_body_bytes);
    stream.expires_after(options_.timeout);  // for the whole request, however it drips in
    co_await bhttp::async_read(stream, buffer, parser, token);
    stream.expires_after(options_.timeout);
    if (error == bhttp::error::header_limit || error == bhttp::error::buffer_overflow) {
      co_return co_await refuse(stream, bhttp::status::request_header_fields_too_large);
    }
    if (error == bhttp::error::body_limit) co_return co_await refuse(stream, bhttp::status::payload_too_large);
    if (error) co_return;  // junk, timeout, or the client left: nothing to say
    const auto& request = parser.get();
    const bool keep_alive = request.keep_alive();
    auto message = to_message(answer(request), request.version(), request.method() == bhttp::verb::head, keep_alive);
    co_await beast::async_write(stream, std::move(message), token);
    if (error) co_return;
    if (!keep_alive) {
      stream.socket().shutdown(tcp::socket::shutdown_both, error);
      co_return;
    }
  }
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;
std::uint16_t Server::port() const { return impl_->port(); }

Result<std::unique_ptr<Server>> Server::start(const ServerOptions& options, const Metrics& metrics,
                                              std::function<Readiness()> readiness) {
  auto impl = std::make_unique<Impl>(options, metrics, std::move(readiness));
  if (const auto error = impl->listen()) return cannot_listen(options, error);
  impl->run();
  return std::unique_ptr<Server>{new Server{std::move(impl)}};
}

}  // namespace ztna::http
