#include "emulator/shared_memory.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace expertile::emulator {
namespace {

// Behind the words that an access touches, one of 1 or 2 bytes its whole word.
std::size_t end_word(unsigned offset, std::size_t bytes) { return (offset + bytes + 3) / 4; }

}  // namespace

SharedMemory::SharedMemory(std::size_t bytes, int warps, int first_thread)
    : warps_(static_cast<std::size_t>(warps)),
      first_thread_(first_thread),
      bytes_(bytes, std::byte{0xcd}),
      words_((bytes + 3) / 4),
      products_((bytes + 15) / 16),
      chunk_reads_(products_.size() * warps_),
      fences_(warps_ * kWarp) {}

std::optional<std::string> SharedMemory::check_place(unsigned offset, std::size_t bytes) const {
  if (offset + bytes > bytes_.size()) {
    return fmt::format("shared memory [{}, {}) is outside the block's {} bytes", offset, offset + bytes, bytes_.size());
  }
  if (offset % bytes != 0) return fmt::format("shared memory {} is not aligned to {} bytes", offset, bytes);
  return std::nullopt;
}

// A thread sees its own accesses without any barrier.
bool SharedMemory::knows(const Observer& by, int who, int time) const {
  if (first_thread_ + who == by.thread) return true;
  const int agent =
      who >= kCounted ? mbarriers_[static_cast<std::size_t>(who - kCounted)].agent : (first_thread_ + who) / kWarp;
  return by.known[agent] >= time;
}

void SharedMemory::fence_stores(const Observer& by) {
  fences_[static_cast<std::size_t>(in_block(by.thread))].push_back(by.time);
}

// Whether a fence of the thread that wrote the word lies between the store and what the observer knows of: the first
// one since the store, behind which its warp's time advanced.
bool SharedMemory::is_fenced(const Observer& by, const Word& word) const {
  if (word.writer < 0 || word.writer >= kCounted) return true;
  const auto& fences = fences_[static_cast<std::size_t>(word.writer)];
  const auto fence = std::lower_bound(fences.begin(), fences.end(), word.written);
  return fence != fences.end() && knows(by, word.writer, *fence + 1);
}

// Why a word is not to be touched at all.
std::string SharedMemory::ownership(std::size_t word) const {
  const int copier = words_[word].copier;
  if (copier < kCounted) return fmt::format("a copy of thread {} is under way", copier);
  return fmt::format("a copy for the mbarrier at {} is under way", offset_of_mbarrier(words_[word].copier));
}

// Whether what lies in a word may be read.
std::optional<std::string> SharedMemory::check_word(const Observer& by, std::size_t i) const {
  const Word& word = words_[i];
  if (word.copier != kNobody) {
    if (word.copier == kMbarrier) return fmt::format("shared memory {} is read, and it is an mbarrier", 4 * i);
    if (word.copier >= kCounted) return fmt::format("shared memory {} is read while {}", 4 * i, ownership(i));
    return fmt::format("shared memory {} is read before thread {} has waited for its copy", 4 * i, word.copier);
  }
  if (word.writer == kNobody) return fmt::format("shared memory {} is read, and nothing has filled it", 4 * i);
  if (knows(by, word.writer, word.written)) return std::nullopt;
  if (word.writer >= kCounted) {
    return fmt::format(
        "shared memory {} is read without a wait for phase {} of the mbarrier at {}, which its copy ends", 4 * i,
        word.written - 1, offset_of_mbarrier(word.writer));
  }
  return fmt::format("shared memory {} is read without a barrier after thread {} filled it", 4 * i, word.writer);
}

std::optional<std::string> SharedMemory::check_additions(const Observer& by, std::size_t i) const {
  const auto found = additions_.find(i);
  if (found == additions_.end()) return std::nullopt;
  for (const Addition& one : found->second) {
    if (one.time < 0 || knows(by, one.thread, one.time)) continue;
    return fmt::format("shared memory {} is used without a barrier after thread {} added to it", 4 * i, one.thread);
  }
  return std::nullopt;
}

std::optional<std::string> SharedMemory::add(const Observer& by, unsigned offset, int value, int& before) {
  if (auto fault = check_place(offset, sizeof before)) return fault;
  const std::size_t i = offset / 4;
  const auto found = additions_.find(i);
  if (found == additions_.end()) {
    if (auto fault = check_word(by, i)) return fault;
    if (auto fault = check_write(by, offset, sizeof before)) return fault;
  } else if (auto fault = check_readers(by, i)) {
    return fault;
  }
  std::memcpy(&before, bytes_.data() + offset, sizeof before);
  const int after = before + value;
  std::memcpy(bytes_.data() + offset, &after, sizeof after);
  std::vector<Addition>& all = additions_.try_emplace(i, warps_).first->second;
  all[static_cast<std::size_t>(in_block(by.thread) / kWarp)] = {in_block(by.thread), by.time};
  return std::nullopt;
}

void SharedMemory::note_reader(const Observer& by, std::size_t i) {
  Word& word = words_[i];
  if (word.reader == kSeveral) {
    chunk_read(i, in_block(by.thread)) = by.time;
  } else if (word.reader == kNobody || knows(by, word.reader, word.read)) {
    word.reader = in_block(by.thread);  // whoever knows of this reader knows of the one before
    word.read = by.time;
  } else {
    int& other = chunk_read(i, word.reader);
    other = std::max(other, word.read);
    chunk_read(i, in_block(by.thread)) = by.time;
    word.reader = kSeveral;
  }
}

std::optional<std::string> SharedMemory::read(const Observer& by, unsigned offset, std::size_t bytes, void* to) {
  if (auto fault = check_place(offset, bytes)) return fault;
  for (std::size_t i = offset / 4; i < end_word(offset, bytes); ++i) {
    if (auto fault = check_word(by, i)) return fault;
    if (auto fault = check_additions(by, i)) return fault;
    note_reader(by, i);
  }
  std::memcpy(to, bytes_.data() + offset, bytes);
  return std::nullopt;
}

std::optional<std::string> SharedMemory::check_readers(const Observer& by, std::size_t i) const {
  const Word& word = words_[i];
  if (word.reader == kNobody) return std::nullopt;
  if (word.reader != kSeveral) {
    if (knows(by, word.reader, word.read)) return std::nullopt;
    return fmt::format("shared memory {} is written without a barrier after thread {} read it", 4 * i, word.reader);
  }
  const int* known = by.known + first_thread_ / kWarp;
  for (std::size_t warp = 0; warp < warps_; ++warp) {
    if (chunk_reads_[i / 4 * warps_ + warp] <= known[warp]) continue;
    return fmt::format("shared memory {} is written without a barrier after several threads read it (of warp {}, too)",
                       4 * i, warp);
  }
  return std::nullopt;
}

std::optional<std::string> SharedMemory::check_write(const Observer& by, unsigned offset, std::size_t bytes) const {
  for (std::size_t i = offset / 4; i < end_word(offset, bytes); ++i) {
    const Word& word = words_[i];
    if (auto fault = check_additions(by, i)) return fault;
    if (word.copier == kMbarrier) return fmt::format("shared memory {} is written, and it is an mbarrier", 4 * i);
    if (word.copier != kNobody) return fmt::format("shared memory {} is written while {}", 4 * i, ownership(i));
    if (products_[i / 4] > 0) {
      return fmt::format("shared memory {} is written while a product, or a store of a box, that reads it is under way",
                         4 * i);
    }
    // One look at the readers of a chunk is enough where all its words have several.
    const bool seen = i % 4 != 0 && i > offset / 4 && word.reader == kSeveral && words_[i - 1].reader == kSeveral;
    if (!seen) {
      if (auto fault = check_readers(by, i)) return fault;
    }
    if (word.writer == kNobody || knows(by, word.writer, word.written)) continue;
    if (word.writer >= kCounted) {
      return fmt::format(
          "shared memory {} is written without a wait for phase {} of the mbarrier at {}, whose copy "
          "filled it",
          4 * i, word.written - 1, offset_of_mbarrier(word.writer));
    }
    return fmt::format("shared memory {} is written without a barrier after thread {} wrote it", 4 * i, word.writer);
  }
  return std::nullopt;
}

std::optional<std::string> SharedMemory::write(const Observer& by, unsigned offset, std::size_t bytes,
                                               const void* from) {
  if (auto fault = check_place(offset, bytes)) return fault;
  if (auto fault = check_write(by, offset, bytes)) return fault;
  finish_copy(by, offset, bytes, from);
  return std::nullopt;
}

std::optional<std::string> SharedMemory::start_copy(const Observer& by, unsigned offset, std::size_t bytes) {
  if (auto fault = check_place(offset, bytes)) return fault;
  if (auto fault = check_write(by, offset, bytes)) return fault;
  for (std::size_t i = offset / 4; i < end_word(offset, bytes); ++i) {
    words_[i].copier = in_block(by.thread);
  }
  return std::nullopt;
}

void SharedMemory::finish_copy(const Observer& by, unsigned offset, std::size_t bytes, const void* from) {
  for (std::size_t i = offset / 4; i < end_word(offset, bytes); ++i) {
    words_[i] = {.writer = in_block(by.thread), .written = by.time};
    additions_.erase(i);
  }
  std::memcpy(bytes_.data() + offset, from, bytes);
}

std::optional<std::string> SharedMemory::check_mbarrier(const Observer& by, unsigned offset) const {
  if (auto fault = check_place(offset, 8)) return fault;
  return check_write(by, offset, 8);
}

void SharedMemory::make_mbarrier(unsigned offset, int agent) {
  words_[offset / 4].copier = words_[offset / 4 + 1].copier = kMbarrier;
  mbarriers_.push_back({offset, agent});
}

std::optional<std::string> SharedMemory::start_bulk_copy(const Observer& by, unsigned offset, std::size_t bytes,
                                                         int mbarrier) {
  if (offset + bytes > bytes_.size()) return check_place(offset, bytes);
  if (offset % 1024 != 0) return fmt::format("shared memory {} is not aligned to 1024 bytes", offset);
  if (auto fault = check_write(by, offset, bytes)) return fault;
  for (std::size_t i = offset / 4; i < end_word(offset, bytes); ++i) {
    if (!is_fenced(by, words_[i])) {
      return fmt::format("shared memory {} is written by a bulk copy without fence_stores after thread {} filled it",
                         4 * i, words_[i].writer);
    }
    words_[i].copier = static_cast<std::int16_t>(kCounted + mbarrier);
  }
  return std::nullopt;
}

std::optional<std::string> SharedMemory::start_sent_store(const Observer& by, unsigned offset, int mbarrier) {
  if (auto fault = check_place(offset, 16)) return fault;
  if (auto fault = check_write(by, offset, 16)) return fault;
  for (std::size_t i = offset / 4; i < offset / 4 + 4; ++i) {
    words_[i].copier = static_cast<std::int16_t>(kCounted + mbarrier);
  }
  return std::nullopt;
}

void SharedMemory::finish_counted_copy(int mbarrier, int phase, unsigned offset, std::size_t bytes, const void* from) {
  for (std::size_t i = offset / 4; i < end_word(offset, bytes); ++i) {
    words_[i] = {.writer = static_cast<std::int16_t>(kCounted + mbarrier), .written = phase};
  }
  std::memcpy(bytes_.data() + offset, from, bytes);
}

std::optional<std::string> SharedMemory::check_operand(const Observer& by, unsigned offset) const {
  if (auto fault = check_place(offset, 16)) return fault;
  for (std::size_t i = offset / 4; i < offset / 4 + 4; ++i) {
    if (auto fault = check_word(by, i)) return fault;
    if (!is_fenced(by, words_[i])) {
      return fmt::format(
          "shared memory {} was filled by thread {}, without fence_stores between that and the barrier that tells of "
          "it: products and stored boxes do not see it",
          4 * i, words_[i].writer);
    }
  }
  return std::nullopt;
}

void SharedMemory::start_product(unsigned offset, int warps) {
  products_[offset / 16] = static_cast<std::uint16_t>(products_[offset / 16] + warps);
}

void SharedMemory::finish_product(const Observer& by, unsigned offset) {
  --products_[offset / 16];
  chunk_read(offset / 4, in_block(by.thread)) = by.time;
  for (std::size_t i = offset / 4; i < offset / 4 + 4; ++i) {
    Word& word = words_[i];
    if (word.reader >= 0) {
      int& other = chunk_read(i, word.reader);
      other = std::max(other, word.read);
    }
    word.reader = kSeveral;
  }
}

}  // namespace expertile::emulator
