#include "os/signals.h"

#include <boost/asio/signal_set.hpp>
#include <csignal>

#include "os/event_loop.h"

namespace ztna::os {

void ignore_sigpipe() { std::signal(SIGPIPE, SIG_IGN); }

struct Signals::State : std::enable_shared_from_this<Signals::State> {
  State(boost::asio::io_context& context, std::function<void(Signal)> f)
      : set(context, SIGTERM, SIGINT, SIGHUP), fn(std::move(f)) {}

  void wait() {
    set.async_wait([self = shared_from_this()](const boost::system::error_code& error, int number) {
      if (error || !self->alive) return;
      self->fn(number == SIGHUP ? Signal::hang_up : Signal::terminate);
      if (self->alive) self->wait();
    });
  }

  boost::asio::signal_set set;
  std::function<void(Signal)> fn;
  bool alive = true;
};

Signals::Signals(EventLoop& loop, std::function<void(Signal)> fn)
    : state_(std::make_shared<State>(loop.io_context(), std::move(fn))) {
  ignore_sigpipe();
  state_->wait();
}

Signals::~Signals() {
  state_->alive = false;
  boost::system::error_code ignored;
  state_->set.clear(ignored);
  state_->set.cancel(ignored);
}

}  // namespace ztna::os
