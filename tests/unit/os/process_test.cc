// Files, privileges, notifications, clocks and randomness.
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <set>

#include "network_namespace.h"
#include "os/clock.h"
#include "os/fd.h"
#include "os/files.h"
#include "os/notify.h"
#include "os/privileges.h"
#include "os/sockaddr.h"
#include "os/system_random.h"
#include "temporary_directory.h"

namespace ztna::os {
namespace {

mode_t mode_of(const std::string& path) {
  struct stat info {};
  EXPECT_EQ(::stat(path.c_str(), &info), 0);
  return info.st_mode & 0777U;
}

TEST(FilesTest, ReadErrorsNameTheFile) {
  TemporaryDirectory d;
  EXPECT_EQ(read_file(d.path + "/none").error().text, d.path + "/none: No such file or directory");
  EXPECT_EQ(read_file(d.path + "/none").error().code, Errc::not_found);
  EXPECT_EQ(read_file(d.path).error().text, d.path + ": Is a directory");
  ASSERT_TRUE(write_file_atomic(d.path + "/f", "12345"));
  EXPECT_EQ(read_file(d.path + "/f", 4).error().code, Errc::too_large);
  EXPECT_EQ(read_file(d.path + "/f", 5).value(), "12345");
  IN_NEW_NAMESPACE({
    ASSERT_EQ(chmod((d.path + "/f").c_str(), 0), 0);
    ASSERT_EQ(chmod(d.path.c_str(), 0755), 0);
    ASSERT_EQ(setresuid(65534, 65534, 65534), 0);
    const auto r = read_file(d.path + "/f");
    EXPECT_EQ(r.error().code, Errc::denied);
    EXPECT_EQ(r.error().text, d.path + "/f: Permission denied");
    EXPECT_EQ(write_file_atomic(d.path + "/g", "x").error().code, Errc::denied);
  });
}

TEST(FilesTest, WriteIsAtomicAndExact) {
  TemporaryDirectory d;
  const std::string path = d.path + "/key.pem";
  EXPECT_EQ(write_file_atomic(d.path + "/none/x", "x").error().code, Errc::not_found);
  ASSERT_TRUE(write_file_atomic(path, "old", 0644));
  ASSERT_TRUE(write_file_atomic(path, std::string(100'000, 'n'), 0600));
  EXPECT_EQ(mode_of(path), 0600U);
  EXPECT_EQ(read_file(path).value(), std::string(100'000, 'n'));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator{d.path}, {}), 1) << "no temporary file left";
  EXPECT_TRUE(remove_file(path));
  EXPECT_TRUE(remove_file(path));
  EXPECT_FALSE(file_exists(path));
}

TEST(FilesTest, DirectoriesWithParents) {
  TemporaryDirectory d;
  ASSERT_TRUE(create_directories(d.path + "/a/b/c", 0711));
  EXPECT_TRUE(create_directories(d.path + "/a/b/c/", 0700)) << "there already";
  EXPECT_EQ(mode_of(d.path + "/a/b"), 0711U);
  ASSERT_TRUE(write_file_atomic(d.path + "/file", ""));
  EXPECT_FALSE(create_directories(d.path + "/file/x"));
  EXPECT_FALSE(create_directories(""));
}

TEST(PrivilegesTest, OnlyTheNamedCapabilityStays) {
  IN_NEW_NAMESPACE({
    ASSERT_TRUE(keep_only_capabilities({Capability::net_bind_service}));
    EXPECT_TRUE(has_capability(Capability::net_bind_service));
    EXPECT_FALSE(has_capability(Capability::net_admin));
    EXPECT_EQ(sethostname("x", 1), -1) << "CAP_SYS_ADMIN is gone too";
    ASSERT_TRUE(keep_only_capabilities({Capability::net_admin}));
    EXPECT_FALSE(has_capability(Capability::net_admin)) << "what is gone does not come back";
    ASSERT_TRUE(set_no_new_privileges());
    EXPECT_EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
    ASSERT_TRUE(set_not_dumpable());
    EXPECT_EQ(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
  });
}

TEST(PrivilegesTest, AnotherUserWithOneCapability) {
  EXPECT_EQ(drop_to_user("no-such-user", {}).error().code, Errc::not_found);
  IN_NEW_NAMESPACE({
    const auto r = drop_to_user("nobody", {Capability::net_admin});
    ASSERT_TRUE(r) << r.error().text;
    EXPECT_EQ(getuid(), 65534U);
    EXPECT_TRUE(has_capability(Capability::net_admin));
    EXPECT_FALSE(has_capability(Capability::net_raw));
    EXPECT_EQ(setuid(0), -1);
    EXPECT_EQ(drop_to_user("daemon", {}).error().code, Errc::denied);
  });
}

TEST(NotifyTest, StatesGoToTheServiceManager) {
  TemporaryDirectory d;
  const std::string path = d.path + "/notify";
  const Fd manager{socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ASSERT_LT(path.size(), sizeof address.sun_path);
  std::memcpy(address.sun_path, path.c_str(), path.size());
  ASSERT_EQ(bind(manager.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  const auto next = [&] {
    std::array<char, 256> text{};
    const auto n = recv(manager.get(), text.data(), text.size(), 0);
    return n > 0 ? std::string(text.data(), static_cast<std::size_t>(n)) : std::string{};
  };
  notify_ready();
  EXPECT_EQ(next(), "") << "no manager, no message";
  setenv("NOTIFY_SOCKET", path.c_str(), 1);
  notify_ready();
  EXPECT_EQ(next(), "READY=1");
  notify_reloading();
  EXPECT_EQ(next().rfind("RELOADING=1\nMONOTONIC_USEC=", 0), 0U);
  notify_status("two\nlines");
  EXPECT_EQ(next(), "STATUS=two lines");
  notify_stopping();
  EXPECT_EQ(next(), "STOPPING=1");
  unsetenv("NOTIFY_SOCKET");
}

TEST(SockaddrTest, ShortAndForeignFamiliesAreNothing) {
  sockaddr_storage s{};
  EXPECT_FALSE(from_sockaddr(s));
  s.ss_family = AF_UNIX;
  EXPECT_FALSE(from_sockaddr(s));
  const auto six = SocketAddress::parse("[2001:db8::1]:4433").value();
  const socklen_t length = to_sockaddr(six, s);
  for (socklen_t n = 0; n < length; ++n) EXPECT_FALSE(from_sockaddr(reinterpret_cast<const sockaddr*>(&s), n));
  EXPECT_EQ(from_sockaddr(reinterpret_cast<const sockaddr*>(&s), length), six);
  const auto four = SocketAddress::parse("192.0.2.1:53").value();
  to_sockaddr(four, s);
  EXPECT_EQ(from_sockaddr(s), four);
  to_sockaddr(four, Family::v6, s);
  EXPECT_EQ(s.ss_family, AF_INET6);
  EXPECT_EQ(from_sockaddr(s), four) << "unmapped again";
}

TEST(ClockTest, BootTimeGoesOnAndWallTimeIsPlausible) {
  const TimePoint a = now();
  const TimePoint b = now();
  EXPECT_LE(a, b);
  EXPECT_GT(a.time_since_epoch(), 0s);
  EXPECT_GT(wall_time().time_since_epoch(), std::chrono::seconds{1'700'000'000});
}

TEST(SystemRandomTest, EveryValueIsNewAcrossBufferBoundaries) {
  SystemRandom random;
  std::set<std::array<std::uint8_t, 24>> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(random.array<24>());
  EXPECT_EQ(seen.size(), 1000U);
  ByteVector large(100'000);
  random.fill(large);
  std::array<int, 256> histogram{};
  for (const auto octet : large) ++histogram[octet];
  for (const int n : histogram) EXPECT_NEAR(n, 390, 150);
  random.fill({});
}

}  // namespace
}  // namespace ztna::os
