// One TCP connection of a user's application on its stream: asks the Connector for the backend, keeps what the backend
// says until the kernel has accepted the user's connection, then bridges both.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "agent/ports.h"
#include "agent/tcp_reentry.h"
#include "quic/connection.h"
#include "tunnel/tcp_bridge.h"
#include "wire/stream_header.h"

namespace ztna::agent {

class TcpSession final : public TcpEvents {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    /// The Connector's answer, once, or nothing when the stream ended without one.
    virtual void on_session_result(TcpSession& session, std::optional<wire::StreamResult> result) = 0;
    /// Something happened: flush() wants to be called at the end of the batch.
    virtual void on_session_touched(TcpSession& session) = 0;
  };

  /// The stream is open and its header is written. `connection` and `owner` must outlive the session.
  TcpSession(quic::Connection& connection, quic::StreamId stream, FlowId flow, Owner& owner)
      : connection_(connection), stream_(stream), flow_(flow), owner_(owner) {}

  FlowId flow() const { return flow_; }
  quic::StreamId stream() const { return stream_; }
  bool asking() const { return state_ == State::asking; }
  bool bridged() const { return state_ == State::bridged; }
  bool over() const { return state_ == State::over; }

  /// The kernel accepted the user's connection. If the session is over (or has no backend) the socket is aborted.
  void attach(std::unique_ptr<tunnel::TcpPort> port);
  /// The user is gone: ends the stream, and the socket if there is one.
  void abandon();
  void flush();

  // As in quic::ConnectionHandler.
  void on_stream_data(Bytes octets, bool fin);
  void on_stream_drained();
  void on_stream_reset();
  void on_stop_sending();
  /// No result is reported: the owner asks anew elsewhere while asking() was true.
  void on_connection_closed();

  // TcpEvents
  void on_readable() override;
  void on_writable() override;

  /// The user has ended its side in order: what it said last may not have been acknowledged yet.
  bool ended_in_order() const { return bridge_ != nullptr && !bridge_->was_reset(); }

  bool touched = false;        // in the owner's list
  bool stream_closed = false;  // on_stream_closed() came

 private:
  enum class State : std::uint8_t {
    asking,     // header sent
    connected,  // the backend is there; waits for accept()
    bridged,
    over,
  };
  void take_result(Bytes octets, bool fin);
  void break_stream(wire::StreamResetCode code);
  void stream_ended();

  quic::Connection& connection_;
  quic::StreamId stream_;
  FlowId flow_;
  Owner& owner_;
  State state_ = State::asking;
  ByteVector early_;  // what the backend said before accept(); bounded by the stream's window, since no credit is given
  bool early_fin_ = false;
  std::unique_ptr<tunnel::TcpBridge> bridge_;
};

}  // namespace ztna::agent
