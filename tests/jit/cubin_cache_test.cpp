// Compiled kernels on disk: found by everything that went into them, whole or not at all.

#include "jit/cubin_cache.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "jit/ptxas_report.hpp"
#include "store/temporary_directory.hpp"

namespace expertile::jit {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kPlenty = 1 << 20;

CompileRequest request(const std::string& text, const std::string& arch = "sm_90a") {
  return {
      {"kernel.cu", text, make_headers({{"shared.hpp", "int s;"}}), {{"header.hpp", "int x;"}}}, arch, {"--fmad=true"}};
}

Cubin cubin(const std::string& image) {
  Cubin made;
  made.image = image;
  made.resources.registers = 128;
  return made;
}

std::vector<fs::path> entries(const fs::path& directory) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(directory)) found.push_back(entry.path());
  return found;
}

TEST(CubinCache, FindsWhatItStoredAndNothingElse) {
  const TemporaryDirectory directory;
  const CubinCache cache(directory.path(), kPlenty);
  const std::string image(
      "\0\x7f"
      "ELF\n\0",
      7);
  ASSERT_TRUE(cache.store(request("a"), "13.0", cubin(image)));
  const auto found = cache.find(request("a"), "13.0");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->image, image);
  EXPECT_EQ(found->resources.registers, 128);
  EXPECT_FALSE(cache.find(request("b"), "13.0"));
  EXPECT_FALSE(cache.find(request("a", "sm_80"), "13.0"));
  EXPECT_FALSE(cache.find(request("a"), "12.8"));
  CompileRequest other_header = request("a");
  other_header.source.headers[0].second = "int y;";
  EXPECT_FALSE(cache.find(other_header, "13.0"));
  CompileRequest other_shared = request("a");
  other_shared.source.shared = make_headers({{"shared.hpp", "int t;"}});
  EXPECT_FALSE(cache.find(other_shared, "13.0"));
}

TEST(CubinCache, AHostThatCannotCompileTakesAnyVersion) {
  const TemporaryDirectory directory;
  const CubinCache cache(directory.path(), kPlenty);
  ASSERT_TRUE(cache.store(request("a"), "13.0", cubin("image")));
  EXPECT_TRUE(cache.find(request("a"), ""));
}

TEST(CubinCache, ADamagedEntryIsAsGoodAsNone) {
  const TemporaryDirectory directory;
  const CubinCache cache(directory.path(), kPlenty);
  ASSERT_TRUE(cache.store(request("a"), "13.0", cubin(std::string(1000, 'x'))));
  const fs::path entry = entries(directory.path()).at(0);
  const auto size = fs::file_size(entry);
  for (std::uintmax_t at = 0; at < size; at += 37) {
    ASSERT_TRUE(cache.store(request("a"), "13.0", cubin(std::string(1000, 'x'))));
    std::fstream file(entry, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(at));
    const char old = static_cast<char>(file.get());
    file.seekp(static_cast<std::streamoff>(at));
    file.put(static_cast<char>(old ^ 1));
    file.close();
    EXPECT_FALSE(cache.find(request("a"), "13.0")) << "byte " << at;
  }
  for (const std::uintmax_t cut : {std::uintmax_t{0}, std::uintmax_t{5}, size / 2, size - 1}) {
    ASSERT_TRUE(cache.store(request("a"), "13.0", cubin(std::string(1000, 'x'))));
    fs::resize_file(entry, cut);
    EXPECT_FALSE(cache.find(request("a"), "13.0")) << cut << " bytes";
  }
}

TEST(CubinCache, DropsTheOldestBeyondItsSize) {
  const TemporaryDirectory directory;
  const CubinCache cache(directory.path(), 30000);
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(cache.store(request(std::to_string(i)), "13.0", cubin(std::string(9000, 'x'))));
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  std::uintmax_t total = 0;
  for (const fs::path& entry : entries(directory.path())) total += fs::file_size(entry);
  EXPECT_LE(total, 30000U);
  EXPECT_TRUE(cache.find(request("9"), "13.0"));
  EXPECT_FALSE(cache.find(request("0"), "13.0"));
}

TEST(CubinCache, SeveralWritersOfOneEntryLeaveAWholeOne) {
  const TemporaryDirectory directory;
  const CubinCache cache(directory.path(), kPlenty);
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) static_cast<void>(cache.store(request("a"), "13.0", cubin(std::string(5000, 'x'))));
    });
  }
  threads.clear();
  const auto found = cache.find(request("a"), "13.0");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->image, std::string(5000, 'x'));
}

TEST(CubinCache, ADirectoryThatCannotBeWrittenIsAnErrorValue) {
  const TemporaryDirectory directory;
  std::ofstream(directory.path() / "file") << "in the way";
  const CubinCache cache(directory.path() / "file" / "below", kPlenty);
  EXPECT_FALSE(cache.store(request("a"), "13.0", cubin("image")));
  EXPECT_FALSE(cache.find(request("a"), "13.0"));
}

TEST(CubinCache, WithoutADirectoryStoresNothing) {
  const CubinCache cache({}, kPlenty);
  EXPECT_TRUE(cache.store(request("a"), "13.0", cubin("image")));
  EXPECT_FALSE(cache.find(request("a"), "13.0"));
}

TEST(PtxasReport, ReadsRegistersSpillsAndShared) {
  const Resources resources = parse_ptxas_report(
      "ptxas info    : 0 bytes gmem\n"
      "ptxas info    : Compiling entry function 'f' for 'sm_90a'\n"
      "ptxas info    : Function properties for f\n"
      "    16 bytes stack frame, 12 bytes spill stores, 20 bytes spill loads\n"
      "ptxas info    : Used 168 registers, used 1 barriers, 16 bytes cumulative stack size, 2048 bytes smem\n");
  EXPECT_EQ(resources.registers, 168);
  EXPECT_EQ(resources.spill_store_bytes, 12);
  EXPECT_EQ(resources.spill_load_bytes, 20);
  EXPECT_EQ(resources.stack_bytes, 16);
  EXPECT_EQ(resources.shared_bytes, 2048);
  const auto status = refuse_if_slow(resources);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, "spills 12 bytes of registers (and reloads 20)");
}

TEST(PtxasReport, ASerialisedKernelIsRefusedWithThatReason) {
  const Resources resources = parse_ptxas_report(
      "ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized\n"
      "ptxas info    : Used 90 registers\n");
  const auto status = refuse_if_slow(resources);
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("serialized"), std::string::npos);
  EXPECT_TRUE(refuse_if_slow(parse_ptxas_report("ptxas info    : Used 90 registers\n")));
}

}  // namespace
}  // namespace expertile::jit
