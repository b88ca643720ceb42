#include "wire/control/probe_port.h"

#include "wire/reader.h"

namespace ztna::wire {

Result<ProbePort> ProbePort::parse(Bytes body) {
  Reader r{body};
  const ProbePort m{r.u16()};
  if (r.ok() && m.port == 0) r.refuse();
  if (auto end = r.finish("ProbePort"); !end) return fail(end.error());
  return m;
}

void ProbePort::encode(Writer& w) const { w.u16(port); }

}  // namespace ztna::wire
