#include "quic/sockaddr.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstring>

namespace ztna::quic {

namespace {

ngtcp2_socklen put(const SocketAddress& from, ngtcp2_sockaddr_union& to) {
  to = {};
  if (from.ip.is_v4()) {
    to.in.sin_family = AF_INET;
    to.in.sin_port = htons(from.port);
    std::memcpy(&to.in.sin_addr, from.ip.octets().data(), 4);
    return sizeof to.in;
  }
  to.in6.sin6_family = AF_INET6;
  to.in6.sin6_port = htons(from.port);
  std::memcpy(&to.in6.sin6_addr, from.ip.octets().data(), 16);
  return sizeof to.in6;
}

SocketAddress get(const ngtcp2_addr& from) {
  ngtcp2_sockaddr_union u{};
  std::memcpy(&u, from.addr, std::min(sizeof u, static_cast<std::size_t>(from.addrlen)));
  if (u.sa.sa_family == AF_INET) {
    std::array<std::uint8_t, 4> octets{};
    std::memcpy(octets.data(), &u.in.sin_addr, 4);
    return {IpAddress::v4(octets), ntohs(u.in.sin_port)};
  }
  std::array<std::uint8_t, 16> octets{};
  std::memcpy(octets.data(), &u.in6.sin6_addr, 16);
  return {IpAddress::v6(octets), ntohs(u.in6.sin6_port)};
}

}  // namespace

void to_storage(const Path& path, ngtcp2_path_storage& storage) {
  storage.path.local.addr = &storage.local_addrbuf.sa;
  storage.path.remote.addr = &storage.remote_addrbuf.sa;
  storage.path.local.addrlen = put(path.local, storage.local_addrbuf);
  storage.path.remote.addrlen = put(path.remote, storage.remote_addrbuf);
  storage.path.user_data = nullptr;
}

Path from_ngtcp2(const ngtcp2_path& path) { return {get(path.local), get(path.remote)}; }

}  // namespace ztna::quic
