#include "call.hpp"

#include <type_traits>
#include <vector>

#include "array_checks.hpp"
#include "errors.hpp"
#include "names.hpp"

namespace expertile::python {
namespace {

// ---- tokens and groups -------------------------------------------------------------------------------------------

constexpr Stack kWeights{"[E, N, K]", "expert", "N"};
constexpr Stack kMaskedA{"[E, max_m, K]", "group", "max_m"};
constexpr Stack kMaskedC{"[E, max_m, N]", "group", "max_m"};

// A or C: a matrix, or where rows are masked a stack.
template <class Matrix>
bool read_tokens(const Given& given, const Array& array, const char* name, const Prepared& prepared, Matrix& out) {
  const bool is_c = std::is_same_v<Matrix, expertile_mutable_matrix>;
  if (given.is_masked) return read_stack(array, name, is_c ? kMaskedC : kMaskedA, prepared, out);
  return read_rows(array, name, is_c ? "[M, N]" : "[M, K]", prepared, out);
}

bool read_experts(const Given& given, const Prepared& prepared, Array& out) {
  const bool is_read = !is_given(given.weight_indices) || read_array(given.weight_indices, "weight_indices", out);
  return is_read && check_group_list(given.weight_indices, out, "weight_indices", Kind::int64, prepared);
}

bool take_masks(const Given& given, const Operands& operands, const Prepared& prepared, Array& experts,
                expertile_grouped_gemm_args& args) {
  const Array& masked_m = operands.groups;
  if (!check_group_list(given.masked_m, masked_m, "masked_m", Kind::int32, prepared)) return false;
  if (masked_m.shape[0] != operands.a.shape[0]) {
    return refuse("masked_m is " + masked_m.shape_text() + " and a " + operands.a.shape_text() +
                  ": there must be one count a group");
  }
  if (is_given(given.weight_indices)) {
    if (!read_experts(given, prepared, experts)) return false;
    if (experts.shape[0] != masked_m.shape[0]) {
      return refuse("masked_m is " + masked_m.shape_text() + " and weight_indices " + experts.shape_text() +
                    ": there must be one expert a group");
    }
  }
  args.masked_m = static_cast<const std::int32_t*>(masked_m.data);
  args.groups = masked_m.shape[0];
  args.max_m = operands.a.shape[1];
  return true;
}

bool take_offsets(const Given& given, const Operands& operands, const Prepared& prepared, Array& experts,
                  expertile_grouped_gemm_args& args) {
  const Array& segments = operands.groups;
  const bool is_short = segments.kind == Kind::int32;
  const Kind kind = is_short ? Kind::int32 : Kind::int64;
  if (!check_group_list(given.seg_indptr, segments, "seg_indptr", kind, prepared)) return false;
  if (!read_experts(given, prepared, experts)) return false;
  if (segments.shape[0] != experts.shape[0] + 1) {
    return refuse("seg_indptr is " + segments.shape_text() + " and weight_indices " + experts.shape_text() +
                  ": there must be one offset more than groups");
  }
  if (is_short) args.seg_indptr_32 = static_cast<const std::int32_t*>(segments.data);
  if (!is_short) args.seg_indptr = static_cast<const std::int64_t*>(segments.data);
  args.groups = experts.shape[0];
  return true;
}

bool take_groups(const Given& given, const Operands& operands, const Prepared& prepared, Array& experts,
                 expertile_grouped_gemm_args& args) {
  args.expected_rows = given.expected_rows;
  const bool is_taken = given.is_masked ? take_masks(given, operands, prepared, experts, args)
                                        : take_offsets(given, operands, prepared, experts, args);
  args.weight_indices = static_cast<const std::int64_t*>(experts.data);
  return is_taken;
}

// ---- scales -------------------------------------------------------------------------------------------------------

std::string shape_text(const std::vector<std::int64_t>& shape) {
  Array array;
  array.dimensions = static_cast<int>(shape.size());
  for (std::size_t i = 0; i < shape.size(); ++i) array.shape[i] = shape[i];
  return array.shape_text();
}

// Dimensions of 1 may follow.
bool has_shape(const Array& array, const std::vector<std::int64_t>& shape) {
  if (array.dimensions < static_cast<int>(shape.size())) return false;
  for (int d = 0; d < array.dimensions; ++d) {
    const auto at = static_cast<std::size_t>(d);
    if (array.shape[at] != (at < shape.size() ? shape[at] : 1)) return false;
  }
  return true;
}

struct ScaleShapes {
  std::vector<std::int64_t> a;  // empty: none is taken
  std::vector<std::int64_t> b;
};
// tokens: A's dimensions but the last.
ScaleShapes scale_shapes(const expertile_problem_desc& problem, std::vector<std::int64_t> tokens) {
  const auto blocks = [](std::int64_t size, std::int64_t block) { return (size + block - 1) / block; };
  const bool a_is_quantised = problem.dtype == EXPERTILE_DTYPE_FP8_W8A8 || problem.dtype == EXPERTILE_DTYPE_INT8_W8A8;
  switch (problem.scales) {
    case EXPERTILE_SCALES_PER_TENSOR:
      return {{problem.experts}, {problem.experts}};
    case EXPERTILE_SCALES_PER_TOKEN_CHANNEL:
      return {std::move(tokens), {problem.experts, problem.n}};
    case EXPERTILE_SCALES_PER_CHANNEL:
      return {{}, {problem.experts, problem.n}};
    case EXPERTILE_SCALES_BLOCK: {
      const std::int64_t along_k = blocks(problem.k, problem.block_k);
      ScaleShapes shapes{{}, {problem.experts, blocks(problem.n, problem.block_n), along_k}};
      if (!a_is_quantised) return shapes;
      shapes.a = std::move(tokens);
      shapes.a.push_back(along_k);
      return shapes;
    }
    default:
      return {};
  }
}

bool take_scale(PyObject* object, const Array& scale, const char* name, const std::vector<std::int64_t>& shape,
                const Prepared& prepared, const float*& data, std::int64_t& count) {
  const auto scales = [&] {
    return std::string(expertile_dtype_name(static_cast<expertile_dtype>(prepared.problem.dtype))) + " with " +
           expertile_scales_name(static_cast<expertile_scales>(prepared.problem.scales)) + " scales";
  };
  if (!is_given(object)) {
    return shape.empty() || refuse(std::string(name) + " is None, " + scales() + " needs " + shape_text(shape));
  }
  if (shape.empty()) return refuse(std::string(name) + " is given, " + scales() + " takes none");
  if (!check_list(object, scale, name, Kind::float32, prepared)) return false;
  if (!has_shape(scale, shape)) {
    return refuse(std::string(name) + " is " + scale.shape_text() + ", " + scales() + " needs " + shape_text(shape));
  }
  data = static_cast<const float*>(scale.data);
  count = scale.count();
  return true;
}

// ---- what was not given -------------------------------------------------------------------------------------------

bool read_stream(const Given& given, const Operands& operands, const Prepared& prepared, void*& out) {
  if (prepared.device < 0) return !is_given(given.stream) || refuse("stream is given, a CPU has none");
  if (!is_given(given.stream)) {
    const dlpack::Exchange* exchange = operands.a.exchange;
    if (exchange != nullptr && exchange->current_stream != nullptr) {
      return exchange->current_stream(dlpack::kCuda, prepared.device, &out) == 0;
    }
  }
  const Ref stream =
      call_arrays("stream_of", Ref(Py_BuildValue("(OO)", given.a, is_given(given.stream) ? given.stream : Py_None)));
  if (!stream) return false;
  out = PyLong_AsVoidPtr(stream.get());
  return PyErr_Occurred() == nullptr;
}

// torch.bfloat16 and its like, for the life of the interpreter. Null with an exception.
PyObject* torch_dtype(expertile_element element) {
  static std::array<PyObject*, EXPERTILE_FLOAT32 + 1> known{};
  PyObject*& dtype = known[element];
  if (dtype == nullptr) {
    const Ref torch(PyImport_ImportModule("torch"));
    if (torch) dtype = PyObject_GetAttrString(torch.get(), expertile_element_name(element));
  }
  return dtype;
}

// A new tensor of PyTorch's, from its own allocator: one that DLPack's would make forgets record_stream. Sizes one by
// one are read in less time than a tuple, and a dtype is said where it is not a's.
// groups: none where the tensor has two dimensions.
Ref new_tensor(PyObject* a, Kind kind, const Ref& groups, const Ref& rows, const Ref& columns,
               expertile_element element) {
  if (!rows || !columns) return {};
  if (element_of(kind) == element && !groups) {
    return Ref(PyObject_CallMethodObjArgs(a, names().new_empty, rows.get(), columns.get(), nullptr));
  }
  const Ref method(PyObject_GetAttr(a, names().new_empty));
  PyObject* dtype = torch_dtype(element);
  if (!method || dtype == nullptr) return {};
  const Ref shape(groups ? PyTuple_Pack(3, groups.get(), rows.get(), columns.get())
                         : PyTuple_Pack(2, rows.get(), columns.get()));
  const Ref sizes(shape ? PyTuple_Pack(1, shape.get()) : nullptr);
  const Ref named(PyDict_New());
  if (!sizes || !named || PyDict_SetItem(named.get(), names().dtype, dtype) != 0) return {};
  return Ref(PyObject_Call(method.get(), sizes.get(), named.get()));
}

// C's object: the one that was given, or a new one, which is read into `made`.
bool find_out(const Given& given, const Operands& operands, const Prepared& prepared, Ref& object, Array& made) {
  if (is_given(given.out)) {
    object = Ref::borrowed(given.out);
    if (operands.out.is_waited_for) return refuse("out is an array of JAX, which cannot be written");
    return !operands.out.is_read_only || refuse("out is read-only");
  }
  // One of JAX's, which nobody writes, is still nobody's.
  const expertile_element element = element_of_c(prepared.c_element, operands.a);
  const auto groups = static_cast<long long>(operands.a.shape[0]);
  const auto rows = static_cast<long long>(operands.a.shape[given.is_masked ? 1 : 0]);
  const auto columns = static_cast<long long>(prepared.problem.n);
  if (operands.a.exchange != nullptr) {
    object = new_tensor(given.a, operands.a.kind, given.is_masked ? Ref(PyLong_FromLongLong(groups)) : Ref(),
                        Ref(PyLong_FromLongLong(rows)), Ref(PyLong_FromLongLong(columns)), element);
  } else {
    const char* type = expertile_element_name(element);
    object = call_arrays("empty", Ref(given.is_masked ? Py_BuildValue("(O(LLL)s)", given.a, groups, rows, columns, type)
                                                      : Py_BuildValue("(O(LL)s)", given.a, rows, columns, type)));
  }
  return object && read_array(object.get(), "out", made);
}

bool read_workspace(const Given& given, std::int64_t rows, const Prepared& prepared, Ref& object,
                    expertile_grouped_gemm_args& args) {
  std::size_t bytes = 0;
  if (const auto status = expertile_operation_workspace_bytes(prepared.operation, rows, &bytes);
      status != EXPERTILE_OK) {
    raise(status);
    return false;
  }
  if (bytes == 0) return true;
  object = is_given(given.workspace)
               ? Ref::borrowed(given.workspace)
               : call_arrays("workspace", Ref(Py_BuildValue("(On)", given.a, static_cast<Py_ssize_t>(bytes))));
  Array array;
  if (!object || !read_array(object.get(), "workspace", array)) return false;
  if (!check_device(array, "workspace", prepared)) return false;
  if (!array.is_contiguous() || array.is_read_only) return refuse("workspace is strided or read-only");
  const std::size_t given_bytes = static_cast<std::size_t>(array.count()) * array.item_bytes;
  if (given_bytes < bytes) {
    return refuse("workspace has " + std::to_string(given_bytes) + " bytes, " + std::to_string(rows) +
                  " rows of a need " + std::to_string(bytes));
  }
  args.workspace = array.data;
  args.workspace_bytes = given_bytes;
  return true;
}

}  // namespace

bool read_operands(const Given& given, Operands& out) {
  if (!is_given(given.a)) {
    return refuse(given.is_masked ? "a is None, it must be an array [E, max_m, K]"
                                  : "a is None, it must be an array [M, K]");
  }
  if (!is_given(given.b)) return refuse("b is None, it must be an array [E, N, K]");
  const auto read_given = [](PyObject* object, const char* name, Array& array) {
    return !is_given(object) || read_array(object, name, array);
  };
  return read_given(given.a, "a", out.a) && read_given(given.b, "b", out.b) &&
         read_given(given.scale_a, "scale_a", out.scale_a) && read_given(given.scale_b, "scale_b", out.scale_b) &&
         read_given(given.out, "out", out.out) &&
         read_given(given.is_masked ? given.masked_m : given.seg_indptr, given.is_masked ? "masked_m" : "seg_indptr",
                    out.groups);
}

expertile_row_layout layout_of(const Given& given, const Operands& operands) {
  if (given.is_masked) return EXPERTILE_ROWS_MASKED;
  return operands.groups.kind == Kind::int32 ? EXPERTILE_ROWS_OFFSETS_32 : EXPERTILE_ROWS_OFFSETS;
}

expertile_element element_of_c(expertile_element wanted, const Array& a) {
  if (wanted != EXPERTILE_ELEMENT_NONE) return wanted;
  return is_float(a.kind) ? static_cast<expertile_element>(element_of(a.kind)) : EXPERTILE_BFLOAT16;
}

PyObject* run(const Prepared& prepared, const Given& given, const Operands& operands) {
  expertile_grouped_gemm_args args{};
  args.size = sizeof args;
  if (!read_tokens(given, operands.a, "a", prepared, args.a)) return nullptr;
  if (!read_stack(operands.b, "b", kWeights, prepared, args.b)) return nullptr;
  Array experts;
  if (!take_groups(given, operands, prepared, experts, args)) return nullptr;
  const ScaleShapes shapes =
      scale_shapes(prepared.problem, {operands.a.shape.begin(), operands.a.shape.begin() + operands.a.dimensions - 1});
  if (!take_scale(given.scale_a, operands.scale_a, "scale_a", shapes.a, prepared, args.scale_a, args.scale_a_count)) {
    return nullptr;
  }
  if (!take_scale(given.scale_b, operands.scale_b, "scale_b", shapes.b, prepared, args.scale_b, args.scale_b_count)) {
    return nullptr;
  }
  if (!read_stream(given, operands, prepared, args.stream)) return nullptr;
  Ref out_object;
  Array made;
  if (!find_out(given, operands, prepared, out_object, made)) return nullptr;
  const Array& out = is_given(given.out) ? operands.out : made;
  if (!read_tokens(given, out, "out", prepared, args.c)) return nullptr;
  Ref workspace;
  if (!read_workspace(given, args.a.rows, prepared, workspace, args)) return nullptr;
  expertile_status status = EXPERTILE_OK;
  {
    const Unlocked unlocked;
    status = expertile_run(prepared.operation, &args);
    const bool waits = status == EXPERTILE_OK && prepared.device >= 0 && out.is_waited_for;
    if (waits) status = expertile_device_synchronise(prepared.opened);
  }
  return status == EXPERTILE_OK ? out_object.release() : raise(status);
}

bool needs_gradient(const Given& given, const Operands& operands) {
  if (operands.a.exchange == nullptr && operands.b.exchange == nullptr) return false;
  for (PyObject* object : {given.a, given.b}) {
    const Ref flag(PyObject_GetAttr(object, names().requires_grad));
    PyErr_Clear();
    if (flag && flag.get() == Py_True) return true;
  }
  return false;
}

Ref call_arrays(const char* function, const Ref& arguments) {
  static PyObject* module = nullptr;  // once it is imported, for the life of the interpreter
  if (!arguments) return {};
  if (module == nullptr) module = PyImport_ImportModule("expertile._arrays");
  const Ref callee(module != nullptr ? PyObject_GetAttrString(module, function) : nullptr);
  if (!callee) return {};
  return Ref(PyObject_Call(callee.get(), arguments.get(), nullptr));
}

}  // namespace expertile::python
