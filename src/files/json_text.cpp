#include "files/json_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <vector>

namespace expertile {
namespace {

using Json = nlohmann::json;

// First pass: refuses what must not become a document. The parser keeps its own stack, but a document's destructor and
// dump recurse.
class Screen : public nlohmann::json_sax<Json> {
 public:
  explicit Screen(const JsonLimits& limits) : limits_(limits) {}
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override { return enter(); }
  bool end_object() override { return leave(); }
  bool start_array(std::size_t) override { return enter(); }
  bool end_array() override { return leave(); }
  bool key(string_t& text) override {
    if (!limits_.refuse_repeated_keys || keys_.back().insert(text).second) return true;
    problem_ = fmt::format("key {} appears twice", shown(text));
    return false;
  }
  bool parse_error(std::size_t position, const std::string&, const Json::exception&) override {
    position_ = position;
    return false;
  }

  // What is wrong, for a text whose parse stopped.
  [[nodiscard]] std::string problem(std::string_view text) const {
    if (!problem_.empty()) return problem_;
    const std::string_view before = text.substr(0, std::min(position_ == 0 ? 0 : position_ - 1, text.size()));
    const auto line = std::count(before.begin(), before.end(), '\n') + 1;
    const std::size_t newline = before.rfind('\n');
    const std::size_t column = newline == std::string_view::npos ? before.size() + 1 : before.size() - newline;
    return fmt::format("not valid JSON at line {}, column {}", line, column);
  }

 private:
  bool enter() {
    keys_.emplace_back();
    if (keys_.size() <= limits_.depth) return true;
    problem_ = fmt::format("nested deeper than {} levels", limits_.depth);
    return false;
  }
  bool leave() {
    keys_.pop_back();
    return true;
  }

  JsonLimits limits_;
  std::vector<std::set<std::string>> keys_;  // of every open object; empty for an open array
  std::string problem_;
  std::size_t position_ = 0;
};

// Where `text` has one of Python's numbers that JSON has not, at `begin`, outside of a string: its length, else 0.
std::size_t python_number_at(std::string_view text, std::size_t begin) {
  for (const std::string_view word : {"Infinity", "-Infinity", "NaN"}) {
    if (text.substr(begin, word.size()) != word) continue;
    const std::string_view behind = text.substr(begin + word.size(), 1);
    const bool ends = behind.empty() || behind.find_first_of(",]} \t\r\n") == 0;
    return ends ? word.size() : 0;
  }
  return 0;
}

// Python's numbers in quotation marks.
std::string with_python_numbers_as_text(std::string_view text) {
  std::string out;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = in_string ? 0 : python_number_at(text, i);
    if (length > 0) {
      out.append(1, '"').append(text.substr(i, length)).append(1, '"');
      i += length;
      continue;
    }
    if (text[i] == '"') in_string = !in_string;
    if (in_string && text[i] == '\\' && i + 1 < text.size()) out += text[i++];
    out += text[i++];
  }
  return out;
}

Result<Json> parse_screened(std::string_view text, std::string_view origin, const JsonLimits& limits) {
  Screen screen(limits);
  const auto refuse = [&] {
    return fail(ErrorCode::invalid_argument, fmt::format("{}: {}", origin, screen.problem(text)));
  };
  if (!Json::sax_parse(text, &screen)) return refuse();
  Json document = Json::parse(text, nullptr, false);
  if (document.is_discarded()) return refuse();
  return document;
}

}  // namespace

Result<Json> parse_json(std::string_view text, std::string_view origin, const JsonLimits& limits) {
  if (static_cast<std::int64_t>(text.size()) > limits.bytes) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: larger than {} bytes, the most that is read", origin, limits.bytes));
  }
  if (limits.python_numbers) return parse_screened(with_python_numbers_as_text(text), origin, limits);
  return parse_screened(text, origin, limits);
}

const Json* find_member(const Json& object, std::string_view key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

std::string shown(const Json& value) {
  constexpr std::size_t kMaxShown = 60;
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > kMaxShown) text = text.substr(0, kMaxShown) + "...";
  return text;
}

}  // namespace expertile
