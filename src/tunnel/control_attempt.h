// One dialled control connection, from the first packet to its end. Part of ControlClient.
#pragma once

#include <cstdint>
#include <optional>

#include "tunnel/control_client.h"
#include "tunnel/control_stream.h"
#include "wire/close_code.h"

namespace ztna::tunnel {

class ControlAttempt final : public quic::ConnectionHandler {
 public:
  /// `race`: attempts of one race compete, and only the first one that is established says Hello.
  ControlAttempt(ControlClient& client, const SocketAddress& server, std::size_t race)
      : client_(client), server_(server), race_(race) {}

  void attach(quic::Connection& connection) { connection_ = &connection; }
  const SocketAddress& server() const { return server_; }
  std::size_t race() const { return race_; }
  bool closed() const { return closed_; }
  /// Our Hello has left: the Intermediate takes this connection for the newest, and ends older ones of ours.
  bool said_hello() const { return stream_.has_value(); }
  quic::Connection* connection() { return connection_; }
  std::uint64_t packets_received() const { return connection_ == nullptr ? 0 : connection_->stats().packets_received; }
  Result<void> send(const wire::ControlMessage& message);
  /// Ends it if it has not ended; the client is not told of it as a loss.
  void drop(wire::CloseCode code, std::string_view why);

  // quic::ConnectionHandler
  Result<void> verify_peer(Bytes leaf_der) override;
  void on_established() override;
  void on_closed(const quic::CloseReason& reason) override;
  void on_stream_data(quic::StreamId id, Bytes octets, bool fin) override;
  void on_stream_reset(quic::StreamId id, std::uint64_t code) override;
  void on_new_token(Bytes token) override { client_.keep_token(server_.ip, token); }
  void on_session(Bytes session) override { client_.session_.assign(session.begin(), session.end()); }

 private:
  bool take(const wire::ControlMessage& message);

  ControlClient& client_;
  SocketAddress server_;
  std::size_t race_;
  quic::Connection* connection_ = nullptr;  // null once closed
  std::optional<ControlStream> stream_;
  bool hello_seen_ = false;
  bool closed_ = false;
};

}  // namespace ztna::tunnel
