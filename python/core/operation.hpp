#pragma once
// Operations in Python: expertile._core.Operation, and those that grouped_gemm keeps.

#include <expertile/expertile.h>

#include <cstdint>
#include <string>

#include "call.hpp"

namespace expertile::python {

// What an operation is prepared with, beside its problem.
struct PrepareWishes {
  std::string device = "auto";
  std::int64_t threads = 0;
  std::string config_dir;  // empty: the default
  expertile_element c_element = EXPERTILE_ELEMENT_NONE;
  expertile_row_layout row_layout = EXPERTILE_ROWS_OFFSETS;
};

// Without the interpreter's lock while it is prepared. False with an exception.
[[nodiscard]] bool prepare(const expertile_problem_desc& problem, const PrepareWishes& wishes, Prepared& out);

// Destroys its handles.
void give_back(Prepared& prepared);

// Of argument `name`: a str, or a dtype of any library. None leaves `out` as it is.
[[nodiscard]] bool read_element(PyObject* object, const char* name, expertile_element& out);

[[nodiscard]] bool add_operation(PyObject* module);
[[nodiscard]] bool init_grouped_gemm();
// METH_FASTCALL | METH_KEYWORDS
PyObject* grouped_gemm(PyObject* module, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords);
extern const char* const kGroupedGemmDoc;
PyObject* grouped_gemm_masked(PyObject* module, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords);
extern const char* const kMaskedDoc;

}  // namespace expertile::python
