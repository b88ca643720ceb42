#include "wire/control/hello.h"

#include "wire/reader.h"

namespace ztna::wire {

Result<Hello> Hello::parse(Bytes body) {
  Reader r{body};
  Hello m;
  m.version = r.varint();
  if (r.ok() && m.version != kProtocolVersion) return m;
  m.software = r.string8();
  m.features = r.varint();
  m.instance.value = r.array<8>();
  if (auto end = r.finish("Hello"); !end) return fail(end.error());
  return m;
}

void Hello::encode(Writer& w) const {
  w.varint(version);
  w.string8(software);
  w.varint(features);
  w.bytes(instance.value);
}

}  // namespace ztna::wire
