// Compiled twice: against this revision's headers, and against another's, whose namespace a macro renames (`expertile`
// becomes `expertile_old`). MAKE_SIDE names the function that this one is.

#include "revisions/side.hpp"

#include "expertile/grouped_gemm.hpp"

namespace revisions {
namespace {

using expertile::ElementType;
using expertile::Scales;

std::string text_of(const expertile::TileConfig& tile) {
  std::string text;
  for (const int number : {tile.block_size_m, tile.block_size_n, tile.block_size_k, tile.num_warps, tile.num_stages,
                           tile.split_k, tile.swap_ab, tile.pingpong, tile.cluster_size, tile.cluster_m}) {
    text += (text.empty() ? "" : " ") + std::to_string(number);
  }
  return text;
}

class OneRevision final : public Side {
 public:
  explicit OneRevision(expertile::GroupedGemm gemm) : gemm_(std::move(gemm)) {}

  [[nodiscard]] Sizes sizes(std::int64_t rows) const override {
    const expertile::Problem& p = gemm_.problem();
    const auto count = [](std::int64_t entries) { return static_cast<std::size_t>(entries); };
    const auto blocks = [](std::int64_t length) { return (length + 127) / 128; };
    Sizes sizes;
    sizes.bytes_a = static_cast<int>(size_of(expertile::activation_type(p.dtype)));
    sizes.bytes_b = static_cast<int>(size_of(expertile::weight_type(p.dtype, p.block_shape.has_value())));
    sizes.bytes_c = static_cast<int>(size_of(expertile::output_type(p.dtype)));
    const Scales scales = expertile::scales_of(p);
    if (scales == Scales::block) {
      const bool gives_a = !expertile::quantises_a(p) && p.dtype != expertile::DType::int8_w8a16;
      sizes.scales_a = gives_a ? count(rows * blocks(p.k)) : 0;
      sizes.scales_b = count(p.experts * blocks(p.n) * blocks(p.k));
    } else if (scales != Scales::none) {
      const bool is_per_tensor = scales == Scales::per_tensor;
      sizes.scales_a = scales == Scales::per_channel ? 0 : count(is_per_tensor ? p.experts : rows);
      sizes.scales_b = count(is_per_tensor ? p.experts : p.experts * p.n);
    }
    sizes.workspace = gemm_.workspace_bytes(rows);
    return sizes;
  }

  [[nodiscard]] std::string enqueue(const Call& call) const override {
    const expertile::Problem& p = gemm_.problem();
    const std::int64_t rows = call.rows;
    const Sizes need = sizes(rows);
    const auto groups = static_cast<std::size_t>(p.experts);
    expertile::GroupedGemmArgs args;
    args.a = {call.a, rows, p.k, p.k, expertile::activation_type(p.dtype)};
    args.b = {call.b, p.experts * p.n, p.k, p.k, expertile::weight_type(p.dtype, p.block_shape.has_value())};
    args.c = {call.c, rows, p.n, p.n, expertile::output_type(p.dtype)};
    args.seg_indptr = {call.seg_indptr, groups + 1};
    args.weight_indices = {call.weight_indices, groups};
    args.scale_a = {call.scale_a, need.scales_a};
    args.scale_b = {call.scale_b, need.scales_b};
    args.workspace = {static_cast<std::byte*>(call.workspace), call.workspace_bytes};
    args.stream = call.stream;
    const auto status = gemm_(args);
    return status ? std::string() : status.error().message;
  }

  [[nodiscard]] std::string tile(std::int64_t rows) const override { return text_of(gemm_.selection(rows).tile); }

 private:
  expertile::GroupedGemm gemm_;
};

}  // namespace

std::unique_ptr<Side> MAKE_SIDE(const Kind& kind, std::string& why) {
  const auto dtype = expertile::parse_dtype(kind.dtype);
  if (!dtype) {
    why = dtype.error().message;
    return nullptr;
  }
  expertile::Problem problem;
  problem.experts = kind.experts;
  problem.n = kind.n;
  problem.k = kind.k;
  problem.dtype = *dtype;
  problem.top_k = kind.top_k;
  problem.tf32 = kind.is_tf32;
  if (kind.has_blocks) problem.block_shape = expertile::BlockShape{128, 128};
  if (kind.is_per_token) problem.scales = Scales::per_token_channel;
  expertile::PrepareOptions options;
  options.device = "cuda";
  options.config_dir = "/nonexistent";
  options.c_type = expertile::output_type(*dtype);
  auto gemm = expertile::GroupedGemm::prepare(problem, options);
  if (!gemm) {
    why = gemm.error().message;
    return nullptr;
  }
  return std::make_unique<OneRevision>(std::move(*gemm));
}

}  // namespace revisions
