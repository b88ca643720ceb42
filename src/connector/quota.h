// What one Agent, and all together, may use: nothing that a stranger can make grow is without a limit.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/time.h"

namespace ztna::connector {

struct Limits {
  std::size_t tunnels = 4096;
  std::size_t tunnels_per_agent = 16;
  std::size_t udp_flows_per_agent = 4096;
  std::size_t tcp_connections_per_agent = 1024;
  std::uint32_t tcp_connects_per_second = 2000;  // of one Agent; a second's worth may come at once
  std::size_t sockets = 16'384;                  // towards backends, UDP and TCP, of all Agents
  std::uint32_t icmp_errors_per_second = 100;    // to one tunnel
  /// Octets of one Agent's streams that wait for backends. Without it: streams x stream window, 4 GiB.
  std::size_t backlog_per_agent = 256U << 20U;
};

/// Token bucket: `rate` a second, at most `rate` at once. Rate 0 lets nothing through.
class TokenBucket {
 public:
  explicit TokenBucket(std::uint32_t rate) : rate_(rate), tokens_(static_cast<double>(rate)) {}
  /// What is in it stays, as far as it holds that.
  void set_rate(std::uint32_t rate) {
    rate_ = rate;
    tokens_ = std::min(tokens_, static_cast<double>(rate));
  }
  bool take(TimePoint now) {
    if (now > filled_) {
      const auto gained = std::chrono::duration<double>(now - filled_).count() * rate_;
      tokens_ = std::min(static_cast<double>(rate_), tokens_ + gained);
      filled_ = now;
    }
    if (tokens_ < 1.0) return false;
    tokens_ -= 1.0;
    return true;
  }

 private:
  std::uint32_t rate_;
  double tokens_;
  TimePoint filled_{};
};

/// What holds an Agent's octets that wait for backends: one for each tunnel.
class BacklogHolder {
 public:
  virtual ~BacklogHolder() = default;
  /// Of the one stream that holds most.
  virtual std::size_t largest_backlog() const = 0;
  /// Resets that stream; its octets are freed.
  virtual void reset_largest_backlog() = 0;
};

/// Usage of one Agent (by the URI in its certificate), over all its tunnels.
struct AgentUsage {
  explicit AgentUsage(const Limits& limits) : connects(limits.tcp_connects_per_second) {}
  std::size_t tunnels = 0;
  std::size_t udp_flows = 0;
  std::size_t tcp_connections = 0;
  std::size_t backlog = 0;  // octets
  std::vector<BacklogHolder*> holders;
  TokenBucket connects;
};

class Quotas {
 public:
  explicit Quotas(Limits limits) : limits_(limits) {}
  const Limits& limits() const { return limits_; }
  /// Reload; what is in use stays in use.
  void set_limits(const Limits& limits) {
    limits_ = limits;
    for (auto& [agent, usage] : agents_) usage.connects.set_rate(limits.tcp_connects_per_second);
  }

  /// `agent`: Identity::uri(), as a name alone may stand for another Agent in another trust domain. Null: the Agent has
  /// too many tunnels. Else release() it when the tunnel ends; borrowed until then.
  AgentUsage* acquire(const std::string& agent) {
    auto& usage = agents_.try_emplace(agent, limits_).first->second;
    if (usage.tunnels >= limits_.tunnels_per_agent) return nullptr;
    ++usage.tunnels;
    return &usage;
  }
  void release(const std::string& agent) {
    const auto found = agents_.find(agent);
    if (found != agents_.end() && --found->second.tunnels == 0) agents_.erase(found);
  }

  /// False: revocation has been out of reach for too long; what lives goes on, nothing new may begin.
  void admit_new_flows(bool yes) { admits_ = yes; }
  bool admits_new_flows() const { return admits_; }

  bool take_udp_flow(AgentUsage& usage) {
    return usage.udp_flows < limits_.udp_flows_per_agent && take_socket(usage.udp_flows);
  }
  void give_udp_flow(AgentUsage& usage) { --usage.udp_flows, --sockets_; }
  bool take_tcp(AgentUsage& usage, TimePoint now) {
    return usage.tcp_connections < limits_.tcp_connections_per_agent && sockets_ < limits_.sockets &&
           usage.connects.take(now) && take_socket(usage.tcp_connections);
  }
  void give_tcp(AgentUsage& usage) { --usage.tcp_connections, --sockets_; }
  std::size_t sockets() const { return sockets_; }

  /// Call after an Agent's backlog grew: resets its largest streams until the rest is within the limit.
  void limit_backlog(AgentUsage& usage) const {
    while (usage.backlog > limits_.backlog_per_agent && !usage.holders.empty()) {
      auto* largest = *std::max_element(usage.holders.begin(), usage.holders.end(), [](const auto* a, const auto* b) {
        return a->largest_backlog() < b->largest_backlog();
      });
      if (largest->largest_backlog() == 0) return;
      largest->reset_largest_backlog();
    }
  }

 private:
  bool take_socket(std::size_t& count) {
    if (sockets_ >= limits_.sockets) return false;
    ++sockets_;
    ++count;
    return true;
  }
  Limits limits_;
  std::map<std::string, AgentUsage> agents_;
  std::size_t sockets_ = 0;
  bool admits_ = true;
};

}  // namespace ztna::connector
