#pragma once
// A block's shared memory with the history that tells a race from an ordered access.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace expertile::emulator {

class SharedMemory {
 public:
  explicit SharedMemory(std::size_t bytes);

  // epoch: how many barriers the block has passed. Each returns what is wrong, if anything. Offsets and sizes are
  // multiples of 4.
  [[nodiscard]] std::optional<std::string> read(int thread, int epoch, unsigned offset, std::size_t bytes, void* to);
  [[nodiscard]] std::optional<std::string> write(int thread, int epoch, unsigned offset, std::size_t bytes,
                                                 const void* from);
  // A copy that has been started and not been waited for owns its bytes.
  [[nodiscard]] std::optional<std::string> start_copy(int thread, int epoch, unsigned offset, std::size_t bytes);
  void finish_copy(int thread, int epoch, unsigned offset, std::size_t bytes, const void* from);

 private:
  static constexpr int kNobody = -1;
  static constexpr int kSeveral = -2;
  struct Word {
    int writer = kNobody;
    int written = 0;  // epoch
    int reader = kNobody;
    int read = 0;  // epoch
    int copier = kNobody;
  };
  [[nodiscard]] std::optional<std::string> check_place(unsigned offset, std::size_t bytes) const;
  [[nodiscard]] std::optional<std::string> check_write(int thread, int epoch, unsigned offset, std::size_t bytes) const;

  std::vector<std::byte> bytes_;
  std::vector<Word> words_;  // of 4 bytes
};

}  // namespace expertile::emulator
