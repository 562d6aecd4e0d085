#pragma once
// Names that are looked up with every call, interned once.

#include "python_api.hpp"

namespace expertile::python {

struct Names {
  PyObject* exchange = nullptr;  // __dlpack_c_exchange_api__
  PyObject* dlpack = nullptr;    // __dlpack__
  PyObject* dtype = nullptr;
  PyObject* shape = nullptr;
  PyObject* strides = nullptr;
  PyObject* stride = nullptr;
  PyObject* data = nullptr;
  PyObject* data_ptr = nullptr;
  PyObject* ptr = nullptr;
  PyObject* id = nullptr;
  PyObject* itemsize = nullptr;
  PyObject* device = nullptr;
  PyObject* get_device = nullptr;
  PyObject* new_empty = nullptr;
  PyObject* requires_grad = nullptr;
  PyObject* block_until_ready = nullptr;
  PyObject* versioned = nullptr;  // {"max_version": (1, 1)}: DLPack 1 gives e4m3 and read-only arrays, too
};
// Made by init_names, for the life of the interpreter.
[[nodiscard]] const Names& names();
[[nodiscard]] bool init_names();

}  // namespace expertile::python
