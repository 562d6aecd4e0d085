#pragma once
// Whether other programs take the processors that timings ask for.

namespace expertile {

// For how long this process's threads, together, could have run but had no processor, so far: what its kernel counts.
// 0 where that is not counted.
[[nodiscard]] double seconds_waited_for_processors();

}  // namespace expertile
