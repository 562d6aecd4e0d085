#pragma once
// What one compiled kernel is made for, and the arguments of its calls: read by host and device alike.

#include "expertile/tile_config.hpp"

namespace expertile {

enum class Storage : int { float16, bfloat16, float32, e4m3, int8 };
enum class Scaling : int { none, per_tensor, per_token_channel, per_channel, block };

// How a pair of operands is multiplied.
enum class Product : int {
  float16,        // m16n8k16
  bfloat16,       // m16n8k16
  tf32,           // m16n8k8, operands rounded to 10 bits of mantissa
  tf32x3,         // float32 accuracy: big * big + big * small + small * big of the operands' tf32 terms
  int8,           // m16n8k32, exact
  e4m3,           // as float16, which holds every e4m3 value: sm_89's own product keeps too few bits of the sum, and
                  // sm_90 makes its own of the same conversion and float16 products
  int8_float16,   // int8 weights widened to the activations' float16
  int8_bfloat16,  // likewise, bfloat16
};

// How the groups' rows of A and C are told.
enum class Rows : int {
  offsets,     // seg_indptr
  offsets_32,  // seg_indptr_32
  masked,      // max_m rows a group, of which the first masked_m are there
};

constexpr int size_of(Storage storage) {
  switch (storage) {
    case Storage::float32:
      return 4;
    case Storage::float16:
    case Storage::bfloat16:
      return 2;
    case Storage::e4m3:
    case Storage::int8:
      return 1;
  }
  return 0;
}

// A tile configuration and everything of the problem that is compiled in. N and K are arguments.
struct KernelSpec {
  TileConfig tile{};
  Storage a = Storage::float16;
  Storage b = Storage::float16;
  Storage c = Storage::float16;  // float16, bfloat16 or float32
  Scaling scaling = Scaling::none;
  Product product = Product::float16;
  int block_n = 0;  // of block scales
  int block_k = 0;
  bool scales_a = false;   // with block scales: A has its own
  bool wide_loads = true;  // rows begin at multiples of 16 bytes; else elements are loaded one by one
  Rows rows = Rows::offsets;

  friend constexpr bool operator==(const KernelSpec&, const KernelSpec&) = default;
};

struct KernelArgs {
  const void* a = nullptr;                  // [M, K]
  const void* b = nullptr;                  // [E * N, K]
  void* c = nullptr;                        // [M, N]
  union {                                   // by the kernel's Rows
    const long long* seg_indptr = nullptr;  // [groups + 1]
    const int* seg_indptr_32;               // [groups + 1]
    const int* masked_m;                    // [groups]
  };
  const long long* weight_indices = nullptr;  // [groups]; null where rows are masked: group g is expert g
  const float* scale_a = nullptr;
  const float* scale_b = nullptr;
  long long a_pitch = 0;  // elements
  long long b_pitch = 0;
  long long c_pitch = 0;
  int groups = 0;
  int experts = 0;
  int rows = 0;  // M
  int n = 0;
  int k = 0;
  int wide_stores = 0;   // rows of C begin at multiples of 16 bytes
  int stores_boxes = 0;  // can_store_boxes: worked out once, not by every warp at the end of its tiles
  int max_m = 0;         // rows of A a group, where rows are masked: M = groups * max_m
};

// Where a bulk tensor copy finds a matrix and how large its boxes are: as the driver encodes it.
struct alignas(64) TensorMap {
  unsigned char bytes[128];
};

// Arguments of a kernel of the sm90 family: A and B as tensor maps too. A box has 128 bytes of the rows of one tile
// (256 rows at most); the matrices are A [M, K], all experts' weights [E * N, K], and C [M, N] where it is stored in
// boxes.
struct TiledArgs {
  KernelArgs args;
  int* tile_counter =
      nullptr;  // null, or a counter that is 0 before the launch and after it, and no other launch's meanwhile
  TensorMap a;
  TensorMap b;
  TensorMap c;
};

// Arguments of the kernel that quantises A on the fly.
struct QuantiseArgs {
  const void* a = nullptr;       // [rows, K]
  unsigned char* out = nullptr;  // [rows, K] e4m3, back to back
  float* scales = nullptr;       // [rows, ceil(K / block_k)]
  long long a_pitch = 0;         // elements
  long long rows = 0;
  int k = 0;
  int block_k = 0;
  // Where rows are masked, those that are there alone are quantised.
  const int* masked_m = nullptr;  // [groups]
  int groups = 0;
  int max_m = 0;
};
inline constexpr int kQuantiseThreads = 256;

}  // namespace expertile
