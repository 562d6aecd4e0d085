#pragma once
// What handles lead to. A handle is no address: it is the kind of its object, the number of its slot and how often that
// slot had been used, so one that was destroyed, or never was a handle, is known for what it is and never followed.

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace expertile::capi {

using HandleBits = std::uintptr_t;
static_assert(sizeof(HandleBits) == 8, "kind, use and slot of a handle need 64 bits");

// At most kMostChunks * kChunk at a time. Slots are never given back to the system: whoever holds an old handle may ask
// for it at any time. KIND: 1 to 15, one a table.
template <class T, unsigned KIND>
class HandleTable {
  static_assert(KIND > 0 && KIND < 16, "null is no handle");

 public:
  // Zero when no slot is left. Any thread.
  [[nodiscard]] HandleBits add(T value) {
    const std::lock_guard guard(mutex_);
    if (free_.empty() && !add_chunk()) return 0;
    const std::uint32_t number = free_.front();
    free_.pop_front();
    Slot& slot = *slot_of(number);
    slot.value.emplace(std::move(value));
    const std::uint32_t use = slot.next_use;
    slot.next_use = use == kLastUse ? 1 : use + 1;
    slot.use.store(use, std::memory_order_release);
    return static_cast<HandleBits>(KIND) << kKindShift | static_cast<HandleBits>(use) << kUseShift | number;
  }

  // What a fork waits for, so that a child's copy of the table is whole and free: lock before, unlock after.
  std::mutex& mutex() noexcept { return mutex_; }

  // Null where the handle leads to nothing. Any thread; valid until the handle is removed.
  [[nodiscard]] const T* find(HandleBits handle) const noexcept {
    if (handle >> kKindShift != KIND) return nullptr;
    const Slot* slot = slot_of(static_cast<std::uint32_t>(handle));
    if (slot == nullptr || slot->use.load(std::memory_order_acquire) != use_of(handle)) return nullptr;
    return &*slot->value;
  }

  // False where it leads to nothing. Any thread, while no other one uses what `find` gave it.
  bool remove(HandleBits handle) {
    std::optional<T> ended;  // is destroyed when the lock is gone
    const std::lock_guard guard(mutex_);
    if (find(handle) == nullptr) return false;
    const auto number = static_cast<std::uint32_t>(handle);
    Slot& slot = *slot_of(number);
    slot.use.store(0, std::memory_order_release);
    ended.swap(slot.value);
    free_.push_back(number);
    return true;
  }

 private:
  static constexpr unsigned kUseShift = 32;
  static constexpr unsigned kKindShift = 60;
  static constexpr std::uint32_t kLastUse = (1U << (kKindShift - kUseShift)) - 1;
  static constexpr std::uint32_t kChunk = 1024;
  static constexpr std::uint32_t kMostChunks = 1024;

  struct Slot {
    std::atomic<std::uint32_t> use{0};  // that its handle has; 0: empty
    std::uint32_t next_use = 1;
    std::optional<T> value;
  };
  using Chunk = std::array<Slot, kChunk>;

  [[nodiscard]] static std::uint32_t use_of(HandleBits handle) noexcept {
    return static_cast<std::uint32_t>(handle >> kUseShift) & kLastUse;
  }
  [[nodiscard]] Slot* slot_of(std::uint32_t number) const noexcept {
    if (number / kChunk >= kMostChunks) return nullptr;
    Chunk* chunk = chunks_[number / kChunk].load(std::memory_order_acquire);
    return chunk == nullptr ? nullptr : &(*chunk)[number % kChunk];
  }
  // With the lock held.
  bool add_chunk() {
    if (owned_.size() == kMostChunks) return false;
    owned_.push_back(std::make_unique<Chunk>());
    const auto first = static_cast<std::uint32_t>(owned_.size() - 1) * kChunk;
    for (std::uint32_t i = 0; i < kChunk; ++i) free_.push_back(first + i);
    chunks_[owned_.size() - 1].store(owned_.back().get(), std::memory_order_release);
    return true;
  }

  std::mutex mutex_;
  std::array<std::atomic<Chunk*>, kMostChunks> chunks_{};
  std::vector<std::unique_ptr<Chunk>> owned_;
  std::deque<std::uint32_t> free_;  // the one that was used longest ago is used next
};

}  // namespace expertile::capi
