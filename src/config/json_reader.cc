#include "config/json_reader.h"

#include <algorithm>
#include <cmath>

namespace ztna::config {
namespace {

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

bool is_plain_key(std::string_view key) {
  return !key.empty() && std::ranges::all_of(key, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

std::string join(std::string_view path, std::string_view key) {
  if (!is_plain_key(key)) return fmt::format("{}[{}]", path, dump(Json(std::string{key})));
  return path.empty() ? std::string{key} : fmt::format("{}.{}", path, key);
}

bool is_comment(std::string_view key) { return key.starts_with("_comment"); }

}  // namespace

void Value::reject(std::string_view rule) const {
  // A whole object or array says less than its path does.
  problems_->push_back(describe(file_, path_, json_->is_structured() ? "" : dump(*json_), rule));
}

std::optional<std::string> Value::text() const {
  if (json_->is_string()) return json_->get<std::string>();
  reject("needs a string in quotes");
  return std::nullopt;
}

std::optional<std::string> Value::file_path(std::string_view directory) const {
  auto path = text();
  if (!path) return std::nullopt;
  if (path->empty() || path->find('\0') != std::string::npos) {
    reject("needs the path of a file");
    return std::nullopt;
  }
  if (path->front() == '/' || directory.empty()) return path;
  return fmt::format("{}/{}", directory, *path);
}

std::optional<std::uint64_t> Value::integer(std::uint64_t min, std::uint64_t max, std::string_view unit) const {
  std::optional<std::uint64_t> value;
  if (json_->is_number_unsigned()) {
    value = json_->get<std::uint64_t>();
  } else if (json_->is_number_float()) {  // 4433.0 is an integer to JSON Schema
    const double number = json_->get<double>();
    if (number >= 0 && number < 9e15 && std::floor(number) == number) value = static_cast<std::uint64_t>(number);
  }
  if (value && *value >= min && *value <= max) return value;
  reject(fmt::format("needs a whole number{}{} from {} to {}", unit.empty() ? "" : " of ", unit, min, max));
  return std::nullopt;
}

std::optional<bool> Value::boolean() const {
  if (json_->is_boolean()) return json_->get<bool>();
  reject("needs true or false");
  return std::nullopt;
}

std::optional<Section> Value::section() const {
  if (json_->is_object()) return Section{*problems_, file_, *json_, path_};
  reject("needs an object in braces");
  return std::nullopt;
}

std::vector<Value> Value::items() const {
  std::vector<Value> values;
  if (!json_->is_array()) {
    reject("needs an array in square brackets");
    return values;
  }
  for (std::size_t i = 0; i < json_->size(); ++i) {
    values.emplace_back(*problems_, file_, (*json_)[i], fmt::format("{}[{}]", path_, i));
  }
  return values;
}

std::vector<Value> Value::one_or_many() const {
  if (json_->is_array()) return items();
  return {*this};
}

std::string Section::path_of(std::string_view key) const { return join(path_, key); }

std::optional<Value> Section::get(std::string_view key) {
  known_.push_back(key);
  const auto found = object_->find(key);
  if (found == object_->end()) return std::nullopt;
  return Value{*problems_, file_, *found, path_of(key)};
}

void Section::not_in_release(std::string_view key) {
  later_.push_back(key);
  const auto found = object_->find(key);
  if (found == object_->end()) return;
  Value{*problems_, file_, *found, path_of(key)}.reject("not in this release; leave it out");
}

void Section::reject(std::string_view rule) const { problems_->push_back(describe(file_, path_, "", rule)); }

void Section::done() const {
  for (const auto& [key, value] : object_->items()) {
    if (is_comment(key) || std::ranges::find(known_, key) != known_.end()) continue;
    if (std::ranges::find(later_, key) != later_.end()) continue;
    const auto near = nearest(key, known_);
    const std::string hint = near.empty() ? fmt::format("known here: {}", fmt::join(known_, ", "))
                                          : fmt::format("did you mean \"{}\"?", near);
    problems_->push_back(describe(file_, path_of(key), "", fmt::format("unknown key; {}", hint)));
  }
}

namespace {

constexpr std::size_t kMaxDepth = 16;  // the files are three deep
constexpr std::size_t kMaxFileBytes = 1U << 20;

/// Builds the value like nlohmann's own DOM handler, but notices keys that are given twice: the library keeps one
/// silently.
class Builder : public nlohmann::json_sax<Json> {
 public:
  Builder(std::string_view file, std::string_view text) : file_(file), text_(text) {}

  bool null() override { return put(Json(nullptr)); }
  bool boolean(bool value) override { return put(Json(value)); }
  bool number_integer(number_integer_t value) override { return put(Json(value)); }
  bool number_unsigned(number_unsigned_t value) override { return put(Json(value)); }
  bool number_float(number_float_t value, const string_t& /*text*/) override { return put(Json(value)); }
  bool string(string_t& value) override { return put(Json(std::move(value))); }
  bool binary(binary_t& /*value*/) override { return false; }
  bool start_object(std::size_t /*elements*/) override { return open(Json::object()); }
  bool end_object() override { return close(); }
  bool start_array(std::size_t /*elements*/) override { return open(Json::array()); }
  bool end_array() override { return close(); }
  bool key(string_t& value) override {
    auto& top = stack_.back();
    if (top.value.contains(value) && !is_comment(value)) {
      problems.push_back(describe(file_, join(path(), value), "", "given twice in one object; keep one of them"));
    }
    top.key = std::move(value);
    return true;
  }
  bool parse_error(std::size_t position, const std::string& /*token*/,
                   const nlohmann::detail::exception& error) override;

  Json root;
  Problems problems;

 private:
  struct Open {
    Json value;
    std::string key;  // of an object: where the next value goes
  };

  bool put(Json value) {
    if (stack_.empty()) {
      root = std::move(value);
    } else if (auto& top = stack_.back(); top.value.is_array()) {
      top.value.push_back(std::move(value));
    } else {
      top.value[top.key] = std::move(value);
    }
    return true;
  }
  bool open(Json value) {
    if (stack_.size() >= kMaxDepth) {
      problems.push_back(describe(file_, "", "", fmt::format("nested deeper than {} levels", kMaxDepth)));
      return false;
    }
    stack_.push_back({std::move(value), {}});
    return true;
  }
  bool close() {
    Json value = std::move(stack_.back().value);
    stack_.pop_back();
    return put(std::move(value));
  }
  std::string path() const {
    std::string path;
    for (std::size_t i = 0; i + 1 < stack_.size(); ++i) {
      const auto& level = stack_[i];
      path = level.value.is_array() ? fmt::format("{}[{}]", path, level.value.size()) : join(path, level.key);
    }
    return path;
  }

  std::string_view file_;
  std::string_view text_;
  std::vector<Open> stack_;
};

/// "unexpected '}'; expected string literal", out of the library's longer sentence.
std::string syntax_rule(std::string_view what, std::string_view before, char at) {
  const auto dash = what.find(" - ");
  std::string rule{dash == std::string_view::npos ? what : what.substr(dash + 3)};
  if (const auto read = rule.find("; last read: ");
      read != std::string::npos) {  // quotes the octet that the column names
    const auto next = rule.find("; expected", read);
    rule.erase(read, next == std::string::npos ? next : next - read);
  }
  if (at == '\'') return "strings and keys stand in double quotes";
  const auto last = before.find_last_not_of(" \t\r\n");
  const bool closes = (at == '}' || at == ']') && last != std::string_view::npos && before[last] == ',';
  if (closes) rule += " (no comma goes after the last entry)";
  if (at == '/' || at == '#') rule = "JSON has no comments; use a \"_comment\" key";
  return rule;
}

bool Builder::parse_error(std::size_t position, const std::string& /*token*/,
                          const nlohmann::detail::exception& error) {
  // `position` counts the octets read, the offending one included.
  const auto end = std::min(position, text_.size());
  const auto before = text_.substr(0, end == 0 ? 0 : end - 1);
  const auto line = 1 + std::ranges::count(before, '\n');
  const auto line_start = before.rfind('\n');
  const auto column = line_start == std::string_view::npos ? before.size() + 1 : before.size() - line_start;
  // The lexer may have read one octet past a broken literal, so look at the literal's own first one, too.
  char at = end == 0 ? '\0' : text_[end - 1];
  if (at != '/' && at != '#' && end >= 2 && text_[end - 2] == '/') at = '/';
  problems.push_back(
      describe(file_, fmt::format("line {}, column {}", line, column), "", syntax_rule(error.what(), before, at)));
  return false;
}

}  // namespace

Parsed<Json> parse_json(std::string_view text, std::string_view file) {
  const auto one = [&](std::string_view rule) { return tl::unexpected<Problems>{{describe(file, "", "", rule)}}; };
  if (text.size() > kMaxFileBytes) return one("is larger than 1 MiB");
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) return one("is empty; the least is {}");
  Builder builder{file, text};
  if (!Json::sax_parse(text, &builder) || !builder.problems.empty()) return tl::unexpected{std::move(builder.problems)};
  if (!builder.root.is_object()) return one("needs one JSON object { ... } at the top");
  return std::move(builder.root);
}

}  // namespace ztna::config
