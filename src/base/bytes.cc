#include "base/bytes.h"

#include <algorithm>

namespace ztna {

std::string to_hex(Bytes bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const auto b : bytes) {
    out += kDigits[b >> 4];
    out += kDigits[b & 15];
  }
  return out;
}

bool equal(Bytes a, Bytes b) { return std::ranges::equal(a, b); }

}  // namespace ztna
