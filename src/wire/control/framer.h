// Cuts a control stream's octets into frames `type | length | body` (docs/protocol.md 3).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "base/result.h"
#include "wire/control/message_type.h"

namespace ztna::wire {

struct Frame {
  std::uint8_t type = 0;
  Bytes body;
};

/// A frame that lies whole in the input is handed out in place; only one that is cut by the input's end is kept, and
/// each of its octets is copied once. Holds one frame at most.
class Framer {
 public:
  /// Takes the next octets of the stream and calls `on_frame(const Frame&) -> Result<void>` for each frame that is
  /// complete, in order. The body is borrowed for the call. `on_frame` must not destroy the framer or call it; its
  /// error ends the work and is returned. Error of our own: too_large (length over kMaxBody), told before the body has
  /// come. After an error the framer gives the same error for ever.
  template <typename OnFrame>
  Result<void> push(Bytes in, OnFrame&& on_frame) {
    while (!failed_) {
      auto frame = next(in);
      if (!frame) return failed(frame.error());
      if (!*frame) return {};
      if (auto handled = on_frame(**frame); !handled) return failed(handled.error());
    }
    return fail(*failed_);
  }

  /// The stream ended. Error: truncated (inside a frame).
  Result<void> finish() const;

 private:
  /// The next whole frame of what was kept and `in`, which it advances; nothing when more octets are needed.
  Result<std::optional<Frame>> next(Bytes& in);
  tl::unexpected<Error> failed(const Error& error) {
    failed_ = error;
    return fail(error);
  }

  ByteVector kept_;         // the beginning of a frame
  bool delivered_ = false;  // kept_ was handed out and is cleared by the next call
  std::optional<Error> failed_;
};

}  // namespace ztna::wire
