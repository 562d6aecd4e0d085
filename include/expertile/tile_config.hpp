#pragma once
// One struct read by the tuner, the file, the host and (later) device text: so this header includes nothing.
// Its fields are the file's keys in lower case: BLOCK_SIZE_M -> block_size_m.

namespace expertile {

enum class KernelFamily : int { cpu };

struct TileConfig {
  int block_size_m = 32;   // rows of C in a tile
  int block_size_n = 64;   // columns of C in a tile
  int block_size_k = 512;  // length of K that is packed and multiplied at a time
  int group_size_m = 1;    // row tiles that share a column tile before the next column tile starts
  int num_warps = 1;       // GPU vocabulary, kept so that readers of such files find it; 1 on the CPU
  int num_stages = 1;      // likewise
  KernelFamily kernel = KernelFamily::cpu;

  friend bool operator==(const TileConfig&, const TileConfig&) = default;
};

}  // namespace expertile
