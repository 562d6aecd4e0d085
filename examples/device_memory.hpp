#pragma once
// A vector where the operation computes: the host's own for a CPU, a copy in the GPU's memory otherwise.

#include <cstdio>
#include <cstdlib>
#include <span>
#include <utility>
#include <vector>

#ifdef EXAMPLE_HAS_CUDA
#include <cuda_runtime_api.h>
#endif

namespace example {

inline bool has_cuda() {
#ifdef EXAMPLE_HAS_CUDA
  return true;
#else
  return false;
#endif
}

#ifdef EXAMPLE_HAS_CUDA
inline void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "example_moe_layer: %s\n", cudaGetErrorString(error));
  std::exit(1);
}
#endif

template <class T>
class Placed {
 public:
  Placed(std::vector<T> values, bool on_gpu) : host_(std::move(values)) {
#ifdef EXAMPLE_HAS_CUDA
    if (!on_gpu) return;
    check(cudaMalloc(&device_, bytes()));
    check(cudaMemcpy(device_, host_.data(), bytes(), cudaMemcpyHostToDevice));
#else
    static_cast<void>(on_gpu);  // refused before
#endif
  }
  ~Placed() {
#ifdef EXAMPLE_HAS_CUDA
    cudaFree(device_);
#endif
  }
  Placed(const Placed&) = delete;
  Placed& operator=(const Placed&) = delete;

  [[nodiscard]] T* data() { return device_ != nullptr ? static_cast<T*>(device_) : host_.data(); }
  [[nodiscard]] std::span<const T> view() { return {data(), host_.size()}; }
  // On the host, after everything that was enqueued.
  [[nodiscard]] const std::vector<T>& fetch() {
#ifdef EXAMPLE_HAS_CUDA
    if (device_ != nullptr) check(cudaMemcpy(host_.data(), device_, bytes(), cudaMemcpyDeviceToHost));
#endif
    return host_;
  }

 private:
  [[nodiscard]] std::size_t bytes() const { return host_.size() * sizeof(T); }
  std::vector<T> host_;
  void* device_ = nullptr;
};

}  // namespace example
