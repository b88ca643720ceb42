// Backends, resolver and output that record what they are told.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "connector/backend.h"
#include "connector/udp_flows.h"
#include "tunnel/ports.h"
#include "wire/ip/build.h"

namespace ztna::connector::test {

inline constexpr wire::ServiceHandle kHandle{7};
inline SocketAddress address(const char* text) { return *SocketAddress::parse(text); }
inline IpAddress ip(const char* text) { return *IpAddress::parse(text); }
inline wire::ServiceId service_id(const char* text) { return *wire::ServiceId::parse(text); }

inline std::size_t datagrams_in(Bytes row, std::size_t segment) {
  return segment == 0 || segment >= row.size() ? 1 : (row.size() + segment - 1) / segment;
}

struct FakeUdp final : BackendUdp {
  struct Record {
    SocketAddress backend;
    BackendUdpEvents* events = nullptr;                    // null: the socket is gone
    std::vector<std::pair<ByteVector, std::size_t>> sent;  // row and segment
    std::deque<Sent> answers;                              // to the next sends; then all leaves
    std::size_t path_mtu = 1500;
  };
  explicit FakeUdp(Record& r) : record(r) {}
  ~FakeUdp() override { record.events = nullptr; }
  Sent send(Bytes row, std::size_t segment) override {
    if (!record.answers.empty()) {
      const auto answer = record.answers.front();
      record.answers.pop_front();
      return answer;
    }
    record.sent.emplace_back(ByteVector{row.begin(), row.end()}, segment);
    return {SendStatus::ok, row.size(), datagrams_in(row, segment), row.size()};
  }
  std::size_t path_mtu() const override { return record.path_mtu; }
  Record& record;
};

struct FakeTcp final : tunnel::TcpPort {
  struct Record {
    SocketAddress backend;
    Duration timeout{};
    BackendTcpEvents* events = nullptr;  // null: closed
    bool aborted = false;
    bool shut = false;
    bool want_read = false;
    bool want_write = false;
    ByteVector written;
    std::size_t room = 1U << 20U;  // what the socket takes before it would block
    std::deque<ByteVector> to_read;
    bool ended = false;  // after to_read: FIN
    bool reset = false;  // after to_read: RST
  };
  explicit FakeTcp(Record& r) : record(r) {}
  ~FakeTcp() override { record.events = nullptr; }
  tunnel::IoResult read(MutableBytes into) override {
    if (record.to_read.empty()) {
      if (record.reset) return {tunnel::IoStatus::reset, 0};
      return {record.ended ? tunnel::IoStatus::end_of_stream : tunnel::IoStatus::would_block, 0};
    }
    auto& front = record.to_read.front();
    const auto n = std::min(into.size(), front.size());
    std::copy_n(front.begin(), n, into.begin());
    front.erase(front.begin(), front.begin() + static_cast<std::ptrdiff_t>(n));
    if (front.empty()) record.to_read.pop_front();
    return {tunnel::IoStatus::ok, n};
  }
  tunnel::IoResult write(std::span<const Bytes> blocks) override {
    std::size_t wrote = 0;
    for (const auto& block : blocks) {
      const auto n = std::min(block.size(), record.room);
      record.written.insert(record.written.end(), block.begin(), block.begin() + static_cast<std::ptrdiff_t>(n));
      record.room -= n;
      wrote += n;
      if (n < block.size()) break;
    }
    if (wrote == 0) return {tunnel::IoStatus::would_block, 0};
    return {tunnel::IoStatus::ok, wrote};
  }
  void shutdown_write() override { record.shut = true; }
  void abort() override { record.aborted = true; }
  void want(bool readable, bool writable) override { record.want_read = readable, record.want_write = writable; }
  Record& record;
};

struct FakeBackends final : BackendFactory {
  std::deque<FakeUdp::Record> udp;  // in order of opening; elements stay in place
  std::deque<FakeTcp::Record> tcp;
  std::map<SocketAddress, Errc> refuses;  // at once
  std::size_t path_mtu = 1500;            // of sockets that are opened from now on

  Result<std::unique_ptr<BackendUdp>> connect_udp(const SocketAddress& backend, BackendUdpEvents& events) override {
    if (const auto f = refuses.find(backend); f != refuses.end()) return fail(f->second, "refused by the test");
    udp.push_back({backend, &events, {}, {}, path_mtu});
    return std::make_unique<FakeUdp>(udp.back());
  }
  Result<std::unique_ptr<tunnel::TcpPort>> connect_tcp(const SocketAddress& backend, Duration timeout,
                                                       BackendTcpEvents& events) override {
    if (const auto f = refuses.find(backend); f != refuses.end()) return fail(f->second, "refused by the test");
    auto& record = tcp.emplace_back();
    record.backend = backend;
    record.timeout = timeout;
    record.events = &events;
    return std::make_unique<FakeTcp>(record);
  }
};

struct FakeResolver final : tunnel::Resolver {
  std::vector<std::pair<std::string, Done>> asked;
  void resolve(const std::string& host, Done done) override { asked.emplace_back(host, std::move(done)); }
  /// Answers the oldest question; no addresses: an error.
  void answer(std::vector<IpAddress> addresses) {
    auto [host, done] = std::move(asked.front());
    asked.erase(asked.begin());
    if (addresses.empty()) {
      done(fail(Errc::not_found, "no such name"));
    } else {
      done(std::move(addresses));
    }
  }
};

struct FakeOutput final : PacketOutput {
  std::vector<std::pair<wire::ServiceHandle, ByteVector>> packets;
  bool full = false;
  bool send_packet(wire::ServiceHandle handle, Bytes packet) override {
    if (full) return false;
    packets.emplace_back(handle, ByteVector{packet.begin(), packet.end()});
    return true;
  }
};

inline ByteVector payload(std::size_t size, std::uint8_t first = 0) {
  ByteVector out(size);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::uint8_t>(first + i);
  return out;
}

}  // namespace ztna::connector::test
