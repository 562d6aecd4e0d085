#pragma once
// Counters in GPU memory by which the blocks of a launch share out its tiles (TiledArgs::tile_counter). Each is 0
// between launches, and no two launches that may run at the same time have the same one: those of one stream run one
// after the other, and what is captured from one stream into one graph does too.

#include <cstdint>
#include <map>
#include <mutex>
#include <utility>

#include "backend/cuda/driver.hpp"

namespace expertile::cuda {

class TileCounters {
 public:
  static constexpr int kCounters = 1024;

  // own: a stream whose graphs are replayed on itself alone. Allocates the memory (there are no counters where it
  // cannot), in the context, which must be current here and in the destructor, and outlive this.
  TileCounters(const Driver& driver, StreamHandle own);
  ~TileCounters();
  TileCounters(const TileCounters&) = delete;
  TileCounters& operator=(const TileCounters&) = delete;

  // The counter of launches on this stream, or of those that are being captured from it: null when all are given away,
  // or where the driver cannot tell the stream. Any thread may ask; nothing is allocated on the GPU.
  [[nodiscard]] int* of(StreamHandle stream);

 private:
  using Key = std::pair<std::uint64_t, std::uint64_t>;  // a stream's number and 0, or its handle and the capture's

  const Driver& driver_;
  StreamHandle own_;
  DevicePointer memory_ = 0;
  std::mutex mutex_;
  std::map<Key, int> known_;
};

}  // namespace expertile::cuda
