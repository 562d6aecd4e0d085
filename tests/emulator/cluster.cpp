#include "emulator/cluster.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace expertile::emulator {

Cluster::Cluster(const Launch& launch, GlobalMemory& global, Stacks& stacks, int first_block)
    : clocks(launch.cluster_size, launch.threads),
      launch_(launch),
      visits_(static_cast<std::size_t>(launch.cluster_size)),
      everyone_(static_cast<std::size_t>(launch.cluster_size * launch.threads)) {
  std::iota(everyone_.begin(), everyone_.end(), 0);
  for (int rank = 0; rank < launch.cluster_size; ++rank) {
    blocks_.emplace_back(*this, launch, global, stacks, first_block + rank, rank);
  }
}

std::optional<std::string> Cluster::run(const std::function<void()>& kernel) {
  for (Block& one : blocks_) one.start(kernel);
  while (true) {
    bool advanced = false;
    for (Block& one : blocks_) {
      advanced = one.advance() || advanced;
      if (one.fault()) return one.fault();
    }
    if (std::all_of(blocks_.begin(), blocks_.end(), [](const Block& one) { return one.has_ended(); })) break;
    if (advanced) continue;
    if (copies_.oldest() == nullptr) return deadlock();
    if (auto fault = land_copies()) return fault;
  }
  return check_end();
}

std::string Cluster::deadlock() const {
  std::string text;
  for (const Block& one : blocks_) text += fmt::format("{}{}", text.empty() ? "" : " ", one.deadlock());
  return text;
}

// ---- the end ----------------------------------------------------------------------------------------------------

std::string Cluster::describe(const CountedCopy& copy, const std::string& what) const {
  return at(copy.by).describe(copy.thread, copy.where, what);
}

std::string Cluster::ended_during(const CountedCopy& copy) const {
  const bool own = copy.by == copy.to;
  const std::string block = own ? "the block" : fmt::format("block {}", at(copy.to).index());
  return describe(copy, fmt::format("{} ended while this {} was under way{}", block, copy.name(), own ? "" : " to it"));
}

std::optional<std::string> Cluster::check_end() const {
  if (const CountedCopy* copy = copies_.oldest()) return ended_during(*copy);
  for (const Block& one : blocks_) {
    if (auto fault = one.mbarriers.check_end()) return fmt::format("block {}: {}", one.index(), *fault);
    if (auto fault = check_visits(one)) return fault;
  }
  return std::nullopt;
}

// A block's memory is there until its last thread ends. So what others do to it must come before that whatever the
// order in which the blocks happen to run: one of its threads knows of it.
std::optional<std::string> Cluster::check_visits(const Block& block) const {
  const Visits& visits = visits_[static_cast<std::size_t>(block.rank())];
  if (visits.empty()) return std::nullopt;
  const Knowledge known = clocks.united(block.first_in_cluster(), launch_.threads);
  for (const auto& [agent, visit] : visits) {
    if (known[static_cast<std::size_t>(agent)] >= visit.time) continue;
    return at(visit.by).describe(visit.thread, visit.where,
                                 fmt::format("block {} ended without waiting for this {} (mbarrier at {})",
                                             block.index(), visit.what, visit.mbarrier));
  }
  return std::nullopt;
}

// ---- from block to block ----------------------------------------------------------------------------------------

void Cluster::barrier(Block& from, const Where& where) {
  if (at_barrier_ == 0) barrier_where_ = where;
  if (barrier_where_.line() != where.line()) {
    from.stop(where, fmt::format("reaches this cluster_barrier while others wait in the one at {}:{}",
                                 file_name(barrier_where_), barrier_where_.line()));
  }
  if (++at_barrier_ < everyone_.size()) {
    from.wait_for_cluster(where);
    return;
  }
  at_barrier_ = 0;
  ++barriers_;
  clocks.meet(everyone_);
  for (Block& one : blocks_) one.resume_waiting_for_cluster();
}

Block& Cluster::reach(const Block& from, int rank, const Where& where) {
  if (rank < 0 || rank >= launch_.cluster_size) {
    from.stop(where, fmt::format("rank {} is outside the cluster, whose size is {}", rank, launch_.cluster_size));
  }
  Block& to = at(rank);
  if (rank == from.rank()) return to;
  if (barriers_ == 0) {
    from.stop(where, fmt::format("reaches into block {} before the first cluster_barrier: it might not have begun",
                                 to.index()));
  }
  if (to.has_ended()) from.stop(where, fmt::format("reaches into block {}, which has ended", to.index()));
  return to;
}

std::string Cluster::place(const Block& from, const Block& to) {
  return &from == &to ? "" : fmt::format("in block {}: ", to.index());
}

void Cluster::arrive_at(Block& from, unsigned offset, int rank, const Where& where) {
  Block& to = reach(from, rank, where);
  const int thread = from.current_in_cluster();
  const int time = clocks.observer(thread).time;  // at which the arrival publishes
  if (auto fault = to.mbarriers.check_use(thread, offset)) from.stop(where, place(from, to) + *fault);
  if (auto fault = to.mbarriers.arrive(thread, offset, 0)) from.stop(where, place(from, to) + *fault);
  if (&from != &to) {
    visits_[static_cast<std::size_t>(rank)][thread / kWarp] = {time,        "arrival",      offset,
                                                               from.rank(), from.current(), where};
  }
  to.resume_waiting_for_phases();
}

void Cluster::store_shared_to(Block& from, int rank, unsigned offset, const SentStore& bytes, unsigned mbarrier,
                              const Where& where) {
  const CountedCopy copy{
      .what = bytes, .offset = offset, .to = rank, .by = from.rank(), .thread = from.current(), .where = where};
  start_copy(from, reach(from, rank, where), copy, mbarrier);
}

void Cluster::copy_box(Block& from, unsigned offset, const TensorMap& map, int column, int row, unsigned mbarrier,
                       unsigned ranks, const Where& where) {
  from.stop_if(check_map(map), where);
  if (ranks == 0) from.stop(where, "copies to no block: the mask of ranks is 0");
  const Box box{.matrix = matrix_of(map), .row = row, .column = column};
  from.stop_if(CountedCopies::check_source(box, from.global), where);
  CountedCopy copy{.what = box, .offset = offset, .by = from.rank(), .thread = from.current(), .where = where};
  for (copy.to = 0; ranks >> static_cast<unsigned>(copy.to) != 0; ++copy.to) {
    if ((ranks >> static_cast<unsigned>(copy.to) & 1U) != 0)
      start_copy(from, reach(from, copy.to, where), copy, mbarrier);
  }
}

void Cluster::start_copy(Block& from, Block& to, const CountedCopy& copy, unsigned mbarrier) {
  const int thread = from.current_in_cluster();
  const auto stop_if = [&](const std::optional<std::string>& fault) {
    if (fault) from.stop(copy.where, place(from, to) + *fault);
  };
  stop_if(to.mbarriers.check_use(thread, mbarrier));
  CountedCopy one = copy;
  one.mbarrier = to.mbarriers.number(mbarrier);
  const Observer by = clocks.observer(thread);
  if (one.box() != nullptr) {
    stop_if(to.shared.start_bulk_copy(by, one.offset, static_cast<std::size_t>(one.bytes()), one.mbarrier));
  } else {
    stop_if(to.shared.start_sent_store(by, one.offset, one.mbarrier));
  }
  stop_if(to.mbarriers.start_copy(thread, mbarrier));
  copies_.add(one);
}

std::optional<std::string> Cluster::land_copies() {
  for (bool resumed = false; !resumed && copies_.oldest() != nullptr;) {
    const CountedCopy copy = *copies_.oldest();
    Block& to = at(copy.to);
    if (to.has_ended()) return ended_during(copy);
    const int phase = to.mbarriers.phase(copy.mbarrier) + 1;  // counted from 1
    copies_.land(phase, to.shared);
    if (auto fault = to.mbarriers.finish_copy(copy.mbarrier, copy.bytes())) {
      return describe(copy, place(at(copy.by), to) + *fault);
    }
    if (copy.by != copy.to) {
      visits_[static_cast<std::size_t>(copy.to)][to.mbarriers.agent(copy.mbarrier)] = {
          phase, copy.name(), to.mbarriers.offset(copy.mbarrier), copy.by, copy.thread, copy.where};
    }
    resumed = to.resume_waiting_for_phases();
  }
  return std::nullopt;
}

}  // namespace expertile::emulator
