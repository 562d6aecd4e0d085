#pragma once
// Which row each slot has: a stable sort of topk_ids by expert, in one launch, without a look at them by the host.
// Several blocks sort a stretch of the slots each, and count all others' for themselves: no block waits for another
// one.

#include <ptx.hpp>

#include "kernel_shape.hpp"
#include "layer/layer_spec.hpp"

namespace expertile {

// In shared memory, ints: [warps, experts] slots of each warp's stretch, then where their rows begin; slots before the
// block's stretch and behind it, [experts] each; [kMostRouteWarps] experts' rows in all, 32 experts each.
struct RouteLayout {
  int experts;
  int warps;
  EXPERTILE_DEVICE unsigned of_warp(int warp, int expert) const {
    return 4U * static_cast<unsigned>(warp * experts + expert);
  }
  EXPERTILE_DEVICE unsigned before(int expert) const { return of_warp(warps, expert); }
  EXPERTILE_DEVICE unsigned behind(int expert) const { return of_warp(warps + 1, expert); }
  EXPERTILE_DEVICE unsigned sum(int warp) const { return of_warp(warps + 2, warp); }
};

// The slot's expert here; -1 where it has none.
EXPERTILE_DEVICE int expert_of_slot(const RouteArgs& args, int slot) {
  const long long at = slot / args.top_k * args.ids_pitch + slot % args.top_k;
  long long id = args.ids_are_long != 0 ? ptx::load_global(static_cast<const long long*>(args.ids) + at)
                                        : ptx::load_global(static_cast<const int*>(args.ids) + at);
  if (args.expert_map != nullptr) {
    id = id >= 0 && id < args.mapped ? ptx::load_global(args.expert_map + static_cast<int>(id)) : -1;
  }
  return id >= 0 && id < args.experts ? static_cast<int>(id) : -1;
}

// Calls take(slot, expert, alike) for 32 slots of [begin, end) at a time, in their order: the lanes that have the same
// expert. Collective of a warp.
template <class Take>
EXPERTILE_DEVICE void for_slots(const RouteArgs& args, int begin, int end, const Take& take) {
  const int lane = ptx::thread_index() % 32;
  for (int first = begin; first < end; first += 32) {
    const int slot = first + lane;
    const int expert = slot < end ? expert_of_slot(args, slot) : -2;
    take(slot, expert, ptx::lanes_alike(expert));
  }
}

// Rows of all experts before each of the block's, one a thread: `mine` is the thread's expert's. total: of all of them.
EXPERTILE_DEVICE int rows_before(const RouteLayout& layout, int mine, int& total) {
  const int lane = ptx::thread_index() % 32;
  const int warp = ptx::thread_index() / 32;
  int until = mine;
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    const int below = ptx::shuffle_up(until, distance);
    if (lane >= distance) until += below;
  }
  if (lane == 31) ptx::store_shared(layout.sum(warp), until);
  ptx::barrier();
  int before = until - mine;
  total = 0;
  for (int other = 0; other < layout.warps; ++other) {
    const int sum = ptx::load_shared<int>(layout.sum(other));
    if (other < warp) before += sum;
    total += sum;
  }
  ptx::barrier();  // the sums may be written again
  return before;
}

// Slots of the block's warps, and of the blocks before and behind.
EXPERTILE_DEVICE void count_slots(const RouteArgs& args, const RouteLayout& layout, int begin, int end, int first,
                                  int last) {
  const int threads = 32 * args.warps;
  const int warp = ptx::thread_index() / 32;
  const int lane = ptx::thread_index() % 32;
  const int slots = args.tokens * args.top_k;
  for (int i = ptx::thread_index(); i < args.experts * (args.warps + 2); i += threads) ptx::store_shared(4U * i, 0);
  ptx::barrier();
  for_slots(args, begin, end, [&](int, int expert, unsigned alike) {
    const bool is_first = ptx::lowest_bit(alike) == lane;
    if (expert >= 0 && is_first) ptx::add_shared(layout.of_warp(warp, expert), ptx::count_bits(alike));
  });
  for (int slot = ptx::thread_index(); slot < slots; slot += threads) {
    if (slot >= first && slot < last) continue;
    const int expert = expert_of_slot(args, slot);
    if (expert >= 0) ptx::add_shared(slot < first ? layout.before(expert) : layout.behind(expert), 1);
  }
  ptx::barrier();
}

// From counts to where each warp's rows of each expert begin; the first block writes the experts' offsets.
EXPERTILE_DEVICE void place_experts(const RouteArgs& args, const RouteLayout& layout) {
  const int threads = 32 * args.warps;
  int placed = 0;  // rows of the experts before
  for (int first = 0; first < args.experts; first += threads) {
    const int expert = first + ptx::thread_index();
    const bool is_there = expert < args.experts;
    int before = 0;
    int mine = 0;
    if (is_there) {
      before = ptx::load_shared<int>(layout.before(expert));
      mine = before + ptx::load_shared<int>(layout.behind(expert));
      for (int warp = 0; warp < args.warps; ++warp) mine += ptx::load_shared<int>(layout.of_warp(warp, expert));
    }
    int total = 0;
    const int begin = placed + rows_before(layout, mine, total);
    placed += total;
    if (!is_there) continue;
    int row = begin + before;
    for (int warp = 0; warp < args.warps; ++warp) {
      const int count = ptx::load_shared<int>(layout.of_warp(warp, expert));
      ptx::store_shared(layout.of_warp(warp, expert), row);
      row += count;
    }
    if (ptx::block_index() != 0) continue;
    ptx::store_global(args.seg_indptr + expert, static_cast<long long>(begin));
    ptx::store_global(args.weight_indices + expert, static_cast<long long>(expert));
  }
  if (ptx::block_index() == 0 && ptx::thread_index() == 0) {
    ptx::store_global(args.seg_indptr + args.experts, static_cast<long long>(placed));
  }
  ptx::barrier();
}

EXPERTILE_DEVICE void route(const RouteArgs& args) {
  ptx::wait_for_work_ahead();
  ptx::let_next_begin();
  const RouteLayout layout{args.experts, args.warps};
  const int warp = ptx::thread_index() / 32;
  const int lane = ptx::thread_index() % 32;
  const int slots = args.tokens * args.top_k;
  const int of_warp = ceil_divide(ceil_divide(slots, ptx::grid_size() * args.warps), 32) * 32;
  const auto bound = [slots](int slot) { return slot < slots ? slot : slots; };
  const int first = bound(ptx::block_index() * args.warps * of_warp);
  const int last = bound((ptx::block_index() + 1) * args.warps * of_warp);
  const int begin = bound(first + warp * of_warp);
  const int end = bound(begin + of_warp);
  count_slots(args, layout, begin, end, first, last);
  place_experts(args, layout);
  for_slots(args, begin, end, [&](int slot, int expert, unsigned alike) {
    const int leader = ptx::lowest_bit(alike);
    int row = -1;
    if (expert >= 0 && lane == leader) row = ptx::add_shared(layout.of_warp(warp, expert), ptx::count_bits(alike));
    row = ptx::shuffle(row, leader);
    if (slot >= end) return;
    if (expert >= 0) row += ptx::count_bits(alike & ((1U << lane) - 1U));
    ptx::store_global(args.slot_row + slot, row);
    if (expert < 0) return;
    ptx::store_global(args.row_slot + row, slot);
    ptx::store_global(args.row_expert + row, expert);
  });
}

}  // namespace expertile
