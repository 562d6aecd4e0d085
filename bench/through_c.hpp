#pragma once
// Operations and calls as a program in C has them, for bench/host_cost.cpp.

#include <expertile/expertile.h>

#include <memory>
#include <string>
#include <vector>

#include "expertile/grouped_gemm.hpp"

namespace expertile {

// So many operations of one problem, prepared where no file is found.
class OperationsInC {
 public:
  [[nodiscard]] static Result<OperationsInC> prepare(const Problem& problem, const std::string& device, int threads,
                                                     int count);
  [[nodiscard]] std::size_t size() const { return operations_.size(); }
  [[nodiscard]] const expertile_operation* operator[](std::size_t i) const { return operations_[i].get(); }

 private:
  struct Destroy {
    void operator()(expertile_operation* operation) const { expertile_operation_destroy(operation); }
  };
  std::vector<std::unique_ptr<expertile_operation, Destroy>> operations_;
};

[[nodiscard]] expertile_grouped_gemm_args in_c(const GroupedGemmArgs& args);
// The error of this thread's latest call, where that failed.
[[nodiscard]] Status status_in_c(expertile_status status);

}  // namespace expertile
