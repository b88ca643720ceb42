#include "wire/control/virtual_ips.h"

namespace ztna::wire {

VirtualIps read_virtual_ips(Reader& r) {
  const auto count = r.u8();
  if (count > 2) r.refuse();
  VirtualIps ips;
  for (unsigned i = 0; i < count && r.ok(); ++i) ips.push_back(r.ip());
  if (ips.size() == 2 && ips[0].family() == ips[1].family()) r.refuse();
  return ips;
}

void write_virtual_ips(Writer& w, const VirtualIps& ips) {
  const auto count = std::min<std::size_t>(ips.size(), 2);
  w.u8(static_cast<std::uint8_t>(count));
  for (std::size_t i = 0; i < count; ++i) w.ip(ips[i]);
}

}  // namespace ztna::wire
