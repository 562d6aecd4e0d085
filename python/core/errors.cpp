#include "errors.hpp"

#include <array>

namespace expertile::python {
namespace {

struct ErrorClass {
  expertile_status status;
  const char* name;
  PyObject** base;  // beside expertile.Error
  const char* doc;
};

// The classes live as long as the interpreter, by status.
std::array<PyObject*, EXPERTILE_INTERNAL_ERROR + 1>& classes() {
  static std::array<PyObject*, EXPERTILE_INTERNAL_ERROR + 1> all{};
  return all;
}

}  // namespace

bool add_errors(PyObject* module) {
  const std::array<ErrorClass, 5> all = {{
      {EXPERTILE_INVALID_ARGUMENT, "expertile.InvalidArgument", &PyExc_ValueError,
       "An argument, option or file that the caller can put right; the message names it."},
      {EXPERTILE_NOT_FOUND, "expertile.NotFound", &PyExc_LookupError, "A file, model or device that is not there."},
      {EXPERTILE_UNSUPPORTED, "expertile.Unsupported", &PyExc_NotImplementedError,
       "Understood, but outside what this build or device can do."},
      {EXPERTILE_IO_ERROR, "expertile.IoError", &PyExc_OSError,
       "Reading or writing failed; the message names the path."},
      {EXPERTILE_INTERNAL_ERROR, "expertile.InternalError", &PyExc_RuntimeError, "Not the caller's fault."},
  }};
  PyObject* base = PyErr_NewExceptionWithDoc(
      "expertile.Error", "What every error of expertile is: one line, the name, the value and what would be right.",
      nullptr, nullptr);
  if (base == nullptr || PyModule_AddObjectRef(module, "Error", base) < 0) return false;
  for (const ErrorClass& one : all) {
    const Ref bases(PyTuple_Pack(2, base, *one.base));
    PyObject* made = bases ? PyErr_NewExceptionWithDoc(one.name, one.doc, bases.get(), nullptr) : nullptr;
    if (made == nullptr) return false;
    classes()[static_cast<std::size_t>(one.status)] = made;
    if (PyModule_AddObjectRef(module, one.name + std::string("expertile.").size(), made) < 0) return false;
  }
  return true;
}

PyObject* raise(expertile_status status, const std::string& line) {
  const auto index = static_cast<std::size_t>(status);
  PyObject* type = index < classes().size() ? classes()[index] : nullptr;
  PyErr_SetString(type == nullptr ? PyExc_RuntimeError : type, line.c_str());
  return nullptr;
}

PyObject* raise(expertile_status status) { return raise(status, expertile_last_error()); }

}  // namespace expertile::python
