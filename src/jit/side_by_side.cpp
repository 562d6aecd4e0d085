#include "jit/side_by_side.hpp"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

namespace expertile::jit {

void side_by_side(std::size_t count, int threads, const std::function<void(std::size_t)>& piece) {
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t i = next++; i < count; i = next++) piece(i);
  };
  const std::size_t workers = std::min(count, static_cast<std::size_t>(std::max(threads, 1)));
  std::vector<std::jthread> others;
  for (std::size_t i = 1; i < workers; ++i) others.emplace_back(work);
  work();
  others.clear();  // joins
}

int all_threads() { return static_cast<int>(std::max(1U, std::thread::hardware_concurrency())); }

}  // namespace expertile::jit
