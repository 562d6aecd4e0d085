#pragma once
// Work that consists of many independent pieces.

#include <cstddef>
#include <functional>

namespace expertile::jit {

// piece(0) to piece(count - 1), each once, by so many threads at most, this one among them. Returns when all are done.
void side_by_side(std::size_t count, int threads, const std::function<void(std::size_t)>& piece);
// As many as the machine runs at once.
[[nodiscard]] int all_threads();

}  // namespace expertile::jit
