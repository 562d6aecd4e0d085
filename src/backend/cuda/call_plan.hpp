#pragma once
// A tile bound to a problem on a GPU: the kernels of its calls, found once, and what launches them.

#include <mutex>
#include <optional>
#include <vector>

#include "backend/backend.hpp"
#include "backend/cuda/kernel_cache.hpp"
#include "backend/cuda/tensor_map.hpp"
#include "backend/cuda/tile_counters.hpp"

namespace expertile::cuda {

// The tensor map of one operand, encoded again only where a call's matrix is another one: the weights' never, while
// they stay where they are. Threads may share it.
class KeptTensorMap {
 public:
  [[nodiscard]] Result<TensorMap> of(const Driver& driver, const ConstMatrixView& matrix, int box_rows,
                                     bool rounds_to_tf32);

 private:
  std::mutex mutex_;
  ConstMatrixView matrix_{};
  TensorMap map_{};
};

// A kernel, and how the problem launches it.
struct BoundKernel {
  LaunchPlan plan{};
  const LoadedKernel* kernel = nullptr;  // null: there is none
};

// What calls with these types run.
struct BoundKernels {
  BoundKernels(const CallTypes& call_types, const BoundKernel& aligned_rows, const BoundKernel& any_rows)
      : types(call_types), aligned(aligned_rows), unaligned(any_rows) {}
  CallTypes types;
  BoundKernel aligned;                // where rows of A and B begin at multiples of 16 bytes
  BoundKernel unaligned;              // else
  KeptTensorMap map_a, map_b, map_c;  // of the aligned one
};

class CudaCallPlan final : public CallPlan {
 public:
  using CallPlan::CallPlan;
  // As many as the problem has types of A and C; addresses stay.
  std::vector<std::unique_ptr<BoundKernels>> kernels;
  FunctionHandle quantise = nullptr;  // where A is quantised on the fly
};

// Enqueues planned calls on a device, whose context must be current.
class Launcher {
 public:
  // own: a stream whose graphs are replayed on itself alone.
  Launcher(std::shared_ptr<const PrimaryContext> context, const DeviceInfo& info, StreamHandle own);
  ~Launcher();
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;

  [[nodiscard]] Status enqueue(const CudaCallPlan& plan, const GroupedGemmArgs& args, StreamHandle stream) const;

  struct Shape {
    FunctionHandle function = nullptr;
    std::int64_t blocks = 0;
    int threads = 0;
    int shared_bytes = 0;
  };
  // args: the one parameter that the kernel takes. The kernel waits for the work ahead, where it may begin before that
  // has ended.
  [[nodiscard]] Status launch(const Shape& shape, const void* args, StreamHandle stream) const;
  // Blocks of a kernel that is small and goes round: as many as keep the device busy.
  [[nodiscard]] std::int64_t most_blocks() const { return std::int64_t{16} * multiprocessors_; }

 private:
  [[nodiscard]] Status quantise(const CudaCallPlan& plan, const GroupedGemmArgs& args, StreamHandle stream) const;
  [[nodiscard]] Status enqueue_tiled(const Problem& problem, BoundKernels& bound, const GroupedGemmArgs& args,
                                     std::int64_t blocks, StreamHandle stream) const;

  std::shared_ptr<const PrimaryContext> context_;
  const Driver& driver_;
  int multiprocessors_;
  bool begins_early_;  // kernels may be launched before the work ahead of them has ended: they wait for it
  mutable std::optional<TileCounters> counters_;  // where there are Hopper's kernels
};

}  // namespace expertile::cuda
