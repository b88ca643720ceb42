#include "wire/control/route.h"

#include "wire/control/fields.h"
#include "wire/reader.h"

namespace ztna::wire {

Result<RouteRequest> RouteRequest::parse(Bytes body) {
  Reader r{body};
  RouteRequest m;
  m.tunnel.value = r.array<16>();
  m.service = r.string8();
  m.connector = r.string8();
  if (auto end = r.finish("RouteRequest"); !end) return fail(end.error());
  return m;
}

void RouteRequest::encode(Writer& w) const {
  w.bytes(tunnel.value);
  w.string8(service);
  w.string8(connector);
}

Result<RouteOpened> RouteOpened::parse(Bytes body) {
  Reader r{body};
  const TunnelId tunnel{r.array<16>()};
  const RouteId route{r.u64()};
  const auto role = read_code<Role>(r);
  const InstanceId instance{r.array<8>()};
  const auto name = r.string8();
  auto service = read_service_id(r);
  if (auto end = r.finish("RouteOpened"); !end) return fail(end.error());
  return RouteOpened{tunnel, route, role, instance, std::string{name}, std::move(*service)};
}

void RouteOpened::encode(Writer& w) const {
  w.bytes(tunnel.value);
  w.u64(route.value);
  w.code(peer_role);
  w.bytes(peer_instance.value);
  w.string8(peer_name);
  w.string8(service.str());
}

Result<RouteClosed> RouteClosed::parse(Bytes body) {
  Reader r{body};
  RouteClosed m;
  m.tunnel.value = r.array<16>();
  m.reason = read_code<RouteCloseReason>(r);
  if (auto end = r.finish("RouteClosed"); !end) return fail(end.error());
  return m;
}

void RouteClosed::encode(Writer& w) const {
  w.bytes(tunnel.value);
  w.code(reason);
}

Result<PathReport> PathReport::parse(Bytes body) {
  Reader r{body};
  PathReport m;
  m.tunnel.value = r.array<16>();
  m.kind = read_code<PathKind>(r);
  const auto heard = r.u8();
  if (heard > 1) r.refuse();
  m.heard = heard == 1;
  if (auto end = r.finish("PathReport"); !end) return fail(end.error());
  return m;
}

void PathReport::encode(Writer& w) const {
  w.bytes(tunnel.value);
  w.code(kind);
  w.u8(heard ? 1 : 0);
}

}  // namespace ztna::wire
