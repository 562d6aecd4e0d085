#include "jit/cubin_cache.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "files/files.hpp"
#include "jit/digest.hpp"

namespace expertile::jit {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMagic = "expertile cubin 2\n";
constexpr std::int64_t kMostEntryBytes = 64 << 20;

void put(std::string& out, std::string_view field) { out += fmt::format("{}\n{}\n", field.size(), field); }

// Everything that went into a cubin but the compiler's version; what all kernels share by its digest alone, since it is
// long and they are looked for by the dozen. A digest names an entry, and the key is in it and is compared.
std::string key_of(const CompileRequest& request) {
  std::string key;
  put(key, request.arch);
  put(key, request.source.text);
  for (const std::string& flag : request.flags) put(key, flag);
  put(key, request.source.shared ? request.source.shared->digest : std::string());
  for (const auto& [name, text] : request.source.headers) {
    put(key, name);
    put(key, text);
  }
  return key;
}

// Reads what put wrote, never past the end.
class EntryReader {
 public:
  explicit EntryReader(std::string_view text) : text_(text) {}
  std::optional<std::string_view> field() {
    const auto newline = text_.find('\n');
    if (newline == std::string_view::npos || newline == 0 || newline > 12) return std::nullopt;
    std::size_t size = 0;
    for (const char c : text_.substr(0, newline)) {
      if (c < '0' || c > '9') return std::nullopt;
      size = 10 * size + static_cast<std::size_t>(c - '0');
    }
    text_.remove_prefix(newline + 1);
    if (size >= text_.size() || text_[size] != '\n') return std::nullopt;
    const std::string_view found = text_.substr(0, size);
    text_.remove_prefix(size + 1);
    return found;
  }
  [[nodiscard]] bool done() const { return text_.empty(); }

 private:
  std::string_view text_;
};

std::string entry_text(const std::string& key, const Cubin& cubin) {
  const Resources& r = cubin.resources;
  std::string body;
  put(body, key);
  put(body, cubin.image);
  std::string advisories;
  for (const std::string& line : r.advisories) advisories += " (C75 " + line + "\n";
  put(body,
      fmt::format("{} registers\n{} bytes spill stores\n{} bytes spill loads\n{} bytes stack frame\n{} bytes smem\n{}",
                  r.registers, r.spill_store_bytes, r.spill_load_bytes, r.stack_bytes, r.shared_bytes, advisories));
  std::string entry(kMagic);
  put(entry, fmt::format("{:016x}", hash(body)));
  return entry + body;
}

std::optional<Cubin> parse_entry(std::string_view text, std::string_view key) {
  if (!text.starts_with(kMagic)) return std::nullopt;
  text.remove_prefix(kMagic.size());
  EntryReader reader(text);
  const auto checksum = reader.field();
  if (!checksum) return std::nullopt;
  const std::string_view body =
      text.substr(static_cast<std::size_t>(checksum->data() - text.data()) + checksum->size() + 1);
  if (*checksum != fmt::format("{:016x}", hash(body))) return std::nullopt;
  const auto stored_key = reader.field();
  const auto image = reader.field();
  const auto report = reader.field();
  if (!stored_key || !image || !report || !reader.done() || *stored_key != key) return std::nullopt;
  return Cubin{std::string(*image), parse_ptxas_report(*report)};
}

}  // namespace

fs::path default_cubin_cache_directory() {
  if (const std::string chosen = environment("EXPERTILE_CACHE_DIR"); !chosen.empty()) return chosen;
  if (const fs::path cache = environment("XDG_CACHE_HOME"); cache.is_absolute()) return cache / "expertile";
  if (const std::string home = environment("HOME"); !home.empty()) return fs::path(home) / ".cache/expertile";
  return {};
}

CubinCache::CubinCache(fs::path directory, std::int64_t most_bytes)
    : directory_(std::move(directory)), most_bytes_(most_bytes) {}

std::optional<Cubin> CubinCache::find(const CompileRequest& request, const std::string& nvrtc_version) const {
  if (directory_.empty()) return std::nullopt;
  const std::string key = key_of(request);
  const std::string stem = digest_of(key);
  std::vector<fs::path> files{directory_ / fmt::format("{}-{}.cubin", stem, nvrtc_version)};
  if (nvrtc_version.empty()) {
    files.clear();
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(directory_, error)) {
      if (entry.path().filename().string().starts_with(stem + "-")) files.push_back(entry.path());
    }
    std::sort(files.rbegin(), files.rend());  // the newest version first
  }
  for (const fs::path& file : files) {
    const auto text = read_text(file, kMostEntryBytes);
    if (!text) continue;
    if (auto cubin = parse_entry(*text, key)) return cubin;
  }
  return std::nullopt;
}

Status CubinCache::store(const CompileRequest& request, const std::string& nvrtc_version, const Cubin& cubin) const {
  if (directory_.empty()) return {};
  const std::string key = key_of(request);
  const fs::path file = directory_ / fmt::format("{}-{}.cubin", digest_of(key), nvrtc_version);
  if (auto status = write_atomically(file, entry_text(key, cubin)); !status) return status;
  drop_oldest();
  return {};
}

void CubinCache::drop_oldest() const {
  struct Entry {
    fs::path path;
    fs::file_time_type time;
    std::int64_t bytes = 0;
  };
  std::vector<Entry> entries;
  std::int64_t total = 0;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory_, error)) {
    if (entry.path().extension() != ".cubin") continue;
    // Another process may remove it in between: then it has no size and no time.
    const auto bytes = static_cast<std::int64_t>(entry.file_size(error));
    if (error) continue;
    entries.push_back({entry.path(), entry.last_write_time(error), bytes});
    total += bytes;
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.time < b.time; });
  for (const Entry& entry : entries) {
    if (total <= most_bytes_) return;
    fs::remove(entry.path, error);
    total -= entry.bytes;
  }
}

}  // namespace expertile::jit
