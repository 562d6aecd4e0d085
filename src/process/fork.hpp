#pragma once
// What of a process fork() takes into the child, and what it does not. Of the parent's threads only the one that forked
// lives on there. What the others held stays locked for ever, what they were making is never finished, and OpenMP's
// threads, which that library believes it still has, are not there. So state of the whole process lives in the classes
// below, and fork.cpp has a handler that glibc calls at each fork.

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>

namespace expertile {

// How many forks made this process of the one that loaded the library: another number than before means that this is a
// child now. A load from memory, no call of the system.
[[nodiscard]] unsigned forks() noexcept;

// To be called before threads of OpenMP are used. From then on fork() first lets those of the forking thread end, the
// only ones that its child would wait for, and the next parallel region of parent and child has new ones.
void release_openmp_threads_at_forks() noexcept;

// A T that the process has one of, made when it is first asked for. A child gets one of its own: its parent's may be
// locked, or half changed, by a thread that is not there. What is made is never destroyed, neither when the process
// ends: others may still use it then.
template <class T>
class PerProcess {
 public:
  [[nodiscard]] T& get() {
    Made* newest = newest_.load(std::memory_order_acquire);
    while (newest == nullptr || newest->forks != expertile::forks()) {
      auto made = std::make_unique<Made>(expertile::forks(), newest);
      if (newest_.compare_exchange_strong(newest, made.get(), std::memory_order_acq_rel)) newest = made.release();
    }
    return newest->value;
  }

 private:
  struct Made {
    Made(unsigned after, Made* of_parent) : forks(after), parents(of_parent) {}
    unsigned forks;
    Made* parents;  // still pointed to, so that no checker of leaks takes it for lost
    T value{};
  };
  std::atomic<Made*> newest_{nullptr};
};

// A T that the first thread to ask for it makes, while others wait.
template <class T>
class MadeOnce {
 public:
  template <class Make>
  [[nodiscard]] const T& get(const Make& make) {
    const std::lock_guard guard(mutex_);
    if (!made_) made_.emplace(make());
    return *made_;
  }

 private:
  std::mutex mutex_;
  std::optional<T> made_;
};

// For the time that a thread spends in a library which has locks of its own and cannot be given others in a child.
class ForeignLocks {
 public:
  ForeignLocks() noexcept;
  ~ForeignLocks();
  ForeignLocks(const ForeignLocks&) = delete;
  ForeignLocks& operator=(const ForeignLocks&) = delete;
  // False in a child whose parent forked while another of its threads was there: a lock may be held for ever, and the
  // library must not be called.
  [[nodiscard]] bool can_be_had() const noexcept;

 private:
  unsigned forks_;
};

}  // namespace expertile
