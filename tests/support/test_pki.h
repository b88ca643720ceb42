// Certificates made in the test itself, with GnuTLS. Independent of src/identity, so that the two check each other.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace ztna::test {

enum class KeyKind { p256, ed25519 };
enum class Purpose { client, server, both, none };

struct LeafSpec {
  std::string common_name = "leaf";
  std::vector<std::string> dns;
  std::vector<std::string> uris;
  std::vector<std::string> ips;  // textual
  Purpose purpose = Purpose::both;
  KeyKind key = KeyKind::p256;
  std::chrono::seconds not_before{-3600};  // from now
  std::chrono::seconds not_after{86400};
};

struct PemPair {
  std::string cert;
  std::string key;
};

class TestCa {
 public:
  explicit TestCa(std::string name = "test CA", KeyKind key = KeyKind::p256);
  ~TestCa();
  TestCa(TestCa&&) noexcept;

  const std::string& pem() const { return pem_; }
  PemPair issue(const LeafSpec& spec) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
  std::string pem_;
};

/// While it lives, GnuTLS sees a clock that is `offset` ahead: for certificates that expire in between.
class ShiftedWallClock {
 public:
  explicit ShiftedWallClock(std::chrono::seconds offset);
  ~ShiftedWallClock();
  ShiftedWallClock(const ShiftedWallClock&) = delete;
  ShiftedWallClock& operator=(const ShiftedWallClock&) = delete;
};

}  // namespace ztna::test
