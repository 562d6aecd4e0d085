#include "python_api.hpp"

namespace expertile::python {

std::string text_of(PyObject* object) {
  const Ref text(PyObject_Str(object));
  const char* characters = text ? PyUnicode_AsUTF8AndSize(text.get(), nullptr) : nullptr;
  if (characters != nullptr) return characters;
  PyErr_Clear();
  return type_name(object);
}

std::string type_name(PyObject* object) {
  const Ref type = Ref::borrowed(reinterpret_cast<PyObject*>(Py_TYPE(object)));
  const Ref module(PyObject_GetAttrString(type.get(), "__module__"));
  const Ref name(PyObject_GetAttrString(type.get(), "__qualname__"));
  PyErr_Clear();
  const auto characters = [](const Ref& text) {
    const char* found = text ? PyUnicode_AsUTF8AndSize(text.get(), nullptr) : nullptr;
    PyErr_Clear();
    return std::string(found == nullptr ? "?" : found);
  };
  const std::string place = characters(module);
  return place == "builtins" ? characters(name) : place + "." + characters(name);
}

}  // namespace expertile::python
