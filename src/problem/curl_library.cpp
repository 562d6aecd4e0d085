#include "problem/curl_library.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "process/fork.hpp"
#include "process/shared_library.hpp"

namespace expertile {
namespace {

Result<CurlLibrary> open_and_start() {
  // By its own name; as Debian calls the one with GnuTLS; and as only its development files call it.
  const std::string names[] = {"libcurl.so.4", "libcurl-gnutls.so.4", "libcurl.so"};
  auto library = open_curl(names);
  if (!library) return library;
  // Once a process, and before any other of its functions: older ones do not lock this.
  if (const CURLcode code = library->start(CURL_GLOBAL_DEFAULT); code != CURLE_OK) {
    return fail(ErrorCode::internal, fmt::format("libcurl cannot be started: {}", library->error_text(code)));
  }
  return library;
}

}  // namespace

Result<CurlLibrary> open_curl(std::span<const std::string> names) {
  const auto opened = SharedLibrary::open(names);
  if (!opened) {
    return fail(ErrorCode::not_found,
                fmt::format("libcurl is not installed (tried {}); install libcurl4 or give a directory",
                            fmt::join(names, ", ")));
  }
  CurlLibrary curl;
  const bool is_whole =
      opened->find(curl.start, "curl_global_init") && opened->find(curl.make_handle, "curl_easy_init") &&
      opened->find(curl.free_handle, "curl_easy_cleanup") && opened->find(curl.set_option, "curl_easy_setopt") &&
      opened->find(curl.perform, "curl_easy_perform") && opened->find(curl.get_info, "curl_easy_getinfo") &&
      opened->find(curl.error_text, "curl_easy_strerror") && opened->find(curl.append, "curl_slist_append") &&
      opened->find(curl.free_list, "curl_slist_free_all");
  if (is_whole) return curl;
  return fail(ErrorCode::unsupported,
              fmt::format("the library found as one of {} is no libcurl; install libcurl4 or give a directory",
                          fmt::join(names, ", ")));
}

Result<const CurlLibrary*> curl_library() {
  static constinit PerProcess<MadeOnce<Result<CurlLibrary>>> library;
  const Result<CurlLibrary>& opened = library.get().get(open_and_start);
  if (!opened) return fail(opened.error());
  return &*opened;
}

}  // namespace expertile
