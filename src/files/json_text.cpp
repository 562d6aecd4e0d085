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

}  // namespace

Result<Json> parse_json(std::string_view text, std::string_view origin, const JsonLimits& limits) {
  if (static_cast<std::int64_t>(text.size()) > limits.bytes) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: larger than {} bytes, the most that is read", origin, limits.bytes));
  }
  Screen screen(limits);
  const auto refuse = [&] {
    return fail(ErrorCode::invalid_argument, fmt::format("{}: {}", origin, screen.problem(text)));
  };
  if (!Json::sax_parse(text, &screen)) return refuse();
  Json document = Json::parse(text, nullptr, false);
  if (document.is_discarded()) return refuse();
  return document;
}

std::string shown(const Json& value) {
  constexpr std::size_t kMaxShown = 60;
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > kMaxShown) text = text.substr(0, kMaxShown) + "...";
  return text;
}

}  // namespace expertile
