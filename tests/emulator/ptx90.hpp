#pragma once
// The functions of kernels/ptx90.hpp on the host.

#include <ptx.hpp>

#include "emulator/hopper.hpp"
#include "kernel_spec.hpp"

namespace expertile::ptx {

// ---- barriers in shared memory --------------------------------------------------------------------------------------

EXPERTILE_DEVICE void mbarrier_init(unsigned offset, int arrivals, const Where& where = Where::current()) {
  emulator::mbarrier_init(offset, arrivals, where);
}
EXPERTILE_DEVICE void mbarrier_fence_inits() { emulator::mbarrier_fence_inits(); }
EXPERTILE_DEVICE void mbarrier_arrive(unsigned offset, const Where& where = Where::current()) {
  emulator::mbarrier_arrive(offset, 0, where);
}
EXPERTILE_DEVICE void mbarrier_arrive_expecting(unsigned offset, int bytes, const Where& where = Where::current()) {
  emulator::mbarrier_arrive(offset, bytes, where);
}
EXPERTILE_DEVICE void mbarrier_wait(unsigned offset, int parity, const Where& where = Where::current()) {
  emulator::mbarrier_wait(offset, parity, where);
}
EXPERTILE_DEVICE void named_barrier(int id, int threads, const Where& where = Where::current()) {
  emulator::named_barrier(id, threads, where);
}

// Not the first lane, so that nothing may rely on that.
struct Elected {
  int lane = 0;
  bool is_this = false;
};
EXPERTILE_DEVICE Elected elect(const Where& where = Where::current()) {
  const int lane = exchange("elect", 21, 0, where);
  return {lane, thread_index() % 32 == lane};
}

#ifdef EXPERTILE_EVERY_LANE_ARRIVES
constexpr int kArrivingLanes = 32;  // in the one file of kernels that nothing else makes
#else
constexpr int kArrivingLanes = 1;
#endif
EXPERTILE_DEVICE void warp_barrier(const Where& where = Where::current()) { emulator::warp_barrier(where); }

template <int BEHIND>
EXPERTILE_DEVICE unsigned load_pair(unsigned offset, const Where& where = Where::current()) {
  return load_shared<unsigned short>(offset + BEHIND, where);
}

EXPERTILE_DEVICE unsigned shared_address(unsigned offset) { return offset; }
EXPERTILE_DEVICE unsigned load_word_at(unsigned address, const Where& where = Where::current()) {
  return load_shared<unsigned>(address, where);
}
EXPERTILE_DEVICE Bytes8 load_two_at(unsigned address, const Where& where = Where::current()) {
  return load_shared<Bytes8>(address, where);
}

EXPERTILE_DEVICE void fence_stores() { emulator::fence_stores(); }

// ---- bulk tensor copies ---------------------------------------------------------------------------------------------

EXPERTILE_DEVICE void copy_box(unsigned offset, const TensorMap& map, int column, int row, unsigned barrier,
                               const Where& where = Where::current()) {
  emulator::copy_box(offset, map, column, row, barrier, where);
}
EXPERTILE_DEVICE void store_box(unsigned offset, const TensorMap& map, int column, int row,
                                const Where& where = Where::current()) {
  emulator::store_box(offset, map, column, row, where);
}
EXPERTILE_DEVICE void commit_boxes() { emulator::commit_boxes(); }
template <int PENDING>
EXPERTILE_DEVICE void wait_for_boxes() {
  emulator::wait_for_boxes(PENDING);
}
EXPERTILE_DEVICE void prefetch_map(const TensorMap& map, const Where& where = Where::current()) {
  emulator::prefetch_map(map, where);
}

// ---- clusters: blocks that run at the same time and reach into each other's shared memory ---------------------------

EXPERTILE_DEVICE int cluster_rank() { return emulator::cluster_rank(); }
EXPERTILE_DEVICE void cluster_barrier(const Where& where = Where::current()) { emulator::cluster_barrier(where); }
EXPERTILE_DEVICE void mbarrier_arrive_at(unsigned offset, int rank, const Where& where = Where::current()) {
  emulator::mbarrier_arrive_at(offset, rank, where);
}
EXPERTILE_DEVICE void store_shared_to(int rank, unsigned offset, Bytes16 bytes, unsigned barrier,
                                      const Where& where = Where::current()) {
  emulator::store_shared_to(rank, offset, &bytes, barrier, where);
}
EXPERTILE_DEVICE void copy_box_to(unsigned offset, const TensorMap& map, int column, int row, unsigned barrier,
                                  unsigned short ranks, const Where& where = Where::current()) {
  emulator::copy_box_to(offset, map, column, row, barrier, ranks, where);
}

// ---- products of a warpgroup ----------------------------------------------------------------------------------------

// Shared memory begins at address 0 here.
EXPERTILE_DEVICE unsigned descriptor_base(unsigned offset) {
  constexpr unsigned kUnused = 1U << 16;
  return kUnused | (offset & 0x3ffffU) >> 4;
}
EXPERTILE_DEVICE unsigned advance_descriptor(unsigned base, int bytes) {
  return base + static_cast<unsigned>(bytes / 16);
}
EXPERTILE_DEVICE unsigned long long descriptor(unsigned base) {
  constexpr unsigned long long kSwizzle128 = 1ULL << 62;
  constexpr unsigned long long kEightRows = static_cast<unsigned long long>(1024 / 16) << 32;
  return kSwizzle128 | kEightRows | base;
}
EXPERTILE_DEVICE void wgmma_fence(const Where& where = Where::current()) { emulator::fence_products(where); }
EXPERTILE_DEVICE void wgmma_commit(const Where& where = Where::current()) { emulator::commit_products(where); }
template <int PENDING>
EXPERTILE_DEVICE void wgmma_wait(const Where& where = Where::current()) {
  emulator::wait_for_products(PENDING, where);
}
template <int REGISTERS>
EXPERTILE_DEVICE void give_registers() {}
template <int REGISTERS>
EXPERTILE_DEVICE void take_registers() {}
EXPERTILE_DEVICE void fence_operand(float&) {}
EXPERTILE_DEVICE void fence_operand(int&) {}
EXPERTILE_DEVICE void fence_operand(unsigned&) {}

// ---- between lanes --------------------------------------------------------------------------------------------------

// A lane gets the row that it gives a place for: eight elements, each a half of some lane's word.
template <bool TRANSPOSED, int MATRICES>
EXPERTILE_DEVICE void store_matrices(unsigned offset, const unsigned (&word)[MATRICES],
                                     const Where& where = Where::current()) {
  struct Lane {
    const unsigned* word;
    Bytes16 row;
  } mine{word, {}};
  const auto deal = [](const emulator::Lanes& lanes) {
    for (std::size_t l = 0; l < 8 * MATRICES; ++l) {
      Bytes16& to = static_cast<Lane*>(lanes[l])->row;
      for (std::size_t i = 0; i < 8; ++i) {
        const std::size_t row = TRANSPOSED ? i : l % 8;
        const std::size_t column = TRANSPOSED ? l % 8 : i;
        const unsigned two = static_cast<const Lane*>(lanes[row * 4 + column / 2])->word[l / 8];
        to.word[i / 2] |= (column % 2 == 0 ? two & 0xffffU : two >> 16U) << (i % 2 * 16);
      }
    }
  };
  emulator::together("store_matrices", &mine, deal, where);
  if (thread_index() % 32 < 8 * MATRICES) store_shared(offset, mine.row, where);
}
EXPERTILE_DEVICE unsigned shuffle_xor(unsigned value, int mask, const Where& where = Where::current()) {
  return exchange("shuffle_xor", value, (thread_index() % 32) ^ mask, where);
}

}  // namespace expertile::ptx
