#pragma once
// What the arrays of a call must be. Each of these is false with an exception, which names the argument.

#include "call.hpp"

namespace expertile::python {

[[nodiscard]] bool check_device(const Array& array, const char* name, const Prepared& prepared);
// A list of numbers that lie back to back. object: what the array was read of.
[[nodiscard]] bool check_list(PyObject* object, const Array& array, const char* name, Kind kind,
                              const Prepared& prepared);
// One that tells the groups, and must be given.
[[nodiscard]] bool check_group_list(PyObject* object, const Array& array, const char* name, Kind kind,
                                    const Prepared& prepared);

// A matrix. Matrix: expertile_matrix or expertile_mutable_matrix. shape: "[M, K]".
template <class Matrix>
[[nodiscard]] bool read_rows(const Array& array, const char* name, const char* shape, const Prepared& prepared,
                             Matrix& out);

// Of three dimensions: matrices that lie one below the other.
struct Stack {
  const char* shape;
  const char* of;    // what each of them is of
  const char* rows;  // how many each has
};

template <class Matrix>
[[nodiscard]] bool read_stack(const Array& array, const char* name, const Stack& stack, const Prepared& prepared,
                              Matrix& out);

}  // namespace expertile::python
