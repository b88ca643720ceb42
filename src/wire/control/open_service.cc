#include "wire/control/open_service.h"

#include "wire/control/fields.h"
#include "wire/reader.h"

namespace ztna::wire {
namespace {

ServiceHandle read_handle(Reader& r) {
  const ServiceHandle handle{r.u16()};
  if (handle.value == 0) r.refuse();
  return handle;
}

}  // namespace

Result<OpenService> OpenService::parse(Bytes body) {
  Reader r{body};
  OpenService m;
  m.handle = read_handle(r);
  m.service = r.string8();
  if (auto end = r.finish("OpenService"); !end) return fail(end.error());
  return m;
}

void OpenService::encode(Writer& w) const {
  w.u16(handle.value);
  w.string8(service);
}

Result<ServiceOpened> ServiceOpened::parse(Bytes body) {
  Reader r{body};
  ServiceOpened m;
  m.handle = read_handle(r);
  m.status = read_code<RegistrationStatus>(r);
  if (auto end = r.finish("ServiceOpened"); !end) return fail(end.error());
  return m;
}

void ServiceOpened::encode(Writer& w) const {
  w.u16(handle.value);
  w.code(status);
}

Result<CloseService> CloseService::parse(Bytes body) {
  Reader r{body};
  CloseService m;
  m.handle = read_handle(r);
  m.reason = read_code<ServiceCloseReason>(r);
  if (auto end = r.finish("CloseService"); !end) return fail(end.error());
  return m;
}

void CloseService::encode(Writer& w) const {
  w.u16(handle.value);
  w.code(reason);
}

}  // namespace ztna::wire
