#include <linux/rtnetlink.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>

#include "os/netlink.h"
#include "os/netlink_handle.h"

namespace ztna::os {

struct NetlinkMonitor::Impl {
  NlSocket socket;
  std::function<void(Change)> fn;
  Change change;
  Watch watch;  // last: ends before the socket is closed

  static int on_message(nl_msg* message, void* argument) {
    auto& change = static_cast<Impl*>(argument)->change;
    switch (nlmsg_hdr(message)->nlmsg_type) {
      case RTM_NEWLINK:
      case RTM_DELLINK: change.links = true; break;
      case RTM_NEWADDR:
      case RTM_DELADDR: change.addresses = true; break;
      case RTM_NEWROUTE:
      case RTM_DELROUTE: change.routes = true; break;
      default: break;
    }
    return NL_OK;
  }

  void on_readable() {
    constexpr int kBound = 64;
    change = {};
    for (int i = 0; i < kBound; ++i) {
      const int error = nl_recvmsgs_default(socket.get());
      if (error == -NLE_AGAIN) break;
      if (error < 0) change = {true, true, true};  // ENOBUFS: events were lost
    }
    const Change seen = change;
    if (!seen.links && !seen.addresses && !seen.routes) return;
    const auto callback = fn;  // the call may destroy the monitor
    callback(seen);
  }
};

NetlinkMonitor::NetlinkMonitor(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
NetlinkMonitor::~NetlinkMonitor() = default;

Result<std::unique_ptr<NetlinkMonitor>> NetlinkMonitor::start(EventLoop& loop, std::function<void(Change)> fn) {
  auto impl = std::make_unique<Impl>();
  impl->fn = std::move(fn);
  impl->socket.reset(nl_socket_alloc());
  nl_sock* socket = impl->socket.get();
  if (socket == nullptr) return fail(Errc::exhausted, "netlink monitor: out of memory");
  nl_socket_disable_seq_check(socket);
  nl_socket_modify_cb(socket, NL_CB_VALID, NL_CB_CUSTOM, &Impl::on_message, impl.get());
  int error = nl_connect(socket, NETLINK_ROUTE);
  if (error == 0) error = nl_socket_set_nonblocking(socket);
  if (error == 0) {
    error = nl_socket_add_memberships(socket, RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
                                      RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE, 0);
  }
  if (error < 0) return fail(Errc::io, "netlink monitor: {}", nl_geterror(error));
  impl->watch = loop.watch(nl_socket_get_fd(socket), [i = impl.get()] { i->on_readable(); });
  return std::unique_ptr<NetlinkMonitor>{new NetlinkMonitor{std::move(impl)}};
}

}  // namespace ztna::os
