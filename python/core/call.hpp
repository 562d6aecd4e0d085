#pragma once
// One call of a prepared operation with arrays of Python's.

#include <expertile/expertile.h>

#include "arrays.hpp"

namespace expertile::python {

// A prepared operation, and what is asked of its arrays.
struct Prepared {
  expertile_operation* operation = nullptr;
  expertile_device* opened = nullptr;
  expertile_problem_desc problem{};
  expertile_element c_element = EXPERTILE_ELEMENT_NONE;  // of C in all calls; none: any
  int device = -1;                                       // a GPU's index; -1: the host
};

// What a call was given; None and null mean the same.
struct Given {
  PyObject* a = nullptr;
  PyObject* b = nullptr;
  PyObject* seg_indptr = nullptr;
  PyObject* weight_indices = nullptr;
  PyObject* scale_a = nullptr;
  PyObject* scale_b = nullptr;
  PyObject* out = nullptr;
  PyObject* workspace = nullptr;
  PyObject* stream = nullptr;
  PyObject* masked_m = nullptr;
  bool is_masked = false;  // masked_m tells the groups' rows, seg_indptr else; a and C have three dimensions then
  std::int64_t expected_rows = 0;
};

// The arrays that decide which operation is called, each read once; those that are not given are empty.
struct Operands {
  Array a;
  Array b;
  Array scale_a;
  Array scale_b;
  Array out;
  Array groups;  // masked_m or seg_indptr
};
[[nodiscard]] bool read_operands(const Given& given, Operands& out);
// By which array, and of which type, the call tells the groups' rows.
[[nodiscard]] expertile_row_layout layout_of(const Given& given, const Operands& operands);

// That a new C has: the one that is wanted, else a's, or bfloat16 where a is quantised.
[[nodiscard]] expertile_element element_of_c(expertile_element wanted, const Array& a);

// Checks the arrays, makes what was not given (C, workspace) by A's library, and runs, without the interpreter's lock.
// A new reference to C; null with an exception.
[[nodiscard]] PyObject* run(const Prepared& prepared, const Given& given, const Operands& operands);

// Whether PyTorch is to know how C came about: A or B asks for a gradient. False for arrays of others.
[[nodiscard]] bool needs_gradient(const Given& given, const Operands& operands);

// expertile._arrays.<function>(arguments...): a new reference, or null with an exception. arguments: a tuple, or null.
[[nodiscard]] Ref call_arrays(const char* function, const Ref& arguments);

}  // namespace expertile::python
