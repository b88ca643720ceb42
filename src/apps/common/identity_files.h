// Reads the PEM files that config::IdentityFiles names.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "config/types.h"

namespace ztna::apps {

inline constexpr std::size_t kMaxPemBytes = 1U << 20;

struct IdentityPem {
  std::string ca_cert;
  std::string cert;
  std::string key;
};

/// What the three files are called in messages; the Connector's --p2p-cert and --p2p-key go by their own names.
struct IdentityFlags {
  std::string_view ca_cert = "--ca-cert";
  std::string_view cert = "--cert";
  std::string_view key = "--key";
};

/// The first file that cannot be read is the error, one line that names flag, file and how to mend it: not_found,
/// denied, too_large, malformed (no PEM at all), io.
Result<IdentityPem> read_identity(const config::IdentityFiles& files);
/// The same with all errors; what could be read is in `pem`.
std::vector<Error> read_identity(const config::IdentityFiles& files, IdentityPem& pem, const IdentityFlags& flags = {});

/// Lines worth a warning: a key that other users can read.
std::vector<std::string> identity_warnings(const config::IdentityFiles& files);

/// A whole file; `what` begins the error's text. Errors as read_identity().
Result<std::string> read_file(std::string_view what, const std::string& path, std::size_t max_bytes);

}  // namespace ztna::apps
