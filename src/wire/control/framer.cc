#include "wire/control/framer.h"

#include <algorithm>

#include "wire/reader.h"

namespace ztna::wire {
namespace {

struct Header {
  std::uint8_t type = 0;
  std::size_t size = 0;  // octets of type and length
  std::size_t body = 0;
};

/// The header at the beginning of `in`; nothing while it is incomplete. Error: too_large.
Result<std::optional<Header>> read_header(Bytes in) {
  Reader r{in};
  const auto type = r.u8();
  const auto length = r.varint();
  if (!r.ok()) return std::nullopt;
  if (length > kMaxBody) {
    return fail(Errc::too_large, "message type {:#04x} of {} octets, at most {}", type, length, kMaxBody);
  }
  return Header{type, in.size() - r.remaining(), static_cast<std::size_t>(length)};
}

constexpr std::size_t kMaxHeader = 1 + 8;

void move_octets(Bytes& from, ByteVector& to, std::size_t n) {
  n = std::min(n, from.size());
  to.insert(to.end(), from.begin(), from.begin() + static_cast<std::ptrdiff_t>(n));
  from = from.subspan(n);
}

}  // namespace

Result<std::optional<Frame>> Framer::next(Bytes& in) {
  if (delivered_) {
    kept_.clear();
    delivered_ = false;
  }
  if (kept_.empty()) {
    const auto header = read_header(in);
    if (!header) return fail(header.error());
    if (*header && (*header)->size + (*header)->body <= in.size()) {
      const Frame frame{(*header)->type, in.subspan((*header)->size, (*header)->body)};
      in = in.subspan((*header)->size + (*header)->body);
      return frame;
    }
  }
  // The frame goes on beyond this input. First the header is completed, octet by octet, so that none of the next frame
  // is taken; then the body.
  auto header = read_header(kept_);
  while (header && !*header && !in.empty() && kept_.size() < kMaxHeader) {
    move_octets(in, kept_, 1);
    header = read_header(kept_);
  }
  if (!header) return fail(header.error());
  if (!*header) return std::nullopt;
  const auto whole = (*header)->size + (*header)->body;
  kept_.reserve(whole);
  move_octets(in, kept_, whole - kept_.size());
  if (kept_.size() < whole) return std::nullopt;
  delivered_ = true;
  return Frame{(*header)->type, Bytes{kept_}.subspan((*header)->size)};
}

Result<void> Framer::finish() const {
  if (failed_) return fail(*failed_);
  if (!kept_.empty() && !delivered_) return fail(Errc::truncated, "stream ends inside a message");
  return {};
}

}  // namespace ztna::wire
