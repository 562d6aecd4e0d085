#pragma once
// fused_moe: a whole layer of arrays of Python's.

#include "python_api.hpp"

namespace expertile::python {

[[nodiscard]] bool init_fused_moe();
// METH_FASTCALL | METH_KEYWORDS
PyObject* fused_moe(PyObject* module, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords);
extern const char* const kFusedMoeDoc;

}  // namespace expertile::python
