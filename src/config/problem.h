// What is wrong with a configuration: every problem is one line that names the place, the value and the rule.
//
//   connector.json: services[1].backend = "10.0.0.5": needs host:port, or "ports" beside it
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

namespace ztna::config {

/// Lines for people. All problems are collected, not only the first.
using Problems = std::vector<std::string>;

/// A configuration, or at least one problem.
template <typename T>
using Parsed = tl::expected<T, Problems>;

/// `file: path = value: rule`. An empty `file` or `value` is left out with its punctuation; `value` is as it stands in
/// the file (strings quoted), cut after 80 octets.
std::string describe(std::string_view file, std::string_view path, std::string_view value, std::string_view rule);

/// "did you mean" for a key or a word: the known one that is nearest, by edit distance without regard to case, `_` and
/// `-`, or that starts with it. Empty when none is near.
std::string_view nearest(std::string_view word, const std::vector<std::string_view>& known);

}  // namespace ztna::config
