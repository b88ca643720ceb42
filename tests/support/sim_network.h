// A network in virtual time: hosts send UDP payloads, links delay, lose, reorder, duplicate, shape and cut them, NATs
// rewrite them.
//
//   host A --- [out link of A] --- (NAT of A) --- wire --- [in link of B] --- host B
//
// The properties of the link for one packet are those of `link(from, to)`, else of the default. Everything is decided
// by one seed.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <queue>
#include <vector>

#include "base/address.h"
#include "base/time.h"
#include "support/seeded_random.h"

namespace ztna::test {

struct LinkProperties {
  Duration delay = 10ms;          // one way
  Duration jitter = 0s;           // uniform on top: reorders
  double loss = 0;                // 0 to 1
  double duplication = 0;         // 0 to 1
  double corruption = 0;          // 0 to 1: one octet changed
  std::uint64_t rate = 0;         // octets a second; 0: unlimited
  std::size_t queue = 1U << 20U;  // octets that wait for `rate`; beyond it packets are dropped
  std::size_t mtu = 65'507;       // largest UDP payload; larger ones vanish
  bool blocked = false;
};

struct SimPacket {
  SocketAddress from;
  SocketAddress to;
  ByteVector payload;
};

class SimNetwork {
 public:
  using Receiver = std::function<void(const SimPacket&)>;

  explicit SimNetwork(std::uint64_t seed) : random_(seed) {}

  TimePoint now() const { return now_; }
  SeededRandom& random() { return random_; }

  /// Packets to `address` go to `receiver`.
  void attach(const SocketAddress& address, Receiver receiver) { hosts_[address] = std::move(receiver); }
  void detach(const SocketAddress& address) { hosts_.erase(address); }
  /// Packets to any port of `ip` that is not attached itself go to `receiver`.
  void attach_ip(const IpAddress& ip, Receiver receiver) { host_ips_[ip] = std::move(receiver); }

  LinkProperties defaults;
  /// Properties of the way from `from` to `to`, by IP address.
  LinkProperties& link(const IpAddress& from, const IpAddress& to);
  /// Both ways.
  void set_links(const IpAddress& a, const IpAddress& b, const LinkProperties& properties);

  /// Packets from `inside` appear to come from `outside`, and packets to `outside` go to `inside` (1:1 NAT; call again
  /// to rebind).
  void nat(const SocketAddress& inside, const SocketAddress& outside);

  void send(SimPacket packet);
  /// Runs `call` at `at`.
  void at(TimePoint at, std::function<void()> call);

  /// The next event's time; kNever: none.
  TimePoint next_event() const { return events_.empty() ? kNever : events_.top().at; }
  /// Advances to `to`, which must not lie beyond next_event(), and runs what is due.
  void advance(TimePoint to);

  std::uint64_t delivered = 0;
  std::uint64_t dropped = 0;
  /// Sees each packet as it is sent; false drops it.
  std::function<bool(SimPacket&)> tap;

 private:
  struct Event {
    TimePoint at;
    std::uint64_t order;
    std::function<void()> run;
    friend bool operator<(const Event& a, const Event& b) { return a.at != b.at ? a.at > b.at : a.order > b.order; }
  };
  struct Way {
    LinkProperties properties;
    TimePoint free_at{};  // of the shaped link
  };
  Way& way(const IpAddress& from, const IpAddress& to);
  void deliver(const SimPacket& packet);

  SeededRandom random_;
  TimePoint now_{Duration{1'000'000'000}};
  std::uint64_t next_order_ = 0;
  std::priority_queue<Event> events_;
  std::map<SocketAddress, Receiver> hosts_;
  std::map<IpAddress, Receiver> host_ips_;
  std::map<std::pair<IpAddress, IpAddress>, Way> ways_;
  std::map<SocketAddress, SocketAddress> nat_out_;
  std::map<SocketAddress, SocketAddress> nat_in_;
};

}  // namespace ztna::test
