#include "os/udp_message.h"

#include <cstring>

#include "os/sockaddr.h"

namespace ztna::os {
namespace {

template <typename T>
std::size_t put_control(msghdr& message, std::size_t used, int level, int type, const T& value) {
  auto* header = reinterpret_cast<cmsghdr*>(static_cast<std::uint8_t*>(message.msg_control) + used);
  header->cmsg_level = level;
  header->cmsg_type = type;
  header->cmsg_len = CMSG_LEN(sizeof value);
  std::memcpy(CMSG_DATA(header), &value, sizeof value);
  return used + CMSG_SPACE(sizeof value);
}

std::size_t put_source(msghdr& message, std::size_t used, Family family, const IpAddress& from) {
  SocketAddress source{from, 0};
  sockaddr_storage storage{};
  to_sockaddr(source, family, storage);
  if (family == Family::v4) {
    in_pktinfo info{};
    info.ipi_spec_dst = reinterpret_cast<const sockaddr_in&>(storage).sin_addr;
    return put_control(message, used, IPPROTO_IP, IP_PKTINFO, info);
  }
  in6_pktinfo info{};
  info.ipi6_addr = reinterpret_cast<const sockaddr_in6&>(storage).sin6_addr;
  return put_control(message, used, IPPROTO_IPV6, IPV6_PKTINFO, info);
}

}  // namespace

void MessageRow::add(Family family, const SocketAddress* to, const IpAddress& from, Bytes data, std::size_t segment) {
  const std::size_t i = size_++;
  messages_[i] = mmsghdr{};
  msghdr& message = messages_[i].msg_hdr;
  if (to != nullptr) {
    message.msg_namelen = to_sockaddr(*to, family, addresses_[i]);
    message.msg_name = &addresses_[i];
  }
  parts_[i] = {const_cast<std::uint8_t*>(data.data()), data.size()};
  message.msg_iov = &parts_[i];
  message.msg_iovlen = 1;
  segments_[i] = segment == 0 ? data.size() : segment;

  const bool gso = segment != 0 && segment < data.size();
  if (!gso && from.is_unspecified()) return;
  controls_[i].octets.fill(0);
  message.msg_control = controls_[i].octets.data();
  std::size_t used = 0;
  if (!from.is_unspecified()) used = put_source(message, used, family, from);
  if (gso) used = put_control(message, used, IPPROTO_UDP, UDP_SEGMENT, static_cast<std::uint16_t>(segment));
  message.msg_controllen = used;
}

std::size_t MessageRow::datagrams(std::size_t i) const {
  const std::size_t octets = parts_[i].iov_len;
  return octets == 0 ? 1 : (octets + segments_[i] - 1) / segments_[i];
}

int MessageRow::send(int fd, std::size_t first) {
  return sendmmsg(fd, messages_.data() + first, static_cast<unsigned>(size_ - first), 0);
}

}  // namespace ztna::os
