#include "emulator/products.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "emulator/wide_product.hpp"

namespace expertile::emulator {
namespace {

constexpr unsigned kSumMark = 0x7fba'dbad;  // a NaN that no sum is

const ProductCall& call_of(const Lanes& lanes, int thread) {
  return *static_cast<const ProductCall*>(lanes[static_cast<std::size_t>(thread)]);
}

// Where lane l of a warp holds (row, column) of 16 rows: visit(lane, word of d, row, column).
template <class Visit>
void for_each_sum(std::size_t columns, const Visit& visit) {
  for (std::size_t lane = 0; lane < kWarp; ++lane) {
    for (std::size_t word = 0; word < columns / 2; ++word) {
      visit(lane, word, lane / 4 + 8 * (word / 2 % 2), word / 4 * 8 + 2 * (lane % 4) + word % 2);
    }
  }
}

// What a 64-bit descriptor says, as the PTX manual has it.
struct Descriptor {
  unsigned start = 0;        // bytes
  unsigned eight_rows = 0;   // bytes from 8 rows to the next
  unsigned base_offset = 0;  // of the permuted pattern
  unsigned swizzle = 0;      // 1: 128 bytes
};
Descriptor decode(unsigned long long bits) {
  const auto field = [bits](unsigned from, unsigned count) {
    return static_cast<unsigned>(bits >> from & ((1ULL << count) - 1));
  };
  return {field(0, 14) << 4U, field(32, 14) << 4U, field(49, 3), field(62, 2)};
}

}  // namespace

bool Products::is_idle(int warp) const {
  const Warp& one = warps_[static_cast<std::size_t>(warp)];
  return one.open.empty() && one.groups.empty();
}

void Products::commit(int warp) {
  Warp& one = state(warp);
  one.groups.push_back(std::move(one.open));
  one.open.clear();
}

std::optional<Wrong> Products::check_calls(int first_thread, const Lanes& lanes) {
  const ProductCall& one = call_of(lanes, 0);
  for (int i = 1; i < kWarpgroup; ++i) {
    const ProductCall& other = call_of(lanes, i);
    if (other.product == one.product && other.columns == one.columns && other.y == one.y && other.x == one.x &&
        other.accumulates == one.accumulates && (other.registers == nullptr) == (one.registers == nullptr)) {
      continue;
    }
    return Wrong{first_thread + i,
                 fmt::format("brings x {:#x}, y {:#x} to a product of {} columns while thread {} brings x {:#x}, y "
                             "{:#x} to one of {}: a warpgroup's must be the same",
                             other.x, other.y, other.columns, first_thread, one.x, one.y, one.columns)};
  }
  for (int i = 0; i < kWarpgroup; i += kWarp) {
    if (state((first_thread + i) / kWarp).fenced) continue;
    return Wrong{first_thread + i, "starts a product without wgmma_fence since the last wgmma_wait"};
  }
  return std::nullopt;
}

// The chunks of an operand, in order, once every thread of the warpgroup may read them.
std::optional<Wrong> Products::add_operand(int first_thread, const char* name, unsigned long long descriptor,
                                           std::size_t rows, std::vector<unsigned>& chunks) const {
  const Descriptor operand = decode(descriptor);
  const auto wrong = [&](const std::string& what) {
    return Wrong{first_thread, fmt::format("the product's {} (descriptor {:#x}): {}", name, descriptor, what)};
  };
  if (operand.swizzle != 1) return wrong(fmt::format("swizzle mode {} is not 1, 128 bytes", operand.swizzle));
  if (operand.base_offset != 0) return wrong("its base offset is not 0");
  if (operand.start % 1024 >= 128 || operand.start % kOperandBytes != 0) {
    return wrong(fmt::format("it begins at {}, not 0, 32, 64 or 96 bytes after a multiple of 1024", operand.start));
  }
  const Knowledge common = clocks_.common(threads_before_ + first_thread, kWarpgroup);
  const Observer all{threads_before_ + first_thread, 0, common.data()};
  for (std::size_t row = 0; row < rows; ++row) {
    for (unsigned chunk = 0; chunk < 2; ++chunk) {
      const auto straight = static_cast<unsigned>(row / 8) * operand.eight_rows + static_cast<unsigned>(row % 8) * 128 +
                            16 * chunk + operand.start;
      const unsigned place = straight ^ ((straight >> 7U & 7U) << 4U);
      chunks.push_back(place);
      if (!shared_.check_operand(all, place)) continue;
      for (int thread = first_thread; thread < first_thread + kWarpgroup; ++thread) {  // who is it?
        if (auto fault = shared_.check_operand(clocks_.observer(threads_before_ + thread), place)) {
          Wrong found = wrong(fmt::format("row {}: {}", row, *fault));
          found.thread = thread;
          return found;
        }
      }
    }
  }
  return std::nullopt;
}

// The sums that the warp's lanes bring; those of the products under way where they are the same.
std::shared_ptr<Products::Sums> Products::sums_of(int warp, const Lanes& lanes, const ProductCall& call) {
  const std::size_t first = static_cast<std::size_t>(warp * kWarp) % kWarpgroup;
  auto* const d = static_cast<unsigned char*>(static_cast<const ProductCall*>(lanes[first])->d);
  for (const auto& one : state(warp).writing) {
    if (one->d[0] == d && one->columns == static_cast<std::size_t>(call.columns)) return one;
  }
  auto sums = std::make_shared<Sums>();
  sums->columns = static_cast<std::size_t>(call.columns);
  sums->values.resize(16 * sums->columns);
  for (std::size_t lane = 0; lane < kWarp; ++lane) {
    sums->d[lane] = static_cast<unsigned char*>(static_cast<const ProductCall*>(lanes[first + lane])->d);
  }
  for_each_sum(sums->columns, [&](std::size_t lane, std::size_t word, std::size_t row, std::size_t column) {
    unsigned bits = 0;
    std::memcpy(&bits, sums->d[lane] + 4 * word, 4);
    std::memcpy(sums->d[lane] + 4 * word, &kSumMark, 4);
    sums->values[row * sums->columns + column] =
        sums_are_int(call.product) ? static_cast<double>(std::bit_cast<int>(bits)) : std::bit_cast<float>(bits);
  });
  state(warp).writing.push_back(sums);
  return sums;
}

std::vector<Products::LaneOperand> Products::operand_of(int warp, const Lanes& lanes) {
  std::vector<LaneOperand> x;
  for (int lane = 0; lane < kWarp; ++lane) {
    const unsigned* at = call_of(lanes, warp * kWarp % kWarpgroup + lane).registers;
    if (at == nullptr) return {};
    x.push_back({at, {at[0], at[1], at[2], at[3]}});
  }
  return x;
}

std::optional<Wrong> Products::check_operand(int warp, const OfWarp& one) {
  for (std::size_t lane = 0; lane < one.x.size(); ++lane) {
    const LaneOperand& x = one.x[lane];
    for (std::size_t i = 0; i < x.words.size(); ++i) {
      if (x.at[i] == x.words[i]) continue;
      return Wrong{warp * kWarp + static_cast<int>(lane),
                   fmt::format("operand x[{}] was written while a product that reads it was under way", i)};
    }
  }
  return std::nullopt;
}

std::optional<Wrong> Products::start(int first_thread, const Lanes& lanes) {
  if (auto wrong = check_calls(first_thread, lanes)) return wrong;
  const ProductCall& call = call_of(lanes, 0);
  auto shared = std::make_shared<Shared>();
  shared->product = call.product;
  shared->columns = static_cast<std::size_t>(call.columns);
  if (call.registers == nullptr) {
    shared->has_x = true;
    if (auto wrong = add_operand(first_thread, "x", call.x, 64, shared->chunks)) return wrong;
  } else {
    std::vector<std::byte> rows(64 * kOperandBytes);
    for (std::size_t thread = 0; thread < kWarpgroup; ++thread) {
      const unsigned* words = call_of(lanes, static_cast<int>(thread)).registers;
      const std::size_t row = thread / kWarp * 16 + thread % kWarp / 4;
      for (std::size_t i = 0; i < 4; ++i) {
        const std::size_t at = (row + 8 * (i % 2)) * kOperandBytes + 16 * (i / 2) + 4 * (thread % 4);
        std::memcpy(rows.data() + at, &words[i], 4);
      }
    }
    const std::size_t elements = elements_of(call.product);
    shared->x.resize(64 * elements);
    for (std::size_t row = 0; row < 64; ++row) {
      read_elements(call.product, rows.data() + row * kOperandBytes, shared->x.data() + row * elements, 1);
    }
  }
  if (auto wrong = add_operand(first_thread, "y", call.y, shared->columns, shared->chunks)) return wrong;
  for (const unsigned chunk : shared->chunks) shared_.start_product(chunk, kWarpgroup / kWarp);
  for (int warp = first_thread / kWarp; warp < (first_thread + kWarpgroup) / kWarp; ++warp) {
    OfWarp mine{shared, sums_of(warp, lanes, call), call.accumulates, operand_of(warp, lanes)};
    ++mine.sums->under_way;
    state(warp).open.push_back(std::move(mine));
  }
  return std::nullopt;
}

// Reads the operands: the first warp that retires the product, on behalf of all, as nobody may write them meanwhile.
void Products::gather(Shared& one) const {
  const std::size_t elements = elements_of(one.product);
  const unsigned* chunk = one.chunks.data();
  std::byte row[kOperandBytes];
  const auto next_row = [&] {
    std::memcpy(row, shared_.data(chunk[0]), 16);
    std::memcpy(row + 16, shared_.data(chunk[1]), 16);
    chunk += 2;
  };
  if (one.has_x) {
    one.x.resize(64 * elements);
    for (std::size_t i = 0; i < 64; ++i) {
      next_row();
      read_elements(one.product, row, one.x.data() + i * elements, 1);
    }
  }
  one.y.resize(one.columns * elements);
  for (std::size_t i = 0; i < one.columns; ++i) {
    next_row();
    read_elements(one.product, row, one.y.data() + i, one.columns);
  }
}

std::optional<Wrong> Products::retire(int warp, OfWarp& one) {
  if (auto wrong = check_operand(warp, one)) return wrong;
  Shared& shared = *one.shared;
  Sums& sums = *one.sums;
  if (shared.y.empty()) gather(shared);
  const auto rows = static_cast<std::size_t>(warp * kWarp % kWarpgroup / kWarp) * 16;
  multiply_rows(shared.product, shared.columns, shared.x.data() + rows * elements_of(shared.product), shared.y.data(),
                one.accumulates, sums.values.data());
  const Observer by = clocks_.observer(threads_before_ + warp * kWarp);
  for (const unsigned chunk : shared.chunks) shared_.finish_product(by, chunk);
  if (--sums.under_way > 0) return std::nullopt;
  std::optional<Wrong> wrong;
  for_each_sum(sums.columns, [&](std::size_t lane, std::size_t word, std::size_t row, std::size_t column) {
    unsigned bits = 0;
    std::memcpy(&bits, sums.d[lane] + 4 * word, 4);
    if (bits != kSumMark && !wrong) {
      wrong = Wrong{
          warp * kWarp + static_cast<int>(lane),
          fmt::format("sum d[{}][{}] was written while a product that adds to it was under way", word / 4, word % 4)};
    }
    const double value = sums.values[row * sums.columns + column];
    bits = sums_are_int(shared.product) ? std::bit_cast<unsigned>(static_cast<int>(value))
                                        : std::bit_cast<unsigned>(static_cast<float>(value));
    std::memcpy(sums.d[lane] + 4 * word, &bits, 4);
  });
  std::erase(state(warp).writing, one.sums);
  return wrong;
}

std::optional<Wrong> Products::wait(int warp, std::size_t pending) {
  Warp& mine = state(warp);
  while (mine.groups.size() > pending) {
    for (OfWarp& one : mine.groups.front()) {
      if (auto wrong = retire(warp, one)) return wrong;
    }
    mine.groups.pop_front();
  }
  mine.fenced = false;
  return std::nullopt;
}

}  // namespace expertile::emulator
