// What a connection needs from the endpoint that owns it.
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.h"
#include "base/random.h"
#include "base/time.h"
#include "quic/types.h"

namespace ztna::quic {

class ConnectionImpl;
using ResetToken = std::array<std::uint8_t, 16>;  // RFC 9000 10.3

class ConnectionOwner {
 public:
  virtual ~ConnectionOwner() = default;

  virtual Random& random() = 0;
  /// A connection id of ours that is not in use, routed to `connection` from now on.
  virtual Cid new_cid(ConnectionImpl& connection) = 0;
  virtual void add_cid(const Cid& cid, ConnectionImpl& connection) = 0;
  virtual void remove_cid(const Cid& cid, ConnectionImpl& connection) = 0;
  /// The token with which we would reset a connection that is addressed as `cid`.
  virtual ResetToken reset_token(const Cid& cid) = 0;
  /// The peer would reset the connection with `token`.
  virtual void add_peer_token(const ResetToken& token, ConnectionImpl& connection) = 0;
  virtual void remove_peer_token(const ResetToken& token, ConnectionImpl& connection) = 0;
  /// A NEW_TOKEN for a client at `remote`; empty: none.
  virtual ByteVector new_token(const SocketAddress& remote, TimePoint now) = 0;
  /// Has something to send, or another deadline: flush it.
  virtual void touched(ConnectionImpl& connection) = 0;
  /// Datagrams that were taken and can never be sent.
  virtual void datagrams_dropped(std::size_t count) = 0;
  /// Is not a handshake any more: established or over.
  virtual void handshake_over(ConnectionImpl& connection) = 0;
};

}  // namespace ztna::quic
