// Reading configuration from JSON with all problems collected. A Document owns the text's values; a Section is one
// object whose keys are asked for by name; what nobody asked for is an unknown key.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "config/problem.h"

namespace ztna::config {

using Json = nlohmann::ordered_json;

class Section;

/// One value and where it stands. Borrows from its Document.
class Value {
 public:
  Value(Problems& problems, std::string_view file, const Json& json, std::string path)
      : problems_(&problems), file_(file), json_(&json), path_(std::move(path)) {}

  // Each gives nothing, and one problem, when the value is of another kind or out of range.
  std::optional<std::string> text() const;
  std::optional<std::string> file_path(std::string_view directory) const;  // relative: joined to `directory`
  std::optional<std::uint64_t> integer(std::uint64_t min, std::uint64_t max, std::string_view unit = {}) const;
  std::optional<bool> boolean() const;
  std::optional<Section> section() const;
  std::vector<Value> items() const;        // of an array
  std::vector<Value> one_or_many() const;  // of an array, or the value itself

  /// A string put through `parser` (Result<T>(std::string_view)), whose error's text is the rule.
  template <typename Parser>
  auto parse(Parser&& parser) const -> std::optional<typename decltype(parser(std::string_view{}))::value_type> {
    const auto string = text();
    if (!string) return std::nullopt;
    auto result = parser(std::string_view{*string});
    if (!result) {
      reject(result.error().text);
      return std::nullopt;
    }
    return std::move(*result);
  }

  void reject(std::string_view rule) const;
  const Json& json() const { return *json_; }
  const std::string& path() const { return path_; }

 private:
  Problems* problems_;
  std::string_view file_;
  const Json* json_;
  std::string path_;
};

/// One JSON object. Call done() when all known keys were asked for.
class Section {
 public:
  Section(Problems& problems, std::string_view file, const Json& object, std::string path)
      : problems_(&problems), file_(file), object_(&object), path_(std::move(path)) {}

  /// The value of `key`, which is known from now on; nothing when it is not there.
  std::optional<Value> get(std::string_view key);
  bool has(std::string_view key) const { return object_->contains(key); }
  /// A key of a feature that is not built yet: known, and refused.
  void not_in_release(std::string_view key);
  /// A problem of the object itself.
  void reject(std::string_view rule) const;
  /// A problem for every key that was never asked for, except `_comment*`.
  void done() const;

 private:
  std::string path_of(std::string_view key) const;

  Problems* problems_;
  std::string_view file_;
  const Json* object_;
  std::string path_;
  std::vector<std::string_view> known_;
  std::vector<std::string_view> later_;  // of features not built yet: never suggested
};

/// The text as one JSON object. Problems: syntax (line and column), a key given twice in one object, no object at the
/// top, nesting above 16, more than 1 MiB.
Parsed<Json> parse_json(std::string_view text, std::string_view file);

}  // namespace ztna::config
