#pragma once
// What is read of DLPack 1 (https://dmlc.github.io/dlpack): the layout of its structs in memory, by names of our own,
// so that building needs no header of another version. Only tensors that are lent for a call are read.

#include <cstdint>

namespace expertile::python::dlpack {

inline constexpr std::uint32_t kMajor = 1;

enum DeviceType : std::int32_t { kCpu = 1, kCuda = 2, kCudaHost = 3, kCudaManaged = 13 };
enum TypeCode : std::uint8_t { kInt = 0, kUInt = 1, kFloat = 2, kBfloat = 4, kFloat8E4M3Fn = 10 };

struct Tensor {
  void* data;
  struct {
    std::int32_t type;
    std::int32_t index;
  } device;
  std::int32_t dimensions;
  struct {
    std::uint8_t code;
    std::uint8_t bits;
    std::uint16_t lanes;
  } element;
  std::int64_t* shape;
  std::int64_t* strides;  // elements; null: row-major, back to back
  std::uint64_t byte_offset;
};

struct Version {
  std::uint32_t major;
  std::uint32_t minor;
};

// In a capsule "dltensor".
struct ManagedTensor {
  Tensor tensor;
  void* owner;
  void (*deleter)(ManagedTensor*);
};
// In a capsule "dltensor_versioned".
inline constexpr std::uint64_t kReadOnly = 1;
struct VersionedTensor {
  Version version;
  void* owner;
  void (*deleter)(VersionedTensor*);
  std::uint64_t flags;
  Tensor tensor;
};

// What a type of arrays offers in its attribute __dlpack_c_exchange_api__, a capsule "dlpack_exchange_api": reading a
// tensor without a Python object between. Static for the process.
struct ExchangeHeader {
  Version version;
  ExchangeHeader* previous;  // of an older major version
};
struct Exchange {
  ExchangeHeader header;
  void* allocate;
  void* owned_from_object;
  void* object_from_owned;
  int (*borrow)(void* object, Tensor* out);  // may be null; what `out` points to lives as long as the object
  int (*current_stream)(std::int32_t device_type, std::int32_t device_index, void** out);
};

}  // namespace expertile::python::dlpack
