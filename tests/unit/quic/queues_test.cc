// The parts that need no connection: send buffer, datagram queue, packet rows, deadlines, path aliases.
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "quic/datagram_queue.h"
#include "quic/deadline_heap.h"
#include "quic/packet_batch.h"
#include "quic/path_aliases.h"
#include "quic/send_buffer.h"

namespace ztna::quic {
namespace {

ByteVector peek_all(const SendBuffer& buffer) {
  std::array<Bytes, 64> views;
  ByteVector out;
  const auto n = buffer.peek(views);
  for (std::size_t i = 0; i < n; ++i) out.insert(out.end(), views[i].begin(), views[i].end());
  return out;
}

Chunk chunk_of(std::size_t size, std::uint8_t first) {
  auto chunk = Chunk::allocate();
  for (std::size_t i = 0; i < size; ++i) chunk.space()[i] = static_cast<std::uint8_t>(first + i);
  chunk.grow(size);
  return chunk;
}

TEST(SendBuffer, EmptyChunksAreNothing) {
  SendBuffer buffer;
  buffer.push(Chunk{});
  buffer.push(Chunk::allocate());
  buffer.append({});
  EXPECT_EQ(buffer.unsent(), 0U);
  EXPECT_TRUE(peek_all(buffer).empty());
}

TEST(SendBuffer, AcknowledgedBeyondWhatWasSentFreesOnlyWhatWasSent) {
  SendBuffer buffer;
  buffer.push(chunk_of(10, 0));
  buffer.acknowledge(1000);
  EXPECT_EQ(peek_all(buffer).size(), 10U);
}

TEST(SendBuffer, DropUnsentKeepsWhatWasSent) {
  SendBuffer buffer;
  for (int i = 0; i < 5; ++i) buffer.push(chunk_of(100, 0));
  std::array<Bytes, 2> views;
  buffer.peek(views);
  const auto* sent = views[0].data();
  buffer.mark_sent(150);
  buffer.drop_unsent();
  EXPECT_EQ(buffer.unsent(), 0U);
  EXPECT_EQ(sent[99], 99);  // still there: ASan would tell
  buffer.acknowledge(150);
}

TEST(SendBuffer, SeveralKeepTheSumOfWhatIsUnsent) {
  std::size_t total = 0;
  SendBuffer one{total};
  {
    SendBuffer other{total};
    one.append(ByteVector(100'000));
    other.push(chunk_of(1000, 0));
    EXPECT_EQ(total, 101'000U);
    one.mark_sent(40'000);
    one.acknowledge(20'000);
    EXPECT_EQ(total, 61'000U);
  }
  EXPECT_EQ(total, 60'000U) << "one that is gone has nothing unsent";
  one.drop_unsent();
  EXPECT_EQ(total, 0U);
}

TEST(SendBuffer, RandomWritesSendsAndAcksKeepTheOctets) {
  std::mt19937 random{3};
  SendBuffer buffer;
  ByteVector written;
  std::size_t sent = 0;
  std::uint64_t acked = 0;
  for (int i = 0; i < 20'000; ++i) {
    switch (random() % 4) {
      case 0: {
        const auto size = random() % 5000;
        buffer.push(chunk_of(size, static_cast<std::uint8_t>(i)));
        for (std::size_t k = 0; k < size; ++k)
          written.push_back(static_cast<std::uint8_t>(static_cast<std::size_t>(i) + k));
        break;
      }
      case 1: {
        ByteVector data(random() % 100);
        for (auto& octet : data) octet = static_cast<std::uint8_t>(random());
        buffer.append(data);
        written.insert(written.end(), data.begin(), data.end());
        break;
      }
      case 2: {
        std::array<Bytes, 4> views;
        const auto n = buffer.peek(views);
        std::size_t offered = 0;
        for (std::size_t k = 0; k < n; ++k) {
          ASSERT_TRUE(
              std::equal(views[k].begin(), views[k].end(), written.begin() + static_cast<long>(sent + offered)));
          offered += views[k].size();
        }
        const auto taken = offered == 0 ? 0 : random() % (offered + 1);
        buffer.mark_sent(taken);
        sent += taken;
        break;
      }
      default:
        acked += sent == acked ? 0 : random() % (sent - acked + 1);
        buffer.acknowledge(acked);
        break;
    }
    ASSERT_EQ(buffer.unsent(), written.size() - sent);
  }
}

TEST(DatagramQueue, BoundedAlsoForEmptyPayloads) {
  DatagramQueue queue{1000};
  int accepted = 0;
  while (queue.push({}, {})) ++accepted;
  EXPECT_LE(accepted, 20);
  EXPECT_GT(accepted, 5);
}

TEST(DatagramQueue, LargeOnesStepAsideAndExpire) {
  DatagramQueue queue{100'000};
  const ByteVector large(1300);
  const ByteVector small(10);
  const TimePoint start{1s};
  ASSERT_TRUE(queue.push({}, large));
  ASSERT_TRUE(queue.push({}, small));
  auto* item = queue.next(1000, start);
  ASSERT_NE(item, nullptr);
  EXPECT_EQ(item->size(), 10U);
  queue.pop();
  EXPECT_EQ(queue.next(1000, start), nullptr);
  EXPECT_EQ(queue.deadline(), start + 200ms);
  EXPECT_EQ(queue.expire(start + 199ms), 0U);
  EXPECT_EQ(queue.expire(start + 200ms), 1U);
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.bytes(), 0U);
}

TEST(DatagramQueue, OwnsBodiesWithEmptyOnesInBetween) {
  DatagramQueue queue{100'000};
  ByteVector a(5, 1);
  ByteVector b(5, 2);
  ASSERT_TRUE(queue.push(a, a));
  ASSERT_TRUE(queue.push({}, {}));
  ASSERT_TRUE(queue.push({}, b));
  queue.own();
  a.assign(5, 9);
  b.assign(5, 9);
  EXPECT_EQ(queue.next(1000, {})->body()[0], 1);
  queue.pop();
  EXPECT_EQ(queue.next(1000, {})->size(), 0U);
  queue.pop();
  EXPECT_EQ(queue.next(1000, {})->body()[0], 2);
}

struct Rows final : PacketSink {
  std::size_t headroom(const Path& path) const override { return path.remote.port == 2 ? 10 : 0; }
  void send(const Path& path, MutableBytes buffer, std::size_t segment) override {
    const auto head = headroom(path);
    for (std::size_t at = 0; at < buffer.size(); at += segment) {
      const auto packet = buffer.subspan(at, std::min(segment, buffer.size() - at)).subspan(head);
      packets.emplace_back(packet.begin(), packet.end());
    }
    EXPECT_LE(buffer.size(), PacketBatch::kMaxOctets);
    rows.push_back((buffer.size() + segment - 1) / segment);
  }
  bool writable() const override { return true; }
  std::vector<ByteVector> packets;
  std::vector<std::size_t> rows;
};

TEST(PacketBatch, RandomPacketsArriveWholeAndInOrder) {
  std::mt19937 random{8};
  PacketBatch batch;
  Rows sink;
  std::vector<ByteVector> sent;
  Path path;
  for (int i = 0; i < 5000; ++i) {
    if (random() % 10 == 0) path.remote.port = static_cast<std::uint16_t>(1 + random() % 3);
    // The path is known only after the packet was written.
    Path guess = path;
    if (random() % 20 == 0) guess.remote.port = static_cast<std::uint16_t>(1 + random() % 3);
    const auto space = batch.space(sink.headroom(guess), 1452, sink);
    const auto size = random() % 4 == 0 ? 1 + random() % 1452 : 1400;
    for (std::size_t k = 0; k < size; ++k) space[k] = static_cast<std::uint8_t>(random());
    sent.emplace_back(space.begin(), space.begin() + static_cast<long>(size));
    batch.add(path, size, sink);
    if (random() % 100 == 0) batch.flush(sink);
  }
  batch.flush(sink);
  EXPECT_TRUE(sink.packets == sent);
}

TEST(PacketBatch, RowsHoldUpTo64PacketsAndEndWithAShorterOne) {
  PacketBatch batch;
  Rows sink;
  for (int i = 0; i < 100; ++i) {
    batch.space(0, 1000, sink);
    batch.add({}, 500, sink);
  }
  batch.space(0, 1000, sink);
  batch.add({}, 400, sink);
  batch.space(0, 1000, sink);
  batch.add({}, 500, sink);
  batch.flush(sink);
  EXPECT_EQ(sink.rows, (std::vector<std::size_t>{64, 37, 1}));
}

struct Owner {
  std::size_t heap_slot = kNoSlot;
  TimePoint at = kNever;
};

TEST(DeadlineHeap, AgreesWithASortedSet) {
  std::mt19937 random{2};
  DeadlineHeap<Owner> heap;
  std::vector<Owner> owners(200);
  for (int i = 0; i < 50'000; ++i) {
    auto& owner = owners[random() % owners.size()];
    if (random() % 5 == 0) {
      heap.remove(owner);
      owner.at = kNever;
    } else {
      owner.at = random() % 20 == 0 ? kNever : TimePoint{Duration{random() % 1000}};
      heap.set(owner, owner.at);
    }
    const auto least = std::ranges::min_element(owners, {}, &Owner::at)->at;
    ASSERT_EQ(heap.earliest(), least);
    if (least != kNever) {
      ASSERT_EQ(heap.top()->at, least);
    }
  }
}

TEST(PathAliases, UnauthenticPacketsLeaveNothingBehind) {
  PathAliases aliases;
  const Path path{{IpAddress::v4(1), 1}, {IpAddress::v4(2), 2}};
  const std::array<std::uint8_t, 8> id{1};
  ngtcp2_path_storage shown = aliases.add(path, Cid{id}, false).shown;
  shown.path.local.addr = &shown.local_addrbuf.sa;
  shown.path.remote.addr = &shown.remote_addrbuf.sa;
  EXPECT_EQ(aliases.real(shown.path), nullptr);
  EXPECT_EQ(aliases.find(path, Cid{id}), nullptr);
  aliases.add(path, Cid{id}, false);
  aliases.keep(shown.path);
  ASSERT_NE(aliases.find(path, Cid{id}), nullptr);
  ASSERT_NE(aliases.real(shown.path), nullptr);
  EXPECT_EQ(*aliases.real(shown.path), path);
}

TEST(PathAliases, AStrangersPacketIsForgottenByTheNext) {
  PathAliases aliases;
  const Path path{{IpAddress::v4(1), 1}, {IpAddress::v4(2), 2}}, strange{{IpAddress::v4(1), 1}, {IpAddress::v4(3), 3}};
  const std::array<std::uint8_t, 8> id{1};
  ngtcp2_path_storage shown, forged;
  to_storage(from_ngtcp2(aliases.add(path, Cid{id}, false).shown.path), shown);
  aliases.keep(shown.path);
  to_storage(from_ngtcp2(aliases.add(strange, Cid{id}, false).shown.path), forged);
  EXPECT_NE(aliases.find(path, Cid{id}), nullptr);
  aliases.keep(shown.path);  // of the packet that find() knew
  EXPECT_EQ(aliases.real(forged.path), nullptr);
  EXPECT_EQ(aliases.find(strange, Cid{id}), nullptr);
}

TEST(PathAliases, ANewAddressOfThePeerIsNotMadeUp) {
  PathAliases aliases;
  const Path path{{IpAddress::v4(1), 1}, {IpAddress::v4(2), 2}}, moved{{IpAddress::v4(1), 1}, {IpAddress::v4(2), 3}};
  const std::array<std::uint8_t, 8> id{1};
  aliases.add(path, Cid{id}, true);
  ngtcp2_path_storage current;
  to_storage(path, current);
  aliases.keep(current.path);
  EXPECT_EQ(from_ngtcp2(aliases.add(moved, Cid{id}, true).shown.path).remote.ip, moved.remote.ip)
      << "a NAT that rebinds keeps the window (RFC 9000 9.4)";
}

TEST(PathAliases, AnotherIdOnTheSamePathIsAnotherPathAndTheTableIsBounded) {
  PathAliases aliases;
  const Path path{{IpAddress::v4(1), 1}, {IpAddress::v4(2), 2}};
  std::set<std::pair<IpAddress, std::uint16_t>> shown_as;
  auto before = path.remote.ip;
  ngtcp2_path_storage current;
  for (std::uint8_t i = 0; i < 100; ++i) {
    const std::array<std::uint8_t, 8> id{i};
    const bool anew = i % 4 >= 2;
    ASSERT_EQ(aliases.find(path, Cid{id}), nullptr);
    const auto shown = from_ngtcp2(aliases.add(path, Cid{id}, anew).shown.path);
    EXPECT_EQ(shown.remote.ip != before, anew) << "another address each time that it is anew, else the same";
    before = shown.remote.ip;
    EXPECT_EQ(shown.local, path.local);
    shown_as.insert({shown.remote.ip, shown.remote.port});
    if (i == 0) to_storage(shown, current);
    aliases.keep(current.path);
  }
  EXPECT_EQ(shown_as.size(), 100U);
  EXPECT_NE(aliases.real(current.path), nullptr);
}

}  // namespace
}  // namespace ztna::quic
