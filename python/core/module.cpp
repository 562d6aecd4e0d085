// expertile._core: what Python calls of the library.

#include <expertile/expertile.h>

#include "errors.hpp"
#include "fused_moe.hpp"
#include "names.hpp"
#include "operation.hpp"
#include "tune.hpp"

namespace expertile::python {
namespace {

PyObject* version(PyObject*, PyObject*) { return PyUnicode_FromString(expertile_version()); }

PyMethodDef kFunctions[] = {
    {"grouped_gemm", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(grouped_gemm)),
     METH_FASTCALL | METH_KEYWORDS, kGroupedGemmDoc},
    {"grouped_gemm_masked", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(grouped_gemm_masked)),
     METH_FASTCALL | METH_KEYWORDS, kMaskedDoc},
    {"fused_moe", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(fused_moe)), METH_FASTCALL | METH_KEYWORDS,
     kFusedMoeDoc},
    {"tune", tune, METH_VARARGS, "tune(options, worker, events, /)\n--\n\nSee expertile.tune."},
    {"bench", bench, METH_VARARGS, "bench(options, events, /)\n--\n\nSee expertile.bench."},
    {"show", show, METH_VARARGS, "show(options, events, /)\n--\n\nSee expertile.show."},
    {"command_line", command_line, METH_O, "command_line(arguments, /)\n--\n\nThe tool; its exit status."},
    {"version", version, METH_NOARGS, "version()\n--\n\nThe library's version."},
    {nullptr, nullptr, 0, nullptr}};

int execute(PyObject* module) {
  return init_names() && init_grouped_gemm() && init_fused_moe() && add_errors(module) && add_operation(module) ? 0
                                                                                                                : -1;
}

PyModuleDef_Slot kSlots[] = {{Py_mod_exec, reinterpret_cast<void*>(execute)}, {0, nullptr}};

PyModuleDef kModule = {PyModuleDef_HEAD_INIT,
                       "expertile._core",
                       "The library, as Python calls it.",
                       0,
                       kFunctions,
                       kSlots,
                       nullptr,
                       nullptr,
                       nullptr};

}  // namespace
}  // namespace expertile::python

PyMODINIT_FUNC PyInit__core() { return PyModuleDef_Init(&expertile::python::kModule); }
