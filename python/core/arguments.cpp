#include "arguments.hpp"

#include "errors.hpp"

namespace expertile::python {
namespace {

bool refuse(const char* name, PyObject* object, const char* wanted) {
  PyErr_Clear();
  return python::refuse(std::string(name) + " is " + text_of(object) + ", it must be " + wanted);
}

}  // namespace

bool read_integer(PyObject* object, const char* name, std::int64_t& out) {
  if (!is_given(object)) return true;
  const Ref number(PyNumber_Index(object));
  if (!number) return refuse(name, object, "an integer");
  const std::int64_t value = PyLong_AsLongLong(number.get());
  if (value == -1 && PyErr_Occurred() != nullptr) return refuse(name, object, "an integer of 64 bits");
  out = value;
  return true;
}

bool read_flag(PyObject* object, const char* name, std::int32_t& out) {
  if (!is_given(object)) return true;
  if (object != Py_True && object != Py_False) return refuse(name, object, "True or False");
  out = object == Py_True ? 1 : 0;
  return true;
}

bool read_text(PyObject* object, const char* name, std::string& out) {
  if (!is_given(object)) return true;
  const Ref text(PyOS_FSPath(object));
  const char* characters =
      text && PyUnicode_Check(text.get()) != 0 ? PyUnicode_AsUTF8AndSize(text.get(), nullptr) : nullptr;
  if (characters == nullptr) return refuse(name, object, "a str or a path");
  out = characters;
  return true;
}

bool read_block_shape(PyObject* object, std::int64_t& n, std::int64_t& k) {
  if (!is_given(object)) return true;
  constexpr const char* kName = "block_shape";
  constexpr const char* kWanted = "a pair of integers (n, k)";
  if (PySequence_Check(object) == 0 || PySequence_Size(object) != 2) return refuse(kName, object, kWanted);
  const Ref left(PySequence_GetItem(object, 0));
  const Ref right(PySequence_GetItem(object, 1));
  if (!left || !right) return refuse(kName, object, kWanted);
  if (!read_integer(left.get(), kName, n) || !read_integer(right.get(), kName, k)) return false;
  return (n > 0 && k > 0) || refuse(kName, object, "two numbers of at least 1");
}

}  // namespace expertile::python
