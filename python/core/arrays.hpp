#pragma once
// Arrays of Python's libraries, read without a copy: PyTorch by DLPack's exchange interface (by its methods where it is
// older than 2.10), NumPy by the buffer protocol, CuPy by its attributes, others by __dlpack__.

#include <expertile/expertile.h>

#include <array>
#include <cstdint>
#include <string>

#include "dlpack_abi.hpp"
#include "python_api.hpp"

namespace expertile::python {

// What an array's elements may be: what tensors hold, and what offsets and indices are.
enum class Kind : std::uint8_t { float16, bfloat16, float32, float8_e4m3, int8, int32, int64, other };
[[nodiscard]] const char* name(Kind kind);
// Of a dtype of any library, or its name.
[[nodiscard]] Kind kind_of_dtype(PyObject* dtype);
[[nodiscard]] constexpr bool is_float(Kind kind) {
  return kind == Kind::float16 || kind == Kind::bfloat16 || kind == Kind::float32;
}
// Zero where no tensor has it.
[[nodiscard]] std::int32_t element_of(Kind kind);

inline constexpr int kMostDimensions = 8;

// A view of an array that somebody else owns; valid while the array and `owner` live.
struct Array {
  void* data = nullptr;
  int dimensions = 0;
  std::array<std::int64_t, kMostDimensions> shape{};
  std::array<std::int64_t, kMostDimensions> strides{};  // elements
  Kind kind = Kind::other;
  std::size_t item_bytes = 0;
  int device = -1;  // a GPU's index; -1: the host
  bool is_read_only = false;
  bool is_waited_for = false;                  // JAX's, which has no stream to run on: who writes it waits, too
  const dlpack::Exchange* exchange = nullptr;  // of its type, if it has one
  Ref owner{};                                 // what keeps the view alive beside the array itself

  [[nodiscard]] std::int64_t count() const;
  // Rows lie back to back, whatever dimensions of 1 say.
  [[nodiscard]] bool is_contiguous() const;
  [[nodiscard]] std::string shape_text() const;  // "[3, 4]"
};
[[nodiscard]] std::string device_text(int device);  // "the CPU", "cuda:1"

// Reads `object` into `out`; name is the argument's, for the exception. False with it set. stream: of the consumer, for
// libraries whose arrays may still be written when they are asked for (JAX).
[[nodiscard]] bool read_array(PyObject* object, const char* name, Array& out);

}  // namespace expertile::python
