// Last attempt where one end's NAT maps by address and port ("symmetric") and the other's filters by address and port:
// a birthday search (docs/direct-paths.md). Off when the configuration says so; begun when an ordinary
// session has failed (tunnel/searching.h).
//
//   opener   behind the symmetric NAT: opens kSockets sockets and sends one probe from each to the one address of the
//   peer that the
//            Intermediate observed; so its NAT has kSockets mappings that let the peer in, at ports that nobody knows
//   prober   sends from its one socket to kProbes ports of the opener's observed IP: first those that a NAT with
//   sequential ports gives next,
//            then random ones, no port twice
//
// A hit is a probed port that is mapped: the request gets in, and the answer gets back, as the prober has sent there.
// With random ports the search succeeds with 1 - (1 - kSockets / 64512)^kProbes = 97.6 % (ports 1024 to 65535); a NAT
// that counts its ports is hit at once. Both sides together send at most 1,024 probes, within 3 s; to a third party not
// one, since the address is what the Intermediate observed of the peer's authenticated connection, not what the peer
// says.
//
// Sans-IO: poll() says from which socket to send what. Socket 0 is the program's own, 1 to kSockets are opened for the
// search.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/random.h"
#include "base/time.h"
#include "path/nat_discovery.h"
#include "path/punch_session.h"
#include "wire/probe.h"

namespace ztna::path {

enum class BirthdaySide : std::uint8_t { opener, prober };
std::string_view to_string(BirthdaySide side);

/// Which side this end takes; nothing: a search is of no use (a plain session suffices, or both ends are symmetric), or
/// a kind is unknown.
std::optional<BirthdaySide> birthday_side(const NatKind& own, const NatKind& peer);

/// What two kinds of NAT allow. Pure, symmetric in its arguments; unknown counts as possible.
enum class Outlook : std::uint8_t {
  direct,      // an ordinary session finds the way
  birthday,    // only a birthday search can
  impossible,  // both symmetric
};
std::string_view to_string(Outlook outlook);
Outlook outlook(const NatKind& a, const NatKind& b);

class BirthdaySearch {
 public:
  static constexpr unsigned kSockets = 384;
  static constexpr unsigned kProbes = 624;       // of the prober
  static constexpr unsigned kConfirmations = 8;  // of each side, back through a hit: 384 + 624 + 2 x 8 = 1,024
  static constexpr unsigned kConfirmationsPerSocket = 4;
  static constexpr unsigned kPredicted = 32;    // of kProbes
  static constexpr Duration kBudget = 3s;       // from start() to failure
  static constexpr Duration kOpening = 400ms;   // the opener's probes are spread over it; the prober begins after it
  static constexpr Duration kProbing = 2100ms;  // the prober's are spread over it
  static constexpr Duration kLinger = 5s;       // answers requests for so long after it ended

  struct Config {
    wire::Role role = wire::Role::agent;
    BirthdaySide side = BirthdaySide::opener;
    wire::SessionId session;
    wire::ProbeMacFunction mac;
    /// The peer's server-reflexive address. It must be one that the Intermediate vouches for (see above) and pass
    /// ProbePolicy::judge; the opener sends to it, the prober to other ports of its IP.
    SocketAddress peer;
  };

  BirthdaySearch(Config config, Random& random);

  /// How many sockets to open before start(): wildcard address of the peer's family, port 0. 0 for the prober.
  unsigned sockets_wanted() const;
  /// `sockets`: how many could be opened (at most what was wanted; fewer lower the odds). Both sides should start
  /// within some 100 ms.
  void start(unsigned sockets, TimePoint now);

  struct SocketProbe {
    unsigned socket = 0;
    SocketAddress to;
    ByteVector octets;
  };
  std::vector<SocketProbe> poll(TimePoint now);
  TimePoint deadline() const;
  /// A probe that socket `socket` received.
  ProbeFate receive(unsigned socket, const SocketAddress& from, const wire::Probe& probe, TimePoint now);

  struct Found {
    unsigned socket = 0;  // keep it, close the others; the path is this socket to `remote`
    SocketAddress remote;
    Duration rtt{};
    friend bool operator==(const Found&, const Found&) = default;
  };
  /// Opener: the one socket that answers, and from where the peer reached it first. It is settled by the first
  /// authentic probe that comes in, so that two hits do not leave the ends with two different paths; others' probes are
  /// not answered. Packets to `remote` must leave by this socket from now on: the peer may migrate the tunnel before we
  /// have our own answer.
  struct Chosen {
    unsigned socket = 0;
    SocketAddress remote;
    friend bool operator==(const Chosen&, const Chosen&) = default;
  };
  const std::optional<Chosen>& chosen() const { return chosen_; }
  /// Set by the first answer to a request of ours.
  const std::optional<Found>& found() const { return found_; }
  enum class State : std::uint8_t { waiting, searching, found, failed, ended };
  State state() const { return state_; }
  /// True once after each change of state().
  bool take_change();
  /// Requests sent: at most 1,024 by both sides together. Answers are not counted: one for each authentic request.
  unsigned sent() const { return sent_; }
  const ProbeFates& fates() const { return fates_; }

 private:
  struct Request {
    unsigned socket = 0;
    SocketAddress to;
    TimePoint sent{};
    bool answered = false;
  };
  /// A socket and address through which an authentic request came.
  struct Hit {
    TimePoint next = kNever;  // of our request back
    unsigned sent = 0;
  };
  static constexpr std::size_t kMaxHits = kConfirmations / kConfirmationsPerSocket;
  static constexpr std::size_t kMaxAnswers = 64;

  void choose_ports();
  /// Opener: whether this socket answers, settling it if none does yet. Always true for the prober.
  bool choose(unsigned socket, const SocketAddress& from);
  void set_state(State state);
  void run_timers(TimePoint now);
  TimePoint planned(unsigned n) const;
  void send_request(unsigned socket, const SocketAddress& to, TimePoint now, std::vector<SocketProbe>& out);
  ProbeFate take_request(unsigned socket, const SocketAddress& from, const wire::Probe& probe, TimePoint now);
  ProbeFate take_response(unsigned socket, const SocketAddress& from, const wire::Probe& probe, TimePoint now);

  Config config_;
  Random& random_;
  State state_ = State::waiting;
  bool changed_ = false;
  TimePoint start_ = kNever;
  TimePoint end_ = kNever;  // of the search, then of lingering
  unsigned planned_total_ = 0;
  unsigned next_ = 0;  // index of the next planned probe
  unsigned sent_ = 0;
  std::vector<std::uint16_t> ports_;  // prober: in the order of sending
  std::map<wire::TransactionId, Request> requests_;
  std::set<wire::TransactionId> answered_;
  std::map<std::pair<unsigned, SocketAddress>, Hit> hits_;
  std::vector<SocketProbe> answers_;
  TimePoint answer_due_ = kNever;
  std::optional<Chosen> chosen_;
  std::optional<Found> found_;
  ProbeFates fates_;
};
std::string_view to_string(BirthdaySearch::State state);

}  // namespace ztna::path
