#include "wire/control/registration.h"

#include "wire/control/fields.h"
#include "wire/reader.h"

namespace ztna::wire {

Result<RegisterAgent> RegisterAgent::parse(Bytes body) {
  Reader r{body};
  RegisterAgent m;
  m.service = r.string8();
  if (auto end = r.finish("RegisterAgent"); !end) return fail(end.error());
  return m;
}

void RegisterAgent::encode(Writer& w) const { w.string8(service); }

Result<RegisterConnector> RegisterConnector::parse(Bytes body) {
  Reader r{body};
  RegisterConnector m;
  m.service = r.string8();
  m.capabilities = r.varint();
  m.pinned = read_virtual_ips(r);
  if (auto end = r.finish("RegisterConnector"); !end) return fail(end.error());
  return m;
}

void RegisterConnector::encode(Writer& w) const {
  w.string8(service);
  w.varint(capabilities);
  write_virtual_ips(w, pinned);
}

Result<RegistrationAck> RegistrationAck::parse(Bytes body) {
  Reader r{body};
  RegistrationAck m;
  if (r.u8() != static_cast<std::uint8_t>(RegistrationStatus::ok)) r.refuse();
  m.service = r.string8();
  if (r.ok() && m.service != kAllServices && !ServiceId::parse(m.service)) r.refuse();
  m.virtual_ips = read_virtual_ips(r);
  if (auto end = r.finish("RegistrationAck"); !end) return fail(end.error());
  return m;
}

void RegistrationAck::encode(Writer& w) const {
  w.code(RegistrationStatus::ok);
  w.string8(service);
  write_virtual_ips(w, virtual_ips);
}

Result<RegistrationNack> RegistrationNack::parse(Bytes body) {
  Reader r{body};
  RegistrationNack m;
  m.status = read_code<RegistrationStatus>(r);
  if (m.status == RegistrationStatus::ok || m.status == RegistrationStatus::no_such_service) r.refuse();
  m.service = r.string8();
  m.text = r.string8();
  if (auto end = r.finish("RegistrationNack"); !end) return fail(end.error());
  return m;
}

void RegistrationNack::encode(Writer& w) const {
  w.code(status);
  w.string8(service);
  w.string8(text);
}

}  // namespace ztna::wire
