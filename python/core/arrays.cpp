#include "arrays.hpp"

#include <cstring>

#include "errors.hpp"
#include "names.hpp"
#include "remembered.hpp"

namespace expertile::python {
namespace {

// ---- element types ------------------------------------------------------------------------------------------------

struct KindName {
  Kind kind;
  const char* name;
  std::int32_t element;
};
constexpr std::array kKinds = {
    KindName{Kind::float16, "float16", EXPERTILE_FLOAT16},
    KindName{Kind::bfloat16, "bfloat16", EXPERTILE_BFLOAT16},
    KindName{Kind::float32, "float32", EXPERTILE_FLOAT32},
    KindName{Kind::float8_e4m3, "float8_e4m3fn", EXPERTILE_FLOAT8_E4M3},
    KindName{Kind::int8, "int8", EXPERTILE_INT8},
    KindName{Kind::int32, "int32", EXPERTILE_ELEMENT_NONE},
    KindName{Kind::int64, "int64", EXPERTILE_ELEMENT_NONE},
    KindName{Kind::other, "something else", EXPERTILE_ELEMENT_NONE},
};

Kind kind_of(std::uint8_t code, std::uint8_t bits) {
  if (code == dlpack::kFloat) return bits == 32 ? Kind::float32 : bits == 16 ? Kind::float16 : Kind::other;
  if (code == dlpack::kBfloat && bits == 16) return Kind::bfloat16;
  if (code == dlpack::kFloat8E4M3Fn) return Kind::float8_e4m3;
  if (code == dlpack::kInt && bits == 32) return Kind::int32;
  if (code == dlpack::kInt) return bits == 64 ? Kind::int64 : bits == 8 ? Kind::int8 : Kind::other;
  return Kind::other;
}

// By the name that a library's dtype has: "torch.bfloat16", "bfloat16", "<class 'jax.numpy.float32'>". One of another
// byte order is another.
Kind kind_named(std::string text) {
  if (text.ends_with("'>")) text.resize(text.size() - 2);
  const auto end = text.find_last_of(".'");
  const std::string bare = text.substr(end == std::string::npos ? 0 : end + 1);
  for (const KindName& one : kKinds) {
    if (one.kind != Kind::other && bare == one.name) return one.kind;
  }
  return Kind::other;
}

// Libraries have one object for each dtype.
Remembered<Kind, 32>& known_dtypes() {
  static Remembered<Kind, 32> known;
  return known;
}

// ---- shapes -------------------------------------------------------------------------------------------------------

bool refuse_dimensions(const char* name, std::int64_t dimensions) {
  return refuse(std::string(name) + " has " + std::to_string(dimensions) + " dimensions, more than any argument has");
}

void pack_strides(Array& out) {
  std::int64_t stride = 1;
  for (int d = out.dimensions; d-- > 0;) {
    out.strides[static_cast<std::size_t>(d)] = stride;
    stride *= out.shape[static_cast<std::size_t>(d)];
  }
}

bool read_integers(PyObject* tuple, std::array<std::int64_t, kMostDimensions>& out, const char* name, int& count) {
  const Py_ssize_t size = PyTuple_Size(tuple);
  if (size < 0) return false;
  if (size > kMostDimensions) return refuse_dimensions(name, size);
  for (Py_ssize_t i = 0; i < size; ++i) {
    const std::int64_t value = PyLong_AsLongLong(PyTuple_GetItem(tuple, i));
    if (value == -1 && PyErr_Occurred() != nullptr) return false;
    out[static_cast<std::size_t>(i)] = value;
  }
  count = static_cast<int>(size);
  return true;
}

// ---- DLPack -------------------------------------------------------------------------------------------------------

bool take_tensor(const dlpack::Tensor& tensor, const char* name, Array& out) {
  if (tensor.dimensions < 0 || tensor.dimensions > kMostDimensions) return refuse_dimensions(name, tensor.dimensions);
  out.dimensions = tensor.dimensions;
  for (int d = 0; d < tensor.dimensions; ++d) out.shape[static_cast<std::size_t>(d)] = tensor.shape[d];
  if (tensor.strides == nullptr) {
    pack_strides(out);
  } else {
    for (int d = 0; d < tensor.dimensions; ++d) out.strides[static_cast<std::size_t>(d)] = tensor.strides[d];
  }
  out.data = static_cast<char*>(tensor.data) + tensor.byte_offset;
  out.kind = tensor.element.lanes == 1 ? kind_of(tensor.element.code, tensor.element.bits) : Kind::other;
  out.item_bytes = tensor.element.bits / 8U * tensor.element.lanes;
  switch (tensor.device.type) {
    case dlpack::kCpu:
    case dlpack::kCudaHost:
      out.device = -1;
      break;
    case dlpack::kCuda:
    case dlpack::kCudaManaged:
      out.device = tensor.device.index;
      break;
    default:
      return refuse(std::string(name) + " is on a device that is neither a CPU nor a CUDA GPU (DLPack's type " +
                    std::to_string(tensor.device.type) + ")");
  }
  if (tensor.data == nullptr && out.count() > 0) {
    return refuse(std::string(name) + " has no memory behind it: a tensor that is only traced has none");
  }
  return true;
}

// Null without an exception where the type offers none that this version knows.
const dlpack::Exchange* find_exchange(PyTypeObject* type) {
  const Ref capsule(PyObject_GetAttr(reinterpret_cast<PyObject*>(type), names().exchange));
  if (!capsule) {
    PyErr_Clear();
    return nullptr;
  }
  auto* header = static_cast<dlpack::ExchangeHeader*>(PyCapsule_GetPointer(capsule.get(), "dlpack_exchange_api"));
  PyErr_Clear();
  while (header != nullptr && header->version.major != dlpack::kMajor) header = header->previous;
  const auto* exchange = reinterpret_cast<const dlpack::Exchange*>(header);
  return exchange == nullptr || exchange->borrow == nullptr ? nullptr : exchange;
}

bool read_capsule(const Ref& capsule, const char* name, Array& out) {
  if (PyCapsule_IsValid(capsule.get(), "dltensor_versioned") != 0) {
    const auto* managed =
        static_cast<const dlpack::VersionedTensor*>(PyCapsule_GetPointer(capsule.get(), "dltensor_versioned"));
    if (managed->version.major != dlpack::kMajor) {
      return refuse(std::string(name) + " comes by DLPack " + std::to_string(managed->version.major) +
                    ", this version reads DLPack 1");
    }
    out.is_read_only = (managed->flags & dlpack::kReadOnly) != 0;
    return take_tensor(managed->tensor, name, out);
  }
  const auto* managed = static_cast<const dlpack::ManagedTensor*>(PyCapsule_GetPointer(capsule.get(), "dltensor"));
  return managed != nullptr && take_tensor(managed->tensor, name, out);
}

// The capsule is not marked as used, so its own destructor gives the tensor back when `owner` goes. JAX's arrays may
// still be on their way: they are waited for.
bool read_dlpack(PyObject* object, const char* name, Array& out) {
  if (const Ref wait(PyObject_GetAttr(object, names().block_until_ready)); wait) {
    const Ref waited(PyObject_CallNoArgs(wait.get()));
    if (!waited) return false;
    out.is_waited_for = true;
  }
  PyErr_Clear();
  const Ref method(PyObject_GetAttr(object, names().dlpack));
  if (!method) return false;
  const Ref none(PyTuple_New(0));
  Ref capsule(PyObject_Call(method.get(), none.get(), names().versioned));
  if (!capsule && PyErr_ExceptionMatches(PyExc_TypeError) != 0) {  // of before DLPack 1
    PyErr_Clear();
    capsule = Ref(PyObject_Call(method.get(), none.get(), nullptr));
  }
  if (!capsule) return false;
  const bool is_read = read_capsule(capsule, name, out);
  out.owner = std::move(capsule);
  return is_read;
}

// ---- NumPy --------------------------------------------------------------------------------------------------------

// Without its format, which the buffer protocol cannot say of bfloat16 and e4m3: the dtype says it.
bool read_buffer(PyObject* object, const char* name, Array& out) {
  Py_buffer buffer;
  if (PyObject_GetBuffer(object, &buffer, PyBUF_STRIDES) != 0) return false;
  out.data = buffer.buf;
  out.dimensions = buffer.ndim;
  out.is_read_only = buffer.readonly != 0;
  out.item_bytes = static_cast<std::size_t>(buffer.itemsize);
  bool is_read = buffer.ndim <= kMostDimensions || refuse_dimensions(name, buffer.ndim);
  for (int d = 0; is_read && d < buffer.ndim; ++d) {
    const auto at = static_cast<std::size_t>(d);
    out.shape[at] = buffer.shape[d];
    out.strides[at] = buffer.strides[d] / buffer.itemsize;
    if (buffer.strides[d] % buffer.itemsize != 0) {
      is_read = refuse(std::string(name) + " has elements of " + std::to_string(buffer.itemsize) + " bytes every " +
                       std::to_string(buffer.strides[d]) + " bytes");
    }
  }
  PyBuffer_Release(&buffer);  // the caller's reference keeps the memory
  if (!is_read) return false;
  const Ref dtype(PyObject_GetAttr(object, names().dtype));
  if (!dtype) return false;
  out.kind = kind_of_dtype(dtype.get());
  return true;
}

// ---- PyTorch before 2.10, CuPy ------------------------------------------------------------------------------------

bool read_dtype_and_shape(PyObject* object, const char* name, Array& out) {
  const Ref dtype(PyObject_GetAttr(object, names().dtype));
  const Ref shape(PyObject_GetAttr(object, names().shape));
  if (!dtype || !shape) return false;
  const Ref size(PyObject_GetAttr(object, names().itemsize));  // torch: from 2.1 on
  if (!size) return false;
  out.kind = kind_of_dtype(dtype.get());
  out.item_bytes = PyLong_AsSize_t(size.get());
  return PyErr_Occurred() == nullptr && read_integers(shape.get(), out.shape, name, out.dimensions);
}

bool read_old_torch(PyObject* object, const char* name, Array& out) {
  if (!read_dtype_and_shape(object, name, out)) return false;
  const Ref pointer(PyObject_CallMethodObjArgs(object, names().data_ptr, nullptr));
  const Ref strides(PyObject_CallMethodObjArgs(object, names().stride, nullptr));
  const Ref device(PyObject_CallMethodObjArgs(object, names().get_device, nullptr));
  if (!pointer || !strides || !device) return false;
  out.data = PyLong_AsVoidPtr(pointer.get());
  out.device = static_cast<int>(PyLong_AsLong(device.get()));
  int dimensions = 0;
  return read_integers(strides.get(), out.strides, name, dimensions) && PyErr_Occurred() == nullptr;
}

bool read_cupy(PyObject* object, const char* name, Array& out) {
  if (!read_dtype_and_shape(object, name, out)) return false;
  const Ref memory(PyObject_GetAttr(object, names().data));
  const Ref pointer(memory ? PyObject_GetAttr(memory.get(), names().ptr) : nullptr);
  const Ref strides(PyObject_GetAttr(object, names().strides));
  const Ref device(PyObject_GetAttr(object, names().device));
  const Ref index(device ? PyObject_GetAttr(device.get(), names().id) : nullptr);
  if (!pointer || !strides || !index) return false;
  out.data = PyLong_AsVoidPtr(pointer.get());
  out.device = static_cast<int>(PyLong_AsLong(index.get()));
  const auto bytes = static_cast<std::int64_t>(out.item_bytes);
  int dimensions = 0;
  if (bytes < 1 || !read_integers(strides.get(), out.strides, name, dimensions)) return false;
  for (std::int64_t& stride : out.strides) stride /= bytes;
  return PyErr_Occurred() == nullptr;
}

// ---- which of them ------------------------------------------------------------------------------------------------

using Reader = bool (*)(PyObject*, const char*, Array&);

// How arrays of a type are read: by either.
struct ReadBy {
  const dlpack::Exchange* exchange = nullptr;
  Reader reader = nullptr;
};
Remembered<ReadBy, 16>& known_types() {
  static Remembered<ReadBy, 16> known;
  return known;
}

bool has(PyObject* object, PyObject* attribute) {
  const Ref found(PyObject_GetAttr(object, attribute));
  PyErr_Clear();
  return static_cast<bool>(found);
}

ReadBy look_at(PyObject* object) {
  ReadBy known{find_exchange(Py_TYPE(object))};
  const bool has_dtype = has(object, names().dtype);
  if (known.exchange != nullptr) return known;
  if (has_dtype && has(object, names().data_ptr) && has(object, names().get_device)) {
    known.reader = read_old_torch;
  } else if (has_dtype && type_name(object).starts_with("cupy.")) {
    known.reader = read_cupy;
  } else if (has_dtype && type_name(object).starts_with("numpy.") && PyObject_CheckBuffer(object) != 0) {
    known.reader = read_buffer;
  } else if (has(object, names().dlpack)) {
    known.reader = read_dlpack;
  }
  return known;
}

ReadBy read_by(PyObject* object) {
  auto* type = reinterpret_cast<PyObject*>(Py_TYPE(object));
  if (const ReadBy* known = known_types().find(type); known != nullptr) return *known;
  const ReadBy found = look_at(object);
  if (found.exchange != nullptr || found.reader != nullptr) known_types().add(type, found);
  return found;
}

}  // namespace

const char* name(Kind kind) {
  for (const KindName& one : kKinds) {
    if (one.kind == kind) return one.name;
  }
  return "?";
}

Kind kind_of_dtype(PyObject* dtype) {
  if (const Kind* known = known_dtypes().find(dtype); known != nullptr) return *known;
  const Kind kind = kind_named(text_of(dtype));
  known_dtypes().add(dtype, kind);
  return kind;
}

std::int32_t element_of(Kind kind) {
  for (const KindName& one : kKinds) {
    if (one.kind == kind) return one.element;
  }
  return EXPERTILE_ELEMENT_NONE;
}

std::int64_t Array::count() const {
  std::int64_t all = 1;
  for (int d = 0; d < dimensions; ++d) all *= shape[static_cast<std::size_t>(d)];
  return all;
}

bool Array::is_contiguous() const {
  std::int64_t stride = 1;
  for (int d = dimensions; d-- > 0;) {
    const auto at = static_cast<std::size_t>(d);
    if (shape[at] == 0) return true;
    if (shape[at] != 1 && strides[at] != stride) return false;
    stride *= shape[at];
  }
  return true;
}

std::string Array::shape_text() const {
  std::string text = "[";
  for (int d = 0; d < dimensions; ++d) {
    text += (d == 0 ? "" : ", ") + std::to_string(shape[static_cast<std::size_t>(d)]);
  }
  return text + "]";
}

std::string device_text(int device) { return device < 0 ? "the CPU" : "cuda:" + std::to_string(device); }

bool read_array(PyObject* object, const char* name, Array& out) {
  const ReadBy known = read_by(object);
  if (known.exchange != nullptr) {
    dlpack::Tensor tensor;
    if (known.exchange->borrow(object, &tensor) != 0) return false;
    out.exchange = known.exchange;
    return take_tensor(tensor, name, out);
  }
  if (known.reader != nullptr) return known.reader(object, name, out);
  const std::string line =
      std::string(name) + " is a " + type_name(object) + ", it must be an array of PyTorch, NumPy, CuPy, JAX or DLPack";
  PyErr_SetString(PyExc_TypeError, line.c_str());
  return false;
}

}  // namespace expertile::python
