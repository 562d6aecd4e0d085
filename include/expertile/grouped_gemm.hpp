#pragma once
// The front door: prepare once, call many times.
//
//   auto gemm = expertile::GroupedGemm::prepare({.experts = 8, .n = 4096, .k = 4096});
//   if (!gemm) { std::cerr << gemm.error().message << '\n'; return expertile::exit_status(gemm.error()); }
//   auto status = (*gemm)({.a = view(a, m, k), .b = view(b, 8 * n, k), .c = view(c, m, n),
//                          .seg_indptr = segments, .weight_indices = experts});

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>

#include "expertile/device.hpp"
#include "expertile/error.hpp"
#include "expertile/problem.hpp"
#include "expertile/tile_config.hpp"
#include "expertile/types.hpp"

namespace expertile {

// A row-major matrix that somebody else owns. pitch: elements from one row's start to the next, >= cols.
struct ConstMatrixView {
  const void* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t pitch = 0;
  ElementType type = ElementType::float32;
};
struct MatrixView {
  void* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t pitch = 0;
  ElementType type = ElementType::float32;
  // What may be written may be read.
  operator ConstMatrixView() const noexcept { return {data, rows, cols, pitch, type}; }
};

template <class T>
inline constexpr ElementType element_type_of = [] {
  using U = std::remove_cv_t<T>;
  static_assert(std::is_same_v<U, Float16> || std::is_same_v<U, BFloat16> || std::is_same_v<U, float> ||
                    std::is_same_v<U, Float8E4M3> || std::is_same_v<U, std::int8_t>,
                "tensors hold Float16, BFloat16, float, Float8E4M3 or std::int8_t");
  if (std::is_same_v<U, Float16>) return ElementType::float16;
  if (std::is_same_v<U, BFloat16>) return ElementType::bfloat16;
  if (std::is_same_v<U, Float8E4M3>) return ElementType::float8_e4m3;
  if (std::is_same_v<U, std::int8_t>) return ElementType::int8;
  return ElementType::float32;
}();

// Typed views; pitch 0 means rows lie back to back.
template <class T>
[[nodiscard]] ConstMatrixView view(const T* data, std::int64_t rows, std::int64_t cols, std::int64_t pitch = 0) {
  return {data, rows, cols, pitch == 0 ? cols : pitch, element_type_of<T>};
}
template <class T>
requires(!std::is_const_v<T>) [[nodiscard]] MatrixView
    view(T* data, std::int64_t rows, std::int64_t cols, std::int64_t pitch = 0) {
  return {data, rows, cols, pitch == 0 ? cols : pitch, element_type_of<T>};
}

// How a call tells which rows are a group's. An operation is prepared for one of them.
enum class RowLayout {
  offsets,     // seg_indptr: group g has the rows [seg_indptr[g], seg_indptr[g+1])
  offsets_32,  // likewise, seg_indptr_32
  masked,      // masked_m, max_m: group g has the rows [g * max_m, g * max_m + masked_m[g])
};
[[nodiscard]] std::string_view name(RowLayout layout) noexcept;

// C[r] = A[r] x B[weight_indices[g]]^T for the rows r of every group g, which the layout tells. Nothing is owned. Rows
// before the first offset, and from the last on, are of no group: a caller may give the offsets of some experts alone.
// So are those of a masked group behind its masked_m: no such row of C is written, and what A holds there is nothing to
// the others, nor is it quantised.
struct GroupedGemmArgs {
  ConstMatrixView a{};                             // [M, K]
  ConstMatrixView b{};                             // [E * N, K]: expert e begins at row e * N
  MatrixView c{};                                  // [M, N]: float16, bfloat16 or float32
  std::span<const std::int64_t> seg_indptr{};      // [G + 1], non-decreasing, first >= 0, last <= M
  std::span<const std::int64_t> weight_indices{};  // [G], each in [0, E); masked: empty where group g is expert g
  std::span<const float>
      scale_a{};  // per_tensor [E]; per_token_channel [M]; block [M, ceil(K/bk)] unless made by the call
  std::span<const float> scale_b{};  // per_tensor [E]; per_(token_)channel [E, N]; block [E, ceil(N/bn), ceil(K/bk)]

  // On a GPU every pointer above points into its memory, and M is a's rows: nothing is read back. Calls on different
  // streams may run at the same time, but not two graphs made from the same captured call.
  void* stream = nullptr;            // a CUstream of the device's primary context; null: the default stream
  std::span<std::byte> workspace{};  // workspace_bytes(rows of A), 16-byte aligned, in use until the call is complete

  // The other layouts, in the place of seg_indptr; on a GPU in its memory, too.
  std::span<const std::int32_t> seg_indptr_32{};  // [G + 1], as seg_indptr
  // [G], each in [0, max_m]: A is [G, max_m, K] and C [G, max_m, N], of G * max_m rows. On a GPU, which reads it when
  // the call runs, a count below 0 is 0 and one above max_m is max_m.
  std::span<const std::int32_t> masked_m{};
  std::int64_t max_m = 0;
  // How many rows all groups will have: it chooses the tile, in whose order sums are added, and nothing else. 0: on a
  // GPU A's rows, on a CPU those that the groups have.
  std::int64_t expected_rows = 0;
};

// Pointers, shapes, types, offsets or counts, expert indices and scales agree with the problem, in the layout whose
// array is given. One line names what does not. Reads that array and weight_indices, so these must lie in the host's
// memory; a call on a GPU checks all else.
[[nodiscard]] Status validate(const Problem& problem, const GroupedGemmArgs& args);

// How the configuration was found, best first. From other_top_k to other_instructions the shape and the device are
// right, but the tile was tuned for something else, the worst of which is named: other rows an expert, as from another
// batch size; another number of workers to fill; another epilogue; other registers.
enum class Match {
  exact,               // this shape, this device, this batch size
  nearest_batch,       // this shape, this device, the nearest tuned batch size
  other_top_k,         // tuned at another top_k
  other_threads,       // tuned with another number of threads, on a GPU of multiprocessors
  other_scales,        // tuned with another kind of scales
  other_instructions,  // tuned for another instruction set, on a GPU for another architecture
  other_shape,         // a file of the right name directly in <config dir>/<device>/
  other_device,        // a file of the right name directly in <config dir>/
  built_in,            // no file: the built-in heuristic
};
[[nodiscard]] std::string_view name(Match match) noexcept;

// What a call with a given number of rows runs with, and why.
struct Selection {
  TileConfig tile{};
  Match match = Match::built_in;
  std::int64_t batch = 0;        // the tuned batch size that was taken; 0 for built_in
  std::filesystem::path file{};  // the file it came from; empty for built_in
  std::string differs{};         // "tuned at top_k 2, this is 8"; empty for exact, nearest_batch and built_in
};

struct PrepareOptions {
  std::string device = "auto";         // as Device::open takes it
  int threads = 0;                     // likewise
  std::filesystem::path config_dir{};  // empty: $EXPERTILE_CONFIG_DIR, else the user's data directory
  // Of C in the calls to come; none: any that the problem allows. On a GPU each type has kernels of its own, which are
  // compiled here where none are kept.
  std::optional<ElementType> c_type{};
  // Of the calls to come. On a GPU each layout has kernels of its own, with the tiles that were tuned with offsets.
  RowLayout row_layout = RowLayout::offsets;
};

// A prepared operation. Copies share state; calls from several threads at once are safe. It may be destroyed while its
// calls are still enqueued or captured: see Device.
class GroupedGemm {
 public:
  // Looks the configuration up (the only time files are read) and binds it to a device, which all operations share:
  // kernels that another one has loaded are taken from there. What does not depend on a call's pointers is worked out
  // here. Logs one line, once per problem and process, when a tile of the file is no exact match or there is no file.
  [[nodiscard]] static Result<GroupedGemm> prepare(const Problem& problem, const PrepareOptions& options = {});

  // rows: as the call's expected_rows has them.
  [[nodiscard]] Selection selection(std::int64_t rows) const;
  // On a CPU, returns when C is complete. On a GPU, enqueues one kernel (two when A is quantised on the fly) on
  // args.stream and returns: nothing is allocated, synchronised or read back, so a CUDA graph can capture it. Rows
  // outside every group are left untouched; on an error C is untouched.
  [[nodiscard]] Status operator()(const GroupedGemmArgs& args) const;

  // What args.workspace must hold for `rows` rows of A; 0 where A is not quantised on the fly.
  [[nodiscard]] std::size_t workspace_bytes(std::int64_t rows) const noexcept;

  [[nodiscard]] const Problem& problem() const noexcept;
  // Where the exact file is, or would be.
  [[nodiscard]] const std::filesystem::path& wanted_file() const noexcept;

 private:
  friend class MoeLayer;  // whose products' tiles it looks up
  struct State;
  explicit GroupedGemm(std::shared_ptr<const State> state);
  std::shared_ptr<const State> state_;
};

// Quantises A [M, K] (float16, bfloat16 or float32) to out [M, K] (float8_e4m3 or int8) with one scale a row
// (block_k = 0: scales [M]) or one a row and block of K (scales [M, ceil(K/block_k)]). scale = amax / 448 or / 127;
// where amax is 0 the scale is 1. A non-finite amax gives a non-finite scale.
[[nodiscard]] Status quantise_rows(const ConstMatrixView& a, std::int64_t block_k, const MatrixView& out,
                                   std::span<float> scales);

}  // namespace expertile
