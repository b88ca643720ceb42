// Golden bytes of every message and header (docs/protocol.md), in hexadecimal. Blanks separate fields. The unit tests
// check them; tests/fuzz/make_corpus.cc makes the fuzzers' seeds of them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "wire/control/message.h"
#include "wire/probe.h"

namespace ztna::wire::golden {

/// Octets of hexadecimal text with blanks.
inline ByteVector hex(std::string_view text) {
  const auto digit = [](char c) { return static_cast<std::uint8_t>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10); };
  ByteVector out;
  bool high = true;
  for (const char c : text) {
    if (c == ' ' || c == '\n') continue;
    if (high) {
      out.push_back(static_cast<std::uint8_t>(digit(c) << 4));
    } else {
      out.back() = static_cast<std::uint8_t>(out.back() | digit(c));
    }
    high = !high;
  }
  return out;
}

inline IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }
inline SocketAddress address(std::string_view text) { return SocketAddress::parse(text).value(); }
inline ServiceId service(std::string_view text) { return ServiceId::parse(text).value(); }

inline constexpr TunnelId kTunnel{{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}};
inline constexpr SessionId kSession{{0xA0, 0xA1, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7}};
inline constexpr InstanceId kInstance{{0xB0, 0xB1, 0xB2, 0xB3, 0xB4, 0xB5, 0xB6, 0xB7}};
inline constexpr TransactionId kTransaction{{0xC0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}};

template <typename Message>
struct Frame {
  std::string_view name;
  Message message;
  std::string_view frame;  // type, length, body
};

/// docs/protocol.md 3.
inline std::vector<Frame<ControlMessage>> control() {
  return {
      {"hello", Hello{1, "ztna/0.1", 5, kInstance}, "3f 13 01 08 7a746e612f302e31 05 b0b1b2b3b4b5b6b7"},
      {"observed_address_v4", ObservedAddress{address("192.0.2.1:4433")}, "01 07 04 c0000201 1151"},
      {"observed_address_v6", ObservedAddress{address("[2001:db8::1]:4433")},
       "01 13 06 20010db8000000000000000000000001 1151"},
      {"probe_port", ProbePort{4434}, "02 02 1152"},
      {"register_agent", RegisterAgent{"web"}, "10 04 03 776562"},
      {"register_agent_all", RegisterAgent{"*"}, "10 02 01 2a"},
      {"register_connector", RegisterConnector{"web", 0x1234, {ip("10.100.0.1"), ip("fd00::1")}},
       "11 1d 03 776562 5234 02 04 0a640001 06 fd000000000000000000000000000001"},
      {"registration_ack", RegistrationAck{"web", {ip("10.100.0.1")}}, "12 0b 00 03 776562 01 04 0a640001"},
      {"registration_nack", RegistrationNack{RegistrationStatus::address_conflict, "web", "taken"},
       "13 0b 03 03 776562 05 74616b656e"},
      {"candidate_offer",
       CandidateOffer{kSession,
                      kTunnel,
                      NatMapping::endpoint_independent,
                      NatFiltering::address_dependent,
                      {{CandidateKind::server_reflexive, 0x01020304, address("192.0.2.1:4433")}}},
       "20 28 a0a1a2a3a4a5a6a7 000102030405060708090a0b0c0d0e0f 02 03 01 02 01020304 04 c0000201 1151 00"},
      {"candidate_answer",
       CandidateAnswer{kSession, kTunnel, NatMapping::address_and_port_dependent, NatFiltering::unknown, {}},
       "21 1c a0a1a2a3a4a5a6a7 000102030405060708090a0b0c0d0e0f 04 00 00 00"},
      {"birthday_offer",
       CandidateOffer{kSession,
                      kTunnel,
                      NatMapping::address_and_port_dependent,
                      NatFiltering::address_and_port_dependent,
                      {},
                      PunchingMethod::birthday},
       "20 1c a0a1a2a3a4a5a6a7 000102030405060708090a0b0c0d0e0f 04 04 00 01"},
      {"birthday_answer",
       CandidateAnswer{kSession,
                       kTunnel,
                       NatMapping::endpoint_independent,
                       NatFiltering::address_and_port_dependent,
                       {},
                       PunchingMethod::birthday},
       "21 1c a0a1a2a3a4a5a6a7 000102030405060708090a0b0c0d0e0f 02 04 00 01"},
      {"start_punching", StartPunching{kSession, 250, address("192.0.2.1:4433")},
       "22 11 a0a1a2a3a4a5a6a7 00fa 04 c0000201 1151"},
      {"start_punching_v6", StartPunching{kSession, 0, address("[2001:db8::1]:4433")},
       "22 1d a0a1a2a3a4a5a6a7 0000 06 20010db8000000000000000000000001 1151"},
      {"punching_result", PunchingResult{kSession, PunchingOutcome::reached, address("192.0.2.1:4433")},
       "23 10 a0a1a2a3a4a5a6a7 01 04 c0000201 1151"},
      {"punching_failed", PunchingResult{kSession, PunchingOutcome::failed, {}},
       "23 10 a0a1a2a3a4a5a6a7 00 04 00000000 0000"},
      {"signaling_error", SignalingError{kSession, SignalingErrorCode::not_yours, "no"},
       "24 0c a0a1a2a3a4a5a6a7 03 02 6e6f"},
      {"route_request", RouteRequest{kTunnel, "web", "c1"}, "30 17 000102030405060708090a0b0c0d0e0f 03 776562 02 6331"},
      {"route_opened",
       RouteOpened{kTunnel, RouteId{0x0711121314151617}, Role::connector, kInstance, "c1", service("web")},
       "31 28 000102030405060708090a0b0c0d0e0f 0711121314151617 02 b0b1b2b3b4b5b6b7 02 6331 03 776562"},
      {"route_closed", RouteClosed{kTunnel, RouteCloseReason::peer_gone}, "32 11 000102030405060708090a0b0c0d0e0f 04"},
      {"path_report", PathReport{kTunnel, PathKind::direct, true}, "33 12 000102030405060708090a0b0c0d0e0f 02 01"},
      {"service_up", ServiceUp{service("web"), {ip("10.100.0.1")}}, "38 0a 03 776562 01 04 0a640001"},
      {"service_down", ServiceDown{service("web"), ServiceDownReason::unhealthy}, "39 05 03 776562 03"},
      {"catalog", Catalog{true, {{service("web"), {ip("10.100.0.1")}}, {service("a.b"), {}}}},
       "3a 11 01 02 03 776562 01 04 0a640001 03 612e62 00"},
      {"drain", Drain{3000}, "3b 04 00000bb8"},
      {"revoked", Revoked{"laptop-7"}, "3c 09 08 6c6170746f702d37"},
  };
}

/// docs/protocol.md 4.
inline std::vector<Frame<TunnelMessage>> tunnel() {
  return {
      {"hello", Hello{1, "ztna/0.1", 0, kInstance}, "3f 13 01 08 7a746e612f302e31 00 b0b1b2b3b4b5b6b7"},
      {"open_service", OpenService{ServiceHandle{0x0102}, "web"}, "40 06 0102 03 776562"},
      {"service_opened", ServiceOpened{ServiceHandle{0x0102}, RegistrationStatus::not_permitted}, "41 03 0102 01"},
      {"service_opened_no_such", ServiceOpened{ServiceHandle{0x0102}, RegistrationStatus::no_such_service},
       "41 03 0102 08"},
      {"close_service", CloseService{ServiceHandle{0x0102}, ServiceCloseReason::no_such_service}, "42 03 0102 02"},
  };
}

struct Named {
  std::string_view name;
  std::string_view octets;
};

/// docs/protocol.md 2.
inline constexpr Named kRelayDatagram{"relay", "2f 08 0711121314151617 40414243"};
/// docs/protocol.md 4.1.
inline constexpr Named kTunnelDatagram{"packet", "2f 02 0102 4500"};
inline constexpr Named kFirstPart{"first_part", "2e 0a0b 0001 2f02010245000000"};
inline constexpr Named kLastPart{"last_part", "2e 0a0b 0008 112233"};
/// docs/protocol.md 4.2.
inline constexpr Named kStreamHeader{"v4", "30 0102 04 01bb"};

/// docs/protocol.md 5; the mac is 16 octets of 0xEE.
struct GoldenProbe {
  std::string_view name;
  Probe probe;
  std::string_view octets;
};
inline std::vector<GoldenProbe> probes() {
  ProbeMac mac;
  mac.fill(0xEE);
  return {
      {"request",
       {ProbeKind::request, kSession, kTransaction, address("192.0.2.1:4433"), mac},
       "1a 01 a0a1a2a3a4a5a6a7 c00102030405060708090a0b 04 c0000201 1151 eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"},
      {"response",
       {ProbeKind::response, kSession, kTransaction, address("[2001:db8::1]:1"), mac},
       "1a 02 a0a1a2a3a4a5a6a7 c00102030405060708090a0b 06 20010db8000000000000000000000001 0001 "
       "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"},
      {"open_request",
       {ProbeKind::open_request, kSession, kTransaction, address("192.0.2.1:4433"), {}},
       "1a 11 a0a1a2a3a4a5a6a7 c00102030405060708090a0b 04 c0000201 1151 000000000000000000000000"},
      {"open_response",
       {ProbeKind::open_response, kSession, kTransaction, address("192.0.2.1:4433"), {}},
       "1a 12 a0a1a2a3a4a5a6a7 c00102030405060708090a0b 04 c0000201 1151"},
      {"open_request_other",
       {ProbeKind::open_request_other, kSession, kTransaction, address("[2001:db8::1]:4433"), {}},
       "1a 13 a0a1a2a3a4a5a6a7 c00102030405060708090a0b 06 20010db8000000000000000000000001 1151"},
  };
}

/// IP packets with right checksums, computed by a script in another language.
inline constexpr Named kIpPackets[] = {
    // 10.0.0.1 or fd00::1, port 1000, to 10.0.0.2 or fd00::2: UDP "hello" to port 7, TCP to port 80
    {"udp4", "45000021 12344000 40111496 0a000001 0a000002 03e80007 000da410 68656c6c 6f"},
    {"udp6",
     "60000000 000d1140 fd000000 00000000 00000000 00000001 fd000000 00000000 00000000 00000002 03e80007 000dbe0e "
     "68656c6c 6f"},
    {"tcp4_syn", "4500002c 12344000 40061496 0a000001 0a000002 03e80050 11223344 00000000 6002faf0 40950000 020405b4"},
    {"tcp6_data",
     "60000000 00170640 fd000000 00000000 00000000 00000001 fd000000 00000000 00000000 00000002 03e80050 11223344 "
     "55667788 5018faf0 0a020000 474554"},
    {"icmp4_echo", "45000020 12344000 400114a7 0a000001 0a000002 0800192c 00010002 70696e67"},
    {"icmp6_echo",
     "60000000 000c3a40 fd000000 00000000 00000000 00000001 fd000000 00000000 00000000 00000002 8000a6e0 00010002 "
     "70696e67"},
    {"udp4_options", "46000025 12344000 40117f8d 0a000001 0a000002 94040000 03e80007 000da410 68656c6c 6f"},
    {"udp6_extensions",
     "60000000 001d0040 fd000000 00000000 00000000 00000001 fd000000 00000000 00000000 00000002 3c000104 00000000 "
     "11000104 00000000 03e80007 000dbe0e 68656c6c 6f"},
    {"udp4_first_fragment", "45000024 12342000 40113493 0a000001 0a000002 03e80007 0018af8c 00010203 04050607"},
    {"udp4_last_fragment", "4500001c 12340002 40115499 0a000001 0a000002 08090a0b 0c0d0e0f"},
    {"udp6_first_fragment",
     "60000000 00182c40 fd000000 00000000 00000000 00000001 fd000000 00000000 00000000 00000002 11000001 deadbeef "
     "03e80007 0018c98a 00010203 04050607"},
    {"udp6_last_fragment",
     "60000000 00102c40 fd000000 00000000 00000000 00000001 fd000000 00000000 00000000 00000002 11000010 deadbeef "
     "08090a0b 0c0d0e0f"},
};

inline ByteVector ip_packet(std::string_view name) {
  for (const auto& p : kIpPackets) {
    if (p.name == name) return hex(p.octets);
  }
  return {};
}

}  // namespace ztna::wire::golden
