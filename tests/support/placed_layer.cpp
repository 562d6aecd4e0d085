#include "support/placed_layer.hpp"

#include <gtest/gtest.h>

namespace expertile::testing {
namespace {

std::size_t bytes_of(const ConstMatrixView& m) { return static_cast<std::size_t>(m.rows * m.pitch) * size_of(m.type); }

}  // namespace

PlacedLayer::PlacedLayer(const Backend& backend, RandomLayer& random, std::size_t workspace_bytes)
    : backend_(backend), random_(random), args_(random.args()) {
  const MoeLayerArgs host = random.args();
  for (ConstMatrixView* view : {&args_.hidden_states, &args_.w13, &args_.w2, &args_.topk_weights, &args_.bias_13,
                                &args_.bias_2, &args_.shared_output}) {
    place(*view);
  }
  for (std::span<const float>* scales :
       {&args_.scale_13, &args_.scale_2, &args_.input_scale_13, &args_.input_scale_2}) {
    place(*scales);
  }
  place(args_.expert_map);
  const auto ids = static_cast<std::size_t>(host.topk_ids.tokens * host.topk_ids.pitch);
  args_.topk_ids.data = placed(host.topk_ids.data, ids * (host.topk_ids.is_64_bits ? 8U : 4U));
  if (host.out.data == host.hidden_states.data) {
    args_.out.data = const_cast<void*>(args_.hidden_states.data);
  } else if (host.out.data == host.shared_output.data) {
    args_.out.data = const_cast<void*>(args_.shared_output.data);
  } else {
    args_.out.data = placed(host.out.data, bytes_of(host.out));
  }
  memory_.push_back(backend_.allocate(workspace_bytes).value());
  args_.workspace = {static_cast<std::byte*>(memory_.back().data()), workspace_bytes};
  constexpr std::byte kPoison[] = {std::byte{0xa5}};
  EXPECT_TRUE(backend_.fill(memory_.back(), kPoison));
}

void* PlacedLayer::placed(const void* data, std::size_t bytes) {
  if (data == nullptr || bytes == 0) return nullptr;
  memory_.push_back(backend_.allocate(bytes).value());
  const auto status = backend_.fill(memory_.back(), {static_cast<const std::byte*>(data), bytes});
  EXPECT_TRUE(status) << status.error().message;
  return memory_.back().data();
}

void PlacedLayer::place(ConstMatrixView& view) { view.data = placed(view.data, bytes_of(view)); }

Status PlacedLayer::fetch() {
  if (auto status = backend_.synchronise(); !status) return status;
  const MoeLayerArgs host = random_.args();
  return backend_.download(args_.out.data, {static_cast<std::byte*>(host.out.data), bytes_of(host.out)});
}

}  // namespace expertile::testing
