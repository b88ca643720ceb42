#include "wire/control/lifecycle.h"

#include "wire/reader.h"

namespace ztna::wire {

Result<Drain> Drain::parse(Bytes body) {
  Reader r{body};
  const Drain m{r.u32()};
  if (auto end = r.finish("Drain"); !end) return fail(end.error());
  return m;
}

void Drain::encode(Writer& w) const { w.u32(close_in_ms); }

Result<Revoked> Revoked::parse(Bytes body) {
  Reader r{body};
  Revoked m;
  m.name = r.string8();
  if (auto end = r.finish("Revoked"); !end) return fail(end.error());
  return m;
}

void Revoked::encode(Writer& w) const { w.string8(name); }

}  // namespace ztna::wire
