#pragma once
// What a prepared operation keeps: read by its calls, and by those of a layer that it is part of.

#include <memory>
#include <optional>
#include <vector>

#include "api/validate.hpp"
#include "backend/backend.hpp"
#include "store/lookup.hpp"

namespace expertile {

struct GroupedGemm::State {
  Problem problem;
  CallShapes shapes;
  std::shared_ptr<const Backend> backend;
  LookUp found;
  std::vector<SharedPlan> plans;      // of every tile that a call may choose
  std::optional<ElementType> c_type;  // of all calls

  // The plan of one of those tiles; null where there is none.
  [[nodiscard]] const CallPlan* plan_of(const TileConfig& tile) const {
    for (const SharedPlan& plan : plans) {
      if (plan->tile() == tile) return plan.get();
    }
    return nullptr;
  }
  // What a call with so many rows runs by.
  [[nodiscard]] Result<const CallPlan*> plan_for(std::int64_t rows) const;
};

}  // namespace expertile
