#pragma once
// What a race and a duel have in common for who times them: they say what to time next. No clock, no device.

#include <cstddef>
#include <optional>

namespace expertile {

// What is not worth a different tile, of the time.
inline constexpr double kLeastGain = 0.003;

struct Heat {
  std::size_t candidate = 0;
  std::size_t round = 0;  // the routing sample to use, modulo their number
};

class Contest {
 public:
  virtual ~Contest() = default;
  // What to time next; nothing when it has ended. spent: of the time that was set for it, 1 for all.
  [[nodiscard]] virtual std::optional<Heat> next(double spent) = 0;
  virtual void notify(const Heat& heat, double microseconds) = 0;
  [[nodiscard]] virtual std::size_t rounds() const = 0;  // that are complete
};

}  // namespace expertile
