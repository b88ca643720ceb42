#include "os/resolver.h"

#include <algorithm>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/post.hpp>

#include "os/event_loop.h"
#include "os/sockaddr.h"

namespace ztna::os {
namespace {

using Udp = boost::asio::ip::udp;

Errc errc_of_lookup(const boost::system::error_code& error) {
  namespace e = boost::asio::error;
  if (error == e::host_not_found || error == e::no_data || error == e::service_not_found) return Errc::not_found;
  if (error == e::host_not_found_try_again) return Errc::timed_out;
  return Errc::io;
}

Result<std::vector<SocketAddress>> collect(const std::string& host, const boost::system::error_code& error,
                                           const Udp::resolver::results_type& found) {
  if (error) return fail(errc_of_lookup(error), "resolve {}: {}", host, error.message());
  std::vector<SocketAddress> list;
  for (const auto& entry : found) {
    const auto endpoint = entry.endpoint();
    const auto address = from_sockaddr(endpoint.data(), static_cast<socklen_t>(endpoint.size()));
    if (address && std::find(list.begin(), list.end(), *address) == list.end()) list.push_back(*address);
  }
  if (list.empty()) return fail(Errc::not_found, "resolve {}: no IPv4 or IPv6 address", host);
  return list;
}

}  // namespace

struct Resolver::State {
  explicit State(boost::asio::io_context& c) : context(c), resolver(c) {}
  boost::asio::io_context& context;
  Udp::resolver resolver;
  bool alive = true;
};

Resolver::Resolver(EventLoop& loop) : state_(std::make_shared<State>(loop.io_context())) {}

Resolver::~Resolver() {
  state_->alive = false;
  state_->resolver.cancel();
}

void Resolver::resolve(const std::string& host, std::uint16_t port, Callback fn) {
  if (const auto address = IpAddress::parse(host)) {
    boost::asio::post(state_->context,
                      [state = state_, list = std::vector{SocketAddress{*address, port}}, fn = std::move(fn)] {
                        if (state->alive) fn(list);
                      });
    return;
  }
  // Without AI_ADDRCONFIG, which hides "localhost" on a machine that has only loopback.
  state_->resolver.async_resolve(host, std::to_string(port), Udp::resolver::numeric_service,
                                 [state = state_, host, fn = std::move(fn)](const boost::system::error_code& error,
                                                                            const Udp::resolver::results_type& found) {
                                   if (state->alive) fn(collect(host, error, found));
                                 });
}

}  // namespace ztna::os
