// Files of the operator: whole reads, and writes that never leave a half file or replace a key unasked.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "base/result.h"

namespace ztna::ctl {

enum class Replace : std::uint8_t { no, yes };

/// Errors name the file: not_found, denied, too_large (over 1 MiB), io.
Result<std::string> read_file(const std::string& path);
/// The file appears whole, with exactly `mode`, or not at all. Errors name the file: conflict (it exists and
/// Replace::no, also when it appears meanwhile), denied, not_found, io.
Result<void> write_file(const std::string& path, std::string_view content, mode_t mode, Replace replace);
/// With parents; an existing directory is left as it is. Errors name the directory: denied, io.
Result<void> make_directories(const std::string& path);
bool exists(const std::string& path);
/// Can users besides the owner read or write it?
bool open_to_others(const std::string& path);
/// `directory` and `file` with one slash between.
std::string join(std::string_view directory, std::string_view file);

}  // namespace ztna::ctl
