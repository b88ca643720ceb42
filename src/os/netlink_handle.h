// Owners for libnl's objects.
#pragma once

#include <netlink/addr.h>
#include <netlink/cache.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/route.h>
#include <netlink/socket.h>

#include <memory>

namespace ztna::os {

template <auto Free>
struct NlFree {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};

using NlSocket = std::unique_ptr<nl_sock, NlFree<nl_socket_free>>;
using NlCache = std::unique_ptr<nl_cache, NlFree<nl_cache_free>>;
using NlAddr = std::unique_ptr<nl_addr, NlFree<nl_addr_put>>;
using NlLink = std::unique_ptr<rtnl_link, NlFree<rtnl_link_put>>;
using NlAddress = std::unique_ptr<rtnl_addr, NlFree<rtnl_addr_put>>;
using NlRoute = std::unique_ptr<rtnl_route, NlFree<rtnl_route_put>>;

}  // namespace ztna::os
