#include "backend/cuda/tile_counters.hpp"

#include <bit>
#include <cstddef>
#include <vector>

namespace expertile::cuda {
namespace {

constexpr std::size_t kCounterBytes = 32;  // a sector: launches side by side do not wait for each other's
constexpr int kCapturing = 1;              // CU_STREAM_CAPTURE_STATUS_ACTIVE

}  // namespace

TileCounters::TileCounters(const Driver& driver, StreamHandle own) : driver_(driver), own_(own) {
  const std::vector<std::byte> zeros(kCounters * kCounterBytes);
  if (driver_.allocate(&memory_, zeros.size()) != kSuccess) {
    memory_ = 0;
  } else if (driver_.upload(memory_, zeros.data(), zeros.size()) != kSuccess) {
    driver_.release(memory_);
    memory_ = 0;
  }
}

TileCounters::~TileCounters() {
  if (memory_ != 0) driver_.release(memory_);
}

int* TileCounters::of(StreamHandle stream) {
  if (memory_ == 0) return nullptr;
  const auto counter = [this](int index) {
    return std::bit_cast<int*>(memory_ + static_cast<DevicePointer>(index) * kCounterBytes);
  };
  if (stream == own_) return counter(0);
  // The driver never gives a stream's or a capture's number to another one; handles are given again. But to ask for the
  // number of a stream that is being captured ends the capture: its handle will do, for as long as that takes.
  int status = 0;
  std::uint64_t capture = 0;
  if (driver_.capture_info(stream, &status, &capture, nullptr, nullptr, nullptr) != kSuccess) return nullptr;
  Key key{std::bit_cast<std::uint64_t>(stream), capture};
  if (status != kCapturing) {
    key.second = 0;
    if (driver_.stream_id(stream, &key.first) != kSuccess) return nullptr;
  }
  const std::scoped_lock lock(mutex_);
  const auto known = known_.find(key);
  if (known != known_.end()) return counter(known->second);
  const int index = static_cast<int>(known_.size()) + 1;
  if (index >= kCounters) return nullptr;
  known_.emplace(key, index);
  return counter(index);
}

}  // namespace expertile::cuda
