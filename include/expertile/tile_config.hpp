#pragma once
// One struct read by the tuner, the file, the host and the device text: so this header includes nothing.
// Its fields are the file's keys in lower case: BLOCK_SIZE_M -> block_size_m.

namespace expertile {

enum class KernelFamily : int { cpu, sm80, sm90 };

struct TileConfig {
  int block_size_m = 32;   // rows of C in a tile
  int block_size_n = 64;   // columns of C in a tile
  int block_size_k = 512;  // length of K that is packed (CPU) or staged (GPU) and multiplied at a time
  // Row tiles that share a column tile before the next column tile starts. On a GPU, all of a group that has less than
  // half as many more.
  int group_size_m = 1;
  int num_warps = 1;   // of a block that multiply; 1 on the CPU
  int num_stages = 1;  // slices of K in flight in shared memory; 1 on the CPU
  int split_k = 1;     // parts of K: of each k-block, by different warps (sm80); of all, by blocks of a cluster (sm90)
  int swap_ab = 0;     // GPU: 1 when the weights take the tensor core's rows and the tokens its columns
  KernelFamily kernel = KernelFamily::cpu;
  int pingpong = 0;      // sm90: 1 when two warpgroups take turns at whole tiles, instead of sharing each
  int cluster_size = 1;  // sm90: blocks side by side along N that copy their rows of A for each other
  int cluster_m = 1;     // sm90: row tiles, one below the other, whose blocks copy their weights for each other; of an
                         // odd last one of a group, the blocks take neighbouring column tiles

  friend constexpr bool operator==(const TileConfig&, const TileConfig&) = default;
};

}  // namespace expertile
