#pragma once
// One revision of the library, seen through its public interface alone: bench_revisions holds two of them.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace revisions {

// A problem by the names that every revision knows.
struct Kind {
  std::string dtype;        // as the command line names it
  bool has_blocks = false;  // of 128 x 128, and scales of them
  bool is_tf32 = false;
  bool is_per_token = false;  // fp8: scales per token and channel
  std::int64_t experts = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  std::int64_t top_k = 0;
};

// Device pointers of one call; all rows lie back to back.
struct Call {
  std::int64_t rows = 0;
  const void* a = nullptr;
  const void* b = nullptr;
  void* c = nullptr;
  const std::int64_t* seg_indptr = nullptr;
  const std::int64_t* weight_indices = nullptr;
  const float* scale_a = nullptr;
  const float* scale_b = nullptr;
  void* workspace = nullptr;
  std::size_t workspace_bytes = 0;
  void* stream = nullptr;
};

// What the tensors of a call with so many rows hold.
struct Sizes {
  int bytes_a = 0;  // of an element
  int bytes_b = 0;
  int bytes_c = 0;
  std::size_t scales_a = 0;
  std::size_t scales_b = 0;
  std::size_t workspace = 0;
};

class Side {
 public:
  virtual ~Side() = default;
  [[nodiscard]] virtual Sizes sizes(std::int64_t rows) const = 0;
  // Enqueues the call; an error is its line, none is empty.
  [[nodiscard]] virtual std::string enqueue(const Call& call) const = 0;
  [[nodiscard]] virtual std::string tile(std::int64_t rows) const = 0;
};

// Null, with the reason, where the revision cannot prepare it.
[[nodiscard]] std::unique_ptr<Side> make_old(const Kind& kind, std::string& why);
[[nodiscard]] std::unique_ptr<Side> make_new(const Kind& kind, std::string& why);

}  // namespace revisions
