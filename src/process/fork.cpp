#include "process/fork.hpp"

#include <omp.h>
#include <pthread.h>

namespace expertile {
namespace {

// The process's, because a fork is: handlers get no argument. All are atomic, and a handler does no more in a child
// than write them.
std::atomic<unsigned> fork_count{0};
std::atomic<bool> openmp_is_used{false};
std::atomic<int> in_foreign_locks{0};  // threads
std::atomic<bool> foreign_locks_are_lost{false};

// A soft pause ends the calling thread's pool, and waits for its threads. It fails inside a parallel region, where
// nothing needs it: a region of the child's is one within the copied one there, and has the one thread.
void before_fork() {
  if (openmp_is_used) static_cast<void>(omp_pause_resource(omp_pause_soft, omp_get_initial_device()));
}

void in_child() {
  fork_count.fetch_add(1);
  if (in_foreign_locks.exchange(0) > 0) foreign_locks_are_lost = true;
}

// When the library is loaded, and not at its first use: a fork at the same time would find that use half done.
[[maybe_unused]] const int kRegistered = pthread_atfork(before_fork, nullptr, in_child);

}  // namespace

unsigned forks() noexcept { return fork_count.load(std::memory_order_relaxed); }

void release_openmp_threads_at_forks() noexcept { openmp_is_used = true; }

ForeignLocks::ForeignLocks() noexcept : forks_(forks()) { in_foreign_locks.fetch_add(1); }

ForeignLocks::~ForeignLocks() {
  if (forks_ == forks()) in_foreign_locks.fetch_sub(1);  // a child counts from 0
}

bool ForeignLocks::can_be_had() const noexcept { return !foreign_locks_are_lost; }

}  // namespace expertile
