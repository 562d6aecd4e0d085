#pragma once
// Exceptions of the module: expertile.Error and what it is in particular.

#include <expertile/expertile.h>

#include <string>

#include "python_api.hpp"

namespace expertile::python {

// Makes the classes and adds them to the module. False with an exception set.
[[nodiscard]] bool add_errors(PyObject* module);

// Sets the exception of a status, with this line; always null, for whoever returns it.
PyObject* raise(expertile_status status, const std::string& line);
// Of the call to the library that this thread just made.
PyObject* raise(expertile_status status);
inline PyObject* raise_invalid(const std::string& line) { return raise(EXPERTILE_INVALID_ARGUMENT, line); }
// The same for whoever returns whether all is well: always false.
inline bool refuse(const std::string& line) {
  raise_invalid(line);
  return false;
}

}  // namespace expertile::python
