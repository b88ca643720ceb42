#include "wire/control/observed_address.h"

#include "wire/reader.h"

namespace ztna::wire {

Result<ObservedAddress> ObservedAddress::parse(Bytes body) {
  Reader r{body};
  const ObservedAddress m{r.address()};
  if (auto end = r.finish("ObservedAddress"); !end) return fail(end.error());
  return m;
}

void ObservedAddress::encode(Writer& w) const { w.address(address); }

}  // namespace ztna::wire
