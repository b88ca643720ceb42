#include "wire/writer.h"

namespace ztna::wire {

std::string_view cut_utf8(std::string_view text, std::size_t limit) {
  if (text.size() <= limit) return text;
  auto size = limit;
  // The octet behind the cut must begin a character: step back over continuation octets, of which there are 3 at most.
  for (int i = 0; i < 3 && size > 0 && (static_cast<unsigned char>(text[size]) & 0xC0U) == 0x80U; ++i) --size;
  return text.substr(0, size);
}

}  // namespace ztna::wire
