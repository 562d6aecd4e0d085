#include "emulator/shared_memory.hpp"

#include <fmt/format.h>

#include <cstring>

namespace expertile::emulator {

SharedMemory::SharedMemory(std::size_t bytes) : bytes_(bytes, std::byte{0xcd}), words_(bytes / 4) {}

std::optional<std::string> SharedMemory::check_place(unsigned offset, std::size_t bytes) const {
  if (offset + bytes > bytes_.size()) {
    return fmt::format("shared memory [{}, {}) is outside the block's {} bytes", offset, offset + bytes, bytes_.size());
  }
  if (offset % bytes != 0) return fmt::format("shared memory {} is not aligned to {} bytes", offset, bytes);
  return std::nullopt;
}

std::optional<std::string> SharedMemory::read(int thread, int epoch, unsigned offset, std::size_t bytes, void* to) {
  if (auto fault = check_place(offset, bytes)) return fault;
  for (std::size_t i = offset / 4; i < (offset + bytes) / 4; ++i) {
    Word& word = words_[i];
    if (word.copier != kNobody) {
      return fmt::format("shared memory {} is read before thread {} has waited for its copy", 4 * i, word.copier);
    }
    if (word.writer == kNobody) return fmt::format("shared memory {} is read, and nothing has filled it", 4 * i);
    if (word.writer != thread && word.written == epoch) {
      return fmt::format("shared memory {} is read without a barrier after thread {} filled it", 4 * i, word.writer);
    }
    const bool first = word.reader == kNobody || word.read != epoch;
    word.reader = first || word.reader == thread ? thread : kSeveral;
    word.read = epoch;
  }
  std::memcpy(to, bytes_.data() + offset, bytes);
  return std::nullopt;
}

std::optional<std::string> SharedMemory::check_write(int thread, int epoch, unsigned offset, std::size_t bytes) const {
  if (auto fault = check_place(offset, bytes)) return fault;
  for (std::size_t i = offset / 4; i < (offset + bytes) / 4; ++i) {
    const Word& word = words_[i];
    if (word.copier != kNobody) {
      return fmt::format("shared memory {} is written while a copy of thread {} is under way", 4 * i, word.copier);
    }
    if (word.reader != kNobody && word.read == epoch && word.reader != thread) {
      return fmt::format("shared memory {} is written without a barrier after {} read it", 4 * i,
                         word.reader == kSeveral ? "several threads" : fmt::format("thread {}", word.reader));
    }
    if (word.writer != kNobody && word.written == epoch && word.writer != thread) {
      return fmt::format("shared memory {} is written without a barrier after thread {} wrote it", 4 * i, word.writer);
    }
  }
  return std::nullopt;
}

std::optional<std::string> SharedMemory::write(int thread, int epoch, unsigned offset, std::size_t bytes,
                                               const void* from) {
  if (auto fault = check_write(thread, epoch, offset, bytes)) return fault;
  for (std::size_t i = offset / 4; i < (offset + bytes) / 4; ++i) {
    words_[i].writer = thread;
    words_[i].written = epoch;
  }
  std::memcpy(bytes_.data() + offset, from, bytes);
  return std::nullopt;
}

std::optional<std::string> SharedMemory::start_copy(int thread, int epoch, unsigned offset, std::size_t bytes) {
  if (auto fault = check_write(thread, epoch, offset, bytes)) return fault;
  for (std::size_t i = offset / 4; i < (offset + bytes) / 4; ++i) words_[i].copier = thread;
  return std::nullopt;
}

void SharedMemory::finish_copy(int thread, int epoch, unsigned offset, std::size_t bytes, const void* from) {
  for (std::size_t i = offset / 4; i < (offset + bytes) / 4; ++i) {
    words_[i] = {.writer = thread, .written = epoch, .reader = words_[i].reader, .read = words_[i].read};
  }
  std::memcpy(bytes_.data() + offset, from, bytes);
}

}  // namespace expertile::emulator
