#pragma once
// How long work on a stream takes, by the GPU's own clock.

#include <functional>

#include "backend/cuda/driver.hpp"

namespace expertile::cuda {

// Both: the work enqueues on `stream`, of the current context, and is done twice, first to warm up. Milliseconds of the
// second time, or the first error.
[[nodiscard]] Result<double> stream_ms(const Driver& driver, StreamHandle stream, const std::function<Status()>& work);
// The work is captured, once, and replayed as a graph.
[[nodiscard]] Result<double> graph_ms(const Driver& driver, StreamHandle stream, const std::function<Status()>& work);

}  // namespace expertile::cuda
