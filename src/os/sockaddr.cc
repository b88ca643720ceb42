#include "os/sockaddr.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstring>

namespace ztna::os {

socklen_t to_sockaddr(const SocketAddress& address, sockaddr_storage& out) {
  return to_sockaddr(address, address.ip.family(), out);
}

socklen_t to_sockaddr(const SocketAddress& address, Family family, sockaddr_storage& out) {
  const Bytes octets = address.ip.octets();
  if (family == Family::v4 && address.ip.is_v4()) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(address.port);
    std::memcpy(&in.sin_addr, octets.data(), 4);
    std::memcpy(&out, &in, sizeof in);
    return sizeof in;
  }
  sockaddr_in6 in6{};
  in6.sin6_family = AF_INET6;
  in6.sin6_port = htons(address.port);
  if (address.ip.is_v6()) {
    std::memcpy(&in6.sin6_addr, octets.data(), 16);
  } else {
    in6.sin6_addr.s6_addr[10] = 0xFF;
    in6.sin6_addr.s6_addr[11] = 0xFF;
    std::memcpy(in6.sin6_addr.s6_addr + 12, octets.data(), 4);
  }
  std::memcpy(&out, &in6, sizeof in6);
  return sizeof in6;
}

std::optional<SocketAddress> from_sockaddr(const sockaddr* address, socklen_t length) {
  sa_family_t family = AF_UNSPEC;
  if (length < sizeof(sa_family_t)) return std::nullopt;
  std::memcpy(&family, &address->sa_family, sizeof family);
  if (family == AF_INET && length >= sizeof(sockaddr_in)) {
    sockaddr_in in{};
    std::memcpy(&in, address, sizeof in);
    return SocketAddress{IpAddress::v4(ntohl(in.sin_addr.s_addr)), ntohs(in.sin_port)};
  }
  if (family == AF_INET6 && length >= sizeof(sockaddr_in6)) {
    sockaddr_in6 in6{};
    std::memcpy(&in6, address, sizeof in6);
    const std::span<const std::uint8_t, 16> octets{in6.sin6_addr.s6_addr};
    return SocketAddress{IpAddress::v6(octets).unmapped(), ntohs(in6.sin6_port)};
  }
  return std::nullopt;
}

std::optional<SocketAddress> from_sockaddr(const sockaddr_storage& address) {
  return from_sockaddr(reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

SocketAddress local_address(int fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return {};
  return from_sockaddr(storage).value_or(SocketAddress{});
}

SocketAddress peer_address(int fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return {};
  return from_sockaddr(storage).value_or(SocketAddress{});
}

}  // namespace ztna::os
