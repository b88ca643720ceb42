#include "quic/frame_scan.h"

namespace ztna::quic {

namespace {

class Walker {
 public:
  explicit Walker(Bytes in) : in_(in) {}
  bool ok() const { return ok_; }
  bool done() const { return !ok_ || in_.empty(); }

  std::uint64_t varint() {  // RFC 9000 16
    if (in_.empty()) return bad();
    const auto size = std::size_t{1} << (in_[0] >> 6U);
    if (in_.size() < size) return bad();
    std::uint64_t value = in_[0] & 0x3FU;
    for (std::size_t i = 1; i < size; ++i) value = value << 8U | in_[i];
    in_ = in_.subspan(size);
    return value;
  }
  void skip(std::uint64_t n) {
    if (n > in_.size()) {
      bad();
      return;
    }
    in_ = in_.subspan(static_cast<std::size_t>(n));
  }
  void varints(unsigned n) {
    for (unsigned i = 0; i < n && ok_; ++i) varint();
  }
  void rest() { in_ = {}; }
  std::uint64_t bad() {
    ok_ = false;
    return 0;
  }

 private:
  Bytes in_;
  bool ok_ = true;
};

void ack(Walker& w, bool ecn) {
  w.varints(2);
  const auto ranges = w.varint();
  w.varint();
  for (std::uint64_t i = 0; i < ranges && w.ok(); ++i) w.varints(2);
  if (ecn) w.varints(3);
}

void stream(Walker& w, std::uint64_t type) {
  w.varint();
  if ((type & 0x04U) != 0) w.varint();
  if ((type & 0x02U) != 0) {
    w.skip(w.varint());
  } else {
    w.rest();
  }
}

}  // namespace

void find_stop_sending(Bytes payload, std::vector<StopSending>& out) {
  Walker w{payload};
  while (!w.done()) {
    const auto type = w.varint();
    switch (type) {
      case 0x00:
      case 0x01:
      case 0x1E: break;  // PADDING, PING, HANDSHAKE_DONE
      case 0x02: ack(w, false); break;
      case 0x03: ack(w, true); break;
      case 0x04: w.varints(3); break;  // RESET_STREAM
      case 0x05: {
        const auto id = static_cast<std::int64_t>(w.varint());
        const auto code = w.varint();
        if (w.ok()) out.push_back({id, code});
        break;
      }
      case 0x06:
        w.varint();
        w.skip(w.varint());
        break;                               // CRYPTO
      case 0x07: w.skip(w.varint()); break;  // NEW_TOKEN
      case 0x10:
      case 0x12:
      case 0x13:
      case 0x14:
      case 0x16:
      case 0x17:
      case 0x19: w.varints(1); break;
      case 0x11:
      case 0x15: w.varints(2); break;
      case 0x18:
        w.varints(2);
        w.skip(w.varint());
        w.skip(16);
        break;  // NEW_CONNECTION_ID (the length is one octet below 64)
      case 0x1A:
      case 0x1B: w.skip(8); break;
      case 0x30: w.rest(); break;
      case 0x31: w.skip(w.varint()); break;
      default:
        if (type >= 0x08 && type <= 0x0F) {
          stream(w, type);
          break;
        }
        return;  // CONNECTION_CLOSE, and what nobody knows
    }
  }
}

}  // namespace ztna::quic
