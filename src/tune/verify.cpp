#include "tune/verify.hpp"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "backend/reference.hpp"
#include "plan/kernel_plan.hpp"
#include "tile_shape.hpp"
#include "tune/tensors.hpp"

namespace expertile {

// A problem cut small enough for the reference to take milliseconds, and its groups.
struct Verification::Case {
  Problem problem;
  RoutingSample groups;
  int every = 1;  // element of C that is compared with the reference, see reference_grouped_gemm

  static Case one_row(const Problem& problem, const TileConfig& tile);
  static Case ragged(const Problem& problem, const TileConfig& tile);
  static Case large(const Problem& problem, const TileConfig& tile);

  // Of one Verification, whose cases are cut from one problem.
  [[nodiscard]] bool is(const Case& other) const {
    return problem.n == other.problem.n && problem.k == other.problem.k && every == other.every &&
           groups.seg_indptr == other.groups.seg_indptr && groups.weight_indices == other.groups.weight_indices;
  }
};

namespace {

// As much of `whole` as is wanted, a multiple of the same powers of two (up to `most`), so that the kernel verified,
// its copies and its stores are those timed.
std::int64_t like(std::int64_t whole, std::int64_t wanted, std::int64_t most) {
  std::int64_t step = 1;
  while (step < most && whole % (2 * step) == 0) step *= 2;
  std::int64_t steps = ceil_div(wanted, step);
  if (step < most && steps % 2 == 0) ++steps;
  return std::min(whole, steps * step);
}

// The least of a few sizes that holds this one: tiles that have it in common share their cases.
std::int64_t rounded_up(std::int64_t size) {
  for (const std::int64_t one : {32, 128, 512}) {
    if (size <= one) return one;
  }
  return size;
}

// Past the last stage, so that the ring's first one is filled again.
std::int64_t short_k(const Problem& problem, const TileConfig& tile) {
  const std::int64_t in_stages = std::int64_t{tile.block_size_k} * tile.num_stages;
  return like(problem.k, std::min<std::int64_t>(std::max<std::int64_t>(128, rounded_up(in_stages)) + 37, 1100), 32);
}

}  // namespace

// Tiles and an edge, of columns whose number is odd where that can be: a tile's slow stores. Every element of C.
Verification::Case Verification::Case::ragged(const Problem& problem, const TileConfig& tile) {
  Case one{problem, {}, 1};
  one.problem.experts = std::min<std::int64_t>(problem.experts, 3);
  one.problem.n = std::min<std::int64_t>({problem.n, rounded_up(tile.block_size_n) + 5, 201});
  one.problem.k = short_k(problem, tile);
  const std::int64_t last = one.problem.experts - 1;
  one.groups = {{0, 3, 3, 3 + 16 + 1, 3 + 16 + 2}, {last, 0, 0, last}};  // with an empty group
  return one;
}

// One row alone of the same.
Verification::Case Verification::Case::one_row(const Problem& problem, const TileConfig& tile) {
  Case one = ragged(problem, tile);
  one.groups = {{0, 1}, {one.problem.experts - 1}};
  return one;
}

// More than a whole row tile and a whole column tile of a cluster, so that every warp, every block and every store of
// whole lines has work; N as aligned as the problem's. In each row every eighth element is compared, in the next row
// the one beside it: no eight columns of a row, and no eight rows of a column, can be wrong unseen. All must be
// written.
Verification::Case Verification::Case::large(const Problem& problem, const TileConfig& tile) {
  Case one{problem, {}, 8};
  one.problem.experts = std::min<std::int64_t>(problem.experts, 2);
  const std::int64_t columns = rounded_up(cluster_tile_n(tile));
  one.problem.n = like(problem.n, columns + columns / 2 + 1, 32);
  one.problem.k = short_k(problem, tile);
  const std::int64_t last = one.problem.experts - 1;
  const std::int64_t rows = rounded_up(cluster_tile_m(tile));
  const std::int64_t first = rows + rows / 2 + 3;
  const std::int64_t second = first + rows - 1;
  one.groups = {{0, first, first, second, second + 1}, {last, 0, 0, last}};
  return one;
}

namespace {

// A call's tensors, copied to the host.
struct OnHost {
  std::vector<std::vector<std::byte>> memory;
  GroupedGemmArgs args;
};

Result<const void*> copied(const Backend& backend, const void* from, std::size_t bytes, OnHost& host) {
  host.memory.emplace_back(bytes);
  if (bytes == 0) return nullptr;
  if (auto status = backend.download(from, host.memory.back()); !status) return fail(status.error());
  return host.memory.back().data();
}

std::size_t matrix_bytes(const ConstMatrixView& m) {
  return static_cast<std::size_t>(m.rows * m.pitch) * size_of(m.type);
}

Result<OnHost> to_host(const Backend& backend, const GroupedGemmArgs& device) {
  OnHost host;
  host.args = device;
  host.memory.reserve(7);
  const auto a = copied(backend, device.a.data, matrix_bytes(device.a), host);
  const auto b = copied(backend, device.b.data, matrix_bytes(device.b), host);
  const auto c = copied(backend, device.c.data, matrix_bytes(device.c), host);
  const auto segments = copied(backend, device.seg_indptr.data(), device.seg_indptr.size_bytes(), host);
  const auto experts = copied(backend, device.weight_indices.data(), device.weight_indices.size_bytes(), host);
  const auto scale_a = copied(backend, device.scale_a.data(), device.scale_a.size_bytes(), host);
  const auto scale_b = copied(backend, device.scale_b.data(), device.scale_b.size_bytes(), host);
  for (const auto* one : {&a, &b, &c, &segments, &experts, &scale_a, &scale_b}) {
    if (!*one) return fail(one->error());
  }
  host.args.a.data = *a;
  host.args.b.data = *b;
  host.args.c.data = host.memory[2].data();
  host.args.seg_indptr = {static_cast<const std::int64_t*>(*segments), device.seg_indptr.size()};
  host.args.weight_indices = {static_cast<const std::int64_t*>(*experts), device.weight_indices.size()};
  host.args.scale_a = {static_cast<const float*>(*scale_a), device.scale_a.size()};
  host.args.scale_b = {static_cast<const float*>(*scale_b), device.scale_b.size()};
  return host;
}

bool is_poison(const GroupedGemmArgs& args, std::int64_t row) {
  const auto bytes = static_cast<std::size_t>(args.c.cols) * size_of(args.c.type);
  const auto* first = static_cast<const std::byte*>(args.c.data) + static_cast<std::size_t>(row) * bytes;
  return std::all_of(first, first + bytes, [](std::byte b) { return b == std::byte{0xff}; });
}

}  // namespace

// A case where the device computes, with its reference.
class Verification::PlacedCase {
 public:
  [[nodiscard]] static Result<std::unique_ptr<const PlacedCase>> make(const Backend& backend, const Case& one) {
    const std::int64_t rows = one.groups.rows() + kRowsOutside;
    auto tensors = Tensors::make(backend, one.problem, rows, 1);
    if (!tensors) return fail(tensors.error());
    auto routing = PlacedRouting::make(backend, one.groups);
    if (!routing) return fail(routing.error());
    auto host = to_host(backend, tensors->args(*routing, rows));
    if (!host) return fail(host.error());
    ReferenceResult reference = reference_grouped_gemm(one.problem, host->args, one.every);
    return std::unique_ptr<const PlacedCase>(
        new PlacedCase({one, std::move(*tensors), std::move(*routing), std::move(*host), std::move(reference)}));
  }

  [[nodiscard]] bool is(const Case& other) const { return parts_.what.is(other); }

  [[nodiscard]] Result<double> error_over_bound(const Backend& backend, const TileConfig& tile) const {
    const auto& [what, tensors, routing, host, reference] = parts_;
    const std::int64_t rows = what.groups.rows() + kRowsOutside;
    const GroupedGemmArgs args = tensors.args(routing, rows);
    if (auto status = tensors.poison_c(backend); !status) return fail(status.error());
    const auto plan = backend.plan(what.problem, {tile}, {types_of(args)}, SlowKernels::taken).front();
    if (!plan) return fail(plan.error());
    if (auto status = backend.run(**plan, args); !status) return fail(status.error());
    if (auto status = backend.synchronise(); !status) return fail(status.error());
    std::vector<std::byte> c(matrix_bytes(args.c));
    if (auto status = backend.download(args.c.data, c); !status) return fail(status.error());
    GroupedGemmArgs done = host.args;
    done.c.data = c.data();
    for (std::int64_t row = what.groups.rows(); row < rows; ++row) {
      if (!is_poison(done, row)) return std::numeric_limits<double>::infinity();
    }
    return worst_error_over_bound(what.problem, done, reference, sum_error(what.problem, tile));
  }

 private:
  static constexpr std::int64_t kRowsOutside = 2;  // poisoned, behind the last group
  struct Parts {
    Case what;
    Tensors tensors;
    PlacedRouting routing;
    OnHost host;
    ReferenceResult reference;
  };
  explicit PlacedCase(Parts parts) : parts_(std::move(parts)) {}
  Parts parts_;
};

Verification::Verification(const Backend& backend, const Problem& problem) : backend_(backend), problem_(problem) {}
Verification::~Verification() = default;
Verification::Verification(Verification&&) noexcept = default;

Result<const Verification::PlacedCase*> Verification::placed(const Case& wanted) {
  for (const auto& known : cases_) {
    if (known->is(wanted)) return known.get();
  }
  auto made = PlacedCase::make(backend_, wanted);
  if (!made) return fail(made.error());
  return cases_.emplace_back(std::move(*made)).get();
}

Result<double> Verification::error_over_bound(const TileConfig& tile) {
  double worst = 0;
  for (const auto& cut : {Case::one_row, Case::ragged, Case::large}) {
    const auto found = placed(cut(problem_, tile));
    if (!found) return fail(found.error());
    auto error = (*found)->error_over_bound(backend_, tile);
    if (!error || *error > 1) return error;
    worst = std::max(worst, *error);
  }
  return worst;
}

}  // namespace expertile
