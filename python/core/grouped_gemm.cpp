// grouped_gemm and grouped_gemm_masked: the arrays say which operation it is, and it is prepared once.

#include <cstring>
#include <unordered_map>

#include "arguments.hpp"
#include "errors.hpp"
#include "operation.hpp"

namespace expertile::python {

const char* const kGroupedGemmDoc =
    R"doc(grouped_gemm(a, b, seg_indptr, weight_indices, *, scale_a=None, scale_b=None, block_shape=None, out=None,
             out_dtype=None, top_k=2, hidden_size=None, tf32=False, workspace=None, stream=None, config_dir=None,
             follow_gradient=True)
--

C[r] = a[r] x b[weight_indices[g]]^T for the rows r in [seg_indptr[g], seg_indptr[g+1]).

a [M, K], b [E, N, K], seg_indptr [G+1] of int64 or int32 and weight_indices [G] of int64: arrays of PyTorch, NumPy
(with ml_dtypes), CuPy or JAX, all on one device; nothing is copied. Returns C [M, N], which is `out` where one is given; rows outside
every group are left as they are (in a new C: undefined).

The dtype follows from a and b: the same float type; float8_e4m3fn both; int8 both; float16 or bfloat16 with int8; a
float type with float8_e4m3fn and a block_shape, where the call quantises a.
scale_a, scale_b (float32; a value is stored * scale): e4m3 per tensor [E], [E], or per token and channel [M], [E, N];
int8 both [M], [E, N]; int8 weights alone: scale_b [E, N]; with block_shape (bn, bk): [M, ceil(K/bk)] where a comes
quantised, and [E, ceil(N/bn), ceil(K/bk)].

out_dtype: of a new C; default a's, or bfloat16 where a is quantised. top_k and hidden_size choose the tuned file and
its tile, not the result. stream: of the GPU, an integer or a stream of PyTorch or CuPy; default the current one of a's
library. workspace: at least GroupedGemm.workspace_bytes(M) bytes; default a new one.

A PyTorch tensor that requires a gradient gets one; with follow_gradient=False it does not.
The operation is prepared at the first call with such arrays and kept. Raises expertile.Error, whose message names the
argument. Any thread may call it.)doc";

const char* const kMaskedDoc =
    R"doc(grouped_gemm_masked(a, b, masked_m, *, weight_indices=None, expected_rows=None, scale_a=None, scale_b=None,
                    block_shape=None, out=None, out_dtype=None, top_k=2, hidden_size=None, tf32=False, workspace=None,
                    stream=None, config_dir=None)
--

C[g, r] = a[g, r] x b[g]^T for the rows r < masked_m[g] of every group g.

a [E, max_m, K], b [E, N, K], masked_m [E] of int32: arrays as grouped_gemm takes them. Returns C [E, max_m, N], which
is `out` where one is given; a group's rows from masked_m[g] on are left as they are (in a new C: undefined), and what a
holds there does not matter. On a GPU masked_m is read when the call runs: a count below 0 is 0, one above max_m is
max_m; on a CPU such a count is an error.

weight_indices: of int64, the expert of each group; default g, and then there may be no more groups than experts.
expected_rows: how many rows all groups will have, which chooses the tile and nothing else; default on a GPU all of a's,
on a CPU those that there are.
scale_a: per token [E, max_m], by blocks [E, max_m, ceil(K/bk)]. All else is as in grouped_gemm. No gradient is followed:
an a or b that requires one is refused, but under torch.no_grad().)doc";

namespace {

enum Place : std::size_t {
  kA,
  kB,
  kSegments,
  kExperts,
  kScaleA,
  kScaleB,
  kBlock,
  kOut,
  kOutDType,
  kTopK,
  kHidden,
  kTf32,
  kWorkspace,
  kStream,
  kConfig,
  kFollow,
  kPlaces
};

enum MaskedPlace : std::size_t {
  kMaskedA,
  kMaskedB,
  kMaskedM,
  kMaskedExperts,
  kMaskedExpected,
  kMaskedScaleA,
  kMaskedScaleB,
  kMaskedBlock,
  kMaskedOut,
  kMaskedOutDType,
  kMaskedTopK,
  kMaskedHidden,
  kMaskedTf32,
  kMaskedWorkspace,
  kMaskedStream,
  kMaskedConfig,
  kMaskedPlaces
};

Signature<kPlaces>& signature() {
  static Signature<kPlaces> all{
      "grouped_gemm",
      4,
      {"a", "b", "seg_indptr", "weight_indices", "scale_a", "scale_b", "block_shape", "out", "out_dtype", "top_k",
       "hidden_size", "tf32", "workspace", "stream", "config_dir", "follow_gradient"}};
  return all;
}

Signature<kMaskedPlaces>& masked_signature() {
  static Signature<kMaskedPlaces> all{
      "grouped_gemm_masked",
      3,
      {"a", "b", "masked_m", "weight_indices", "expected_rows", "scale_a", "scale_b", "block_shape", "out", "out_dtype",
       "top_k", "hidden_size", "tf32", "workspace", "stream", "config_dir"}};
  return all;
}

// What both functions are asked for beside arrays.
struct Options {
  PyObject* block_shape;
  PyObject* out_dtype;
  PyObject* top_k;
  PyObject* hidden_size;
  PyObject* tf32;
  PyObject* config_dir;
};

// ---- which problem it is ------------------------------------------------------------------------------------------

std::int32_t float_dtype(Kind kind) {
  return kind == Kind::float16    ? EXPERTILE_DTYPE_FLOAT16
         : kind == Kind::bfloat16 ? EXPERTILE_DTYPE_BFLOAT16
                                  : EXPERTILE_DTYPE_FLOAT32;
}

bool find_dtype(const Operands& operands, bool has_block, std::int32_t& out) {
  const Kind a = operands.a.kind;
  const Kind b = operands.b.kind;
  if (is_float(a) && a == b && !has_block) {
    out = float_dtype(a);
  } else if (is_float(a) && b == Kind::float8_e4m3 && has_block) {
    out = float_dtype(a);
  } else if (a == Kind::float8_e4m3 && b == Kind::float8_e4m3) {
    out = EXPERTILE_DTYPE_FP8_W8A8;
  } else if (a == Kind::int8 && b == Kind::int8) {
    out = EXPERTILE_DTYPE_INT8_W8A8;
  } else if ((a == Kind::float16 || a == Kind::bfloat16) && b == Kind::int8) {
    out = EXPERTILE_DTYPE_INT8_W8A16;
  } else {
    const std::string pair = std::string("a is ") + name(a) + " and b is " + name(b);
    if (is_float(a) && b == Kind::float8_e4m3) {
      return refuse(pair + ": give block_shape, and a is quantised by the call, or a in float8_e4m3fn");
    }
    if (is_float(a) && a == b) return refuse(pair + " with a block_shape: b must be float8_e4m3fn or int8 then");
    return refuse(pair +
                  ": no product has such operands; both the same float type, float8_e4m3fn, int8, or int8 "
                  "weights with a in float16 or bfloat16");
  }
  return true;
}

bool find_problem(const Given& given, const Operands& operands, expertile_problem_desc& problem) {
  const Array& a = operands.a;
  const Array& b = operands.b;
  const std::size_t last = given.is_masked ? 2 : 1;
  if (a.dimensions != static_cast<int>(last) + 1) {
    return refuse("a is " + a.shape_text() + ", it must be " + (given.is_masked ? "[E, max_m, K]" : "[M, K]"));
  }
  if (b.dimensions != 3) return refuse("b is " + b.shape_text() + ", it must be [E, N, K]");
  if (a.shape[last] != b.shape[2]) {
    return refuse("a is " + a.shape_text() + " and b " + b.shape_text() + ": their last dimensions, K, must agree");
  }
  problem.experts = b.shape[0];
  problem.n = b.shape[1];
  problem.k = b.shape[2];
  const bool has_block = problem.block_n != 0 || problem.block_k != 0;
  if (!find_dtype(operands, has_block, problem.dtype)) return false;
  // e4m3 has two kinds of scales without blocks, which b's tell apart.
  if (problem.dtype == EXPERTILE_DTYPE_FP8_W8A8 && !has_block) {
    problem.scales =
        operands.scale_b.dimensions >= 2 ? EXPERTILE_SCALES_PER_TOKEN_CHANNEL : EXPERTILE_SCALES_PER_TENSOR;
  }
  return true;
}

// ---- the operations that are kept ---------------------------------------------------------------------------------

struct Key {
  expertile_problem_desc problem{};
  std::int32_t device = -1;
  expertile_element c_element = EXPERTILE_ELEMENT_NONE;
  expertile_row_layout row_layout = EXPERTILE_ROWS_OFFSETS;
  std::string config_dir;

  friend bool operator==(const Key& a, const Key& b) {
    return std::memcmp(&a.problem, &b.problem, sizeof a.problem) == 0 && a.device == b.device &&
           a.c_element == b.c_element && a.row_layout == b.row_layout && a.config_dir == b.config_dir;
  }
};
static_assert(std::has_unique_object_representations_v<expertile_problem_desc>, "compared byte by byte");

struct KeyHash {
  std::size_t operator()(const Key& key) const noexcept {
    const auto* bytes = reinterpret_cast<const char*>(&key.problem);
    const std::size_t of_problem = std::hash<std::string_view>()({bytes, sizeof key.problem});
    return of_problem ^ (static_cast<std::size_t>(key.device + 1) << 8U) ^
           (static_cast<std::size_t>(key.row_layout) << 4U) ^ static_cast<std::size_t>(key.c_element);
  }
};

// Of the process, under the interpreter's lock; never destroyed, like the handles they hold.
std::unordered_map<Key, Prepared, KeyHash>& kept() {
  static auto& all = *new std::unordered_map<Key, Prepared, KeyHash>;
  return all;
}

const Prepared* find_prepared(const Key& key) {
  if (const auto found = kept().find(key); found != kept().end()) return &found->second;
  const PrepareWishes wishes{.device = key.device < 0 ? "cpu" : "cuda:" + std::to_string(key.device),
                             .threads = 0,
                             .config_dir = key.config_dir,
                             .c_element = key.c_element,
                             .row_layout = key.row_layout};
  Prepared made;
  if (!prepare(key.problem, wishes, made)) return nullptr;
  const auto [entry, is_new] = kept().emplace(key, made);
  if (!is_new) give_back(made);  // another thread was as quick
  return &entry->second;
}

bool read_key(const Options& options, const Given& given, const Operands& operands, Key& key) {
  key.problem.size = sizeof key.problem;
  if (!read_block_shape(options.block_shape, key.problem.block_n, key.problem.block_k) ||
      !read_integer(options.top_k, "top_k", key.problem.top_k) ||
      !read_integer(options.hidden_size, "hidden_size", key.problem.hidden_size) ||
      !read_flag(options.tf32, "tf32", key.problem.tf32) ||
      !read_text(options.config_dir, "config_dir", key.config_dir) ||
      !read_element(options.out_dtype, "out_dtype", key.c_element)) {
    return false;
  }
  if (is_given(given.out)) {
    const Array& out = operands.out;
    if (key.c_element != EXPERTILE_ELEMENT_NONE && element_of(out.kind) != key.c_element) {
      return refuse(std::string("out is ") + name(out.kind) + ", out_dtype is " +
                    expertile_element_name(key.c_element));
    }
    key.c_element = static_cast<expertile_element>(element_of(out.kind));
  }
  key.c_element = element_of_c(key.c_element, operands.a);
  key.device = operands.a.device;
  key.row_layout = layout_of(given, operands);
  return find_problem(given, operands, key.problem);
}

// A new reference to C; null with an exception.
PyObject* prepare_and_run(const Options& options, const Given& given, const Operands& operands) {
  Key key;
  if (!read_key(options, given, operands, key)) return nullptr;
  const Prepared* prepared = find_prepared(key);
  return prepared == nullptr ? nullptr : run(*prepared, given, operands);
}

}  // namespace

bool init_grouped_gemm() { return signature().init() && masked_signature().init(); }

PyObject* grouped_gemm(PyObject*, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) {
  Signature<kPlaces>::Values v{};
  if (!signature().parse(arguments, count, keywords, v)) return nullptr;
  const Given given{v[kA],      v[kB],   v[kSegments],  v[kExperts], v[kScaleA],
                    v[kScaleB], v[kOut], v[kWorkspace], v[kStream]};
  Operands operands;
  if (!read_operands(given, operands)) return nullptr;
  std::int32_t follows = 1;
  if (!read_flag(v[kFollow], "follow_gradient", follows)) return nullptr;
  if (follows != 0 && needs_gradient(given, operands)) {
    const Ref named(PyDict_New());
    if (!named) return nullptr;
    for (std::size_t i = 0; i < kPlaces; ++i) {
      if (v[i] != nullptr && PyDict_SetItem(named.get(), signature().interned[i], v[i]) != 0) return nullptr;
    }
    return call_arrays("grouped_gemm_with_gradient", Ref(PyTuple_Pack(1, named.get()))).release();
  }
  return prepare_and_run({v[kBlock], v[kOutDType], v[kTopK], v[kHidden], v[kTf32], v[kConfig]}, given, operands);
}

PyObject* grouped_gemm_masked(PyObject*, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) {
  Signature<kMaskedPlaces>::Values v{};
  if (!masked_signature().parse(arguments, count, keywords, v)) return nullptr;
  Given given;
  given.a = v[kMaskedA];
  given.b = v[kMaskedB];
  given.masked_m = v[kMaskedM];
  given.is_masked = true;
  given.weight_indices = v[kMaskedExperts];
  given.scale_a = v[kMaskedScaleA];
  given.scale_b = v[kMaskedScaleB];
  given.out = v[kMaskedOut];
  given.workspace = v[kMaskedWorkspace];
  given.stream = v[kMaskedStream];
  Operands operands;
  if (!read_integer(v[kMaskedExpected], "expected_rows", given.expected_rows) || !read_operands(given, operands)) {
    return nullptr;
  }
  if (needs_gradient(given, operands)) {
    const Ref is_enabled = call_arrays("gradient_is_enabled", Ref(PyTuple_New(0)));
    if (!is_enabled) return nullptr;
    if (is_enabled.get() == Py_True) {
      return raise(EXPERTILE_UNSUPPORTED,
                   "a or b requires a gradient, which grouped_gemm_masked does not follow; use expertile.grouped_gemm, "
                   "or torch.no_grad()");
    }
  }
  return prepare_and_run(
      {v[kMaskedBlock], v[kMaskedOutDType], v[kMaskedTopK], v[kMaskedHidden], v[kMaskedTf32], v[kMaskedConfig]}, given,
      operands);
}

}  // namespace expertile::python
