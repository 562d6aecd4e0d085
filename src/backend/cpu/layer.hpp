#pragma once
// The steps of a layer that lie around its products, on the host.

#include "backend/cpu/kernels.hpp"
#include "moe/buffers.hpp"

namespace expertile::cpu {

// What every step of one call reads.
struct LayerCall {
  const KernelSet& kernels;
  int threads;
  const MoeProblem& problem;
  const MoeLayerArgs& args;
  const LayerBuffers& buffers;
};

// seg_indptr, weight_indices and which row each slot has, by a stable sort of topk_ids.
void route(const LayerCall& call);
// The rows of the first product's A, from hidden states; a token is read once.
void make_a13(const LayerCall& call);
// The rows of the second product's A, from what the first one wrote.
void make_a2(const LayerCall& call);
void weighted_sum(const LayerCall& call);

}  // namespace expertile::cpu
