// An X.509 certificate (RFC 5280) taken apart into plain values; GnuTLS stays behind the .cc file.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"

namespace ztna::identity {

enum class KeyType : std::uint8_t { p256, ed25519, other };
/// "p256", "ed25519", "other": also what `ztnactl --key-type` takes.
std::string_view to_string(KeyType type);

/// What a peer must be allowed to do: extended key usage, RFC 5280 4.2.1.12.
enum class Purpose : std::uint8_t {
  client,  // id-kp-clientAuth: the peer dialled us
  server,  // id-kp-serverAuth: we dialled the peer
};
std::string_view to_string(Purpose purpose);

/// Owns copies of all fields. Text from a certificate is what the certificate says, NULs and all: pass it through
/// printable() before showing it.
struct Certificate {
  static constexpr std::size_t kMaxDer = 64 * 1024;  // above: refused unread
  static constexpr std::size_t kMaxNames = 1024;     // subject alternative names

  ByteVector der;
  ByteVector serial;  // big-endian, without leading zeros
  WallTime not_before;
  WallTime not_after;   // the last second in which it holds
  std::string subject;  // RFC 4514 text
  std::string issuer;
  std::vector<std::string> dns_names;           // SAN dNSName, in order
  std::vector<std::string> uris;                // SAN uniformResourceIdentifier
  std::vector<IpAddress> addresses;             // SAN iPAddress
  std::size_t other_names = 0;                  // SAN entries of other kinds
  std::vector<std::string> extended_key_usage;  // OIDs
  bool is_authority = false;                    // basicConstraints CA
  KeyType key_type = KeyType::other;
  std::string key_text;                        // e.g. "EC/ECDSA (256 bits)"
  std::array<std::uint8_t, 32> fingerprint{};  // SHA-256 of the DER

  /// Errors: too_large; malformed (not exactly one DER certificate, a SAN that cannot be read).
  static Result<Certificate> parse(Bytes der);
  /// The first certificate of a PEM text. Errors: as parse; not_found (no certificate in it).
  static Result<Certificate> parse_pem(std::string_view pem);
  /// Every certificate of a PEM text, in order, at most 16. Errors: as parse_pem; too_large.
  static Result<std::vector<Certificate>> parse_chain(std::string_view pem);

  bool valid_at(WallTime now) const { return not_before <= now && now <= not_after; }
  /// Exactly the named usage; anyExtendedKeyUsage does not count, nor does a certificate without the extension.
  bool allows(Purpose purpose) const;
  /// Is `host` (a DNS name in any case, or an IP address as text) among the names? Exact; wildcards match nothing.
  bool names_host(std::string_view host) const;
  /// One PEM block with a final newline.
  std::string to_pem() const;
};

/// "3f:0a:…" in lower case.
std::string colon_hex(Bytes bytes);
/// `text` with everything but printable ASCII written as \xNN, cut at `limit` octets: safe in a log line or a terminal.
std::string printable(std::string_view text, std::size_t limit = 256);

/// Verifies a chain: signatures up to an anchor, CA flags, path lengths, times at `now`, and the leaf's extended key
/// usage. `chain`: leaf first. `host`, if not empty, must be named by the leaf. SAN identities are Identity's business.
/// Errors: crypto (the text says which check failed), malformed.
Result<void> verify_chain(const std::vector<Certificate>& chain, const std::vector<Certificate>& anchors,
                          Purpose purpose, WallTime now, std::string_view host = {});

}  // namespace ztna::identity
