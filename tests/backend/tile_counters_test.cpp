// Which launches share a counter of tiles, with a driver that has no GPU.

#include "backend/cuda/tile_counters.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <set>
#include <vector>

namespace expertile::cuda {
namespace {

constexpr std::uint64_t kUnknown = 99;  // the driver fails to tell this stream

struct Stream {
  std::uint64_t id = 0;
  std::uint64_t capture = 0;  // 0: not captured
};

StreamHandle handle_of(Stream& stream) { return std::bit_cast<StreamHandle>(&stream); }
Stream& stream_of(StreamHandle handle) { return *std::bit_cast<Stream*>(handle); }

// "GPU" memory is the host's.
Driver pretended_driver() {
  Driver driver;
  driver.allocate = [](DevicePointer* pointer, std::size_t bytes) {
    *pointer = std::bit_cast<DevicePointer>(new unsigned char[bytes]);
    return kSuccess;
  };
  driver.release = [](DevicePointer pointer) {
    delete[] std::bit_cast<unsigned char*>(pointer);
    return kSuccess;
  };
  driver.upload = [](DevicePointer to, const void* from, std::size_t bytes) {
    std::memcpy(std::bit_cast<void*>(to), from, bytes);
    return kSuccess;
  };
  driver.stream_id = [](StreamHandle stream, std::uint64_t* id) {
    *id = stream_of(stream).id;
    EXPECT_EQ(stream_of(stream).capture, 0U) << "the question ends the capture";
    return *id == kUnknown ? 1 : kSuccess;
  };
  driver.capture_info = [](StreamHandle stream, int* status, std::uint64_t* id, GraphHandle*, const void**,
                           std::size_t*) {
    *status = stream_of(stream).capture != 0 ? 1 : 0;
    *id = *status == 1 ? stream_of(stream).capture : 77;  // what the driver says of none is not to be looked at
    return kSuccess;
  };
  return driver;
}

class Counters : public ::testing::Test {
 protected:
  Driver driver_ = pretended_driver();
  Stream own_{1};
  TileCounters counters_{driver_, handle_of(own_)};
};

TEST_F(Counters, BeginAtNothing) {
  Stream stream{2};
  EXPECT_EQ(*counters_.of(handle_of(own_)), 0);
  EXPECT_EQ(*counters_.of(handle_of(stream)), 0);
}

TEST_F(Counters, AreAStreamsForAsLongAsItLives) {
  Stream first{2};
  Stream second{3};
  int* const counter = counters_.of(handle_of(first));
  EXPECT_EQ(counters_.of(handle_of(first)), counter);
  EXPECT_NE(counters_.of(handle_of(second)), counter);
  EXPECT_NE(counters_.of(handle_of(own_)), counter);
  first.id = 4;  // another stream with the same handle
  EXPECT_NE(counters_.of(handle_of(first)), counter);
}

TEST_F(Counters, OfACaptureAreNobodyElses) {
  Stream stream{2};
  int* const eager = counters_.of(handle_of(stream));
  stream.capture = 10;
  int* const captured = counters_.of(handle_of(stream));
  EXPECT_NE(captured, eager);
  EXPECT_EQ(counters_.of(handle_of(stream)), captured) << "the calls of one stream in one graph follow each other";
  Stream joined{3, 10};
  EXPECT_NE(counters_.of(handle_of(joined)), captured) << "branches of a graph do not";
  stream.capture = 11;
  EXPECT_NE(counters_.of(handle_of(stream)), captured);
  stream.capture = 0;
  EXPECT_EQ(counters_.of(handle_of(stream)), eager);
}

TEST_F(Counters, AreOneForAllGraphsOfTheOwnStream) {
  int* const eager = counters_.of(handle_of(own_));
  own_.capture = 10;
  EXPECT_EQ(counters_.of(handle_of(own_)), eager);
}

TEST_F(Counters, AreNoneWhereTheDriverCannotTellTheStream) {
  Stream stream{kUnknown};
  EXPECT_EQ(counters_.of(handle_of(stream)), nullptr);
}

TEST_F(Counters, AreNoneWhenAllAreGivenAwayAndNeverShared) {
  std::vector<Stream> streams(TileCounters::kCounters + 5);
  std::set<int*> found{counters_.of(handle_of(own_))};
  int without = 0;
  for (std::size_t i = 0; i < streams.size(); ++i) {
    streams[i].id = 1000 + i;
    int* const counter = counters_.of(handle_of(streams[i]));
    if (counter == nullptr) {
      ++without;
    } else {
      EXPECT_TRUE(found.insert(counter).second);
    }
  }
  EXPECT_EQ(without, 6);
  EXPECT_NE(counters_.of(handle_of(streams.front())), nullptr);
}

TEST(CountersWithoutMemory, AreNone) {
  Driver driver = pretended_driver();
  driver.allocate = [](DevicePointer*, std::size_t) { return kOutOfMemory; };
  Stream own{1};
  TileCounters counters(driver, handle_of(own));
  EXPECT_EQ(counters.of(handle_of(own)), nullptr);
}

}  // namespace
}  // namespace expertile::cuda
