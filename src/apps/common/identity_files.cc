#include "apps/common/identity_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace ztna::apps {
namespace {

class File {
 public:
  explicit File(const std::string& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)) {}
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

tl::unexpected<Error> os_failure(std::string_view what, const std::string& path, int number) {
  switch (number) {
    case ENOENT:
    case ENOTDIR: return fail(Errc::not_found, "{} {}: no such file", what, path);
    case EACCES:
    case EPERM: return fail(Errc::denied, "{} {}: no permission to read it", what, path);
    default: return fail(Errc::io, "{} {}: cannot be read: {}", what, path, std::strerror(number));
  }
}

/// What to do about it, after the reason.
tl::unexpected<Error> with_advice(const Error& cause, std::string_view flag) {
  std::string advice;
  switch (cause.code) {
    case Errc::not_found:
      advice = flag == "--ca-cert" ? "make a CA with \"ztnactl ca init\" and copy its certificate here"
                                   : "make one with \"ztnactl issue\"";
      advice += fmt::format(", or name another with {} FILE", flag);
      break;
    case Errc::denied: advice = "let this program's user read it (chown, chmod 600)"; break;
    default: advice = fmt::format("name another with {} FILE", flag); break;
  }
  return tl::unexpected<Error>{Error{cause.code, fmt::format("{}; {}", cause.text, advice)}};
}

Result<std::string> read_pem(std::string_view flag, const std::string& path) {
  auto text = read_file(flag, path, kMaxPemBytes);
  if (!text) return with_advice(text.error(), flag);
  if (text->find("-----BEGIN ") != std::string::npos) return text;
  const Error no_pem{Errc::malformed, fmt::format("{} {}: is {}", flag, path, text->empty() ? "empty" : "no PEM file")};
  return with_advice(no_pem, flag);
}

}  // namespace

Result<std::string> read_file(std::string_view what, const std::string& path, std::size_t max_bytes) {
  const File file{path};
  if (file.fd() < 0) return os_failure(what, path, errno);
  struct stat status {};
  if (::fstat(file.fd(), &status) != 0) return os_failure(what, path, errno);
  if (S_ISDIR(status.st_mode)) return fail(Errc::io, "{} {}: is a directory, not a file", what, path);
  std::string text;
  char block[16384];
  for (;;) {
    const auto n = ::read(file.fd(), block, sizeof block);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return os_failure(what, path, errno);
    if (n == 0) return text;
    text.append(block, static_cast<std::size_t>(n));
    if (text.size() > max_bytes)
      return fail(Errc::too_large, "{} {}: is larger than {} KiB", what, path, max_bytes / 1024);
  }
}

Result<IdentityPem> read_identity(const config::IdentityFiles& files) {
  IdentityPem pem;
  auto problems = read_identity(files, pem);
  if (!problems.empty()) return tl::unexpected<Error>{std::move(problems.front())};
  return pem;
}

std::vector<Error> read_identity(const config::IdentityFiles& files, IdentityPem& pem, const IdentityFlags& flags) {
  std::vector<Error> problems;
  const auto read = [&](std::string_view flag, const std::string& path, std::string& out) {
    if (auto text = read_pem(flag, path)) {
      out = std::move(*text);
    } else {
      problems.push_back(std::move(text.error()));
    }
  };
  read(flags.ca_cert, files.ca_cert, pem.ca_cert);
  read(flags.cert, files.cert, pem.cert);
  read(flags.key, files.key, pem.key);
  return problems;
}

std::vector<std::string> identity_warnings(const config::IdentityFiles& files) {
  struct stat status {};
  if (::stat(files.key.c_str(), &status) != 0 || (status.st_mode & (S_IRWXO)) == 0) return {};
  return {fmt::format("key file {} is open to all users of this machine; close it with chmod 600", files.key)};
}

}  // namespace ztna::apps
