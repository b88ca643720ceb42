#include "os/unix_socket.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include "loop_util.h"
#include "os/files.h"
#include "temporary_directory.h"

namespace ztna::os {
namespace {

/// Runs `client` on a thread of its own while the loop serves it.
template <typename Client>
void serve(EventLoop& loop, Client&& client) {
  std::thread thread{[&] {
    client();
    loop.post([&] { loop.stop(); });
  }};
  loop.run();
  thread.join();
}

struct UnixSocketTest : ::testing::Test {
  TemporaryDirectory directory;
  std::string path = directory.path + "/control.sock";
  EventLoop loop;

  Result<std::unique_ptr<LineServer>> echo(LineServerOptions options = {}) {
    return LineServer::listen(
        loop, path, options,
        {.on_line = [](LineConnection& c, std::string_view line) { c.send("echo " + std::string{line}); },
         .on_closed = {}});
  }
};

TEST_F(UnixSocketTest, NobodyThereIsToldApart) {
  EXPECT_EQ(LineClient::connect(path).error().code, Errc::not_found);
  EXPECT_EQ(LineClient::connect(std::string(200, 'x')).error().code, Errc::too_large);
  ASSERT_TRUE(echo());  // destroyed at once: the file is gone with it
  EXPECT_FALSE(file_exists(path));
}

TEST_F(UnixSocketTest, OtherFilesAndLiveSocketsAreNotReplaced) {
  ASSERT_TRUE(write_file_atomic(path, "precious"));
  const auto over_file = echo();
  ASSERT_FALSE(over_file);
  EXPECT_EQ(over_file.error().code, Errc::conflict);
  EXPECT_EQ(read_file(path).value(), "precious");
  ASSERT_TRUE(remove_file(path));
  const auto first = echo();
  ASSERT_TRUE(first) << first.error().text;
  const auto second = echo();
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().text, path + ": another program listens there");
  EXPECT_EQ(LineServer::listen(loop, directory.path + "/none/x", {}, {}).error().code, Errc::not_found);
}

TEST_F(UnixSocketTest, StaleFileIsReplacedAndHasTheMode) {
  {
    auto dead = echo();
    ASSERT_TRUE(dead);
    ASSERT_EQ(::link(path.c_str(), (path + ".stale").c_str()), 0);
  }
  ASSERT_EQ(::rename((path + ".stale").c_str(), path.c_str()), 0);
  EXPECT_EQ(LineClient::connect(path).error().code, Errc::refused);
  auto server = echo({.mode = 0660});
  ASSERT_TRUE(server) << server.error().text;
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0660U);
}

TEST_F(UnixSocketTest, LinesGoBothWaysWithCredentials) {
  PeerCredentials who;
  int closed = 0;
  auto server = LineServer::listen(loop, path, {},
                                   {.on_line =
                                        [&](LineConnection& c, std::string_view line) {
                                          who = c.peer();
                                          c.send(line);
                                          c.send("two\nlines");
                                          if (line == "bye") c.close();
                                        },
                                    .on_closed = [&](LineConnection&) { ++closed; }});
  ASSERT_TRUE(server);
  serve(loop, [&] {
    auto client = LineClient::connect(path);
    ASSERT_TRUE(client);
    EXPECT_TRUE(client->send("{\"a\":1}"));
    EXPECT_EQ(client->receive(10s).value(), "{\"a\":1}");
    EXPECT_EQ(client->receive(10s).value(), "two lines");
    EXPECT_EQ(client->receive(1ms).error().code, Errc::timed_out);
    EXPECT_TRUE(client->send("bye"));
    EXPECT_EQ(client->receive(10s).value(), "bye");
    EXPECT_EQ(client->receive(10s).value(), "two lines");
    EXPECT_EQ(client->receive(10s).error().code, Errc::closed);
  });
  EXPECT_EQ(who.pid, getpid());
  EXPECT_EQ(who.uid, getuid());
  EXPECT_EQ(closed, 1);
  EXPECT_EQ((*server)->clients(), 0U);
}

TEST_F(UnixSocketTest, LongLinesManyClientsAndUnreadAnswersAreLimited) {
  auto server = LineServer::listen(loop, path, {.max_line = 100, .max_queued = 1'000'000, .max_clients = 2},
                                   {.on_line =
                                        [](LineConnection& c, std::string_view) {
                                          for (int i = 0; i < 20; ++i) c.send(std::string(100'000, 'x'));
                                        },
                                    .on_closed = {}});
  ASSERT_TRUE(server);
  serve(loop, [&] {
    auto endless = LineClient::connect(path);
    ASSERT_TRUE(endless);
    EXPECT_TRUE(endless->send(std::string(101, 'y')));
    const auto over = endless->receive(10s);
    EXPECT_EQ(over.error().code, Errc::closed);
    auto greedy = LineClient::connect(path);
    EXPECT_TRUE(greedy->send("go"));
    EXPECT_EQ(greedy->receive(10s).error().code, Errc::closed);
  });
  serve(loop, [&] {
    auto a = LineClient::connect(path);
    auto b = LineClient::connect(path);
    auto c = LineClient::connect(path);
    ASSERT_TRUE(a && b && c);
    EXPECT_EQ(c->receive(10s).error().code, Errc::closed);
    EXPECT_EQ(a->receive(1ms).error().code, Errc::timed_out);
  });
}

}  // namespace
}  // namespace ztna::os
