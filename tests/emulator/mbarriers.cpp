#include "emulator/mbarriers.hpp"

#include <fmt/format.h>

#include <utility>

namespace expertile::emulator {
namespace {

constexpr int kMostCounted = (1 << 20) - 1;  // arrivals or bytes of a phase

}  // namespace

std::optional<std::string> Mbarriers::init(int thread, unsigned offset, int arrivals) {
  if (number(offset) >= 0) return fmt::format("the mbarrier at {} is initialised a second time", offset);
  if (arrivals < 1 || arrivals > kMostCounted) return fmt::format("an mbarrier of {} arrivals", arrivals);
  const Observer by = clocks_.observer(thread);
  if (auto fault = shared_.check_mbarrier(by, offset)) return fault;
  const int agent = clocks_.add_agent();
  shared_.make_mbarrier(offset, agent);
  all_.push_back({.offset = offset,
                  .agent = agent,
                  .arrivals = arrivals,
                  .missing = arrivals,
                  .initialiser = thread,
                  .initialised = by.time,
                  .arriving = {},
                  .learnt = {}});
  return std::nullopt;
}

void Mbarriers::fence_inits(int thread) {
  for (Mbarrier& one : all_) {
    if (one.initialiser == thread && one.fenced == 0) one.fenced = clocks_.observer(thread).time;
  }
}

int Mbarriers::number(unsigned offset) const {
  for (std::size_t i = 0; i < all_.size(); ++i) {
    if (all_[i].offset == offset) return static_cast<int>(i);
  }
  return -1;
}

std::optional<std::string> Mbarriers::check_use(int thread, unsigned offset) const {
  if (offset % 8 != 0) return fmt::format("the mbarrier at {} is not aligned to 8 bytes", offset);
  const int found = number(offset);
  if (found < 0) return fmt::format("the mbarrier at {} is used, and nothing has initialised it", offset);
  const Mbarrier& one = all_[static_cast<std::size_t>(found)];
  if (one.initialiser == thread || clocks_.observer(thread).known[one.initialiser / kWarp] >= one.initialised) {
    return std::nullopt;
  }
  return fmt::format("the mbarrier at {} is used without a barrier after thread {} initialised it", offset,
                     one.initialiser - first_thread_);
}

std::optional<std::string> Mbarriers::arrive(int thread, unsigned offset, int bytes) {
  Mbarrier& one = at(offset);
  if (bytes < 0 || bytes > kMostCounted) return fmt::format("the mbarrier at {} is to expect {} bytes", offset, bytes);
  one.bytes += bytes;
  if (one.missing == 0) {
    return fmt::format("the mbarrier at {} has more than its {} arrivals in phase {}, which still misses {} bytes",
                       offset, one.arrivals, one.phase, one.bytes);
  }
  --one.missing;
  clocks_.publish(thread, one.arriving);
  return settle(one);
}

std::optional<std::string> Mbarriers::start_copy(int thread, unsigned offset) {
  Mbarrier& one = at(offset);
  const bool seen = one.initialiser == thread || clocks_.observer(thread).known[one.initialiser / kWarp] >= one.fenced;
  if (one.fenced == 0 || !seen) {
    return fmt::format("a copy for the mbarrier at {} begins without mbarrier_fence_inits and a barrier after it",
                       offset);
  }
  // Else the bytes may be counted by the phase before, whose copies they are not.
  if (clocks_.observer(thread).known[one.agent] < one.phase) {
    return fmt::format(
        "a copy for phase {} of the mbarrier at {} begins, and nothing tells its thread that phase {} has "
        "ended",
        one.phase, offset, one.phase - 1);
  }
  ++one.copies;
  return std::nullopt;
}

std::optional<std::string> Mbarriers::finish_copy(int number, int bytes) {
  Mbarrier& one = all_[static_cast<std::size_t>(number)];
  --one.copies;
  if (one.missing == 0 && one.bytes < bytes) {
    return fmt::format("a copy of {} bytes lands in phase {} of the mbarrier at {}, which expects {} more", bytes,
                       one.phase, one.offset, one.bytes);
  }
  one.bytes -= bytes;
  return settle(one);
}

// Ends the phase when nothing is missing.
std::optional<std::string> Mbarriers::settle(Mbarrier& one) {
  if (one.missing > 0 || one.bytes > 0) return std::nullopt;
  if (one.bytes < 0) {
    return fmt::format("phase {} of the mbarrier at {} has all its arrivals, and they expected {} bytes too few",
                       one.phase, one.offset, -one.bytes);
  }
  if (one.copies > 0) {
    return fmt::format(
        "phase {} of the mbarrier at {} ends while {} of its copies are under way: it expected too few "
        "bytes",
        one.phase, one.offset, one.copies);
  }
  ++one.phase;
  one.missing = one.arrivals;
  one.learnt = std::move(one.arriving);
  one.arriving = {};
  const auto agent = static_cast<std::size_t>(one.agent);
  if (one.learnt.size() <= agent) one.learnt.resize(agent + 1, 0);
  one.learnt[agent] = one.phase;
  ended_ = true;
  return std::nullopt;
}

bool Mbarriers::passes(int thread, int number, int parity) {
  const Mbarrier& one = all_[static_cast<std::size_t>(number)];
  if (one.phase % 2 == parity) return false;
  clocks_.learn(thread, one.learnt);
  return true;
}

std::string Mbarriers::describe(int number) const {
  const Mbarrier& one = all_[static_cast<std::size_t>(number)];
  return fmt::format("the mbarrier at {} is in phase {} and misses {} of {} arrivals and {} bytes", one.offset,
                     one.phase, one.missing, one.arrivals, one.bytes);
}

std::optional<std::string> Mbarriers::check_end() const {
  for (std::size_t i = 0; i < all_.size(); ++i) {
    const Mbarrier& one = all_[i];
    if (one.bytes == 0 && one.missing == one.arrivals) continue;  // at the begin of a phase
    return fmt::format("ended while {}", describe(static_cast<int>(i)));
  }
  return std::nullopt;
}

}  // namespace expertile::emulator
