#include "os/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "os/fd.h"
#include "os/io_status.h"

namespace ztna::os {
namespace {

// Files keep errno's words as every Unix tool prints them.
tl::unexpected<Error> fail_file(int err, const std::string& path) {
  return fail(errc_of(err), "{}: {}", path, errno_words(err));
}

std::string directory_of(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

int write_all(int fd, std::string_view content) {
  while (!content.empty()) {
    const ssize_t n = ::write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    content.remove_prefix(static_cast<std::size_t>(n));
  }
  return 0;
}

}  // namespace

Result<std::string> read_file(const std::string& path, std::size_t limit) {
  const Fd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!fd) return fail_file(errno, path);
  std::string content;
  std::size_t used = 0;
  for (;;) {
    content.resize(std::min(std::max<std::size_t>(used * 2, 4096), limit + 1));
    const ssize_t n = ::read(fd.get(), content.data() + used, content.size() - used);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_file(errno, path);
    if (n == 0) break;
    used += static_cast<std::size_t>(n);
    if (used > limit) return fail(Errc::too_large, "{}: larger than {} octets", path, limit);
  }
  content.resize(used);
  return content;
}

Result<void> write_file_atomic(const std::string& path, std::string_view content, mode_t mode) {
  std::string temporary = path + ".XXXXXX";
  const Fd fd{::mkostemp(temporary.data(), O_CLOEXEC)};
  if (!fd) return fail_file(errno, path);
  int err = write_all(fd.get(), content);
  if (err == 0 && ::fchmod(fd.get(), mode) != 0) err = errno;
  if (err == 0 && ::fsync(fd.get()) != 0) err = errno;
  if (err == 0 && ::rename(temporary.c_str(), path.c_str()) != 0) err = errno;
  if (err != 0) {
    ::unlink(temporary.c_str());
    return fail_file(err, path);
  }
  // The rename itself survives a power cut only when the directory was written too; some file systems cannot do that.
  const Fd directory{::open(directory_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (directory) ::fsync(directory.get());
  return {};
}

Result<void> create_directories(const std::string& path, mode_t mode) {
  if (path.empty()) return fail(Errc::invalid_argument, "empty path for a directory");
  for (std::size_t at = 0; at != std::string::npos;) {
    at = path.find('/', at + 1);
    const std::string part = path.substr(0, at);
    if (::mkdir(part.c_str(), mode) == 0) {
      if (::chmod(part.c_str(), mode) != 0) return fail_file(errno, part);  // umask took bits away
      continue;
    }
    const int err = errno;
    struct stat info {};
    if (::stat(part.c_str(), &info) != 0) return fail_file(err, part);
    if (!S_ISDIR(info.st_mode)) return fail_file(ENOTDIR, part);
  }
  return {};
}

bool file_exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

Result<void> remove_file(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return fail_file(errno, path);
  return {};
}

}  // namespace ztna::os
