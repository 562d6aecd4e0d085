#pragma once
// What Hopper adds to ptx.hpp: barriers in shared memory, bulk tensor copies, and products of a whole warpgroup. As
// there, tests/emulator/ptx90.hpp supplies the same functions on the host. The product itself, whose operands are as
// many registers as the tile is wide, is in wgmma.hpp, which the library writes for each kernel (src/jit/wgmma_text).
//
// A warpgroup is 128 threads whose first index is a multiple of 128; "collective of the warpgroup" means that all of
// them call it together.

#include <ptx.hpp>

#include "kernel_shape.hpp"

namespace expertile::ptx {

// ---- barriers in shared memory ----------------------------------------------------------------------------------
// 8 bytes at an offset aligned to 8. A phase ends when all its arrivals have been counted and all bytes that were
// expected in it have been copied; the next phase begins at once. Phases have parities 0, 1, 0, 1, ...

EXPERTILE_DEVICE void mbarrier_init(unsigned offset, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(offset)), "r"(arrivals) : "memory");
}
// After the inits, by the thread that made them, and before a barrier of the block: copies see them too.
EXPERTILE_DEVICE void mbarrier_fence_inits() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
// One arrival. What this thread did before is seen by whoever waits for the phase.
EXPERTILE_DEVICE void mbarrier_arrive(unsigned offset) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(offset)) : "memory");
}
// One arrival, and the phase waits for so many bytes more.
EXPERTILE_DEVICE void mbarrier_arrive_expecting(unsigned offset, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(offset)), "r"(bytes)
               : "memory");
}
// Until the phase of this parity has ended: at once where the phase under way has the other parity. So parity 1 of a
// new barrier is no wait.
EXPERTILE_DEVICE void mbarrier_wait(unsigned offset, int parity) {
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra again;\n"
      "}" ::"r"(shared_address(offset)),
      "r"(parity)
      : "memory");
}

// Threads of some warps: what each did to shared memory before is seen by all after. id 1 to 15 (0 is the block's own
// barrier); threads: a multiple of 32, all of which call it with the same id.
EXPERTILE_DEVICE void named_barrier(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// Registers of the block's threads move from warpgroups that give some up to others that wait for them. Collectives of
// the warpgroup; REGISTERS: a thread's from now on, a multiple of 8.
template <int REGISTERS>
EXPERTILE_DEVICE void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(REGISTERS));
}
template <int REGISTERS>
EXPERTILE_DEVICE void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(REGISTERS));
}

// One of the warp's lanes, always the same. Collective of a warp. Of what is behind a branch on `is_this` the compiler
// knows that a single lane does it: copies need no loop over the lanes that might.
struct Elected {
  int lane = 0;
  bool is_this = false;
};
EXPERTILE_DEVICE Elected elect() {
  int lane;
  unsigned is_this;
  asm volatile(
      "{\n"
      ".reg .pred this;\n"
      "elect.sync %0|this, 0xffffffff;\n"
      "selp.b32 %1, 1, 0, this;\n"
      "}"
      : "=r"(lane), "=r"(is_this));
  return {lane, is_this != 0};
}

// Collective of a warp: what its lanes did to shared memory before is seen by all of them after.
EXPERTILE_DEVICE void warp_barrier() { __syncwarp(); }

// Lanes that arrive for a warp whose lanes have each read something: one, after a barrier of the warp. But
// compute-sanitizer's racecheck takes an arrival to speak for the lane that arrives alone: for it, each arrives.
#ifdef EXPERTILE_EVERY_LANE_ARRIVES
inline constexpr int kArrivingLanes = 32;
#else
inline constexpr int kArrivingLanes = 1;
#endif

// Two bytes of shared memory, BEHIND bytes behind an even offset, in a register's low half; the other half is zero. The
// distance is part of the instruction, which load_shared's sum of unsigned offsets could not be.
template <int BEHIND>
EXPERTILE_DEVICE unsigned load_pair(unsigned offset) {
  unsigned pair;
  asm volatile("ld.shared.u16 %0, [%1 + %2];" : "=r"(pair) : "r"(shared_address(offset)), "n"(BEHIND) : "memory");
  return pair;
}

// 4 or 8 bytes of shared memory, aligned to as many, by the address that shared_address gives for their offset: worked
// out once, it stays in a register, where offsets are added to the memory's begin anew.
EXPERTILE_DEVICE unsigned load_word_at(unsigned address) {
  unsigned word;
  asm volatile("ld.shared.b32 %0, [%1];" : "=r"(word) : "r"(address) : "memory");
  return word;
}
EXPERTILE_DEVICE Bytes8 load_two_at(unsigned address) {
  Bytes8 two;
  asm volatile("ld.shared.v2.b32 {%0, %1}, [%2];" : "=r"(two.word[0]), "=r"(two.word[1]) : "r"(address) : "memory");
  return two;
}

// What this thread stored to shared memory before is seen by the products, and is overwritten by the bulk copies, of
// whoever knows of it through a barrier after this: they reach shared memory by another path than ordinary accesses do.
EXPERTILE_DEVICE void fence_stores() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// ---- bulk tensor copies -----------------------------------------------------------------------------------------

// Starts copying a box of a matrix to shared memory (aligned to 1024): rows `row` and on, 128 bytes of each from
// element `column` on; what lies outside the matrix becomes zero. Box and element type are the map's: float32 comes as
// it is, or rounded to tf32, to nearest, ties away from zero. Row r of the box lies at offset + 128 * r, its 16-byte
// chunk c at chunk c ^ (r % 8). The copied bytes (the whole box's) are counted by the barrier; whoever has waited for
// its phase sees them. Called by one thread.
EXPERTILE_DEVICE void copy_box(unsigned offset, const TensorMap& map, int column, int row, unsigned barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(
          shared_address(offset)),
      "l"(&map), "r"(column), "r"(row), "r"(shared_address(barrier))
      : "memory");
}
// Starts storing a box that lies in shared memory as copy_box would have brought it; what lies outside the matrix,
// whose rows end at a multiple of 16 bytes, is not written. What this thread knows to be there is stored, of ordinary
// stores those that fence_stores came after.
EXPERTILE_DEVICE void store_box(unsigned offset, const TensorMap& map, int column, int row) {
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%1, %2}], [%3];" ::"l"(&map), "r"(column),
               "r"(row), "r"(shared_address(offset))
               : "memory");
}
// Closes this thread's group of boxes that it has begun to store since the last commit (it may be empty).
EXPERTILE_DEVICE void commit_boxes() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
// Waits until at most PENDING of this thread's latest groups are yet to be read: the others' shared memory is free to
// be overwritten, by whoever this thread tells. A thread ends with none.
template <int PENDING>
EXPERTILE_DEVICE void wait_for_boxes() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(PENDING) : "memory");
}
// The map itself is on its way before the first copy needs it.
EXPERTILE_DEVICE void prefetch_map(const TensorMap& map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

// ---- clusters: blocks that run at the same time and reach into each other's shared memory -----------------------

// The block's number within its cluster: block_index() modulo the cluster's size.
EXPERTILE_DEVICE int cluster_rank() {
  int rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));  // it never changes: read once
  return rank;
}
// All threads of all blocks of the cluster: what each did to shared memory before is seen by all after. No block may
// reach into another before the first of these, nor after the last: the other might not have begun, or be gone.
EXPERTILE_DEVICE void cluster_barrier() {
  asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
}
// One arrival at the barrier with this offset of the cluster's block `rank`. It says that this warp has read what it
// waited for, and hands over nothing that was written: a release that the whole cluster sees would first wait for all
// of the thread's accesses to memory (MEMBAR.ALL.GPU), at every k-block.
EXPERTILE_DEVICE void mbarrier_arrive_at(unsigned offset, int rank) {
  asm volatile(
      "{\n"
      ".reg .b32 there;\n"
      "mapa.shared::cluster.u32 there, %0, %1;\n"
      "mbarrier.arrive.shared::cluster.b64 _, [there];\n"
      "}" ::"r"(shared_address(offset)),
      "r"(rank)
      : "memory");
}
// Starts storing 16 bytes at this offset (aligned to 16) of the shared memory of the cluster's block `rank`, where the
// barrier with the offset `barrier` counts them; whoever has waited there for its phase sees them. So no thread has to
// say that its stores are there, which would be a release that the whole cluster sees.
EXPERTILE_DEVICE void store_shared_to(int rank, unsigned offset, Bytes16 bytes, unsigned barrier) {
  unsigned there;  // where the other block's shared memory begins: the same for all stores to it
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(shared_address(0)), "r"(rank));
  asm volatile("st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [%0], {%1, %2, %3, %4}, [%5];" ::"r"(
                   there + offset),
               "r"(bytes.word[0]), "r"(bytes.word[1]), "r"(bytes.word[2]), "r"(bytes.word[3]), "r"(there + barrier)
               : "memory");
}
// As copy_box, to the same offset of every block whose bit is set in `ranks`; there, the barrier with the same offset
// counts the bytes.
EXPERTILE_DEVICE void copy_box_to(unsigned offset, const TensorMap& map, int column, int row, unsigned barrier,
                                  unsigned short ranks) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%2, "
      "%3}], [%4], %5;" ::"r"(shared_address(offset)),
      "l"(&map), "r"(column), "r"(row), "r"(shared_address(barrier)), "h"(ranks)
      : "memory");
}

// ---- products of a warpgroup ------------------------------------------------------------------------------------
// wgmma<PRODUCT, COLUMNS, ADDS>(d, x, y): the first COLUMNS of d [64, 8 * HELD] = x [64, 32 bytes] x y [COLUMNS, 32
// bytes]^T, or += where it ADDS, without waiting. Warp w of the warpgroup holds rows 16 * w and on; its lane l holds in
// d[j][0], d[j][1] row l / 4, columns 8 * j + 2 * (l % 4) and the next, and in d[j][2], d[j][3] the same of row l / 4 +
// 8: as mma's. x and y are descriptors; x of wgmma_from_registers is mma's a of the warp's 16 rows. All of these
// are collectives of the warpgroup.

// Where a matrix in shared memory begins whose rows are 128 bytes, swizzled as copy_box does: the bits of a descriptor
// that differ from one to the next, to be worked out before the descriptor is needed. offset: the first row's, a
// multiple of 1024, and 0, 32, 64 or 96 for the 32 bytes within the row.
EXPERTILE_DEVICE unsigned descriptor_base(unsigned offset) {
  constexpr unsigned kUnused = 1U << 16;
  return kUnused | (shared_address(offset) & 0x3ffffU) >> 4;
}
// The one that begins `bytes` behind another: a multiple of 1024, and 0, 32, 64 or 96. One instruction, where
// descriptor_base takes three.
EXPERTILE_DEVICE unsigned advance_descriptor(unsigned base, int bytes) {
  return base + static_cast<unsigned>(bytes / 16);
}
EXPERTILE_DEVICE unsigned long long descriptor(unsigned base) {
  constexpr unsigned long long kSwizzle128 = 1ULL << 62;
  constexpr unsigned long long kEightRows = static_cast<unsigned long long>(1024 / 16)
                                            << 32;  // from 8 rows to the next
  return kSwizzle128 | kEightRows | base;
}
// Before the first product after the registers of d or x were written. Operands in shared memory come from bulk copies,
// or from stores that fence_stores came after.
EXPERTILE_DEVICE void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
// Closes the group of products started since the last commit.
EXPERTILE_DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Waits until at most PENDING of the latest groups are under way: the others' d is there, and their operands (x in
// registers too) are free to be overwritten as far as this warp has read them.
template <int PENDING>
EXPERTILE_DEVICE void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}

// Keeps the compiler from moving what is done with a value across a product or a wait, or out of a loop.
EXPERTILE_DEVICE void fence_operand(float& sum) { asm volatile("" : "+f"(sum)::"memory"); }
EXPERTILE_DEVICE void fence_operand(int& sum) { asm volatile("" : "+r"(sum)::"memory"); }
EXPERTILE_DEVICE void fence_operand(unsigned& value) { asm volatile("" : "+r"(value)::"memory"); }

// ---- between lanes ----------------------------------------------------------------------------------------------

// Collective of the warp. Stores matrices of 8 x 8 elements of 16 bits, or their transposes: of each, lane l holds
// those of row l / 4, columns 2 * (l % 4) and the next, in its word. Row l % 8 of what is stored of matrix l / 8 goes
// to the 16 bytes at lane l's offset; of two matrices, lanes from 16 on give none.
template <bool TRANSPOSED>
EXPERTILE_DEVICE void store_matrices(unsigned offset, const unsigned (&word)[4]) {
  if constexpr (TRANSPOSED) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(offset)),
                 "r"(word[0]), "r"(word[1]), "r"(word[2]), "r"(word[3])
                 : "memory");
  } else {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(offset)),
                 "r"(word[0]), "r"(word[1]), "r"(word[2]), "r"(word[3])
                 : "memory");
  }
}
template <bool TRANSPOSED>
EXPERTILE_DEVICE void store_matrices(unsigned offset, const unsigned (&word)[2]) {
  static_assert(TRANSPOSED);
  asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1, %2};" ::"r"(shared_address(offset)),
               "r"(word[0]), "r"(word[1])
               : "memory");
}
EXPERTILE_DEVICE unsigned shuffle_xor(unsigned value, int mask) { return __shfl_xor_sync(0xffffffffU, value, mask); }

}  // namespace expertile::ptx
