#include "wire/control/catalog.h"

#include "wire/control/fields.h"
#include "wire/reader.h"

namespace ztna::wire {

Result<ServiceUp> ServiceUp::parse(Bytes body) {
  Reader r{body};
  auto service = read_service_id(r);
  auto ips = read_virtual_ips(r);
  if (auto end = r.finish("ServiceUp"); !end) return fail(end.error());
  return ServiceUp{std::move(*service), std::move(ips)};
}

void ServiceUp::encode(Writer& w) const {
  w.string8(service.str());
  write_virtual_ips(w, virtual_ips);
}

Result<ServiceDown> ServiceDown::parse(Bytes body) {
  Reader r{body};
  auto service = read_service_id(r);
  const auto reason = read_code<ServiceDownReason>(r);
  if (auto end = r.finish("ServiceDown"); !end) return fail(end.error());
  return ServiceDown{std::move(*service), reason};
}

void ServiceDown::encode(Writer& w) const {
  w.string8(service.str());
  w.code(reason);
}

Result<Catalog> Catalog::parse(Bytes body) {
  Reader r{body};
  Catalog m;
  const auto last = r.u8();
  if (last > 1) r.refuse();
  m.last = last == 1;
  // The count is the peer's word: nothing is reserved for it, and the loop ends with the octets.
  const auto count = r.varint();
  for (std::uint64_t i = 0; i < count && r.ok(); ++i) {
    auto service = read_service_id(r);
    auto ips = read_virtual_ips(r);
    if (r.ok()) m.entries.push_back({std::move(*service), std::move(ips)});
  }
  if (auto end = r.finish("Catalog"); !end) return fail(end.error());
  return m;
}

void Catalog::encode(Writer& w) const {
  w.u8(last ? 1 : 0);
  w.varint(entries.size());
  for (const auto& entry : entries) {
    w.string8(entry.service.str());
    write_virtual_ips(w, entry.virtual_ips);
  }
}

}  // namespace ztna::wire
