// SocketAddress <-> the kernel's sockaddr_storage.
#pragma once

#include <sys/socket.h>

#include <optional>

#include "base/address.h"

namespace ztna::os {

/// Fills `out`, returns the length that the kernel wants.
socklen_t to_sockaddr(const SocketAddress& address, sockaddr_storage& out);
/// The same for a socket of `family`: IPv4 becomes ::ffff:a.b.c.d on a (dual-stack) IPv6 socket.
socklen_t to_sockaddr(const SocketAddress& address, Family family, sockaddr_storage& out);

/// ::ffff:a.b.c.d becomes IPv4; an IPv6 zone is dropped. nullopt: neither IPv4 nor IPv6, or cut short.
std::optional<SocketAddress> from_sockaddr(const sockaddr* address, socklen_t length);
std::optional<SocketAddress> from_sockaddr(const sockaddr_storage& address);

/// getsockname / getpeername; 0.0.0.0:0 when the call fails.
SocketAddress local_address(int fd);
SocketAddress peer_address(int fd);

}  // namespace ztna::os
