// Messages over one QUIC stream (docs/protocol.md 3): used on control connections and on the tunnel's first stream.
#pragma once

#include <cstdint>
#include <functional>

#include "base/bytes.h"
#include "base/counters.h"
#include "base/result.h"
#include "quic/connection.h"
#include "wire/control/framer.h"
#include "wire/control/message.h"

namespace ztna::tunnel {

class ControlStream {
 public:
  /// `connection` must outlive the stream object.
  ControlStream(quic::Connection& connection, quic::StreamId id) : connection_(connection), id_(id) {}

  quic::StreamId id() const { return id_; }
  /// Queues a message. Error: closed.
  Result<void> send(const wire::ControlMessage& message);

  /// Takes stream octets and calls `handle` for each whole message, in order; unknown extension types are skipped and counted.
  /// `handle` returns false to stop (it closed the connection). Stream credit is given back here. An error means that the
  /// peer broke the protocol: the caller closes the connection with CloseCode::protocol_violation and the error's text.
  Result<void> receive(Bytes octets, bool fin, const std::function<bool(const wire::ControlMessage&)>& handle);

  const Counter& skipped_extensions() const { return skipped_; }

 private:
  quic::Connection& connection_;
  quic::StreamId id_;
  wire::Framer framer_;
  Counter skipped_;
};

}  // namespace ztna::tunnel
