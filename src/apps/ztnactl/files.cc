#include "apps/ztnactl/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace ztna::ctl {

namespace {

constexpr std::size_t kMaxFile = 1024 * 1024;

tl::unexpected<Error> system_failure(const std::string& path, int error) {
  const auto code = error == ENOENT                     ? Errc::not_found
                    : error == EACCES || error == EPERM ? Errc::denied
                    : error == EEXIST                   ? Errc::conflict
                                                        : Errc::io;
  return fail(code, "{}: {}", path, std::strerror(error));
}

class OpenFile {
 public:
  explicit OpenFile(int fd) : fd_(fd) {}
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  ~OpenFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  int fd() const { return fd_; }

 private:
  int fd_;
};

/// Octets to the disk, before the file gets its name.
int write_all(int fd, std::string_view content) {
  while (!content.empty()) {
    const auto n = ::write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    content.remove_prefix(static_cast<std::size_t>(n));
  }
  return ::fsync(fd) == 0 ? 0 : errno;
}

}  // namespace

Result<std::string> read_file(const std::string& path) {
  const OpenFile file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY)};
  if (file.fd() < 0) return system_failure(path, errno);
  std::string content;
  char buffer[16 * 1024];
  for (;;) {
    const auto n = ::read(file.fd(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_failure(path, errno);
    if (n == 0) return content;
    content.append(buffer, static_cast<std::size_t>(n));
    if (content.size() > kMaxFile)
      return fail(Errc::too_large, "{}: over {} octets, so no certificate", path, kMaxFile);
  }
}

Result<void> write_file(const std::string& path, std::string_view content, mode_t mode, Replace replace) {
  std::string temporary = path + ".XXXXXX";
  const OpenFile file{::mkostemp(temporary.data(), O_CLOEXEC)};  // mode 0600 from the first octet on
  if (file.fd() < 0) return system_failure(path, errno);
  int error = write_all(file.fd(), content);
  if (error == 0 && ::fchmod(file.fd(), mode) != 0) error = errno;
  if (error == 0) {
    // link() refuses an existing name where rename() would replace it: no window between check and creation.
    const bool done = replace == Replace::yes ? ::rename(temporary.c_str(), path.c_str()) == 0
                                              : ::link(temporary.c_str(), path.c_str()) == 0;
    if (!done) error = errno;
  }
  if (error != 0 || replace == Replace::no) ::unlink(temporary.c_str());
  if (error != 0) return system_failure(path, error);
  return {};
}

Result<void> make_directories(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return system_failure(path, error.value());
  return {};
}

bool exists(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0;
}

bool open_to_others(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && (status.st_mode & (S_IRWXG | S_IRWXO)) != 0;
}

std::string join(std::string_view directory, std::string_view file) {
  return (std::filesystem::path{directory} / file).string();
}

}  // namespace ztna::ctl
