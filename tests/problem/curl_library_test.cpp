// libcurl is opened by the first download, and a machine without it hears so in one line.

#include "problem/curl_library.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "support/run_program.hpp"

namespace expertile {
namespace {

TEST(CurlLibrary, ThatIsNowhereIsOneLineWithAllThatWasTried) {
  const std::string names[] = {"libnowhere.so.4", "libnowhere.so"};
  const auto opened = open_curl(names);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::not_found);
  EXPECT_EQ(opened.error().message,
            "libcurl is not installed (tried libnowhere.so.4, libnowhere.so); install libcurl4 or give a directory");
}

TEST(CurlLibrary, IsTheFirstThatIsThere) {
  const std::string names[] = {"libnowhere.so", "libcurl.so.4"};
  const auto opened = open_curl(names);
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_STREQ(opened->error_text(CURLE_OK), "No error");
}

TEST(CurlLibrary, ThatIsAnotherOneIsRefused) {
  const std::string names[] = {"libc.so.6"};
  const auto opened = open_curl(names);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().message,
            "the library found as one of libc.so.6 is no libcurl; install libcurl4 or give a directory");
}

TEST(CurlLibrary, IsOneForAllThreadsThatAskAtOnce) {
  std::vector<const CurlLibrary*> found(8, nullptr);
  std::vector<std::thread> threads;
  threads.reserve(found.size());
  for (const CurlLibrary*& mine : found) {
    threads.emplace_back([&mine] { mine = curl_library().value(); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const CurlLibrary* one : found) EXPECT_EQ(one, found.front());
  EXPECT_NE(found.front()->perform, nullptr);
}

// The program links no libcurl: where the loader finds only files that are none, everything but a download works.
TEST(CurlLibrary, IsNotNeededToStart) {
  const test::TemporaryDirectory directory;
  for (const char* name : {"libcurl.so.4", "libcurl-gnutls.so.4", "libcurl.so"}) std::ofstream(directory.path() / name);
  const std::vector<std::string> environment = {"LD_LIBRARY_PATH=" + directory.path().string(), "HF_HUB_OFFLINE=0",
                                                "HF_HUB_CACHE=" + directory.path().string()};
  const auto started = test::run_program({EXPERTILE_CLI, "info", "--device", "cpu"}, environment);
  EXPECT_EQ(started.status, 0) << started.err;
  const auto refused = test::run_program({EXPERTILE_CLI, "tune", "--model", "org/name"}, environment);
  EXPECT_EQ(refused.status, 2);
  EXPECT_EQ(refused.err,
            "expertile: model 'org/name' cannot be downloaded: libcurl is not installed (tried libcurl.so.4, "
            "libcurl-gnutls.so.4, libcurl.so); install libcurl4 or give a directory\n");
}

}  // namespace
}  // namespace expertile
