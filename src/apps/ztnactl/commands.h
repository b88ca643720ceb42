// The subcommands. Each adds itself to the command line; the one that was chosen is run afterwards.
#pragma once

#include <functional>
#include <string>

#include <CLI/CLI.hpp>

#include "base/result.h"
#include "base/time.h"
#include "identity/certificate.h"

namespace ztna::ctl {

inline constexpr int kExitOk = 0;
inline constexpr int kExitUnfit = 1;  // inspect: no program would accept this certificate now
inline constexpr int kExitUsage = 2;  // usage, files, or a feature of a later release

/// What main() runs after parsing: an exit code, or an error whose text is printed as one line with exit 2.
using Command = std::function<Result<int>()>;

void add_ca_command(CLI::App& app, Command& chosen);
void add_issue_command(CLI::App& app, Command& chosen);
void add_inspect_command(CLI::App& app, Command& chosen);

/// Shared by the subcommands.
WallTime now();
/// `text` is p256 or ed25519: the command line allows nothing else.
identity::KeyType key_type_from(const std::string& text);
void add_key_type_option(CLI::App& app, std::string& value);
/// CLI::Range without its noise in the help text.
CLI::Validator range(unsigned low, unsigned high);
/// "2026-01-01 00:00:00 UTC"
std::string date_text(WallTime time);
/// "29 days 23 h", "5 h 10 min", "40 s": two units at most.
std::string span_text(std::chrono::seconds span);
/// Quoted for a POSIX shell if it needs it.
std::string shell_quoted(const std::string& text);

}  // namespace ztna::ctl
