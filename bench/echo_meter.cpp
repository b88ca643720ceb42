// echo_meter: an evenly paced UDP echo that misses nothing, for failover tests.
//
//   echo_meter serve PORT                     echo on IPv4 and IPv6, stamping each packet with its arrival
//   echo_meter run HOST PORT PPS SIZE FILE    sends until SIGTERM (at most 30 minutes), then waits up to a
//                                             second for what is still under way
//   echo_meter flood HOST PORT PPS SECONDS SIZE HEX   packets that begin with HEX and end in random octets
//
// `run` writes one record of four native int64 for each packet, in the order of sending: sent, back (0: never), arrival
// at the server (0: never heard), copies that came back. `run` and `flood` print one JSON object. Times are
// CLOCK_MONOTONIC nanoseconds, so they compare across namespaces and with time.monotonic_ns() on the same machine.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

struct Head {
  uint64_t session, number;
  int64_t at_server;
};
struct Record {
  int64_t sent, back, at_server, copies;
};
static volatile sig_atomic_t stopping = 0;

static int64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t(t.tv_sec) * 1000000000 + t.tv_nsec;
}

static bool readable(int fd, int64_t until) {
  const int64_t left = std::max<int64_t>(0, until - now_ns());
  const timespec t{time_t(left / 1000000000), long(left % 1000000000)};
  pollfd p{fd, POLLIN, 0};
  return ppoll(&p, 1, &t, nullptr) > 0;
}

static void die(const char* what) {
  perror(what);
  exit(1);
}

static int open_socket(int family) {
  const int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), big = 8 << 20, on = 1;
  if (fd < 0) die("socket");
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof big);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &big, sizeof big);
  if (family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  return fd;
}

static int connected_to(const char* host, const char* port) {
  sockaddr_storage to{};
  auto* v4 = reinterpret_cast<sockaddr_in*>(&to);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&to);
  socklen_t length = sizeof *v4;
  if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(uint16_t(atoi(port)));
  } else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(uint16_t(atoi(port)));
    length = sizeof *v6;
  } else {
    fprintf(stderr, "bad address %s\n", host);
    exit(2);
  }
  const int fd = open_socket(to.ss_family);
  if (connect(fd, reinterpret_cast<sockaddr*>(&to), length) < 0) die("connect");
  return fd;
}

static int serve(const char* port) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  pollfd p[2];
  for (int i = 0; i < 2; i++) {
    p[i] = {open_socket(i ? AF_INET6 : AF_INET), POLLIN, 0};
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(uint16_t(atoi(port)));
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = v4.sin_port;
    if (i ? bind(p[i].fd, reinterpret_cast<sockaddr*>(&v6), sizeof v6) < 0
          : bind(p[i].fd, reinterpret_cast<sockaddr*>(&v4), sizeof v4) < 0)
      die("bind");
  }
  puts("ready");
  fflush(stdout);
  static char data[65536];
  for (;;) {
    if (poll(p, 2, -1) <= 0) continue;
    for (const auto& one : p) {
      sockaddr_storage from;
      socklen_t length = sizeof from;
      ssize_t n;
      while ((n = recvfrom(one.fd, data, sizeof data, 0, reinterpret_cast<sockaddr*>(&from), &length)) >= 0) {
        Head head;
        if (n < ssize_t(sizeof head)) continue;
        memcpy(&head, data, sizeof head);
        head.at_server = now_ns();
        memcpy(data, &head, sizeof head);
        sendto(one.fd, data, size_t(n), 0, reinterpret_cast<sockaddr*>(&from), length);
        length = sizeof from;
      }
    }
  }
}

static int run(char** v) {
  const int fd = connected_to(v[0], v[1]);
  const double pps = atof(v[2]);
  const size_t size = std::max(sizeof(Head), size_t(atoi(v[3])));
  const uint64_t session = uint64_t(now_ns()), most = uint64_t(pps * 1800);
  std::vector<Record> records;
  records.reserve(size_t(pps * 300));
  std::vector<char> data(size, 'm');
  static char in[65536];
  signal(SIGTERM, [](int) { stopping = 1; });
  puts("ready");
  fflush(stdout);
  uint64_t foreign = 0, returned = 0;
  const int64_t start = now_ns();
  int64_t due = start;
  const auto all_back = [&] { return stopping && returned == records.size(); };
  const auto listen_until = [&](int64_t until) {
    while (!all_back() && readable(fd, until)) {
      const ssize_t n = recv(fd, in, sizeof in, 0);
      if (n < 0) continue;  // an ICMP error: the packet counts as lost
      Head head;
      if (n < ssize_t(sizeof head)) {
        foreign++;
        continue;
      }
      memcpy(&head, in, sizeof head);
      if (head.session != session || head.number >= records.size()) {
        foreign++;
        continue;
      }
      Record& r = records[head.number];
      if (r.copies++ == 0) r.back = now_ns(), r.at_server = head.at_server, returned++;
    }
  };
  while (!stopping && records.size() < most) {
    listen_until(due);
    if (now_ns() < due) continue;  // a signal
    const Head head{session, records.size(), 0};
    memcpy(data.data(), &head, sizeof head);
    records.push_back({now_ns(), 0, 0, 0});
    (void)!send(fd, data.data(), size, 0);  // refused: counts as lost
    due = start + int64_t(double(records.size()) * 1e9 / pps);
  }
  listen_until(now_ns() + 1000000000);
  FILE* out = fopen(v[4], "wb");
  if (!out || fwrite(records.data(), sizeof(Record), records.size(), out) != records.size() || fclose(out)) die(v[4]);
  printf("{\"sent\":%zu,\"foreign\":%lu}\n", records.size(), foreign);
  return 0;
}

static int flood(char** v) {
  const int fd = connected_to(v[0], v[1]);
  const double pps = atof(v[2]), seconds = atof(v[3]);
  std::string data(size_t(std::min(std::max(atoi(v[4]), 0), 65507)), 0);
  std::vector<uint8_t> prefix;
  for (const char* hex = v[5]; hex[0] && hex[1]; hex += 2) {
    prefix.push_back(uint8_t(strtoul(std::string(hex, 2).c_str(), nullptr, 16)));
  }
  std::minstd_rand rng(4711);
  const int64_t start = now_ns(), end = start + int64_t(seconds * 1e9);
  uint64_t sent = 0, failed = 0, answers = 0;
  char in[2048];
  const auto listen_until = [&](int64_t until) {
    while (readable(fd, until)) {
      if (recv(fd, in, sizeof in, 0) >= 0) answers++;
    }
  };
  for (int64_t t = start; t < end; t = now_ns()) {
    const uint64_t due = uint64_t(double(t - start) * pps / 1e9);
    for (int burst = 0; sent < due && burst < 16; burst++, sent++) {
      for (auto& c : data) c = char(rng());
      std::copy_n(prefix.begin(), std::min(prefix.size(), data.size()), data.begin());
      if (send(fd, data.data(), data.size(), 0) < 0) failed++;
    }
    listen_until(sent < due ? 0 : start + int64_t(double(sent + 1) * 1e9 / pps));
  }
  listen_until(now_ns() + 200000000);
  printf("{\"sent\":%lu,\"failed\":%lu,\"answers\":%lu}\n", sent, failed, answers);
  return 0;
}

int main(int argc, char** argv) {
  prctl(PR_SET_TIMERSLACK, 1UL);
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "serve" && argc == 3) return serve(argv[2]);
  if (mode == "run" && argc == 7) return run(argv + 2);
  if (mode == "flood" && argc == 8) return flood(argv + 2);
  fprintf(stderr, "usage: echo_meter serve|run|flood ... (see source)\n");
  return 2;
}
