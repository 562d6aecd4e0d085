// The kernels of a layer's steps, compiled by NVRTC: no GPU is needed for that.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "jit/kernel_source.hpp"
#include "jit/side_by_side.hpp"
#include "moe/step_args.hpp"
#include "support/random_layer.hpp"

namespace expertile {
namespace {

// Of every kind of layer, each text once.
std::vector<jit::Source> step_sources() {
  std::vector<jit::Source> sources{jit::route_source()};
  std::set<std::string> known;
  for (const testing::LayerCase& layer : testing::all_layer_cases()) {
    const StepSpecs specs = step_specs(testing::RandomLayer(layer, 1).problem());
    for (jit::Source source : {jit::rows_source(specs.a13), jit::rows_source(specs.a2), jit::sum_source(specs.sum)}) {
      if (known.insert(source.text).second) sources.push_back(std::move(source));
    }
  }
  return sources;
}

// A spread sample of them for each architecture, half a second each.
TEST(LayerSource, CompilesWithoutSpillsOnEveryArchitecture) {
  const auto nvrtc = jit::Nvrtc::open();
  if (!nvrtc) GTEST_SKIP() << nvrtc.error().message;
  const std::vector<jit::Source> all = step_sources();
  ASSERT_GT(all.size(), 40U);
  const std::size_t step = std::getenv("EXPERTILE_ALL_KERNELS") != nullptr ? 1 : 15;
  struct Job {
    std::string arch;
    const jit::Source* source;
    std::string complaint;
  };
  std::vector<Job> jobs;
  for (const char* arch : {"sm_80", "sm_89", "sm_90a"}) {
    for (std::size_t i = jobs.size() % step; i < all.size(); i += step) jobs.push_back({arch, &all[i], {}});
    jobs.push_back({arch, all.data(), {}});
  }
  jit::side_by_side(jobs.size(), jit::all_threads(), [&](std::size_t i) {
    const auto cubin = nvrtc->compile(jit::kernel_request(*jobs[i].source, jobs[i].arch));
    const auto status = cubin ? jit::refuse_if_slow(cubin->resources) : fail(cubin.error());
    if (!status) jobs[i].complaint = status.error().message;
  });
  for (const Job& job : jobs) EXPECT_EQ(job.complaint, "") << job.arch << "\n" << job.source->text;
}

}  // namespace
}  // namespace expertile
