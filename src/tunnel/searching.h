// Birthday searches of one program (path/birthday.h): their keys, their sockets, and the sockets and addresses that
// they found. Used by Agent and Connector through tunnel/punching.h; signaling messages are theirs.
//
//   begin(session, tunnel, connection)   when both ends agreed to search
//   start(session, side, peer, delay)    StartPunching: `peer` is what the Intermediate observes of the other end
//   on_search_found: the tunnel can migrate to the address; on_search_failed
//
// The opener's found socket stays open as long as a tunnel may use its way: use(), end_tunnel(). Sans-IO.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string_view>
#include <vector>

#include "base/counters.h"
#include "base/random.h"
#include "base/time.h"
#include "path/birthday.h"
#include "quic/connection.h"
#include "tunnel/ports.h"
#include "wire/ids.h"
#include "wire/role.h"

namespace ztna::tunnel {

/// What became of a search; one increment each time that one would be of use.
enum class SearchEnd : std::uint8_t {
  found,
  failed,        // nobody was hit in time
  off,           // switched off here
  off_at_peer,   // switched off there
  paused,        // the last one is not long enough ago
  limit,         // too many at once, here or there
  no_sockets,    // none could be opened
  bad_address,   // what the Intermediate observes of the peer may not be probed
  no_ipv4,       // the Intermediate sees one end over IPv6: a search needs an IPv4 address that it vouches for
  not_signaled,  // the messages did not get through
  given_up,      // the tunnel ended, or what it was for changed
  count_
};
std::string_view to_string(SearchEnd end);

class SearchingOwner {
 public:
  virtual ~SearchingOwner() = default;
  /// The peer answers at `found.remote`. What is sent there takes the right socket.
  virtual void on_search_found(const wire::SessionId& session, const wire::TunnelId& tunnel,
                               const path::BirthdaySearch::Found& found) = 0;
  /// on_search_found() may still follow `failed`: a late answer is an answer.
  virtual void on_search_failed(const wire::SessionId& session, const wire::TunnelId& tunnel, SearchEnd why) = 0;
};

class Searching {
 public:
  static constexpr std::size_t kMaxSearches = 8;          // at once: each is 384 sockets here, or 300 packets a second
  static constexpr std::size_t kMaxKept = 256;            // sockets that carry a tunnel
  static constexpr unsigned kPatience = 2;                // the hole is most likely open still when the way is back
  static constexpr Duration kUnstarted = 5s;              // how long StartPunching is waited for
  static constexpr std::uint32_t kChecksPerSecond = 400;  // macs of one search, as of a session

  /// All must outlive it. `side`: null, and no socket can be opened.
  Searching(wire::Role role, UdpPort& udp, SideSockets* side, Random& random, SearchingOwner& owner);
  ~Searching();

  /// A tunnel has one search: an older one ends. Errors: conflict, exhausted, crypto (the handshake is not done).
  Result<void> begin(const wire::SessionId& session, const wire::TunnelId& tunnel, quic::Connection& connection,
                     TimePoint now);
  /// Opens the sockets, and begins after `delay`. False: no such search waits. Without any socket the owner is told.
  bool start(const wire::SessionId& session, path::BirthdaySide side, const SocketAddress& peer, Duration delay,
             TimePoint now);
  /// Ends it without a word; the owner counts. What it found stays.
  void end(const wire::SessionId& session);
  /// Ends its search, and gives up its claim to what was found.
  void end_tunnel(const wire::TunnelId& tunnel);
  /// The tunnel's packets go to `remote` now: a socket that leads there stays open for it too.
  void use(const wire::TunnelId& tunnel, const SocketAddress& remote);
  /// It has left that path. What was found is tried again, unless the network has changed meanwhile.
  void left(const wire::TunnelId& tunnel);
  /// An ordinary session of it has failed: after kPatience of them what was found is given up.
  void not_punched(const wire::TunnelId& tunnel);
  /// There may be another NAT in front of us, or none. What was found stays only for tunnels that are `in_use`, on a
  /// direct path, until they leave it: ordinary sessions could not reach the peer by a socket that nobody expects.
  void network_changed(const std::function<bool(const wire::TunnelId&)>& in_use);
  /// Where the last search of this tunnel found the peer's hole: an ordinary session should try it again.
  std::optional<SocketAddress> remembered(const wire::TunnelId& tunnel) const;

  /// It has not come to an end.
  bool looking(const wire::SessionId& session) const;
  bool contains(const wire::SessionId& session) const { return searches_.contains(session); }
  /// Whether one more mac may be computed for this search.
  bool admit(const wire::SessionId& session, TimePoint now);
  path::ProbeFate receive(SocketId socket, const SocketAddress& from, const wire::Probe& probe, TimePoint now);
  TimePoint deadline() const;
  void on_deadline(TimePoint now);

  /// The owner says what became of a search that was not begun, or that it ended.
  void count(SearchEnd end) { ends_.add(end); }
  const CounterSet<SearchEnd>& ends() const { return ends_; }
  const Counter& begun() const { return begun_; }
  /// Requests: at most 1,024 a search, both ends together.
  const Counter& requests_sent() const { return requests_sent_; }
  const Counter& sockets() const { return sockets_; }                  // gauge: open now
  const Counter& sockets_missing() const { return sockets_missing_; }  // wanted, and not to be had

 private:
  struct Search;
  using Searches = std::map<wire::SessionId, std::unique_ptr<Search>>;
  struct Memory {
    SocketAddress remote;
    unsigned failed = 0;  // ordinary sessions since the tunnel was there last
    bool moved = false;   // the network has changed since it was found
  };
  /// A socket by which `remote`, the key, is reached.
  struct Kept {
    SocketId socket = kMainSocket;
    std::set<wire::TunnelId> tunnels;
    bool moved = false;  // the network has changed since
  };

  /// Sends what is due and tells the owner what came of it: the search may be gone afterwards.
  void work(Search& search, TimePoint now);
  void send(Search& search, TimePoint now);
  void keep_chosen(Search& search);
  void close_others(Search& search);
  void forget(const wire::TunnelId& tunnel);
  enum class Which : std::uint8_t { all, moved };
  void give_up_kept(const wire::TunnelId& tunnel, Which which);
  void lose(Search& search, SearchEnd why);
  void erase(const wire::SessionId& session);
  bool make_room();
  void close(SocketId socket);

  wire::Role role_;
  UdpPort& udp_;
  SideSockets* side_;
  Random& random_;
  SearchingOwner& owner_;
  Searches searches_;
  std::map<SocketAddress, Kept> kept_;
  std::map<wire::TunnelId, Memory> remembered_;
  CounterSet<SearchEnd> ends_;
  Counter begun_, requests_sent_, sockets_, sockets_missing_;
};

}  // namespace ztna::tunnel
