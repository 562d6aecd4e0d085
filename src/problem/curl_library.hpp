#pragma once
// libcurl, opened by the first download: who names no model of the hub does without it. Its header says the functions'
// types, and is needed to build.

#include <curl/curl.h>

#include <span>
#include <string>

#include "expertile/error.hpp"

namespace expertile {

struct CurlLibrary {
  decltype(&curl_global_init) start = nullptr;
  decltype(&curl_easy_init) make_handle = nullptr;
  decltype(&curl_easy_cleanup) free_handle = nullptr;
  decltype(&curl_easy_setopt) set_option = nullptr;
  decltype(&curl_easy_perform) perform = nullptr;
  decltype(&curl_easy_getinfo) get_info = nullptr;
  decltype(&curl_easy_strerror) error_text = nullptr;
  decltype(&curl_slist_append) append = nullptr;
  decltype(&curl_slist_free_all) free_list = nullptr;
};

// The first of the libraries with these names, not started yet. The error says what was tried, and what would help.
[[nodiscard]] Result<CurlLibrary> open_curl(std::span<const std::string> names);

// The one that downloads use: opened and started by the first caller, while others wait for it.
[[nodiscard]] Result<const CurlLibrary*> curl_library();

}  // namespace expertile
