#pragma once
// What tests/emulator/ptx90.hpp and wgmma.hpp are made of: mbarriers, named barriers, bulk copies, clusters and the
// products of a warpgroup. As emulator.hpp, stricter than a GPU:
//
// A copy, or a store to another block, lands only when no thread of the cluster can advance, the oldest first and block
// by block; a product reads its operands and writes its sums at the wait that retires it, and a store of a box its
// bytes likewise. Stopped are: bytes that are read before their copy's phase has been waited for or that are
// overwritten before their readers are known to have finished; barriers that are used before their initialisation can
// be seen; phases whose arrivals or bytes do not add up; a copy for a barrier that may still be in an earlier phase;
// stores that a product reads or a bulk copy overwrites and that their own thread did not fence before it told of them;
// products whose threads bring different operands, or that no fence comes before; what is still under way at the end;
// and a block that is reached into before it is known to have begun, or whose end does not wait for what others do to
// it.

#include "emulator/emulator.hpp"
#include "emulator/products.hpp"
#include "emulator/tensor_map.hpp"

namespace expertile::emulator {

void mbarrier_init(unsigned offset, int arrivals, const Where& where);
void mbarrier_fence_inits();
void mbarrier_arrive(unsigned offset, int expected_bytes, const Where& where);
void mbarrier_wait(unsigned offset, int parity, const Where& where);
void named_barrier(int id, int threads, const Where& where);
void warp_barrier(const Where& where);
void fence_stores();

void copy_box(unsigned offset, const TensorMap& map, int column, int row, unsigned mbarrier, const Where& where);
void store_box(unsigned offset, const TensorMap& map, int column, int row, const Where& where);
void commit_boxes();
void wait_for_boxes(int pending_groups);
void prefetch_map(const TensorMap& map, const Where& where);

[[nodiscard]] int cluster_rank();
void cluster_barrier(const Where& where);
void mbarrier_arrive_at(unsigned offset, int rank, const Where& where);
// 16 bytes.
void store_shared_to(int rank, unsigned offset, const void* bytes, unsigned mbarrier, const Where& where);
// To the blocks whose bits are set in `ranks`.
void copy_box_to(unsigned offset, const TensorMap& map, int column, int row, unsigned mbarrier, unsigned ranks,
                 const Where& where);

// Collectives: the first of the warpgroup, the others of each warp.
void start_product(ProductCall call, const Where& where);
void fence_products(const Where& where);
void commit_products(const Where& where);
void wait_for_products(int pending_groups, const Where& where);

}  // namespace expertile::emulator
