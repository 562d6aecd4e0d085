#include "backend/cpu/grouped.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "backend/cpu/pack.hpp"
#include "problem/groups.hpp"

namespace expertile::cpu {
namespace {

// Everything that does not change between tiles.
struct Call {
  const KernelSet& kernels;
  const Problem& problem;
  const TileConfig& tile;
  const GroupedGemmArgs& args;
  Compute compute;
  Scales scales;
  std::int64_t k_blocks;  // block scales along K; 0 without
};

// One tile of C.
struct Tile {
  std::int64_t expert = 0;
  std::int64_t row = 0;
  std::int64_t rows = 0;
  std::int64_t column = 0;
  std::int64_t columns = 0;
};

// Tiles of all groups in one sequence: group g owns [first[g], first[g + 1]). Empty groups own none.
class TileOrder {
 public:
  TileOrder(const Problem& problem, const TileConfig& tile, const GroupedGemmArgs& args)
      : tile_(tile), n_(problem.n), n_tiles_(ceil_div(problem.n, tile.block_size_n)) {
    first_.push_back(0);
    for (std::int64_t g = 0; g < group_count(args); ++g) {
      groups_.push_back(group_of(args, g));
      first_.push_back(first_.back() + row_tiles(groups_.back()) * n_tiles_);
    }
  }
  [[nodiscard]] std::int64_t count() const { return first_.back(); }

  // Within a group, GROUP_SIZE_M row tiles pass over one column tile (its B stays in cache) before the next.
  [[nodiscard]] Tile at(std::int64_t index) const {
    const auto after = std::upper_bound(first_.begin(), first_.end(), index);
    const auto g = static_cast<std::size_t>(after - first_.begin()) - 1;
    const HostGroup& group = groups_[g];
    const std::int64_t local = index - first_[g];
    const std::int64_t band = local / (tile_.group_size_m * n_tiles_);
    const std::int64_t band_row = band * tile_.group_size_m;
    const std::int64_t band_rows = std::min<std::int64_t>(tile_.group_size_m, row_tiles(group) - band_row);
    const std::int64_t in_band = local - band_row * n_tiles_;
    Tile t;
    t.expert = group.expert;
    t.row = group.begin + (band_row + in_band % band_rows) * tile_.block_size_m;
    t.rows = std::min<std::int64_t>(tile_.block_size_m, group.end - t.row);
    t.column = in_band / band_rows * tile_.block_size_n;
    t.columns = std::min<std::int64_t>(tile_.block_size_n, n_ - t.column);
    return t;
  }

 private:
  [[nodiscard]] std::int64_t row_tiles(const HostGroup& group) const {
    return ceil_div(group.end - group.begin, tile_.block_size_m);
  }
  std::vector<HostGroup> groups_;
  const TileConfig& tile_;
  std::int64_t n_;
  std::int64_t n_tiles_;
  std::vector<std::int64_t> first_;
};

// A thread's panels and accumulators, kept from call to call because fresh pages cost more than a decode tile.
class Scratch {
 public:
  Scratch(std::size_t a_bytes, std::size_t b_bytes, std::size_t acc_count, std::size_t row_count) {
    constexpr std::size_t kAlign = 64;
    const auto padded = [](std::size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; };
    const std::size_t total =
        padded(a_bytes) + padded(b_bytes) + padded(acc_count * sizeof(double)) + padded(row_count * sizeof(float));
    thread_local std::unique_ptr<std::byte, decltype(&std::free)> storage{nullptr, &std::free};
    thread_local std::size_t capacity = 0;
    if (capacity < total) {
      storage.reset(static_cast<std::byte*>(std::aligned_alloc(kAlign, total)));
      capacity = storage ? total : 0;
    }
    a = storage.get();
    if (a == nullptr) return;
    b = a + padded(a_bytes);
    acc = reinterpret_cast<double*>(b + padded(b_bytes));
    row = reinterpret_cast<float*>(b + padded(b_bytes) + padded(acc_count * sizeof(double)));
  }
  // An exception must not leave a parallel region, so the lack of memory is a value.
  [[nodiscard]] bool has_memory() const { return a != nullptr; }
  std::byte* a = nullptr;  // [BLOCK_SIZE_M, BLOCK_SIZE_K]
  std::byte* b = nullptr;  // [BLOCK_SIZE_N, BLOCK_SIZE_K]
  double* acc = nullptr;   // [BLOCK_SIZE_M, BLOCK_SIZE_N]
  float* row = nullptr;    // [BLOCK_SIZE_N]
};

struct Panel {
  const void* data = nullptr;
  std::int64_t pitch = 0;
};

RowScales scales_of_a(const Call& call, std::int64_t row) {
  if (call.scales != Scales::block || call.args.scale_a.empty()) return {};
  return {call.args.scale_a.data() + row * call.k_blocks, call.problem.block_shape->k};
}

RowScales scales_of_b(const Call& call, std::int64_t expert, std::int64_t column) {
  if (call.scales != Scales::block) return {};
  const std::int64_t n_blocks = ceil_div(call.problem.n, call.problem.block_shape->n);
  const std::int64_t block = expert * n_blocks + column / call.problem.block_shape->n;
  return {call.args.scale_b.data() + block * call.k_blocks, call.problem.block_shape->k};
}

// A panel read more often than this is packed even where it could be read in place: rows a power of two apart evict
// each other from the L1 (bfloat16, 512 rows an expert, K = 4096: 135 GFLOP/s in place on two cores).
constexpr std::int64_t kMostReadsInPlace = 8;

// Rows [row, row + rows) of a matrix, elements [k0, k0 + count), which the product reads `reads` times: in place where
// that can and should be, else packed into `scratch`.
template <class ScalesOfRow>
Panel make_panel(const Call& call, const ConstMatrixView& m, std::int64_t row, std::int64_t rows, std::int64_t k0,
                 std::int64_t count, std::int64_t reads, std::byte* scratch, const ScalesOfRow& scales_of_row) {
  const auto* data = static_cast<const std::byte*>(m.data);
  const auto bytes = static_cast<std::int64_t>(size_of(m.type));
  if (reads <= kMostReadsInPlace && stored_as_computed(call.compute, m.type) && count % kPackAlignment == 0) {
    return {data + (row * m.pitch + k0) * bytes, m.pitch};
  }
  const std::int64_t pitch = ceil_div(count, kPackAlignment) * kPackAlignment;
  const std::int64_t row_bytes = pitch * static_cast<std::int64_t>(element_bytes(call.compute));
  for (std::int64_t r = 0; r < rows; ++r) {
    pack_row(call.kernels, call.compute, m.type, data + (row + r) * m.pitch * bytes, k0, count, scales_of_row(r),
             scratch + r * row_bytes);
  }
  return {scratch, pitch};
}

void multiply(const Call& call, const PanelProduct& product) {
  switch (call.compute) {
    case Compute::float32:
      return call.kernels.multiply_float32(product);
    case Compute::bfloat16:
      return call.kernels.multiply_bfloat16(product);
    case Compute::int16:
      return call.kernels.multiply_int16(product);
  }
}

// Scales that are constant along K, so that they belong behind the sum.
double epilogue_scale(const Call& call, const Tile& tile, std::int64_t row, std::int64_t column) {
  const auto at = [](std::span<const float> s, std::int64_t i) {
    return static_cast<double>(s[static_cast<std::size_t>(i)]);
  };
  const std::int64_t channel = tile.expert * call.problem.n + column;
  switch (call.scales) {
    case Scales::per_tensor:
      return at(call.args.scale_a, tile.expert) * at(call.args.scale_b, tile.expert);
    case Scales::per_token_channel:
      return at(call.args.scale_a, row) * at(call.args.scale_b, channel);
    case Scales::per_channel:
      return at(call.args.scale_b, channel);
    case Scales::none:
    case Scales::block:
      break;
  }
  return 1.0;
}

void write_row(const Call& call, const float* values, std::int64_t row, std::int64_t column, std::int64_t columns) {
  const MatrixView& c = call.args.c;
  auto* out = static_cast<std::byte*>(c.data) + (row * c.pitch + column) * static_cast<std::int64_t>(size_of(c.type));
  switch (c.type) {
    case ElementType::float32:
      std::memcpy(out, values, static_cast<std::size_t>(columns) * sizeof(float));
      return;
    case ElementType::float16:
      return call.kernels.float16_from_float(values, reinterpret_cast<std::uint16_t*>(out), columns);
    case ElementType::bfloat16: {
      auto* to = reinterpret_cast<BFloat16*>(out);
      for (std::int64_t n = 0; n < columns; ++n) to[n] = to_bfloat16(values[n]);
      return;
    }
    case ElementType::float8_e4m3:
    case ElementType::int8:
    case ElementType::int4:
    case ElementType::uint4:
    case ElementType::float4_e2m1:
    case ElementType::float8_e8m0:
      return;  // validate() lets none of them be C
  }
}

void run_tile(const Call& call, const Tile& tile, Scratch& scratch) {
  const std::int64_t acc_pitch = tile.columns;
  std::fill_n(scratch.acc, tile.rows * acc_pitch, 0.0);
  for (std::int64_t k0 = 0; k0 < call.problem.k; k0 += call.tile.block_size_k) {
    const std::int64_t count = std::min<std::int64_t>(call.tile.block_size_k, call.problem.k - k0);
    const Panel a = make_panel(call, call.args.a, tile.row, tile.rows, k0, count, tile.columns, scratch.a,
                               [&](std::int64_t r) { return scales_of_a(call, tile.row + r); });
    const Panel b =
        make_panel(call, call.args.b, tile.expert * call.problem.n + tile.column, tile.columns, k0, count, tile.rows,
                   scratch.b, [&](std::int64_t n) { return scales_of_b(call, tile.expert, tile.column + n); });
    const std::int64_t padded = ceil_div(count, kPackAlignment) * kPackAlignment;
    multiply(call, {a.data, a.pitch, b.data, b.pitch, tile.rows, tile.columns, padded, scratch.acc, acc_pitch});
  }
  for (std::int64_t m = 0; m < tile.rows; ++m) {
    for (std::int64_t n = 0; n < tile.columns; ++n) {
      scratch.row[n] = static_cast<float>(scratch.acc[m * acc_pitch + n] *
                                          epilogue_scale(call, tile, tile.row + m, tile.column + n));
    }
    write_row(call, scratch.row, tile.row + m, tile.column, tile.columns);
  }
}

}  // namespace

Compute compute_of(const Problem& problem, const TileConfig& tile, ElementType a, ElementType b,
                   const KernelSet& kernels) {
  if (scales_of(problem) == Scales::block) return Compute::float32;  // scales are folded into the packed operands
  if (a == ElementType::int8 && b == ElementType::int8) return Compute::int16;
  const bool exact_in_bfloat16 = can_pack(kernels, Compute::bfloat16, a) && can_pack(kernels, Compute::bfloat16, b);
  const bool few_rows = tile.block_size_m <= kMostReadsInPlace;
  return exact_in_bfloat16 && few_rows && kernels.multiplies_bfloat16 ? Compute::bfloat16 : Compute::float32;
}

Status run_tiles(const KernelSet& kernels, int threads, const Problem& problem, const TileConfig& tile,
                 const GroupedGemmArgs& args) {
  const Compute compute = compute_of(problem, tile, args.a.type, args.b.type, kernels);
  if (!can_pack(kernels, compute, args.a.type) || !can_pack(kernels, compute, args.b.type)) {
    return fail(ErrorCode::unsupported, fmt::format("A is {} and B is {}, no CPU kernel multiplies the two",
                                                    name(args.a.type), name(args.b.type)));
  }
  const Call call{kernels,
                  problem,
                  tile,
                  args,
                  compute,
                  scales_of(problem),
                  problem.block_shape ? ceil_div(problem.k, problem.block_shape->k) : 0};
  const TileOrder order(problem, tile, args);
  const std::int64_t panel =
      ceil_div(std::min<std::int64_t>(tile.block_size_k, problem.k), kPackAlignment) * kPackAlignment;
  const std::int64_t panel_bytes = panel * static_cast<std::int64_t>(element_bytes(call.compute));
  const std::int64_t columns = std::min<std::int64_t>(tile.block_size_n, problem.n);
  bool out_of_memory = false;
#pragma omp parallel num_threads(threads) reduction(|| : out_of_memory)
  {
    Scratch scratch(static_cast<std::size_t>(tile.block_size_m * panel_bytes),
                    static_cast<std::size_t>(columns * panel_bytes),
                    static_cast<std::size_t>(tile.block_size_m * columns), static_cast<std::size_t>(columns));
    out_of_memory = !scratch.has_memory();
#pragma omp for schedule(dynamic)
    for (std::int64_t i = 0; i < order.count(); ++i) {
      if (scratch.has_memory()) run_tile(call, order.at(i), scratch);
    }
  }
  if (out_of_memory) {
    return fail(ErrorCode::unsupported, "out of memory for the threads' scratch; give smaller tiles or fewer threads");
  }
  return {};
}

}  // namespace expertile::cpu
