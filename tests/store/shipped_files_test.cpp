// The configuration files that come with the library: whole, and every tile runs its problem on its device.

#include <gtest/gtest.h>

#include <filesystem>

#include "plan/candidates.hpp"
#include "store/config_file.hpp"

namespace expertile {
namespace {

namespace fs = std::filesystem;

// The limits of the devices that files are shipped for.
DeviceInfo device_named(const std::string& name) {
  GpuInfo gpu;
  gpu.compute_capability = 90;
  gpu.multiprocessors = 132;
  gpu.shared_bytes_per_block = 227 << 10;
  gpu.l2_bytes = 60 << 20;
  return name == "NVIDIA_H200" ? DeviceInfo{name, gpu, 0, {}} : DeviceInfo{};
}

Problem problem_of(const std::map<std::string, std::string>& metadata) {
  Problem problem;
  problem.experts = std::stoll(metadata.at("experts"));
  problem.n = std::stoll(metadata.at("n"));
  problem.k = std::stoll(metadata.at("k"));
  problem.dtype = parse_dtype(metadata.at("dtype")).value();
  problem.top_k = std::stoll(metadata.at("top_k"));
  if (metadata.at("block_shape") == "128,128") problem.block_shape = BlockShape{128, 128};
  problem.hidden_size = metadata.at("projection") == "down" ? problem.n : problem.k;
  return problem;
}

TEST(ShippedFiles, AreWholeAndTheirTilesRun) {
  const fs::path root = fs::path(EXPERTILE_SOURCE_DIR) / "configs";
  int files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (entry.path().extension() != ".json") continue;
    ++files;
    const auto read = read_config(entry.path());
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_TRUE(read->warnings.empty()) << entry.path();
    EXPECT_TRUE(read->file.tiles.contains(1) && read->file.tiles.contains(1024))
        << entry.path() << ": decode and prefill";
    const Problem problem = problem_of(read->file.metadata);
    const DeviceInfo device = device_named(read->file.metadata.at("device"));
    EXPECT_EQ(entry.path(), config_path(root, device.name, problem));
    for (const auto& [batch, tile] : read->file.tiles) {
      const Status status = check_tile(problem, tile, device);
      EXPECT_TRUE(status) << entry.path() << " batch " << batch << ": " << status.error().message;
    }
  }
  if (files == 0) GTEST_SKIP() << "no files are shipped";
}

}  // namespace
}  // namespace expertile
