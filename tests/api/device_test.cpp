#include "expertile/device.hpp"

#include <gtest/gtest.h>

#include <optional>

#include "expertile/grouped_gemm.hpp"

namespace expertile {
namespace {

TEST(Device, IsOpenedOnceAndSharedByAllWhoAskForIt) {
  const Device first = Device::open("cpu", 1).value();
  const Device again = Device::open("cpu", 1).value();
  EXPECT_EQ(&first.info(), &again.info());
  EXPECT_FALSE(first.info().is_gpu());
  EXPECT_EQ(first.info().cpu().threads, 1);
  EXPECT_EQ(first.loaded_kernels(), 0U);
  const Device wider = Device::open("cpu", 2).value();
  EXPECT_EQ(wider.info().cpu().threads, 2);
  EXPECT_NE(&wider.info(), &first.info());
}

TEST(Device, StaysOpenWhenItsHandlesAreGone) {
  std::optional<Device> device = Device::open("cpu", 1).value();
  const DeviceInfo* const info = &device->info();
  std::optional<GroupedGemm> gemm = GroupedGemm::prepare({.experts = 2, .n = 8, .k = 8, .dtype = DType::float32},
                                                         {.device = "cpu", .threads = 1, .config_dir = "/nonexistent"})
                                        .value();
  device.reset();
  const GroupedGemm copy = *gemm;
  gemm.reset();
  EXPECT_EQ(copy.workspace_bytes(4), 0U);
  EXPECT_EQ(&Device::open("cpu", 1).value().info(), info);
}

TEST(Device, ThatIsNotThereIsOneLine) {
  const auto unknown = Device::open("tpu");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().message, "device 'tpu' is not known; choose auto, cpu or cuda[:I]");
  const auto too_many = Device::open("cpu", 5000);
  ASSERT_FALSE(too_many);
  EXPECT_EQ(too_many.error().message, "threads is 5000, it must be from 1 to 4096, or 0 for all");
}

}  // namespace
}  // namespace expertile
