// Whole files. Errors read "certs/key.pem: Permission denied" and carry: not_found, denied, too_large, conflict, io.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "base/result.h"

namespace ztna::os {

/// Regular files (and pipes) up to `limit` octets; a directory is an error.
Result<std::string> read_file(const std::string& path, std::size_t limit = 1U << 20U);

/// Readers see the old content or the new one, never a part: temporary file in the same directory, fsync, rename. The
/// new file has exactly `mode`.
Result<void> write_file_atomic(const std::string& path, std::string_view content, mode_t mode = 0644);

/// With parents, like mkdir -p; new directories get exactly `mode`. An existing directory is left as it is.
Result<void> create_directories(const std::string& path, mode_t mode = 0755);

bool file_exists(const std::string& path);
/// A missing file is not an error.
Result<void> remove_file(const std::string& path);

}  // namespace ztna::os
