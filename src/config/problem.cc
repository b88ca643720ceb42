#include "config/problem.h"

#include <fmt/format.h>

#include <algorithm>

namespace ztna::config {
namespace {

constexpr std::size_t kShownValue = 80;

/// Lower case, without `_` and `-`: serverHost, server_host and --server-host are the same word.
std::string fold(std::string_view word) {
  std::string out;
  for (const char c : word) {
    if (c == '_' || c == '-') continue;
    out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return out;
}

/// Damerau-Levenshtein with adjacent swaps ("optimal string alignment").
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0U : 1U)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

}  // namespace

std::string describe(std::string_view file, std::string_view path, std::string_view value, std::string_view rule) {
  std::string line;
  if (!file.empty()) line += fmt::format("{}: ", file);
  line += path;
  if (!value.empty()) {
    auto shown = value.substr(0, kShownValue);
    if (shown.size() < value.size()) {
      while (!shown.empty() && (static_cast<unsigned char>(value[shown.size()]) & 0xC0U) == 0x80U)
        shown.remove_suffix(1);
    }
    line += fmt::format(" = {}{}", shown, shown.size() < value.size() ? "..." : "");
  }
  if (!path.empty()) line += ": ";
  line += rule;
  return line;
}

std::string_view nearest(std::string_view word, const std::vector<std::string_view>& known) {
  if (word.size() > 64) return {};
  const auto wanted = fold(word);
  std::string_view best;
  std::size_t best_distance = std::max<std::size_t>(1, wanted.size() / 3) + 1;  // a third of the letters may be wrong
  for (const auto candidate : known) {
    const auto folded = fold(candidate);
    auto d = distance(wanted, folded);
    // "cert" for "cert_path", "metrics" for "metricsPort".
    if (wanted.size() >= 3 && (folded.starts_with(wanted) || wanted.starts_with(folded)))
      d = std::min<std::size_t>(d, 1);
    if (d < best_distance) {
      best_distance = d;
      best = candidate;
    }
  }
  return best;
}

}  // namespace ztna::config
