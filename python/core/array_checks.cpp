#include "array_checks.hpp"

#include <algorithm>

#include "errors.hpp"
#include "names.hpp"

namespace expertile::python {
namespace {

// The last two dimensions of an array as rows of a matrix: how far apart rows begin; -1 with an exception.
std::int64_t pitch_of(const Array& array, const char* name) {
  const auto last = static_cast<std::size_t>(array.dimensions - 1);
  const std::int64_t columns = array.shape[last];
  const std::int64_t rows = array.shape[last - 1];
  if (columns > 1 && array.strides[last] != 1) {
    refuse(std::string(name) + " " + array.shape_text() + " has a stride of " + std::to_string(array.strides[last]) +
           " along its last dimension, it must be 1");
    return -1;
  }
  const std::int64_t pitch = rows > 1 ? array.strides[last - 1] : std::max<std::int64_t>(columns, 1);
  if (pitch < columns) {
    refuse(std::string(name) + " " + array.shape_text() + " has a stride of " + std::to_string(pitch) +
           " from row to row, its rows must not overlap");
    return -1;
  }
  return pitch;
}

template <class Matrix>
bool as_matrix(const Array& array, const char* name, std::int64_t rows, std::int64_t pitch, Matrix& out) {
  const auto last = static_cast<std::size_t>(array.dimensions - 1);
  out = {array.data, rows, array.shape[last], pitch, python::element_of(array.kind), 0};
  if (out.element != EXPERTILE_ELEMENT_NONE) return true;
  return refuse(std::string(name) + " is " + python::name(array.kind) + ", no operation takes it");
}

}  // namespace

bool check_device(const Array& array, const char* name, const Prepared& prepared) {
  if (array.device == prepared.device) return true;
  return refuse(std::string(name) + " is on " + device_text(array.device) + ", it must be on " +
                device_text(prepared.device) + " like the operation");
}

bool check_list(PyObject* object, const Array& array, const char* name, Kind kind, const Prepared& prepared) {
  if (array.kind != kind) {
    const Ref dtype(PyObject_GetAttr(object, names().dtype));
    PyErr_Clear();
    const std::string found = array.kind == Kind::other && dtype ? text_of(dtype.get()) : python::name(array.kind);
    return refuse(std::string(name) + " is " + found + ", it must be " + python::name(kind));
  }
  if (!check_device(array, name, prepared)) return false;
  if (array.is_contiguous()) return true;
  return refuse(std::string(name) + " " + array.shape_text() + " is strided, its elements must lie back to back");
}

bool check_group_list(PyObject* object, const Array& array, const char* name, Kind kind, const Prepared& prepared) {
  if (!is_given(object)) return refuse(std::string(name) + " is None, it must be an array");
  if (!check_list(object, array, name, kind, prepared)) return false;
  if (array.dimensions == 1) return true;
  return refuse(std::string(name) + " is " + array.shape_text() + ", it must have one dimension");
}

template <class Matrix>
bool read_rows(const Array& array, const char* name, const char* shape, const Prepared& prepared, Matrix& out) {
  if (array.dimensions != 2) {
    return refuse(std::string(name) + " is " + array.shape_text() + ", it must be " + shape);
  }
  if (!check_device(array, name, prepared)) return false;
  const std::int64_t pitch = pitch_of(array, name);
  return pitch >= 0 && as_matrix(array, name, array.shape[0], pitch, out);
}

template <class Matrix>
bool read_stack(const Array& array, const char* name, const Stack& stack, const Prepared& prepared, Matrix& out) {
  if (array.dimensions != 3) {
    return refuse(std::string(name) + " is " + array.shape_text() + ", it must be " + stack.shape);
  }
  if (!check_device(array, name, prepared)) return false;
  const std::int64_t pitch = pitch_of(array, name);
  if (pitch < 0) return false;
  const std::int64_t apart = array.shape[1] * pitch;
  if (array.shape[0] > 1 && array.strides[0] != apart) {
    return refuse(std::string(name) + " " + array.shape_text() + " has a stride of " +
                  std::to_string(array.strides[0]) + " from " + stack.of + " to " + stack.of + ", it must be " +
                  stack.rows + " times that of its rows, " + std::to_string(apart));
  }
  return as_matrix(array, name, array.shape[0] * array.shape[1], pitch, out);
}

template bool read_rows(const Array&, const char*, const char*, const Prepared&, expertile_matrix&);
template bool read_rows(const Array&, const char*, const char*, const Prepared&, expertile_mutable_matrix&);
template bool read_stack(const Array&, const char*, const Stack&, const Prepared&, expertile_matrix&);
template bool read_stack(const Array&, const char*, const Stack&, const Prepared&, expertile_mutable_matrix&);

}  // namespace expertile::python
