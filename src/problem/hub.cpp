#include "problem/hub.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>

#include "files/files.hpp"
#include "problem/curl_library.hpp"

namespace expertile {
namespace {

namespace fs = std::filesystem;

constexpr long kConnectSeconds = 10;
constexpr long kTotalSeconds = 60;
constexpr long kStallSeconds = 10;
constexpr long kMostRedirects = 5;

// org/name, in the characters the hub allows; nothing that could climb out of a folder or a URL.
bool is_hub_name(std::string_view model) {
  const auto slash = model.find('/');
  if (slash == std::string_view::npos || model.find('/', slash + 1) != std::string_view::npos) return false;
  const auto good = [](std::string_view part) {
    constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    return !part.empty() && part.size() <= 96 && part.find_first_not_of(kAllowed) == std::string_view::npos &&
           part.front() != '.' && part.find("..") == std::string_view::npos;
  };
  return good(model.substr(0, slash)) && good(model.substr(slash + 1));
}

fs::path hub_cache() {
  if (const std::string cache = environment("HF_HUB_CACHE"); !cache.empty()) return cache;
  if (const std::string home = environment("HF_HOME"); !home.empty()) return fs::path(home) / "hub";
  if (const std::string home = environment("HOME"); !home.empty()) return fs::path(home) / ".cache/huggingface/hub";
  return {};
}

constexpr const char* kConfig = "config.json";
constexpr const char* kQuantisation = "hf_quant_config.json";

// The cached snapshot with a config.json: of the revision that refs/main names, else any.
std::optional<fs::path> cached_snapshot(const std::string& model) {
  const fs::path cache = hub_cache();
  if (cache.empty()) return std::nullopt;
  const fs::path folder =
      cache / fmt::format("models--{}--{}", model.substr(0, model.find('/')), model.substr(model.find('/') + 1));
  std::ifstream ref(folder / "refs/main");
  std::error_code error;
  std::string revision;
  if (ref >> revision && revision.find('/') == std::string::npos) {
    fs::path snapshot = folder / "snapshots" / revision;
    if (fs::is_regular_file(snapshot / kConfig, error)) return snapshot;
  }
  for (const auto& snapshot : fs::directory_iterator(folder / "snapshots", error)) {
    if (fs::is_regular_file(snapshot.path() / kConfig, error)) return snapshot.path();
  }
  return std::nullopt;
}

std::size_t append(char* data, std::size_t size, std::size_t count, void* to) {
  auto& text = *static_cast<std::string*>(to);
  if (static_cast<std::int64_t>(text.size() + size * count) > kMostConfigBytes) return 0;  // ends the transfer
  text.append(data, size * count);
  return size * count;
}

// HF_HUB_DOWNLOAD_TIMEOUT, as huggingface_hub reads it: seconds without a byte.
long stall_seconds() {
  const std::string text = environment("HF_HUB_DOWNLOAD_TIMEOUT");
  const long seconds = std::strtol(text.c_str(), nullptr, 10);
  return seconds >= 1 && seconds <= kTotalSeconds ? seconds : kStallSeconds;
}

// Text as libcurl's lists hold it, and a transfer; freed by their owner.
using Headers = std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)>;
using Transfer = std::unique_ptr<CURL, decltype(&curl_easy_cleanup)>;

// Certificate checks stay at their default, on. curl drops the Authorization header on a redirect to another host.
Status set_options(const CurlLibrary& curl, CURL* transfer, const std::string& url, const Headers& headers,
                   std::string& text) {
  // By their bits, although newer headers advise against that: libcurl before 7.85 knows protocols by no other option.
  constexpr auto kProtocols = static_cast<CURLoption>(CURLOPTTYPE_LONG + 181);
  constexpr auto kRedirectProtocols = static_cast<CURLoption>(CURLOPTTYPE_LONG + 182);
  constexpr long kEither = CURLPROTO_HTTP | CURLPROTO_HTTPS;
  const auto set = [&](CURLoption option, auto value) { return curl.set_option(transfer, option, value) == CURLE_OK; };
  const bool is_set = set(CURLOPT_URL, url.c_str()) && set(CURLOPT_HTTPHEADER, headers.get()) &&
                      set(CURLOPT_FOLLOWLOCATION, 1L) && set(CURLOPT_MAXREDIRS, kMostRedirects) &&
                      set(kProtocols, kEither) &&
                      set(kRedirectProtocols, url.starts_with("http://") ? kEither : long{CURLPROTO_HTTPS}) &&
                      set(CURLOPT_CONNECTTIMEOUT, kConnectSeconds) && set(CURLOPT_TIMEOUT, kTotalSeconds) &&
                      set(CURLOPT_LOW_SPEED_LIMIT, 1L) &&  // bytes a second; below it for so long is a stall
                      set(CURLOPT_LOW_SPEED_TIME, stall_seconds()) && set(CURLOPT_NOSIGNAL, 1L) &&
                      set(CURLOPT_USERAGENT, "expertile") && set(CURLOPT_WRITEFUNCTION, &append) &&
                      set(CURLOPT_WRITEDATA, static_cast<void*>(&text));
  if (is_set) return {};
  return fail(ErrorCode::unsupported,
              fmt::format("{} cannot be asked for: libcurl refuses an option; install a newer one", url));
}

Status status_error(const std::string& model, const std::string& url, long status) {
  if (status == 200) return {};
  if (status == 401 || status == 403) {
    return fail(ErrorCode::not_found,
                fmt::format("model '{}': {} answered {}; the model does not exist or needs a token in HF_TOKEN", model,
                            url, status));
  }
  return fail(ErrorCode::not_found,
              fmt::format("model '{}': {} answered {}; give an existing org/name or a directory", model, url, status));
}

Result<std::string> download(const std::string& model, const char* file, long& status) {
  std::string endpoint = environment("HF_ENDPOINT");
  if (endpoint.empty()) endpoint = "https://huggingface.co";
  while (endpoint.ends_with('/')) endpoint.pop_back();
  const std::string url = fmt::format("{}/{}/resolve/main/{}", endpoint, model, file);
  const auto curl = curl_library();
  if (!curl) {
    return fail(curl.error().code, fmt::format("model '{}' cannot be downloaded: {}", model, curl.error().message));
  }
  const Transfer transfer((*curl)->make_handle(), (*curl)->free_handle);
  if (!transfer) return fail(ErrorCode::internal, "libcurl cannot be initialised");
  Headers headers(nullptr, (*curl)->free_list);
  if (const std::string token = environment("HF_TOKEN"); !token.empty()) {
    headers.reset((*curl)->append(nullptr, ("Authorization: Bearer " + token).c_str()));
  }
  std::string text;
  if (auto set = set_options(**curl, transfer.get(), url, headers, text); !set) return fail(set.error());
  const CURLcode code = (*curl)->perform(transfer.get());
  if (code == CURLE_WRITE_ERROR) {
    return fail(
        ErrorCode::invalid_argument,
        fmt::format("model '{}': {} is larger than {} bytes, the most that is read", model, url, kMostConfigBytes));
  }
  if (code != CURLE_OK) {
    return fail(ErrorCode::not_found, fmt::format("model '{}': {} cannot be downloaded: {}; give a directory instead",
                                                  model, url, (*curl)->error_text(code)));
  }
  (*curl)->get_info(transfer.get(), CURLINFO_RESPONSE_CODE, &status);
  if (auto good = status_error(model, url, status); !good) return fail(good.error());
  return text;
}

bool is_offline() {
  const std::string offline = environment("HF_HUB_OFFLINE");
  return !offline.empty() && offline != "0";
}

}  // namespace

Result<std::string> find_model_config(const std::string& model) {
  std::error_code error;
  if (fs::is_directory(model, error)) return read_text(fs::path(model) / kConfig, kMostConfigBytes);
  if (fs::exists(model, error)) return read_text(model, kMostConfigBytes);
  if (!is_hub_name(model)) {
    return fail(ErrorCode::not_found, fmt::format("model '{}' is no directory, no config.json and no org/name", model));
  }
  if (const auto cached = cached_snapshot(model)) return read_text(*cached / kConfig, kMostConfigBytes);
  if (is_offline()) {
    return fail(ErrorCode::not_found,
                fmt::format("model '{}' is not in the local cache and HF_HUB_OFFLINE is set; give a directory", model));
  }
  long status = 0;
  return download(model, kConfig, status);
}

Result<QuantisationFile> find_quantisation_config(const std::string& model) {
  std::error_code error;
  const bool is_folder = fs::is_directory(model, error);
  const bool is_local = is_folder || fs::exists(model, error);
  const std::optional<fs::path> folder = is_folder  ? fs::path(model)
                                         : is_local ? fs::path(model).parent_path()
                                                    : cached_snapshot(model);
  if (folder) {
    auto text = read_text(*folder / kQuantisation, kMostConfigBytes);
    if (text) return QuantisationFile{std::move(*text), {}};
    if (text.error().code != ErrorCode::not_found) return fail(text.error());
    if (is_local) return QuantisationFile{};
  }
  // The cache holds what was asked for, which may have been config.json alone.
  long status = 0;
  if (!is_offline()) {
    if (auto text = download(model, kQuantisation, status)) return QuantisationFile{std::move(*text), {}};
    constexpr long kNotThere = 404;
    if (status == kNotThere) return QuantisationFile{};
  }
  return QuantisationFile{
      {},
      fmt::format("model '{}': whether it has a {} could not be found out; without one its experts are as config.json "
                  "says",
                  model, kQuantisation)};
}

}  // namespace expertile
