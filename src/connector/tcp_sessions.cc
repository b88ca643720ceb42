#include "connector/tcp_sessions.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "base/log.h"
#include "tunnel/tcp_bridge.h"
#include "wire/stream_header.h"

namespace ztna::connector {
namespace {

using wire::StreamHeader;
using wire::StreamResult;

constexpr auto kTcpReset = static_cast<std::uint64_t>(wire::StreamResetCode::tcp_reset);
constexpr auto kLocalFailure = static_cast<std::uint64_t>(wire::StreamResetCode::local_failure);

struct Outcome {
  StreamResult result;
  StreamFate fate;
};
Outcome outcome_of(Errc code) {
  switch (code) {
    case Errc::refused:
    case Errc::denied: return {StreamResult::refused, StreamFate::backend_refused};
    case Errc::timed_out: return {StreamResult::timed_out, StreamFate::backend_timed_out};
    case Errc::exhausted: return {StreamResult::limit, StreamFate::limit};
    default: return {StreamResult::unreachable, StreamFate::backend_unreachable};
  }
}

}  // namespace

class TcpSessions::Session final : public BackendTcpEvents {
 public:
  Session(TcpSessions& owner, quic::StreamId id) : owner_(owner), id_(id) {}
  ~Session() override {
    if (ticket_ != 0) owner_.shared_.names.cancel(ticket_);
    owner_.usage_.backlog -= counted_backlog_;
    release();
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  wire::ServiceHandle handle() const { return handle_; }
  std::size_t backlog() const { return counted_backlog_; }

  /// Each of these may end in the destruction of *this, as its last act.
  void take(Bytes octets, bool fin) {
    switch (state_) {
      case State::header: take_header(octets, fin); break;
      case State::resolving:
      case State::connecting:
        // Bounded by the stream's window (no credit is given before the backend takes it), and by the Agent's backlog.
        early_.insert(early_.end(), octets.begin(), octets.end());
        early_fin_ = early_fin_ || fin;
        count_backlog();
        break;
      case State::bridged:
        bridge_->on_stream_data(octets, fin);
        count_backlog();
        mark_dirty();
        break;
      case State::refused: owner_.connection_.credit(id_, octets.size()); break;
    }
  }

  void flush() {
    dirty_ = false;
    if (state_ != State::bridged) return;
    bridge_->flush();
    settle();
  }

  void on_stream_drained() {
    if (state_ == State::bridged) bridge_->on_stream_drained();
  }

  void on_peer_reset(bool stop_sending) {
    switch (state_) {
      case State::header:
      case State::resolving:
      case State::connecting: finish_as(StreamFate::given_up); break;
      case State::refused: owner_.erase(id_); return;
      case State::bridged:
        if (stop_sending) {
          bridge_->on_stop_sending();
        } else {
          bridge_->on_stream_reset();
        }
        settle();
        return;
    }
    owner_.connection_.reset(id_, kTcpReset);
    owner_.connection_.stop_sending(id_, kTcpReset);
    owner_.erase(id_);
  }

  void on_closed_stream() {
    stream_closed_ = true;
    if (state_ == State::bridged) return;  // both FINs are through; what the backend has not taken yet still goes there
    if (state_ != State::refused) finish_as(StreamFate::given_up);
    owner_.erase(id_);
  }

  /// The tunnel is gone: no call to the connection any more.
  void on_connection_closed() {
    if (state_ == State::bridged) {
      bridge_->on_connection_closed();
      account();
      finish_as(StreamFate::reset);
    } else if (state_ != State::refused) {
      finish_as(StreamFate::given_up);
    }
  }

  /// Its service is gone.
  void on_service_closed() {
    if (state_ == State::bridged) {
      bridge_->on_connection_closed();
      account();
      finish_as(StreamFate::reset);
    } else if (state_ != State::refused) {
      finish_as(StreamFate::not_permitted);
    }
    owner_.connection_.reset(id_, kTcpReset);
    owner_.connection_.stop_sending(id_, kTcpReset);
    owner_.erase(id_);
  }

  /// Others of the Agent could not go on.
  void on_backlog_limit() {
    finish_as(StreamFate::backlog_limit);  // also closes the way to the backend
    owner_.connection_.reset(id_, kLocalFailure);
    owner_.connection_.stop_sending(id_, kLocalFailure);
    owner_.erase(id_);
  }

  // BackendTcpEvents
  void on_connected(Result<void> result, TimePoint) override {
    if (state_ != State::connecting) return;
    if (!result) {
      port_.reset();
      last_error_ = result.error().code;
      connect_next();
      return;
    }
    begin_bridge();
  }
  void on_readable() override {
    if (state_ != State::bridged) return;
    bridge_->on_readable();
    settle();
  }
  void on_writable() override {
    if (state_ != State::bridged) return;
    bridge_->on_writable();
    settle();
  }

 private:
  enum class State : std::uint8_t { header, resolving, connecting, bridged, refused };

  void take_header(Bytes octets, bool fin) {
    const auto missing = std::min(StreamHeader::kSize - header_size_, octets.size());
    std::copy_n(octets.begin(), missing, header_.begin() + static_cast<std::ptrdiff_t>(header_size_));
    header_size_ += missing;
    owner_.connection_.credit(id_, missing);
    const auto header = StreamHeader::parse(Bytes{header_}.first(header_size_));
    if (!header) {
      if (header.error() == Errc::truncated && !fin) return;
      finish_as(StreamFate::bad_header);
      owner_.connection_.reset(id_, kLocalFailure);
      owner_.connection_.stop_sending(id_, kLocalFailure);
      owner_.erase(id_);
      return;
    }
    const auto rest = octets.subspan(missing);
    early_.assign(rest.begin(), rest.end());
    early_fin_ = fin;
    handle_ = header->handle;
    count_backlog();
    start(*header);
  }

  void start(const StreamHeader& header) {
    auto& shared = owner_.shared_;
    const auto found = owner_.services_.find_service(header.handle);
    use_ = found.use;
    if (found.service == nullptr) return refuse({StreamResult::denied, StreamFate::not_permitted});
    const auto port = decide(*found.service, Transport::tcp, header.port);
    if (!port) return refuse({StreamResult::denied, StreamFate::not_permitted});
    if (!shared.quotas.admits_new_flows()) return refuse({StreamResult::denied, StreamFate::offline});
    if (!shared.quotas.take_tcp(owner_.usage_, shared.now)) return refuse({StreamResult::limit, StreamFate::limit});
    holds_quota_ = true;
    ++owner_.active_;
    backend_port_ = *port;
    const auto& host = found.service->definition().backend_host;
    if (const auto* addresses = shared.names.known(host, shared.now)) {
      addresses_ = *addresses;
      connect_next();
      return;
    }
    state_ = State::resolving;
    ticket_ = shared.names.wait(host, shared.now, [this](const std::vector<IpAddress>& addresses) {
      ticket_ = 0;
      addresses_ = addresses;
      connect_next();
    });
  }

  void connect_next() {
    state_ = State::connecting;
    while (next_address_ < addresses_.size()) {
      const auto count = static_cast<Duration::rep>(addresses_.size());
      const auto timeout = std::max(kMinAddressTimeout, kConnectTimeout / count);
      auto port = owner_.shared_.backends.connect_tcp({addresses_[next_address_++], backend_port_}, timeout, *this);
      if (port) {
        port_ = std::move(*port);
        return;
      }
      last_error_ = port.error().code;
    }
    refuse(outcome_of(last_error_));
  }

  void begin_bridge() {
    state_ = State::bridged;
    const std::array<std::uint8_t, 1> result{static_cast<std::uint8_t>(StreamResult::connected)};
    (void)owner_.connection_.write(id_, Bytes{result});  // a failure shows as on_stream_closed or on_closed
    owner_.shared_.counts.sessions.add();
    owner_.shared_.counts.active.add();
    if (use_ != nullptr) ++use_->tcp_connections;
    bridge_.emplace(owner_.connection_, id_, std::move(port_));
    if (!early_.empty() || early_fin_) {
      bridge_->on_stream_data(early_, early_fin_);
      early_ = {};
      flush();
    }
  }

  void refuse(Outcome outcome) {
    if (use_ != nullptr && outcome.fate == StreamFate::not_permitted) ++use_->refused;
    finish_as(outcome.fate);
    state_ = State::refused;
    const std::array<std::uint8_t, 1> result{static_cast<std::uint8_t>(outcome.result)};
    (void)owner_.connection_.write(id_, Bytes{result});
    owner_.connection_.finish(id_);
    owner_.connection_.credit(id_, early_.size());
    early_ = {};
    count_backlog();
  }

  void mark_dirty() {
    if (dirty_) return;
    dirty_ = true;
    owner_.dirty_.push_back(id_);
  }

  /// After anything that moved octets: counts them, and ends what is over.
  void settle() {
    account();
    if (!bridge_->done()) return;
    if (!bridge_->was_reset() && !stream_closed_) owner_.finishing_.insert(id_);
    finish_as(bridge_->was_reset() ? StreamFate::reset : StreamFate::finished);
    owner_.erase(id_);
  }

  void count_backlog() {
    const auto now = early_.size() + (bridge_ ? bridge_->pending_octets() : 0);
    owner_.usage_.backlog += now - counted_backlog_;  // modulo, as is the sum
    counted_backlog_ = now;
  }

  void account() {
    count_backlog();
    const auto to_backend = bridge_->octets_to_socket();
    const auto to_agent = bridge_->octets_to_stream();
    auto& counts = owner_.shared_.counts;
    counts.octets_to_backend.add(to_backend - counted_to_backend_);
    counts.octets_to_agent.add(to_agent - counted_to_agent_);
    if (use_ != nullptr) {
      use_->octets_to_backend += to_backend - counted_to_backend_;
      use_->octets_to_agent += to_agent - counted_to_agent_;
    }
    counted_to_backend_ = to_backend;
    counted_to_agent_ = to_agent;
  }

  void finish_as(StreamFate fate) {
    owner_.shared_.fates.add(fate);
    if (bridge_) owner_.shared_.counts.active.sub();
    bridge_.reset();
    port_.reset();
    early_ = {};
    count_backlog();
    release();
  }

  void release() {
    if (!std::exchange(holds_quota_, false)) return;
    owner_.shared_.quotas.give_tcp(owner_.usage_);
    --owner_.active_;
  }

  TcpSessions& owner_;
  quic::StreamId id_;
  State state_ = State::header;
  std::array<std::uint8_t, StreamHeader::kSize> header_{};
  std::size_t header_size_ = 0;
  wire::ServiceHandle handle_;
  ServiceUse* use_ = nullptr;
  ByteVector early_;  // came before the backend was there
  bool early_fin_ = false;
  bool holds_quota_ = false;
  bool dirty_ = false;
  std::uint16_t backend_port_ = 0;
  std::vector<IpAddress> addresses_;
  std::size_t next_address_ = 0;
  Errc last_error_ = Errc::unreachable;
  BackendNames::Ticket ticket_ = 0;
  std::unique_ptr<tunnel::TcpPort> port_;  // while connecting
  std::optional<tunnel::TcpBridge> bridge_;
  bool stream_closed_ = false;
  std::size_t counted_backlog_ = 0;
  std::uint64_t counted_to_backend_ = 0;
  std::uint64_t counted_to_agent_ = 0;
};

TcpSessions::TcpSessions(TcpShared shared, AgentUsage& usage, quic::Connection& connection, ServiceLookup& services)
    : shared_(shared), usage_(usage), connection_(connection), services_(services) {
  usage_.holders.push_back(static_cast<BacklogHolder*>(this));
}

TcpSessions::~TcpSessions() {
  on_connection_closed();
  std::erase(usage_.holders, static_cast<BacklogHolder*>(this));
}

TcpSessions::Session* TcpSessions::find(quic::StreamId id) {
  const auto found = sessions_.find(id);
  return found == sessions_.end() ? nullptr : found->second.get();
}

void TcpSessions::erase(quic::StreamId id) { sessions_.erase(id); }

void TcpSessions::on_stream_opened(quic::StreamId id) { sessions_.emplace(id, std::make_unique<Session>(*this, id)); }

void TcpSessions::on_stream_data(quic::StreamId id, Bytes octets, bool fin) {
  if (auto* session = find(id)) {
    session->take(octets, fin);
    shared_.quotas.limit_backlog(usage_);
  } else {
    connection_.credit(id, octets.size());  // of a session that ended here
  }
}

void TcpSessions::on_stream_drained(quic::StreamId id) {
  if (auto* session = find(id)) session->on_stream_drained();
}

void TcpSessions::on_stream_reset(quic::StreamId id) {
  if (auto* session = find(id)) session->on_peer_reset(false);
}

void TcpSessions::on_stop_sending(quic::StreamId id) {
  if (auto* session = find(id)) session->on_peer_reset(true);
}

void TcpSessions::on_stream_closed(quic::StreamId id) {
  finishing_.erase(id);
  if (auto* session = find(id)) session->on_closed_stream();
}

void TcpSessions::on_connection_closed() {
  for (auto& [id, session] : sessions_) session->on_connection_closed();
  sessions_.clear();
  finishing_.clear();
  dirty_.clear();
}

std::size_t TcpSessions::largest_backlog() const {
  std::size_t largest = 0;
  for (const auto& [id, session] : sessions_) largest = std::max(largest, session->backlog());
  return largest;
}

void TcpSessions::reset_largest_backlog() {
  const auto largest = std::ranges::max_element(
      sessions_, [](const auto& a, const auto& b) { return a.second->backlog() < b.second->backlog(); });
  if (largest == sessions_.end()) return;
  log::warn("backends do not take an agent's octets: stream reset",
            {{"stream", largest->first.value}, {"waiting", largest->second->backlog()}, {"of", usage_.backlog}});
  largest->second->on_backlog_limit();
}

void TcpSessions::flush() {
  flushing_.swap(dirty_);
  for (const auto id : flushing_) {
    if (auto* session = find(id)) session->flush();
  }
  flushing_.clear();
}

void TcpSessions::close(wire::ServiceHandle handle) {
  std::vector<quic::StreamId> ids;
  for (const auto& [id, session] : sessions_) {
    if (session->handle() == handle) ids.push_back(id);
  }
  for (const auto id : ids) {
    if (auto* session = find(id)) session->on_service_closed();
  }
}

}  // namespace ztna::connector
