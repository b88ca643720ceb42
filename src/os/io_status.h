// How a system call on a socket, TUN or pipe ended: typed, without text, for hot paths.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace ztna::os {

enum class IoStatus : std::uint8_t {
  ok,
  would_block,  // EAGAIN, ENOBUFS: again when the descriptor is readable or writable
  eof,          // the peer finished its direction
  reset,        // ECONNRESET, EPIPE: the peer aborted
  refused,      // ECONNREFUSED
  unreachable,  // EHOSTUNREACH, ENETUNREACH, EADDRNOTAVAIL, ENETDOWN and the like: no way there now
  timed_out,    // ETIMEDOUT
  too_large,    // EMSGSIZE
  denied,       // EPERM, EACCES: firewall or policy
  failed,       // anything else
};
std::string_view to_string(IoStatus status);

/// Of an errno value; 0 is ok.
IoStatus io_status(int err);
/// The project's error code for an errno value.
Errc errc_of(int err);
/// errno's words as strerror has them: "Permission denied".
std::string errno_words(int err);
/// The same with a small first letter: "address already in use".
std::string errno_text(int err);

/// What a read or write did.
struct IoResult {
  IoStatus status = IoStatus::ok;
  std::size_t octets = 0;  // transferred; may be above 0 with another status than ok only where a call says so
};

/// `return fail_errno(errno, "udp bind {}", address);` gives "udp bind 0.0.0.0:4433: address already in use".
template <typename... Args>
[[nodiscard]] tl::unexpected<Error> fail_errno(int err, fmt::format_string<Args...> object, Args&&... args) {
  return fail(errc_of(err), "{}: {}", fmt::format(object, std::forward<Args>(args)...), errno_text(err));
}

}  // namespace ztna::os
