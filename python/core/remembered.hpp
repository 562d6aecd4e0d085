#pragma once
// What was found out of the first objects that were met. Under the interpreter's lock.

#include <array>
#include <cstddef>
#include <utility>

#include "python_api.hpp"

namespace expertile::python {

// Of at most N objects, each told by its address, and kept alive so that the address stays its own.
template <class Value, std::size_t N>
class Remembered {
 public:
  // Null where it was not met, or came when there was no more room.
  [[nodiscard]] const Value* find(const PyObject* object) const {
    for (std::size_t i = 0; i < count_; ++i) {
      if (all_[i].first == object) return &all_[i].second;
    }
    return nullptr;
  }
  void add(PyObject* object, const Value& value) {
    if (count_ == N) return;
    Py_INCREF(object);
    all_[count_++] = {object, value};
  }

 private:
  std::array<std::pair<PyObject*, Value>, N> all_{};
  std::size_t count_ = 0;
};

}  // namespace expertile::python
