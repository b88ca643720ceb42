// A quic::Connection that records what it is told, for tests of what stands above it.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "quic/connection.h"

namespace ztna::test {

class FakeConnection final : public quic::Connection {
 public:
  struct Stream {
    ByteVector written;
    bool finished = false;
    std::optional<std::uint64_t> reset_code, stop_code;
    std::size_t credited = 0;
    std::size_t unsent = 0;
    std::optional<std::size_t> low_water;
  };

  std::map<quic::StreamId, Stream> streams;
  std::vector<ByteVector> datagrams;
  std::size_t max_datagram_size = 1200;
  std::size_t datagrams_until_full = ~std::size_t{0};
  std::optional<quic::CloseReason> closed_with;
  std::size_t unsent_elsewhere = 0;  // on streams that the test does not play
  int chunks_taken = 0;              // by write() that keeps the block
  int pings = 0;
  quic::Path current;
  quic::Liveness seen;
  std::optional<std::uint8_t> exported = 0;  // each octet of an exported key; none: not to be had
  std::vector<std::pair<quic::Path, quic::Migration>> migrations;

  bool established() const override { return true; }
  bool closed() const override { return closed_with.has_value(); }
  Bytes peer_certificate() const override { return {}; }
  const quic::Path& path() const override { return current; }
  quic::ConnectionStats stats() const override { return {}; }
  quic::Liveness liveness() const override { return seen; }

  Result<quic::StreamId> open_stream() override {
    const quic::StreamId id{next_};
    next_ += 4;
    streams[id];
    return id;
  }
  Result<void> write(quic::StreamId id, Chunk chunk) override {
    ++chunks_taken;
    return write(id, chunk.data());
  }
  Result<void> write(quic::StreamId id, Bytes data) override {
    if (closed()) return fail(Errc::closed, "closed");
    auto& s = streams[id];
    s.written.insert(s.written.end(), data.begin(), data.end());
    return {};
  }
  void finish(quic::StreamId id) override { streams[id].finished = true; }
  void reset(quic::StreamId id, std::uint64_t code) override { streams[id].reset_code = code; }
  void stop_sending(quic::StreamId id, std::uint64_t code) override { streams[id].stop_code = code; }
  std::size_t unsent(quic::StreamId id) const override {
    const auto found = streams.find(id);
    return found == streams.end() ? 0 : found->second.unsent;
  }
  std::size_t unsent_total() const override {
    std::size_t sum = unsent_elsewhere;
    for (const auto& [id, stream] : streams) sum += stream.unsent;
    return sum;
  }
  void notify_drained(quic::StreamId id, std::size_t low_water) override { streams[id].low_water = low_water; }
  void credit(quic::StreamId id, std::size_t octets) override { streams[id].credited += octets; }

  std::size_t max_datagram() const override { return max_datagram_size; }
  Result<void> send_datagram(Bytes head, Bytes body) override {
    if (closed()) return fail(Errc::closed, "closed");
    if (head.size() + body.size() > max_datagram_size) return fail(Errc::too_large, "too large");
    if (datagrams.size() >= datagrams_until_full) return fail(Errc::exhausted, "queue full");
    ByteVector whole{head.begin(), head.end()};
    whole.insert(whole.end(), body.begin(), body.end());
    datagrams.push_back(std::move(whole));
    return {};
  }

  Result<void> migrate(const quic::Path& to, quic::Migration how, TimePoint) override {
    migrations.emplace_back(to, how);
    current = to;
    return {};
  }
  Result<void> export_key(std::string_view, Bytes, MutableBytes out) override {
    if (!exported) return fail(Errc::crypto, "no key yet");
    std::ranges::fill(out, *exported);
    return {};
  }
  void ping() override { ++pings; }
  void close(std::uint64_t code, std::string_view text) override {
    if (!closed()) closed_with = quic::CloseReason{quic::CloseReason::By::local, true, code, std::string{text}};
  }

 private:
  std::int64_t next_ = 0;
};

}  // namespace ztna::test
