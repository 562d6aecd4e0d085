#pragma once
// A block's shared memory with the history that tells a race from an ordered access.

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "emulator/clocks.hpp"

namespace expertile::emulator {

// Observers are threads of the block, or, where a copy that an mbarrier counts starts, of another block of its cluster.
// Words keep their threads by the numbers that they have in the block.
class SharedMemory {
 public:
  // first_thread: the block's first thread's number in its cluster.
  SharedMemory(std::size_t bytes, int warps, int first_thread);

  [[nodiscard]] std::size_t size() const { return bytes_.size(); }

  // Each returns what is wrong, if anything. What is kept of 4 bytes is kept of all of them: threads that touch
  // different bytes of the same word race.
  [[nodiscard]] std::optional<std::string> read(const Observer& by, unsigned offset, std::size_t bytes, void* to);
  [[nodiscard]] std::optional<std::string> write(const Observer& by, unsigned offset, std::size_t bytes,
                                                 const void* from);
  // Adds to a word that other threads may add to meanwhile: only what is neither an addition nor behind a barrier is
  // out of order with it. before: what the word held.
  [[nodiscard]] std::optional<std::string> add(const Observer& by, unsigned offset, int value, int& before);
  // A copy that has been started and not been waited for owns its bytes.
  [[nodiscard]] std::optional<std::string> start_copy(const Observer& by, unsigned offset, std::size_t bytes);
  void finish_copy(const Observer& by, unsigned offset, std::size_t bytes, const void* from);

  // Whether an mbarrier can begin there; then it does, takes the next number, and is an agent.
  [[nodiscard]] std::optional<std::string> check_mbarrier(const Observer& by, unsigned offset) const;
  void make_mbarrier(unsigned offset, int agent);

  // A copy that an mbarrier counts owns its bytes until it lands; from then on they are seen by whoever knows of
  // `phase` of its mbarrier, counted from 1. A bulk copy of a multiple of 16 bytes; or a store, of 16 bytes, that a
  // thread of the cluster sends here.
  [[nodiscard]] std::optional<std::string> start_bulk_copy(const Observer& by, unsigned offset, std::size_t bytes,
                                                           int mbarrier);
  [[nodiscard]] std::optional<std::string> start_sent_store(const Observer& by, unsigned offset, int mbarrier);
  void finish_counted_copy(int mbarrier, int phase, unsigned offset, std::size_t bytes, const void* from);

  // Products, bulk copies and stored boxes reach memory by another path than ordinary stores: they see, and overwrite,
  // a thread's stores before this where they know of something that its warp did after it.
  void fence_stores(const Observer& by);

  // 16 bytes that a product reads, or a store of a box: `by` must see them. They are not to be written until as many
  // warps have finished the product as started it; a box counts as one.
  [[nodiscard]] std::optional<std::string> check_operand(const Observer& by, unsigned offset) const;
  void start_product(unsigned offset, int warps);
  void finish_product(const Observer& by, unsigned offset);
  [[nodiscard]] const std::byte* data(unsigned offset) const { return bytes_.data() + offset; }

 private:
  // Who wrote or copies: a thread, or one of these.
  static constexpr std::int16_t kNobody = -1;
  static constexpr std::int16_t kSeveral = -2;    // readers: chunk_reads_ has them
  static constexpr std::int16_t kMbarrier = -3;   // in place of a copier: no data
  static constexpr std::int16_t kCounted = 1024;  // and more: a copy that mbarrier 0, 1, ... counts
  struct Word {
    std::int16_t writer = kNobody;
    std::int16_t reader = kNobody;
    std::int16_t copier = kNobody;
    int written = 0;  // time
    int read = 0;     // time
  };
  [[nodiscard]] std::optional<std::string> check_place(unsigned offset, std::size_t bytes) const;
  [[nodiscard]] std::optional<std::string> check_word(const Observer& by, std::size_t word) const;
  [[nodiscard]] std::optional<std::string> check_readers(const Observer& by, std::size_t word) const;
  [[nodiscard]] std::optional<std::string> check_write(const Observer& by, unsigned offset, std::size_t bytes) const;
  [[nodiscard]] bool knows(const Observer& by, int who, int time) const;
  [[nodiscard]] bool is_fenced(const Observer& by, const Word& word) const;
  [[nodiscard]] std::string ownership(std::size_t word) const;
  [[nodiscard]] std::optional<std::string> check_additions(const Observer& by, std::size_t word) const;
  int& chunk_read(std::size_t word, int thread) {
    return chunk_reads_[word / 4 * warps_ + static_cast<std::size_t>(thread / kWarp)];
  }
  [[nodiscard]] std::int16_t in_block(int thread) const { return static_cast<std::int16_t>(thread - first_thread_); }
  [[nodiscard]] unsigned offset_of_mbarrier(std::int16_t who) const {
    return mbarriers_[static_cast<std::size_t>(who - kCounted)].offset;
  }
  void note_reader(const Observer& by, std::size_t word);

  struct Mbarrier {
    unsigned offset = 0;
    int agent = 0;
  };

  std::size_t warps_;
  int first_thread_;
  std::vector<std::byte> bytes_;
  std::vector<Word> words_;              // of 4 bytes
  std::vector<std::uint16_t> products_;  // [16-byte chunks] warps and products, or boxes, that are yet to read them
  std::vector<int> chunk_reads_;         // [16-byte chunks, warps] times of words that have several readers
  std::vector<Mbarrier> mbarriers_;
  struct Addition {
    int thread = -1;
    int time = -1;
  };
  std::map<std::size_t, std::vector<Addition>> additions_;  // of words that were last added to: each warp's latest
  std::vector<std::vector<int>> fences_;                    // [threads] times
};

}  // namespace expertile::emulator
