#include "apps/port_mapping/port_mapper.h"

#include <csignal>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "apps/port_mapping/mapping.h"
#include "apps/port_mapping/protocols.h"
#include "base/log.h"
#include "os/privileges.h"

namespace ztna::apps {

std::string_view to_string(PortMapping::How how) { return how == PortMapping::How::nat_pmp ? "NAT-PMP" : "UPnP"; }

void unmap(const PortMapping& mapping, std::uint16_t port) {
  if (mapping.how == PortMapping::How::nat_pmp) {
    unmap_by_nat_pmp(port);
  } else {
    unmap_by_upnp(mapping.description_url, mapping.external.port);
  }
}

struct PortMapper::State {
  PortMapperOptions options;
  std::mutex mutex;
  std::condition_variable wake;
  bool stop = false;                                          // with the mutex held, as what follows
  bool again = false;                                         // the network changed
  bool holding = false;                                       // there is something to give back
  os::EventLoop* loop = nullptr;                              // null once stopped
  std::function<void(std::vector<SocketAddress>)> on_change;  // of the loop's thread
};

namespace {

Result<PortMapping> map(const PortMapperOptions& options, std::uint16_t wanted) {
  auto mapped = map_by_nat_pmp(options.port, wanted, options.lifetime);
  if (mapped) return mapped;
  auto other = map_by_upnp(options.port, wanted, options.lifetime, options.description);
  if (other) return other;
  return fail(other.error().code, "{}; {}", mapped.error().text, other.error().text);
}

}  // namespace

PortMapper::PortMapper(os::EventLoop& loop, PortMapperOptions options,
                       std::function<void(std::vector<SocketAddress>)> on_change)
    : state_(std::make_shared<State>()) {
  state_->options = std::move(options);
  state_->loop = &loop;
  state_->on_change = std::move(on_change);
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // signals are for the loop's thread
  std::thread{[state = state_] {
    // It parses what a router sends: capabilities, which are each thread's own, are of no use here.
    if (auto dropped = os::keep_only_capabilities({}); !dropped) {
      log::warn("capabilities stay as they were", {{"thread", "port mapping"}, {"why", dropped.error().text}});
    }
    run(state);
  }}.detach();
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

PortMapper::~PortMapper() {
  std::unique_lock lock{state_->mutex};
  state_->stop = true;
  state_->loop = nullptr;
  state_->wake.notify_all();
  // What is being asked for at this moment ends by itself, after its lifetime.
  state_->wake.wait_for(lock, kGoodbye, [this] { return !state_->holding; });
}

void PortMapper::network_changed() {
  const std::lock_guard lock{state_->mutex};
  state_->again = true;
  state_->wake.notify_all();
}

void PortMapper::run(const std::shared_ptr<State>& state) {
  const auto port = state->options.port;
  std::optional<PortMapping> held;
  auto pause = kFirstPause;
  const auto tell = [&](std::vector<SocketAddress> mapped) {
    const std::lock_guard lock{state->mutex};
    if (state->loop == nullptr) return;
    // A post that comes after the end is dropped: stop is set on the loop's thread.
    state->loop->post([state, list = std::move(mapped)]() mutable {
      {
        const std::lock_guard inner{state->mutex};
        if (state->stop) return;
      }
      state->on_change(std::move(list));
    });
  };
  for (;;) {
    auto mapped = map(state->options, held ? held->external.port : port);
    std::chrono::seconds wait{};
    if (mapped) {
      if (!held || held->external != mapped->external) {
        log::info("port mapped by the router", {{"by", to_string(mapped->how)},
                                                {"external", to_string(mapped->external)},
                                                {"port", port},
                                                {"seconds", mapped->lifetime.count()}});
        tell({mapped->external});
      }
      held = *mapped;
      pause = kFirstPause;
      const auto life = mapped->lifetime.count() == 0 ? state->options.lifetime : mapped->lifetime;
      wait = std::clamp<std::chrono::seconds>(life / 2, std::chrono::seconds{30}, kLongestPause);
    } else {
      if (held) {
        log::info("port is not mapped any more", {{"why", mapped.error().text}});
        tell({});
      } else {
        log::debug("the router maps no port", {{"why", mapped.error().text}});
      }
      held.reset();
      wait = pause;
      pause = std::min(2 * pause, kLongestPause);
    }
    std::unique_lock lock{state->mutex};
    state->holding = held.has_value();
    state->wake.wait_for(lock, wait, [&] { return state->stop || state->again; });
    if (std::exchange(state->again, false)) pause = kFirstPause;
    if (!state->stop) continue;
    lock.unlock();
    if (held) unmap(*held, port);
    lock.lock();
    state->holding = false;
    state->wake.notify_all();
    return;
  }
}

}  // namespace ztna::apps
