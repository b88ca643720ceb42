#include "tunnel/hub.h"

#include <algorithm>

#include "wire/first_byte.h"
#include "wire/routed_datagram.h"

namespace ztna::tunnel {

std::string_view to_string(UdpFate fate) {
  switch (fate) {
    case UdpFate::quic_direct: return "quic_direct";
    case UdpFate::quic_relayed: return "quic_relayed";
    case UdpFate::relay_malformed: return "relay_malformed";
    case UdpFate::relay_unknown_route: return "relay_unknown_route";
    case UdpFate::relay_wrong_source: return "relay_wrong_source";
    case UdpFate::probe: return "probe";
    case UdpFate::junk: return "junk";
    case UdpFate::count_: break;
  }
  return "unknown";
}

void Hub::receive(const SocketAddress& from, Bytes row, std::size_t segment, TimePoint now, SocketId socket) {
  ++rows_;
  if (row.empty()) {  // an empty UDP payload is a packet too
    fates_.add(UdpFate::junk);
    return;
  }
  const SocketAddress source{from.ip.unmapped(), from.port};
  segment = segment == 0 ? row.size() : segment;
  for (std::size_t at = 0; at < row.size(); at += segment) {
    fates_.add(receive_one(socket, source, row.subspan(at, std::min(segment, row.size() - at)), now));
  }
}

UdpFate Hub::receive_one(SocketId socket, const SocketAddress& from, Bytes payload, TimePoint now) {
  switch (wire::classify(payload)) {
    case wire::PayloadKind::routed_datagram: {
      const auto routed = wire::RelayDatagram::parse(payload);
      if (!routed) return UdpFate::relay_malformed;
      const auto* path = relay_.path(routed->route);
      if (path == nullptr) return UdpFate::relay_unknown_route;
      if (relay_.leg(*path)->intermediate != from) return UdpFate::relay_wrong_source;
      last_relayed_in_ = now;
      const quic::Path copy = *path;  // receive() may close routes
      endpoint_.receive(copy, routed->packet, now, *this);
      return UdpFate::quic_relayed;
    }
    case wire::PayloadKind::quic:
      endpoint_.receive(direct_path(from), payload, now, *this);
      return UdpFate::quic_direct;
    case wire::PayloadKind::probe:
      if (probes_ != nullptr) probes_->on_probe(socket, from, payload, now);
      return UdpFate::probe;
    default: return UdpFate::junk;
  }
}

quic::Path Hub::direct_path(const SocketAddress& remote) {
  static const IpAddress kAnyV6 = IpAddress::v6(std::array<std::uint8_t, 16>{});
  return {{remote.ip.is_v6() ? kAnyV6 : IpAddress{}, 0}, remote};
}

quic::Path Hub::direct_path(const SocketAddress& remote, const quic::Path& current) {
  auto path = direct_path(remote);
  if (path.local.ip == current.local.ip) path.local.port = static_cast<std::uint16_t>(current.local.port + 1);
  return path;
}

std::size_t Hub::headroom(const quic::Path& path) const {
  return RelayPaths::is_synthetic(path.local) ? wire::RelayDatagram::kHeaderSize : 0;
}

void Hub::send(const quic::Path& path, MutableBytes buffer, std::size_t segment) {
  ++rows_;
  if (!RelayPaths::is_synthetic(path.local)) {
    port_.send(path.remote, buffer, segment);
    return;
  }
  const auto* leg = relay_.leg(path);
  if (leg == nullptr) {
    sent_to_closed_route_.add();
    return;
  }
  for (std::size_t at = 0; at < buffer.size(); at += segment) {
    wire::write_relay_header(buffer.subspan(at).first<wire::RelayDatagram::kHeaderSize>(), leg->route);
  }
  port_.send(leg->intermediate, buffer, segment);
}

}  // namespace ztna::tunnel
