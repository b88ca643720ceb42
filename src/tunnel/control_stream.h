// Messages over one QUIC stream (docs/protocol.md 3, 4): the control stream of a control connection, and that of a
// tunnel.
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

#include "base/bytes.h"
#include "base/counters.h"
#include "base/result.h"
#include "quic/connection.h"
#include "wire/control/framer.h"
#include "wire/control/message.h"

namespace ztna::tunnel {

template <typename Message>
class MessageStream {
 public:
  /// `connection` must outlive the stream object.
  MessageStream(quic::Connection& connection, quic::StreamId id) : connection_(connection), id_(id) {}

  quic::StreamId id() const { return id_; }

  /// Queues a message. Error: closed.
  Result<void> send(const Message& message) {
    ByteVector frame;
    wire::append_frame(frame, message);
    return connection_.write(id_, Bytes{frame});
  }

  /// Takes stream octets and calls `handle(const Message&) -> bool` for each whole message, in order; unknown extension
  /// types are skipped and counted. `handle` returns false to stop, having closed the connection; it must not destroy
  /// this object. Stream credit is given back here. An error means that the peer broke the protocol: the caller closes
  /// the connection with CloseCode::protocol_violation and the error's text.
  template <typename Handle>
  Result<void> receive(Bytes octets, bool fin, Handle&& handle) {
    connection_.credit(id_, octets.size());
    bool stopped = false;
    auto taken = framer_.push(octets, [&](const wire::Frame& frame) -> Result<void> {
      const auto message = parse(frame);
      if (!message) {
        if (message.error().code != Errc::unknown_type || !wire::is_extension(frame.type)) return fail(message.error());
        skipped_.add();
        return {};
      }
      stopped = !handle(*message);
      if (stopped) return fail(Errc::closed, "stopped");
      return {};
    });
    if (stopped) return {};
    if (!taken) return taken;
    if (!fin) return {};
    if (auto whole = framer_.finish(); !whole) return whole;
    return fail(Errc::closed, "control stream was closed");
  }

  const Counter& skipped_extensions() const { return skipped_; }

 private:
  static Result<Message> parse(const wire::Frame& frame) {
    if constexpr (std::is_same_v<Message, wire::TunnelMessage>) {
      return wire::parse_tunnel_message(frame.type, frame.body);
    } else {
      return wire::parse_control_message(frame.type, frame.body);
    }
  }

  quic::Connection& connection_;
  quic::StreamId id_;
  wire::Framer framer_;
  Counter skipped_;
};

using ControlStream = MessageStream<wire::ControlMessage>;
using TunnelControlStream = MessageStream<wire::TunnelMessage>;

}  // namespace ztna::tunnel
