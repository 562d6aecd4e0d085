#include "names.hpp"

namespace expertile::python {
namespace {

Names& made() {
  static Names all;
  return all;
}

}  // namespace

const Names& names() { return made(); }

bool init_names() {
  Names& all = made();
  const std::pair<PyObject**, const char*> texts[] = {
      {&all.exchange, "__dlpack_c_exchange_api__"},
      {&all.dlpack, "__dlpack__"},
      {&all.dtype, "dtype"},
      {&all.shape, "shape"},
      {&all.strides, "strides"},
      {&all.stride, "stride"},
      {&all.data, "data"},
      {&all.data_ptr, "data_ptr"},
      {&all.ptr, "ptr"},
      {&all.id, "id"},
      {&all.itemsize, "itemsize"},
      {&all.device, "device"},
      {&all.get_device, "get_device"},
      {&all.new_empty, "new_empty"},
      {&all.requires_grad, "requires_grad"},
      {&all.block_until_ready, "block_until_ready"},
  };
  for (const auto& [slot, text] : texts) {
    *slot = PyUnicode_InternFromString(text);
    if (*slot == nullptr) return false;
  }
  all.versioned = Py_BuildValue("{s:(ii)}", "max_version", 1, 1);
  return all.versioned != nullptr;
}

}  // namespace expertile::python
