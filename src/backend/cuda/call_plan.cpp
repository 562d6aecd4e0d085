#include "backend/cuda/call_plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "kernel_shape.hpp"
#include "plan/candidates.hpp"
#include "plan/kernel_plan.hpp"
#include "problem/groups.hpp"

namespace expertile::cuda {
namespace {

bool is_same(const ConstMatrixView& a, const ConstMatrixView& b) {
  return a.data == b.data && a.rows == b.rows && a.cols == b.cols && a.pitch == b.pitch && a.type == b.type;
}

}  // namespace

Result<TensorMap> KeptTensorMap::of(const Driver& driver, const ConstMatrixView& matrix, int box_rows,
                                    bool rounds_to_tf32) {
  const std::lock_guard guard(mutex_);
  if (matrix_.data != nullptr && is_same(matrix_, matrix)) return map_;
  auto map = make_tensor_map(driver, matrix, box_rows, rounds_to_tf32);
  if (!map) return map;
  matrix_ = matrix;
  map_ = *map;
  return map_;
}

Launcher::Launcher(std::shared_ptr<const PrimaryContext> context, const DeviceInfo& info, StreamHandle own)
    : context_(std::move(context)),
      driver_(context_->driver()),
      multiprocessors_(info.gpu().multiprocessors),
      begins_early_(info.gpu().compute_capability >= 90) {
  const CurrentContext current(driver_, context_->handle());
  if (info.gpu().compute_capability == 90) counters_.emplace(driver_, own);
}

Launcher::~Launcher() {
  const CurrentContext current(driver_, context_->handle());
  counters_.reset();
}

Status Launcher::quantise(const CudaCallPlan& plan, const GroupedGemmArgs& args, StreamHandle stream) const {
  QuantiseArgs in = make_quantise_args(plan.problem(), args);
  const std::int64_t items = in.rows * ceil_div(in.k, in.block_k);
  const std::int64_t blocks = std::clamp<std::int64_t>(ceil_div(items, kQuantiseThreads / 32), 1, most_blocks());
  return launch({plan.quantise, blocks, kQuantiseThreads, 0}, &in, stream);
}

Status Launcher::enqueue(const CudaCallPlan& plan, const GroupedGemmArgs& given, StreamHandle stream) const {
  const Problem& problem = plan.problem();
  const std::int64_t groups = group_count(given);
  if (given.a.rows == 0 || groups == 0) return {};
  const CallTypes types = types_of(given);
  const auto bound =
      std::find_if(plan.kernels.begin(), plan.kernels.end(), [&](const auto& one) { return one->types == types; });
  if (bound == plan.kernels.end()) {
    return fail(ErrorCode::unsupported,
                fmt::format("there is no kernel for A in {}, C in {} and rows by {} with {}", name(types.a),
                            name(types.c), name(types.rows), describe(plan.tile())));
  }
  const bool quantises = plan.quantise != nullptr;
  if (quantises) {
    if (auto status = check_workspace(problem, given); !status) return status;
  }
  const GroupedGemmArgs args = quantises ? quantised_call(problem, given) : given;
  BoundKernels& kernels = **bound;
  const bool is_aligned = kernels.aligned.kernel != nullptr && has_wide_rows(args.a) && has_wide_rows(args.b);
  const auto& [launch_plan, kernel] = is_aligned ? kernels.aligned : kernels.unaligned;
  const std::int64_t blocks = block_count(launch_plan, args.a.rows, groups);
  constexpr std::int64_t kMost = std::numeric_limits<int>::max();
  if (std::max(blocks, args.a.rows) > kMost) {
    return fail(ErrorCode::unsupported,
                fmt::format("{} rows make {} tiles, at most {} of each can be numbered", args.a.rows, blocks, kMost));
  }
  if (quantises) {
    if (auto status = quantise(plan, given, stream); !status) return status;
  }
  if (kernel->spec.tile.kernel == KernelFamily::sm90) return enqueue_tiled(problem, kernels, args, blocks, stream);
  const KernelArgs in = make_kernel_args(problem, args);
  const std::int64_t expected = args.expected_rows > 0 ? args.expected_rows : args.a.rows;
  const std::int64_t launched =
      types.rows == RowLayout::masked
          ? repeating_blocks(launch_plan, blocks, {std::min(expected, args.a.rows), groups, kernel->blocks_at_once})
          : blocks;
  return launch({kernel->function, launched, launch_plan.threads, launch_plan.shared_bytes}, &in, stream);
}

Status Launcher::enqueue_tiled(const Problem& problem, BoundKernels& bound, const GroupedGemmArgs& args,
                               std::int64_t blocks, StreamHandle stream) const {
  const auto& [plan, kernel] = bound.aligned;
  const KernelArgs in = make_kernel_args(problem, args);
  const auto map_a = bound.map_a.of(driver_, args.a, plan.box_rows_a, plan.rounds_to_tf32);
  if (!map_a) return fail(map_a.error());
  const auto map_b = bound.map_b.of(driver_, args.b, plan.box_rows_b, plan.rounds_to_tf32);
  if (!map_b) return fail(map_b.error());
  const auto map_c =
      in.stores_boxes != 0 ? bound.map_c.of(driver_, args.c, kBoxRowsC, false) : Result<TensorMap>(TensorMap{});
  if (!map_c) return fail(map_c.error());
  const std::int64_t staying = staying_blocks(plan, blocks, kernel->blocks_at_once);
  int* tile_counter = plan.counts_tiles && staying < blocks ? counters_->of(stream) : nullptr;
  const TiledArgs tiled{in, tile_counter, *map_a, *map_b, *map_c};
  return launch({kernel->function, staying, plan.threads, plan.shared_bytes}, &tiled, stream);
}

Status Launcher::launch(const Shape& shape, const void* args, StreamHandle stream) const {
  constexpr int kProgrammaticStreamSerialization = 6;  // CU_LAUNCH_ATTRIBUTE_...: the kernel waits for the work ahead
  LaunchAttribute begins_early{kProgrammaticStreamSerialization, {1}};
  LaunchConfig config;
  config.blocks[0] = static_cast<unsigned>(shape.blocks);
  config.threads[0] = static_cast<unsigned>(shape.threads);
  config.shared_bytes = static_cast<unsigned>(shape.shared_bytes);
  config.stream = stream;
  config.attributes = &begins_early;
  config.attribute_count = begins_early_ ? 1 : 0;
  void* parameters[] = {const_cast<void*>(args)};
  return driver_.check(driver_.launch(&config, shape.function, parameters, nullptr), "launching a kernel");
}

}  // namespace expertile::cuda
