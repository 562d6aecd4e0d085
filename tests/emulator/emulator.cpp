#include "emulator/emulator.hpp"

#include <fmt/format.h>

#include <boost/context/fiber.hpp>
#include <boost/context/pooled_fixedsize_stack.hpp>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>

#include "emulator/shared_memory.hpp"

namespace expertile::emulator {
namespace {

namespace context = boost::context;

constexpr std::size_t kStackBytes = std::size_t{256} << 10;
constexpr int kWarp = 32;

struct Fault {
  std::string text;
};

struct Copy {
  unsigned offset = 0;
  const void* from = nullptr;
  int bytes = 0;
};

enum class Waiting { nothing, at_barrier, for_lanes, ended };

struct Thread {
  context::fiber fiber;    // to continue it
  context::fiber machine;  // to give up, while it runs
  Waiting waiting = Waiting::nothing;
  const char* operation = "";  // waited in
  Where where;
  std::deque<std::vector<Copy>> groups;  // committed, oldest first
  std::vector<Copy> open;                // started since
};

struct Warp {
  Lanes arguments = Lanes(kWarp, nullptr);
  int arrived = 0;
  const char* operation = "";  // what the first of the arrived calls
  Where where;
};

const char* file_name(const Where& where) {
  const char* slash = std::strrchr(where.file_name(), '/');
  return slash == nullptr ? where.file_name() : slash + 1;
}

// Output bytes that were written, over all blocks of a launch.
using Written = std::vector<std::vector<bool>>;

// One pool for all blocks of a launch.
using Stacks = context::pooled_fixedsize_stack;

class Block {
 public:
  Block(const Launch& launch, Written& written, Stacks& stacks, int index)
      : launch_(launch),
        written_(written),
        stacks_(stacks),
        index_(index),
        shared_(static_cast<std::size_t>(launch.shared_bytes)) {
    threads_.resize(static_cast<std::size_t>(launch.threads));
    warps_.resize(threads_.size() / kWarp);
  }

  std::optional<std::string> run(const std::function<void()>& kernel);

  int current = 0;  // thread

  [[nodiscard]] const Launch& launch() const { return launch_; }
  [[nodiscard]] int index() const { return index_; }

  [[noreturn]] void stop(const Where& where, const std::string& what) const { stop(current, where, what); }
  [[noreturn]] void stop(int thread, const Where& where, const std::string& what) const {
    throw Fault{fmt::format("block {} thread {}, {}:{}: {}", index_, thread, file_name(where), where.line(), what)};
  }
  void stop_if(const std::optional<std::string>& fault, int thread, const Where& where) const {
    if (fault) stop(thread, where, *fault);
  }

  void barrier(const Where& where);
  void together(const char* name, void* argument, const std::function<void(const Lanes&)>& operate, const Where& where);
  void read_shared(int thread, unsigned offset, std::size_t bytes, void* to, const Where& where) {
    stop_if(shared_.read(thread, epoch_, offset, bytes, to), thread, where);
  }
  void write_shared(unsigned offset, std::size_t bytes, const void* from, const Where& where) {
    stop_if(shared_.write(current, epoch_, offset, bytes, from), current, where);
  }
  std::size_t check_global(const void* at, std::size_t bytes, std::size_t alignment, bool writes, const Where& where);
  void write_global(void* to, std::size_t bytes, const void* from, const Where& where);
  void copy_async(const Copy& copy, const Where& where);
  void wait_for_copies(std::size_t pending);
  Thread& self() { return threads_[static_cast<std::size_t>(current)]; }

 private:
  void start(std::size_t thread, const std::function<void()>& kernel);
  void give_up(Waiting waiting, const char* operation, const Where& where);
  [[nodiscard]] std::string deadlock() const;

  const Launch& launch_;
  Written& written_;
  Stacks& stacks_;
  int index_;
  SharedMemory shared_;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  int epoch_ = 0;
  std::size_t at_barrier_ = 0;
  Where barrier_where_;
  std::optional<std::string> fault_;
};

// The block whose kernel runs on this thread of the host: as implicit as threadIdx is on the device.
thread_local Block* running = nullptr;

Block& block() { return *running; }

void Block::start(std::size_t thread, const std::function<void()>& kernel) {
  threads_[thread].fiber = context::fiber(std::allocator_arg, stacks_, [this, thread, &kernel](context::fiber&& from) {
    Thread& mine = threads_[thread];
    mine.machine = std::move(from);
    try {
      kernel();
      if (!mine.groups.empty() || !mine.open.empty()) {
        throw Fault{fmt::format("block {} thread {}: ended with copies under way", index_, thread)};
      }
    } catch (const Fault& fault) {
      if (!fault_) fault_ = fault.text;
    }
    mine.waiting = Waiting::ended;
    return std::move(mine.machine);
  });
}

std::optional<std::string> Block::run(const std::function<void()>& kernel) {
  for (std::size_t i = 0; i < threads_.size(); ++i) start(i, kernel);
  running = this;
  std::size_t ended = 0;
  while (ended < threads_.size() && !fault_) {
    bool advanced = false;
    ended = 0;
    for (std::size_t i = 0; i < threads_.size() && !fault_; ++i) {
      if (threads_[i].waiting == Waiting::ended) ++ended;
      if (threads_[i].waiting != Waiting::nothing) continue;
      current = static_cast<int>(i);
      threads_[i].fiber = std::move(threads_[i].fiber).resume();
      advanced = true;
    }
    if (!advanced && ended < threads_.size() && !fault_) fault_ = deadlock();
  }
  running = nullptr;
  return fault_;
}

void Block::give_up(Waiting waiting, const char* operation, const Where& where) {
  Thread& mine = self();
  mine.waiting = waiting;
  mine.operation = operation;
  mine.where = where;
  mine.machine = std::move(mine.machine).resume();
}

std::string Block::deadlock() const {
  std::string text = fmt::format("block {}: deadlock:", index_);
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    const Thread& one = threads_[i];
    const bool like_last =
        i > 0 && threads_[i - 1].waiting == one.waiting && threads_[i - 1].where.line() == one.where.line();
    if (like_last) continue;
    text += one.waiting == Waiting::ended ? fmt::format(" thread {} has ended;", i)
                                          : fmt::format(" thread {} waits in {} at {}:{};", i, one.operation,
                                                        file_name(one.where), one.where.line());
  }
  return text;
}

void Block::barrier(const Where& where) {
  if (at_barrier_ == 0) barrier_where_ = where;
  if (barrier_where_.line() != where.line()) {
    stop(where, fmt::format("reaches this barrier while others wait in the one at {}:{}", file_name(barrier_where_),
                            barrier_where_.line()));
  }
  if (++at_barrier_ < threads_.size()) {
    give_up(Waiting::at_barrier, "barrier", where);
    return;
  }
  at_barrier_ = 0;
  ++epoch_;
  for (Thread& other : threads_) {
    if (other.waiting == Waiting::at_barrier) other.waiting = Waiting::nothing;
  }
}

void Block::together(const char* name, void* argument, const std::function<void(const Lanes&)>& operate,
                     const Where& where) {
  const auto first = static_cast<std::size_t>(current / kWarp * kWarp);
  Warp& warp = warps_[first / kWarp];
  if (warp.arrived == 0) {
    warp.operation = name;
    warp.where = where;
  }
  if (warp.where.line() != where.line() || std::strcmp(warp.operation, name) != 0) {
    stop(where, fmt::format("calls {} while others of its warp wait in {} at {}:{}", name, warp.operation,
                            file_name(warp.where), warp.where.line()));
  }
  warp.arguments[static_cast<std::size_t>(current) % kWarp] = argument;
  if (++warp.arrived < kWarp) {
    give_up(Waiting::for_lanes, name, where);
    return;
  }
  warp.arrived = 0;
  operate(warp.arguments);
  for (std::size_t lane = 0; lane < kWarp; ++lane) {
    if (threads_[first + lane].waiting == Waiting::for_lanes) threads_[first + lane].waiting = Waiting::nothing;
  }
}

// The region's index.
std::size_t Block::check_global(const void* at, std::size_t bytes, std::size_t alignment, bool writes,
                                const Where& where) {
  const auto begin = reinterpret_cast<std::uintptr_t>(at);
  if (begin % alignment != 0) {
    stop(where, fmt::format("global memory {} is not aligned to {} bytes", at, alignment));
  }
  for (std::size_t i = 0; i < launch_.memory.size(); ++i) {
    const Region& region = launch_.memory[i];
    const auto first = reinterpret_cast<std::uintptr_t>(region.begin);
    if (begin < first || begin + bytes > first + region.bytes) continue;
    if (region.is_output != writes) {
      stop(where, fmt::format("{} byte {} of {}", writes ? "writes to" : "reads", begin - first, region.name));
    }
    return i;
  }
  stop(where,
       fmt::format("{} {} bytes of global memory at {}, outside every tensor", writes ? "writes" : "reads", bytes, at));
}

void Block::write_global(void* to, std::size_t bytes, const void* from, const Where& where) {
  const std::size_t region = check_global(to, bytes, bytes, true, where);
  const auto first =
      static_cast<std::size_t>(static_cast<const char*>(to) - static_cast<const char*>(launch_.memory[region].begin));
  for (std::size_t i = first; i < first + bytes; ++i) {
    if (written_[region][i]) {
      stop(where, fmt::format("byte {} of {} is written a second time", i, launch_.memory[region].name));
    }
    written_[region][i] = true;
  }
  std::memcpy(to, from, bytes);
}

void Block::copy_async(const Copy& copy, const Where& where) {
  if (copy.bytes < 0 || copy.bytes > 16) stop(where, fmt::format("copies {} bytes, 0 to 16 are right", copy.bytes));
  if (copy.bytes > 0) check_global(copy.from, static_cast<std::size_t>(copy.bytes), 16, false, where);
  stop_if(shared_.start_copy(current, epoch_, copy.offset, 16), current, where);
  self().open.push_back(copy);
}

void Block::wait_for_copies(std::size_t pending) {
  auto& groups = self().groups;
  while (groups.size() > pending) {
    for (const Copy& copy : groups.front()) {
      std::byte chunk[16] = {};
      if (copy.bytes > 0) std::memcpy(chunk, copy.from, static_cast<std::size_t>(copy.bytes));
      shared_.finish_copy(current, epoch_, copy.offset, 16, chunk);
    }
    groups.pop_front();
  }
}

}  // namespace

Status run(const Launch& launch, const std::function<void()>& kernel) {
  Written written;
  for (const Region& region : launch.memory) written.emplace_back(region.is_output ? region.bytes : 0);
  Stacks stacks(kStackBytes);
  for (int i = 0; i < launch.blocks; ++i) {
    Block one(launch, written, stacks, i);
    if (auto fault = one.run(kernel)) return fail(ErrorCode::internal, *fault);
  }
  return {};
}

int thread_index() { return block().current; }
int block_index() { return block().index(); }
int grid_size() { return block().launch().blocks; }
void barrier(const Where& where) { block().barrier(where); }

void read_global(const void* from, std::size_t bytes, void* to, const Where& where) {
  block().check_global(from, bytes, bytes, false, where);
  std::memcpy(to, from, bytes);
}
void write_global(void* to, std::size_t bytes, const void* from, const Where& where) {
  block().write_global(to, bytes, from, where);
}
void read_shared(unsigned offset, std::size_t bytes, void* to, const Where& where) {
  block().read_shared(block().current, offset, bytes, to, where);
}
void write_shared(unsigned offset, std::size_t bytes, const void* from, const Where& where) {
  block().write_shared(offset, bytes, from, where);
}
void copy_async(unsigned offset, const void* from, int bytes, const Where& where) {
  block().copy_async({offset, from, bytes}, where);
}
void commit_copies() {
  Thread& self = block().self();
  self.groups.push_back(std::move(self.open));
  self.open.clear();
}
void wait_for_copies(int pending_groups, const Where& where) {
  if (pending_groups < 0) block().stop(where, "waits for a negative number of groups");
  block().wait_for_copies(static_cast<std::size_t>(pending_groups));
}
void together(const char* name, void* argument, const std::function<void(const Lanes&)>& operate, const Where& where) {
  block().together(name, argument, operate, where);
}
void read_shared_of_lane(int lane, unsigned offset, std::size_t bytes, void* to, const Where& where) {
  block().read_shared(block().current / kWarp * kWarp + lane, offset, bytes, to, where);
}

}  // namespace expertile::emulator
