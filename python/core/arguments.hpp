#pragma once
// Arguments by place and by name, for functions that are called often: names are compared by address first.

#include <array>
#include <cstddef>
#include <string>

#include "python_api.hpp"

namespace expertile::python {

// N arguments, the first `by_place` of which may be given without a name.
template <std::size_t N>
struct Signature {
  const char* function;
  std::size_t by_place;
  std::array<const char*, N> names;
  std::array<PyObject*, N> interned{};

  [[nodiscard]] bool init() {
    for (std::size_t i = 0; i < N; ++i) {
      interned[i] = PyUnicode_InternFromString(names[i]);
      if (interned[i] == nullptr) return false;
    }
    return true;
  }

  // Borrowed references; null where nothing was given.
  using Values = std::array<PyObject*, N>;

  [[nodiscard]] bool take(std::size_t place, PyObject* value, Values& out) const {
    if (place < by_place) {
      out[place] = value;
      return true;
    }
    PyErr_SetString(PyExc_TypeError, (std::string(function) + "() takes " + std::to_string(by_place) +
                                      " arguments by place, the others by name")
                                         .c_str());
    return false;
  }

  [[nodiscard]] bool take(PyObject* name, PyObject* value, Values& out) const {
    for (std::size_t i = 0; i < N; ++i) {
      if (interned[i] == name) return set(i, value, out);
    }
    for (std::size_t i = 0; i < N; ++i) {
      if (PyUnicode_CompareWithASCIIString(name, names[i]) == 0) return set(i, value, out);
    }
    std::string line = std::string(function) + "() has no argument '" + text_of(name) + "'; its arguments are ";
    for (std::size_t i = 0; i < N; ++i) line += (i == 0 ? "" : ", ") + std::string(names[i]);
    PyErr_SetString(PyExc_TypeError, line.c_str());
    return false;
  }

  // Of METH_FASTCALL | METH_KEYWORDS.
  [[nodiscard]] bool parse(PyObject* const* arguments, Py_ssize_t count, PyObject* keywords, Values& out) const {
    for (Py_ssize_t i = 0; i < count; ++i) {
      if (!take(static_cast<std::size_t>(i), arguments[i], out)) return false;
    }
    const Py_ssize_t named = keywords == nullptr ? 0 : PyTuple_Size(keywords);
    for (Py_ssize_t i = 0; i < named; ++i) {
      if (!take(PyTuple_GetItem(keywords, i), arguments[count + i], out)) return false;
    }
    return true;
  }

  // Of tp_call and tp_new.
  [[nodiscard]] bool parse(PyObject* arguments, PyObject* keywords, Values& out) const {
    const Py_ssize_t count = PyTuple_Size(arguments);
    for (Py_ssize_t i = 0; i < count; ++i) {
      if (!take(static_cast<std::size_t>(i), PyTuple_GetItem(arguments, i), out)) return false;
    }
    Py_ssize_t place = 0;
    PyObject* name = nullptr;
    PyObject* value = nullptr;
    while (keywords != nullptr && PyDict_Next(keywords, &place, &name, &value) != 0) {
      if (!take(name, value, out)) return false;
    }
    return true;
  }

 private:
  [[nodiscard]] bool set(std::size_t index, PyObject* value, Values& out) const {
    if (out[index] == nullptr) {
      out[index] = value;
      return true;
    }
    PyErr_SetString(PyExc_TypeError, (std::string(function) + "() was given '" + names[index] + "' twice").c_str());
    return false;
  }
};

// Values of options; None and null leave `out` as it is. name: the argument's. False with an exception.
[[nodiscard]] bool read_integer(PyObject* object, const char* name, std::int64_t& out);
[[nodiscard]] bool read_flag(PyObject* object, const char* name, std::int32_t& out);
[[nodiscard]] bool read_text(PyObject* object, const char* name, std::string& out);  // str or os.PathLike
[[nodiscard]] bool read_block_shape(PyObject* object, std::int64_t& n, std::int64_t& k);

}  // namespace expertile::python
