#include "emulator/block.hpp"

#include <fmt/format.h>

#include <cstring>
#include <numeric>
#include <utility>

#include "emulator/cluster.hpp"

namespace expertile::emulator {
namespace {

thread_local Block* running = nullptr;

}  // namespace

Block& block() { return *running; }

Block::Block(Cluster& cluster, const Launch& launch, GlobalMemory& global_memory, Stacks& stacks, int index, int rank)
    : global(global_memory),
      shared(static_cast<std::size_t>(launch.shared_bytes), launch.threads / kWarp, rank * launch.threads),
      clocks(cluster.clocks),
      mbarriers(shared, clocks, rank * launch.threads),
      products(launch.threads / kWarp, rank * launch.threads, shared, clocks),
      cluster_(cluster),
      launch_(launch),
      stacks_(stacks),
      index_(index),
      rank_(rank),
      first_thread_(rank * launch.threads),
      threads_(static_cast<std::size_t>(launch.threads)),
      everyone_(threads_.size()),
      warps_(threads_.size() / kWarp),
      warpgroups_(threads_.size() / kWarpgroup) {
  std::iota(everyone_.begin(), everyone_.end(), first_thread_);
  for (Gathering& one : warps_) one.arguments.resize(kWarp);
  for (Gathering& one : warpgroups_) one.arguments.resize(kWarpgroup);
}

std::string Block::describe(int thread, const Where& where, const std::string& what) const {
  return fmt::format("block {} thread {}, {}:{}: {}", index_, thread, file_name(where), where.line(), what);
}

// ---- threads ----------------------------------------------------------------------------------------------------

void Block::end_of_thread() const {
  const Thread& mine = threads_[static_cast<std::size_t>(current_)];
  const char* what = !mine.groups.empty() || !mine.open.empty()             ? "copies"
                     : !mine.box_groups.empty() || !mine.open_boxes.empty() ? "stores of boxes"
                     : !products.is_idle(warp())                            ? "products"
                                                                            : nullptr;
  if (what != nullptr) throw Fault{fmt::format("block {} thread {}: ended with {} under way", index_, current_, what)};
}

void Block::start_thread(std::size_t thread, const std::function<void()>& kernel) {
  const auto body = [this, thread, &kernel](boost::context::fiber&& from) {
    Thread& mine = threads_[thread];
    mine.machine = std::move(from);
    try {
      kernel();
      end_of_thread();
    } catch (const Fault& fault) {
      if (!fault_) fault_ = fault.text;
    }
    mine.waiting = Waiting::ended;
    ++ended_;
    return std::move(mine.machine);
  };
  threads_[thread].fiber = boost::context::fiber(std::allocator_arg, stacks_, body);
}

void Block::start(const std::function<void()>& kernel) {
  for (std::size_t i = 0; i < threads_.size(); ++i) start_thread(i, kernel);
}

bool Block::advance() {
  bool advanced = false;
  running = this;
  for (std::size_t i = 0; i < threads_.size() && !fault_; ++i) {
    if (threads_[i].waiting != Waiting::nothing) continue;
    current_ = static_cast<int>(i);
    threads_[i].fiber = std::move(threads_[i].fiber).resume();
    advanced = true;
  }
  running = nullptr;
  return advanced;
}

void Block::give_up(Waiting waiting, const char* operation, const Where& where) {
  Thread& mine = self();
  mine.waiting = waiting;
  mine.operation = operation;
  mine.where = where;
  mine.machine = std::move(mine.machine).resume();
}

void Block::resume_all(Waiting waiting) {
  for (Thread& one : threads_) {
    if (one.waiting == waiting) one.waiting = Waiting::nothing;
  }
}

std::string Block::deadlock() const {
  std::string text = fmt::format("block {}: deadlock:", index_);
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    const Thread& one = threads_[i];
    if (i > 0) {
      const Thread& last = threads_[i - 1];
      const bool like_last = last.waiting == one.waiting && last.where.line() == one.where.line() &&
                             last.mbarrier == one.mbarrier && last.parity == one.parity;
      if (like_last) continue;
    }
    if (one.waiting == Waiting::ended) {
      text += fmt::format(" thread {} has ended;", i);
      continue;
    }
    text += fmt::format(" thread {} waits in {} at {}:{}", i, one.operation, file_name(one.where), one.where.line());
    if (one.waiting == Waiting::for_phase) {
      text += fmt::format(" for parity {}, and {}", one.parity, mbarriers.describe(one.mbarrier));
    }
    text += ";";
  }
  return text;
}

// ---- barriers ---------------------------------------------------------------------------------------------------

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
  clocks.meet(everyone_);
  resume_all(Waiting::at_barrier);
}

void Block::named_barrier(int id, int threads, const Where& where) {
  if (id < 1 || id > 15) stop(where, fmt::format("named barrier {}: 1 to 15 are right", id));
  if (threads < kWarp || threads % kWarp != 0 || threads > launch_.threads) {
    stop(where, fmt::format("named barrier {} of {} threads: a multiple of 32, at most {}, is right", id, threads,
                            launch_.threads));
  }
  NamedBarrier& one = named_barriers_[id];
  if (one.arrived.empty()) {
    one.expected = threads;
    one.where = where;
  }
  if (one.expected != threads) {
    stop(where, fmt::format("comes to named barrier {} of {} threads while others wait in one of {} at {}:{}", id,
                            threads, one.expected, file_name(one.where), one.where.line()));
  }
  one.arrived.push_back(current_in_cluster());
  if (one.arrived.size() < static_cast<std::size_t>(one.expected)) {
    give_up(Waiting::at_named_barrier, "named_barrier", where);
    return;
  }
  std::vector<int> came(warps_.size());
  for (const int thread : one.arrived) ++came[static_cast<std::size_t>((thread - first_thread_) / kWarp)];
  for (std::size_t i = 0; i < came.size(); ++i) {
    if (came[i] == 0 || came[i] == kWarp) continue;
    stop(where, fmt::format("named barrier {}: {} threads of warp {} came, not all", id, came[i], i));
  }
  clocks.meet(one.arrived);
  for (const int thread : one.arrived) resume(thread - first_thread_);
  one.arrived.clear();
}

void Block::together(int size, const char* name, void* argument, const std::function<void(const Lanes&)>& operate,
                     const Where& where) {
  const int first = current_ / size * size;
  if (first + size > launch_.threads) {
    stop(where,
         fmt::format("calls {}, and the block's {} threads end before its warpgroup does", name, launch_.threads));
  }
  Gathering& one = (size == kWarp ? warps_ : warpgroups_)[static_cast<std::size_t>(first / size)];
  if (one.arrived == 0) {
    one.operation = name;
    one.where = where;
  }
  if (one.where.line() != where.line() || std::strcmp(one.operation, name) != 0) {
    stop(where,
         fmt::format("calls {} while others of its {} wait in {} at {}:{}", name, size == kWarp ? "warp" : "warpgroup",
                     one.operation, file_name(one.where), one.where.line()));
  }
  one.arguments[static_cast<std::size_t>(current_ - first)] = argument;
  if (++one.arrived < one.arguments.size()) {
    give_up(Waiting::for_lanes, name, where);
    return;
  }
  one.arrived = 0;
  operate(one.arguments);
  for (int thread = first; thread < first + size; ++thread) resume(thread);
}

// ---- shared memory ----------------------------------------------------------------------------------------------

void Block::read_shared(int thread, unsigned offset, std::size_t bytes, void* to, const Where& where) {
  if (auto fault = shared.read(clocks.observer(first_thread_ + thread), offset, bytes, to)) stop(thread, where, *fault);
}

void Block::write_shared(unsigned offset, std::size_t bytes, const void* from, const Where& where) {
  stop_if(shared.write(clocks.observer(current_in_cluster()), offset, bytes, from), where);
}

int Block::add_shared(unsigned offset, int value, const Where& where) {
  int before = 0;
  stop_if(shared.add(clocks.observer(current_in_cluster()), offset, value, before), where);
  return before;
}

void Block::copy_async(const Copy& copy, const Where& where) {
  if (copy.bytes < 0 || copy.bytes > 16) stop(where, fmt::format("copies {} bytes, 0 to 16 are right", copy.bytes));
  if (copy.bytes > 0) stop_if(global.check_read(copy.from, static_cast<std::size_t>(copy.bytes), 16), where);
  stop_if(shared.start_copy(clocks.observer(current_in_cluster()), copy.offset, 16), where);
  self().open.push_back(copy);
}

void Block::commit_copies() {
  self().groups.push_back(std::move(self().open));
  self().open.clear();
}

void Block::wait_for_copies(std::size_t pending) {
  auto& groups = self().groups;
  while (groups.size() > pending) {
    for (const Copy& copy : groups.front()) {
      std::byte chunk[16] = {};
      if (copy.bytes > 0) std::memcpy(chunk, copy.from, static_cast<std::size_t>(copy.bytes));
      shared.finish_copy(clocks.observer(current_in_cluster()), copy.offset, 16, chunk);
    }
    groups.pop_front();
  }
}

void Block::store_box(unsigned offset, const TensorMap& map, int column, int row, const Where& where) {
  stop_if(check_map(map), where);
  const StoredBox stored{{.matrix = matrix_of(map), .row = row, .column = column}, offset, where};
  const MappedMatrix& matrix = stored.box.matrix;
  if (matrix.columns * matrix.element_bytes % 16 != 0) {
    stop(where, fmt::format("stores a box of a matrix whose rows have {} bytes: they are cut off at multiples of 16",
                            matrix.columns * matrix.element_bytes));
  }
  if (offset % 1024 != 0) stop(where, fmt::format("shared memory {} is not aligned to 1024 bytes", offset));
  const Observer by = clocks.observer(current_in_cluster());
  for (int at = 0; at < stored.box.bytes(); at += 16) {
    const unsigned chunk = offset + static_cast<unsigned>(at);
    stop_if(shared.check_operand(by, chunk), where);
    shared.start_product(chunk, 1);
  }
  self().open_boxes.push_back(stored);
}

void Block::commit_boxes() { self().box_groups.push_back(std::exchange(self().open_boxes, {})); }

void Block::finish_box(const StoredBox& stored) {
  const Box& box = stored.box;
  for (int row = 0; row < box.matrix.box_rows; ++row) {
    std::byte straight[kBoxRowBytes];
    for (int chunk = 0; chunk < kBoxRowBytes / 16; ++chunk) {
      const unsigned from = stored.offset + static_cast<unsigned>(chunk_place(row, chunk));
      std::memcpy(straight + 16 * chunk, shared.data(from), 16);
      shared.finish_product(clocks.observer(current_in_cluster()), from);
    }
    const BoxPart part = part_within(box, row);
    if (part.bytes == 0) continue;
    stop_if(global.write(const_cast<std::byte*>(part.data), part.bytes, 1, straight + part.at), stored.where);
  }
}

void Block::wait_for_boxes(std::size_t pending) {
  auto& groups = self().box_groups;
  for (; groups.size() > pending; groups.pop_front()) {
    for (const StoredBox& stored : groups.front()) finish_box(stored);
  }
}

// ---- mbarriers -------------------------------------------------------------------------------------------------

void Block::mbarrier_init(unsigned offset, int arrivals, const Where& where) {
  stop_if(mbarriers.init(current_in_cluster(), offset, arrivals), where);
}

void Block::mbarrier_arrive(unsigned offset, int bytes, const Where& where) {
  stop_if(mbarriers.check_use(current_in_cluster(), offset), where);
  stop_if(mbarriers.arrive(current_in_cluster(), offset, bytes), where);
  resume_waiting_for_phases();
}

void Block::mbarrier_wait(unsigned offset, int parity, const Where& where) {
  stop_if(mbarriers.check_use(current_in_cluster(), offset), where);
  if (parity != 0 && parity != 1) stop(where, fmt::format("waits for parity {}: 0 or 1 is right", parity));
  if (mbarriers.passes(current_in_cluster(), mbarriers.number(offset), parity)) return;
  self().mbarrier = mbarriers.number(offset);
  self().parity = parity;
  give_up(Waiting::for_phase, "mbarrier_wait", where);
}

bool Block::resume_waiting_for_phases() {
  if (!mbarriers.take_ended()) return false;
  bool resumed = false;
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    Thread& one = threads_[i];
    if (one.waiting != Waiting::for_phase) continue;
    if (!mbarriers.passes(everyone_[i], one.mbarrier, one.parity)) continue;
    one.waiting = Waiting::nothing;
    resumed = true;
  }
  return resumed;
}

}  // namespace expertile::emulator
