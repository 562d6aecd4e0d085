#pragma once
// Python's stable ABI, of 3.11 and later: one build serves them all.

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <unistd.h>

#include <string>
#include <utility>

namespace expertile::python {

// A reference that is owned.
class Ref {
 public:
  Ref() = default;
  explicit Ref(PyObject* owned) : object_(owned) {}
  [[nodiscard]] static Ref borrowed(PyObject* object) {
    Py_XINCREF(object);
    return Ref(object);
  }
  ~Ref() { Py_XDECREF(object_); }
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(Ref&& other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  Ref(const Ref&) = delete;
  Ref& operator=(const Ref&) = delete;

  [[nodiscard]] PyObject* get() const { return object_; }
  [[nodiscard]] PyObject* release() { return std::exchange(object_, nullptr); }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  PyObject* object_ = nullptr;
};

[[nodiscard]] inline bool is_given(PyObject* object) { return object != nullptr && object != Py_None; }

// str(object), or what its type is where it has none; clears the error.
[[nodiscard]] std::string text_of(PyObject* object);
// "numpy.ndarray"
[[nodiscard]] std::string type_name(PyObject* object);

// Takes the interpreter's lock by `take`. Where the interpreter is ending, Python before 3.14 ends the thread that
// asks, by unwinding it, which neither destructors nor the library's own frames may be part of: such a thread stands
// still until the process is over, as it does in Python from 3.14 on.
template <class Take>
void take_lock(const Take& take) noexcept {
  try {
    take();
  } catch (...) {
    while (true) pause();
  }
}

// Without the interpreter's lock while it lives.
class Unlocked {
 public:
  Unlocked() : state_(PyEval_SaveThread()) {}
  ~Unlocked() {
    take_lock([this] { PyEval_RestoreThread(state_); });
  }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;

 private:
  PyThreadState* state_;
};

}  // namespace expertile::python
