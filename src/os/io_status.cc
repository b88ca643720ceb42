#include "os/io_status.h"

#include <string.h>

#include <cctype>
#include <cerrno>

namespace ztna::os {

std::string_view to_string(IoStatus status) {
  switch (status) {
    case IoStatus::ok: return "ok";
    case IoStatus::would_block: return "would_block";
    case IoStatus::eof: return "eof";
    case IoStatus::reset: return "reset";
    case IoStatus::refused: return "refused";
    case IoStatus::unreachable: return "unreachable";
    case IoStatus::timed_out: return "timed_out";
    case IoStatus::too_large: return "too_large";
    case IoStatus::denied: return "denied";
    case IoStatus::failed: break;
  }
  return "failed";
}

IoStatus io_status(int err) {
  switch (err) {
    case 0: return IoStatus::ok;
    case EAGAIN:
    case EINPROGRESS:
    case EALREADY:
    case ENOBUFS: return IoStatus::would_block;
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE: return IoStatus::reset;
    case ECONNREFUSED: return IoStatus::refused;
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EHOSTDOWN:
    case ENETDOWN:
    case ENONET:
    case ENOPROTOOPT:  // ICMP protocol unreachable
    case EADDRNOTAVAIL: return IoStatus::unreachable;
    case ETIMEDOUT: return IoStatus::timed_out;
    case EMSGSIZE: return IoStatus::too_large;
    case EPERM:
    case EACCES: return IoStatus::denied;
    default: return IoStatus::failed;
  }
}

Errc errc_of(int err) {
  switch (err) {
    case ENOENT:
    case ESRCH:
    case ENXIO:
    case ENODEV: return Errc::not_found;
    case EEXIST:
    case EBUSY:
    case EADDRINUSE: return Errc::conflict;
    case EINVAL:
    case ENOTDIR:
    case EISDIR:
    case EAFNOSUPPORT:
    case EADDRNOTAVAIL:
    case ENAMETOOLONG: return Errc::invalid_argument;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOSPC:
    case ENOBUFS: return Errc::exhausted;
    case ECONNRESET:
    case EPIPE: return Errc::closed;
    default: break;
  }
  switch (io_status(err)) {
    case IoStatus::would_block: return Errc::would_block;
    case IoStatus::refused: return Errc::refused;
    case IoStatus::unreachable: return Errc::unreachable;
    case IoStatus::timed_out: return Errc::timed_out;
    case IoStatus::too_large: return Errc::too_large;
    case IoStatus::denied: return Errc::denied;
    default: return Errc::io;
  }
}

std::string errno_words(int err) {
  const char* words = strerrordesc_np(err);
  return words != nullptr ? std::string{words} : fmt::format("error {}", err);
}

std::string errno_text(int err) {
  std::string text = errno_words(err);
  if (!text.empty()) text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return text;
}

}  // namespace ztna::os
