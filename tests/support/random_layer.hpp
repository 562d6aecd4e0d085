#pragma once
// Random ragged layers that own their tensors: rows lie further apart than they are long, out is poisoned where nothing
// may be written, ids are of no expert here and there, and some experts and tokens have none.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "expertile/moe_layer.hpp"

namespace expertile::testing {

// Which tensor out is.
enum class OutIs { its_own, hidden_states, shared_output };

struct LayerCase {
  std::string name;
  DType dtype = DType::bfloat16;
  Scales scales = Scales::none;
  ElementType hidden = ElementType::bfloat16;
  bool tf32 = false;
  Activation activation = Activation::silu;
  GateOrder gate_order = GateOrder::gate_first;
  RouterWeight router_weight = RouterWeight::output;
  std::optional<float> limit{};
  std::optional<ElementType> bias{};  // of both products; none: no biases
  bool ids_are_64_bits = false;
  bool has_expert_map = false;
  bool has_shared_output = false;
  OutIs out = OutIs::its_own;
  bool is_aligned = false;                  // rows and blocks of scales begin at multiples of 16 bytes
  std::optional<BlockShape> block_shape{};  // instead of a random one

  friend void PrintTo(const LayerCase& layer, std::ostream* out) { *out << layer.name; }  // for GoogleTest
};
// Each value of each of these with every dtype and scales that DESIGN.md names, a dozen layers for each.
[[nodiscard]] std::vector<LayerCase> all_layer_cases();
// One of them.
[[nodiscard]] LayerCase layer_case_named(const std::string& name);

class RandomLayer {
 public:
  RandomLayer(const LayerCase& layer, std::uint64_t seed);

  [[nodiscard]] const MoeProblem& problem() const { return problem_; }
  // Without a workspace. Where out is an input, too, a reference is to be made before the call, and poison() brings the
  // input back.
  [[nodiscard]] MoeLayerArgs args();
  // Fills out, its padding and two rows behind it with a pattern that outputs do not have; then the input that out is.
  void poison();
  // Bytes of padding and of the rows behind [T, H] that no longer hold the pattern.
  [[nodiscard]] std::int64_t overwritten() const;
  [[nodiscard]] std::string describe() const;

  // As the layer has them; a test may break them for one call.
  std::vector<std::int32_t> ids_32;  // one of the two is empty
  std::vector<std::int64_t> ids_64;
  std::vector<std::int32_t> expert_map;
  std::vector<float> scale_13, scale_2, input_scale_13, input_scale_2;

 private:
  struct Tensor {
    std::int64_t rows = 0, columns = 0, pitch = 0;
    ElementType type = ElementType::float32;
    std::vector<std::byte> bytes{};

    [[nodiscard]] ConstMatrixView view() const { return {bytes.data(), rows, columns, pitch, type}; }
  };

  void choose_sizes(std::mt19937_64& generator);
  void choose_ids(std::mt19937_64& generator);
  void choose_scales(std::mt19937_64& generator);
  [[nodiscard]] std::int64_t pitch_of(std::int64_t columns, std::mt19937_64& generator) const;
  [[nodiscard]] Tensor random_tensor(std::int64_t rows, std::int64_t columns, ElementType type, float size,
                                     std::mt19937_64& generator) const;

  LayerCase case_;
  MoeProblem problem_;
  std::int64_t tokens_ = 0;
  std::int64_t id_pitch_ = 0;
  Tensor hidden_states_, w13_, w2_, topk_weights_, bias_13_, bias_2_, shared_output_, out_;
};

}  // namespace expertile::testing
