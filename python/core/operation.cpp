#include "operation.hpp"

#include <cstring>

#include "arguments.hpp"
#include "errors.hpp"

namespace expertile::python {
namespace {

// ---- preparing ----------------------------------------------------------------------------------------------------

// The index that DLPack has for a GPU that was asked for by this name.
int index_of(const std::string& device) {
  const auto colon = device.find(':');
  return colon == std::string::npos ? 0 : std::atoi(device.c_str() + colon + 1);
}

expertile_status prepare_unlocked(const expertile_problem_desc& wanted, const PrepareWishes& wishes, Prepared& out) {
  expertile_problem* problem = nullptr;
  expertile_status status = expertile_problem_create(&wanted, &problem);
  if (status == EXPERTILE_OK) {
    status = expertile_device_open(wishes.device.c_str(), static_cast<int>(wishes.threads), &out.opened);
  }
  expertile_device_info info{};
  info.size = sizeof info;
  if (status == EXPERTILE_OK) status = expertile_device_get_info(out.opened, &info);
  expertile_prepare_options options{};
  options.size = sizeof options;
  options.device = out.opened;
  options.config_dir = wishes.config_dir.empty() ? nullptr : wishes.config_dir.c_str();
  options.c_element = wishes.c_element;
  options.row_layout = wishes.row_layout;
  if (status == EXPERTILE_OK) status = expertile_prepare(problem, &options, &out.operation);
  out.problem.size = sizeof out.problem;
  if (status == EXPERTILE_OK) status = expertile_problem_describe(problem, &out.problem);
  out.device = info.is_gpu != 0 ? index_of(wishes.device) : -1;
  out.c_element = wishes.c_element;
  expertile_problem_destroy(problem);
  return status;
}

// ---- the type -----------------------------------------------------------------------------------------------------

struct OperationObject {
  PyObject head;
  Prepared prepared;
  Prepared of_int32;      // for offsets of int32, from the first call with some on
  PrepareWishes* wishes;  // what both are prepared with
};

OperationObject& self_of(PyObject* object) { return *reinterpret_cast<OperationObject*>(object); }

Signature<13>& make_signature() {
  static Signature<13> signature{"GroupedGemm",
                                 3,
                                 {"experts", "n", "k", "dtype", "block_shape", "scales", "top_k", "hidden_size", "tf32",
                                  "device", "threads", "config_dir", "out_dtype"}};
  return signature;
}

Signature<9>& call_signature() {
  static Signature<9> signature{
      "GroupedGemm", 4, {"a", "b", "seg_indptr", "weight_indices", "scale_a", "scale_b", "out", "workspace", "stream"}};
  return signature;
}

bool read_dtype(PyObject* object, std::int32_t& out) {
  std::string text = "bfloat16";
  if (!read_text(object, "dtype", text)) return false;
  expertile_dtype dtype{};
  if (expertile_parse_dtype(text.c_str(), &dtype) != EXPERTILE_OK) {
    raise(EXPERTILE_INVALID_ARGUMENT);
    return false;
  }
  out = dtype;
  return true;
}

bool read_scales(PyObject* object, std::int32_t& out) {
  std::string text;
  if (!read_text(object, "scales", text)) return false;
  if (text.empty()) return true;
  std::string choices;
  for (int scales = EXPERTILE_SCALES_NONE; scales <= EXPERTILE_SCALES_BLOCK; ++scales) {
    const std::string name = expertile_scales_name(static_cast<expertile_scales>(scales));
    if (text == name) {
      out = scales;
      return true;
    }
    choices += (choices.empty() ? "" : ", ") + name;
  }
  return refuse("scales is " + text + ", choose one of " + choices);
}

PyObject* make(PyTypeObject* type, PyObject* arguments, PyObject* keywords) {
  enum { kExperts, kN, kK, kDType, kBlock, kScales, kTopK, kHidden, kTf32, kDevice, kThreads, kConfig, kOut };
  Signature<13>::Values given{};
  if (!make_signature().parse(arguments, keywords, given)) return nullptr;
  expertile_problem_desc problem{};
  problem.size = sizeof problem;
  PrepareWishes wishes;
  const bool is_read =
      read_integer(given[kExperts], "experts", problem.experts) && read_integer(given[kN], "n", problem.n) &&
      read_integer(given[kK], "k", problem.k) && read_dtype(given[kDType], problem.dtype) &&
      read_block_shape(given[kBlock], problem.block_n, problem.block_k) &&
      read_scales(given[kScales], problem.scales) && read_integer(given[kTopK], "top_k", problem.top_k) &&
      read_integer(given[kHidden], "hidden_size", problem.hidden_size) &&
      read_flag(given[kTf32], "tf32", problem.tf32) && read_text(given[kDevice], "device", wishes.device) &&
      read_integer(given[kThreads], "threads", wishes.threads) &&
      read_text(given[kConfig], "config_dir", wishes.config_dir) &&
      read_element(given[kOut], "out_dtype", wishes.c_element);
  if (!is_read) return nullptr;
  Prepared prepared;
  if (!prepare(problem, wishes, prepared)) return nullptr;
  auto* allocate = reinterpret_cast<allocfunc>(PyType_GetSlot(type, Py_tp_alloc));
  PyObject* made = allocate(type, 0);
  if (made == nullptr) {
    give_back(prepared);
    return nullptr;
  }
  self_of(made).prepared = prepared;
  self_of(made).of_int32 = {};
  self_of(made).wishes = new PrepareWishes(std::move(wishes));
  return made;
}

void destroy(PyObject* self) {
  give_back(self_of(self).prepared);
  give_back(self_of(self).of_int32);
  delete self_of(self).wishes;
  PyTypeObject* type = Py_TYPE(self);
  reinterpret_cast<freefunc>(PyType_GetSlot(type, Py_tp_free))(self);
  Py_DECREF(reinterpret_cast<PyObject*>(type));
}

// The operation for the call's offsets; null with an exception.
const Prepared* prepared_for(OperationObject& self, const Given& given, const Operands& operands) {
  if (layout_of(given, operands) == EXPERTILE_ROWS_OFFSETS) return &self.prepared;
  if (self.of_int32.operation == nullptr) {
    PrepareWishes wishes = *self.wishes;
    wishes.row_layout = EXPERTILE_ROWS_OFFSETS_32;
    Prepared made;
    if (!prepare(self.prepared.problem, wishes, made)) return nullptr;
    if (self.of_int32.operation == nullptr) {
      self.of_int32 = made;
    } else {
      give_back(made);  // another thread was as quick
    }
  }
  return &self.of_int32;
}

PyObject* call(PyObject* self, PyObject* arguments, PyObject* keywords) {
  Signature<9>::Values v{};
  if (!call_signature().parse(arguments, keywords, v)) return nullptr;
  const Given given{v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8]};
  Operands operands;
  if (!read_operands(given, operands)) return nullptr;
  if (needs_gradient(given, operands)) {
    return raise(EXPERTILE_UNSUPPORTED,
                 "a or b requires a gradient, which GroupedGemm does not follow; use expertile.grouped_gemm, or "
                 "torch.no_grad()");
  }
  const Prepared* prepared = prepared_for(self_of(self), given, operands);
  return prepared == nullptr ? nullptr : run(*prepared, given, operands);
}

// ---- what it tells ------------------------------------------------------------------------------------------------

PyObject* workspace_bytes(PyObject* self, PyObject* rows) {
  std::int64_t count = 0;
  if (!read_integer(rows, "rows", count)) return nullptr;
  std::size_t bytes = 0;
  const auto status = expertile_operation_workspace_bytes(self_of(self).prepared.operation, count, &bytes);
  return status == EXPERTILE_OK ? PyLong_FromSize_t(bytes) : raise(status);
}

PyObject* selection(PyObject* self, PyObject* rows) {
  std::int64_t count = 0;
  if (!read_integer(rows, "rows", count)) return nullptr;
  expertile_selection found{};
  found.size = sizeof found;
  const auto status = expertile_operation_select(self_of(self).prepared.operation, count, &found);
  if (status != EXPERTILE_OK) return raise(status);
  return Py_BuildValue("{s:s, s:L, s:s, s:s, s:s, s:s}", "match",
                       expertile_match_name(static_cast<expertile_match>(found.match)), "batch",
                       static_cast<long long>(found.batch), "file", found.file, "wanted_file", found.wanted_file,
                       "differs", found.differs, "tile", found.tile);
}

PyObject* problem(PyObject* self, void*) {
  const expertile_problem_desc& told = self_of(self).prepared.problem;
  const Ref block(told.block_n == 0 ? Ref::borrowed(Py_None)
                                    : Ref(Py_BuildValue("(LL)", static_cast<long long>(told.block_n),
                                                        static_cast<long long>(told.block_k))));
  if (!block) return nullptr;
  return Py_BuildValue("{s:L, s:L, s:L, s:s, s:O, s:s, s:L, s:L, s:O}", "experts", static_cast<long long>(told.experts),
                       "n", static_cast<long long>(told.n), "k", static_cast<long long>(told.k), "dtype",
                       expertile_dtype_name(static_cast<expertile_dtype>(told.dtype)), "block_shape", block.get(),
                       "scales", expertile_scales_name(static_cast<expertile_scales>(told.scales)), "top_k",
                       static_cast<long long>(told.top_k), "hidden_size", static_cast<long long>(told.hidden_size),
                       "tf32", told.tf32 != 0 ? Py_True : Py_False);
}

PyObject* device(PyObject* self, void*) {
  const int index = self_of(self).prepared.device;
  return index < 0 ? PyUnicode_FromString("cpu") : PyUnicode_FromFormat("cuda:%d", index);
}

constexpr const char* kDoc =
    R"doc(GroupedGemm(experts, n, k, *, dtype='bfloat16', block_shape=None, scales=None, top_k=2, hidden_size=None,
            tf32=False, device='auto', threads=0, config_dir=None, out_dtype=None)
--

A prepared product of one projection of an expert layer: looks the tuned file up and loads its kernels once. Call it as
expertile.grouped_gemm is called: gemm(a, b, seg_indptr, weight_indices, *, scale_a=None, scale_b=None, out=None,
workspace=None, stream=None) returns C [M, N]. The first call with a seg_indptr of int32 loads kernels of its own.

experts, n, k: E, columns of C, length of the sums. dtype: float16, bfloat16, float32, fp8_w8a8, int8_w8a16 or
int8_w8a8. block_shape: (n, k) of block-quantised weights. scales: per_tensor, per_token_channel, per_channel or block.
top_k: experts a token; a batch size is rows / top_k. device: auto, cpu, cuda or cuda:I. threads: of a CPU, 0 for all.
out_dtype: the one type of C in the calls to come; None: any, and where a call gives
no out, a's, or bfloat16 where a is quantised.

Raises expertile.Error, whose message names the argument. Any thread may call it, several at once.)doc";

PyMethodDef kMethods[] = {{"workspace_bytes", workspace_bytes, METH_O,
                           "workspace_bytes($self, rows, /)\n--\n\nBytes that a call's workspace must hold for so many "
                           "rows of a; 0 for none."},
                          {"selection", selection, METH_O,
                           "selection($self, rows, /)\n--\n\nWhat a call with so many rows runs with, and why: a dict "
                           "with match, batch, file,\n"
                           "wanted_file, differs and tile."},
                          {nullptr, nullptr, 0, nullptr}};

PyGetSetDef kProperties[] = {
    {"problem", problem, nullptr, "The problem, with nothing left to defaults: a dict.", nullptr},
    {"device", device, nullptr, "Where the operation computes: 'cpu' or 'cuda:I'.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyType_Slot kSlots[] = {{Py_tp_new, reinterpret_cast<void*>(make)},
                        {Py_tp_dealloc, reinterpret_cast<void*>(destroy)},
                        {Py_tp_call, reinterpret_cast<void*>(call)},
                        {Py_tp_methods, kMethods},
                        {Py_tp_getset, kProperties},
                        {Py_tp_doc, const_cast<char*>(kDoc)},
                        {0, nullptr}};

PyType_Spec kSpec = {"expertile.GroupedGemm", sizeof(OperationObject), 0, Py_TPFLAGS_DEFAULT, kSlots};

}  // namespace

bool prepare(const expertile_problem_desc& problem, const PrepareWishes& wishes, Prepared& out) {
  // A GPU's kernels may have to be compiled: NVRTC may lie in a package of Python's.
  if (wishes.device != "cpu" && !call_arrays("offer_nvrtc", Ref(PyTuple_New(0)))) return false;
  expertile_status status = EXPERTILE_OK;
  {
    const Unlocked unlocked;
    status = prepare_unlocked(problem, wishes, out);
  }
  if (status == EXPERTILE_OK) return true;
  raise(status);
  give_back(out);
  return false;
}

void give_back(Prepared& prepared) {
  expertile_operation_destroy(prepared.operation);
  expertile_device_destroy(prepared.opened);
  prepared = {};
}

bool read_element(PyObject* object, const char* name, expertile_element& out) {
  if (!is_given(object)) return true;
  const Kind kind = kind_of_dtype(object);
  if (element_of(kind) != EXPERTILE_ELEMENT_NONE) {
    out = static_cast<expertile_element>(element_of(kind));
    return true;
  }
  return refuse(std::string(name) + " is " + text_of(object) + ", it must be float16, bfloat16 or float32");
}

bool add_operation(PyObject* module) {
  if (!make_signature().init() || !call_signature().init()) return false;
  const Ref type(PyType_FromSpec(&kSpec));
  return type && PyModule_AddObjectRef(module, "GroupedGemm", type.get()) == 0;
}

}  // namespace expertile::python
