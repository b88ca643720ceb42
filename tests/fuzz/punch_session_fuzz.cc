// One end of a session against a peer that has the key and means no good: probes from any address at any time,
// authentic ones too, and answers to what we sent. What is sent must stay within its bounds, whatever comes.
#include <array>
#include <map>

#include "fuzz.h"
#include "path/punch_session.h"
#include "support/fake_mac.h"
#include "support/seeded_random.h"

using namespace ztna;

namespace {

/// Consumes the input; zeros after its end.
struct Source {
  Bytes in;
  std::uint8_t u8() {
    if (in.empty()) return 0;
    const auto octet = in[0];
    in = in.subspan(1);
    return octet;
  }
  SocketAddress address() {
    const auto pick = u8();
    const auto port = static_cast<std::uint16_t>(u8() << 8 | u8());
    if (pick % 4 != 0) return {IpAddress::v4(0xCB00'7100U | pick), port};  // 203.0.113.x
    std::array<std::uint8_t, 16> octets{};
    for (auto& o : octets) o = u8();
    return {pick % 8 == 0 ? IpAddress::v6(octets) : IpAddress::v4(std::span<const std::uint8_t, 4>{octets.data(), 4}),
            port};
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using path::PunchSession;
  Source source{{data, size}};
  test::SeededRandom random{1};
  const auto mac = test::fake_mac(7);
  path::ProbePolicy policy;
  policy.intermediates = {IpAddress::v4(0xC000'0201)};
  TimePoint now{1s};
  const wire::SessionId id{{1}};
  PunchSession session{{.role = wire::Role::agent, .session = id, .mac = mac, .policy = policy}, random, now};
  session.start(now);
  std::vector<path::Outgoing> requests;
  std::map<SocketAddress, unsigned> asked;
  std::size_t answers = 0;
  const auto drain = [&] {
    for (auto& out : session.poll(now)) {
      require(policy.judge_source(out.to) == path::ProbeVerdict::allowed);
      const auto probe = wire::Probe::parse(out.octets);
      require(probe.has_value());
      if (probe->kind == wire::ProbeKind::response) {
        ++answers;
        continue;
      }
      require(++asked[out.to] <= PunchSession::kMaxProbes);
      requests.push_back(std::move(out));
    }
    require(session.poll(now).empty());
    require(session.deadline() > now);
  };
  while (!source.in.empty()) {
    switch (source.u8() % 5) {
      case 0: {  // any payload
        const auto length = std::min<std::size_t>(source.u8(), source.in.size());
        const auto probe = wire::Probe::parse(source.in.first(length));
        source.in = source.in.subspan(length);
        if (probe) session.receive(source.address(), *probe, now);
        break;
      }
      case 1: {  // a request of who has the key
        wire::Probe p{.session = id, .address = source.address()};
        p.transaction.value[0] = source.u8();
        p = *wire::Probe::parse(wire::encode_probe(p, wire::Role::connector, mac));
        session.receive(source.address(), p, now);
        break;
      }
      case 2: {  // an answer
        if (requests.empty()) break;
        const auto& request = requests[source.u8() % requests.size()];
        auto p = *wire::Probe::parse(request.octets);
        p.kind = wire::ProbeKind::response;
        p.address = source.address();
        p = *wire::Probe::parse(wire::encode_probe(p, wire::Role::connector, mac));
        session.receive(source.u8() % 2 == 0 ? request.to : source.address(), p, now);
        break;
      }
      case 3: {
        const wire::Candidate c{static_cast<wire::CandidateKind>(1 + source.u8() % 4), source.u8(), source.address()};
        session.add_remote(std::span{&c, 1}, now);
        break;
      }
      default: now += source.u8() * 1ms;
    }
    drain();
  }
  while (session.deadline() != kNever) {
    now = session.deadline();
    drain();
  }
  require(session.state() == PunchSession::State::ended);
  require(answers <= PunchSession::kMaxAnswers);
  require(asked.size() <= PunchSession::kMaxRemote + PunchSession::kMaxPeerReflexive);
  return 0;
}
