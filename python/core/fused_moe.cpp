#include "fused_moe.hpp"

#include <expertile/moe_layer.h>

#include "arguments.hpp"
#include "array_checks.hpp"
#include "errors.hpp"
#include "kept_layers.hpp"
#include "names.hpp"

namespace expertile::python {

const char* const kFusedMoeDoc =
    R"doc(fused_moe(hidden_states, w13, w2, topk_weights, topk_ids, *, scale_13=None, scale_2=None, input_scale_13=None,
          input_scale_2=None, bias_13=None, bias_2=None, block_shape=None, dtype=None, activation='silu', alpha=None,
          limit=None, gate_order='gate_first', apply_router_weight_on_input=False, expert_map=None, shared_output=None,
          out=None, batch_invariant=False, tf32=False, workspace=None, stream=None, config_dir=None)
--

out[t] = shared_output[t] + sum over slots s of topk_weights[t, s] * (w2[e] x act(w13[e] x hidden_states[t] + bias_13[e])
+ bias_2[e]), e = topk_ids[t, s].

hidden_states [T, H], w13 [E, 2I, H] (or [E, I, H] without a gate), w2 [E, H, I], topk_weights [T, top_k] of float32,
topk_ids [T, top_k] of int32 or int64 (-1: no expert): arrays of PyTorch, NumPy (with ml_dtypes), CuPy or JAX, all on
one device. Returns out [T, H] of hidden_states' type; it may be hidden_states or shared_output themselves.

Weights of hidden_states' type are multiplied as they are; e4m3 and int8 ones by their scales (float32; a value is
stored * scale), and what the products multiply them by is quantised inside: with block_shape (bn, bk) scale_13 is
[E, ceil(2I/bn), ceil(H/bk)]; per token and channel [E, 2I]; e4m3 per tensor [E], with input_scale_13 and input_scale_2
[E]. int8 weights are multiplied by 16-bit rows, unless dtype is 'int8_w8a8'.
activation: silu, gelu_tanh, swiglu_oai (alpha, 1.702; limit, 7) or relu2, without a gate. limit: gate at most this, up
within it. gate_order: gate_first, up_first or interleaved. bias_13 [E, 2I], bias_2 [E, H]: any float type. expert_map
[the model's experts] of int32: local experts, -1 where on another rank. batch_invariant: a token's bits do not depend
on the batch.

Raises expertile.Error, whose message names the argument.)doc";

namespace {

enum Place : std::size_t {
  kHidden,
  kW13,
  kW2,
  kWeights,
  kIds,
  kScale13,
  kScale2,
  kInput13,
  kInput2,
  kBias13,
  kBias2,
  kBlock,
  kDType,
  kActivation,
  kAlpha,
  kLimit,
  kOrder,
  kOnInput,
  kMap,
  kShared,
  kOut,
  kInvariant,
  kTf32,
  kWorkspace,
  kStream,
  kConfig,
  kPlaces
};
using Values = Signature<kPlaces>::Values;

Signature<kPlaces>& signature() {
  static Signature<kPlaces> all{"fused_moe",
                                5,
                                {"hidden_states",
                                 "w13",
                                 "w2",
                                 "topk_weights",
                                 "topk_ids",
                                 "scale_13",
                                 "scale_2",
                                 "input_scale_13",
                                 "input_scale_2",
                                 "bias_13",
                                 "bias_2",
                                 "block_shape",
                                 "dtype",
                                 "activation",
                                 "alpha",
                                 "limit",
                                 "gate_order",
                                 "apply_router_weight_on_input",
                                 "expert_map",
                                 "shared_output",
                                 "out",
                                 "batch_invariant",
                                 "tf32",
                                 "workspace",
                                 "stream",
                                 "config_dir"}};
  return all;
}

// The arrays of a call, each read once; those that are not given are empty.
struct Arrays {
  std::array<Array, kPlaces> at;
  [[nodiscard]] const Array& operator[](Place place) const { return at[place]; }
};

bool read_arrays(const Values& v, Arrays& arrays) {
  for (const Place place : {kHidden, kW13, kW2, kWeights, kIds}) {
    if (!is_given(v[place])) return refuse(std::string(signature().names[place]) + " is None, it must be an array");
  }
  for (const Place place : {kHidden, kW13, kW2, kWeights, kIds, kScale13, kScale2, kInput13, kInput2, kBias13, kBias2,
                            kMap, kShared, kOut, kWorkspace}) {
    if (is_given(v[place]) && !read_array(v[place], signature().names[place], arrays.at[place])) return false;
  }
  return true;
}

// ---- which layer it is ----------------------------------------------------------------------------------------------

bool read_float(PyObject* object, const char* name, float& out) {
  if (!is_given(object)) return true;
  const double value = PyFloat_AsDouble(object);
  if (value == -1.0 && PyErr_Occurred() != nullptr) {
    PyErr_Clear();
    return refuse(std::string(name) + " is " + text_of(object) + ", it must be a number");
  }
  out = static_cast<float>(value);
  if (out != 0) return true;
  return refuse(std::string(name) + " is 0, it must be another number, or None");
}

bool read_dtype(const Values& v, const Arrays& arrays, expertile_layer_desc& desc) {
  const Kind hidden = arrays[kHidden].kind;
  const Kind weights = arrays[kW13].kind;
  const bool has_block = desc.block_n != 0;
  const std::string pair = std::string("hidden_states is ") + name(hidden) + " and w13 is " + name(weights);
  if (!is_float(hidden)) return refuse(pair + ": hidden_states must be float16, bfloat16 or float32");
  if (is_given(v[kDType])) {
    std::string text;
    expertile_dtype dtype{};
    if (!read_text(v[kDType], "dtype", text)) return false;
    if (expertile_parse_dtype(text.c_str(), &dtype) != EXPERTILE_OK) {
      raise(EXPERTILE_INVALID_ARGUMENT);
      return false;
    }
    desc.dtype = dtype;
  } else if (weights == hidden && !has_block) {
    desc.dtype = hidden == Kind::float16    ? EXPERTILE_DTYPE_FLOAT16
                 : hidden == Kind::bfloat16 ? EXPERTILE_DTYPE_BFLOAT16
                                            : EXPERTILE_DTYPE_FLOAT32;
  } else if (weights == Kind::float8_e4m3) {
    desc.dtype = EXPERTILE_DTYPE_FP8_W8A8;
  } else if (weights == Kind::int8) {
    desc.dtype = EXPERTILE_DTYPE_INT8_W8A16;
  } else {
    return refuse(pair + (has_block ? " with a block_shape" : "") +
                  ": weights must be of hidden_states' type without a block_shape, float8_e4m3fn or int8");
  }
  // e4m3 has two kinds of scales without blocks, which those of w13 tell apart.
  if (desc.dtype == EXPERTILE_DTYPE_FP8_W8A8 && !has_block) {
    desc.scales = arrays[kScale13].dimensions >= 2 ? EXPERTILE_SCALES_PER_TOKEN_CHANNEL : EXPERTILE_SCALES_PER_TENSOR;
  }
  return true;
}

bool read_words(const Values& v, expertile_layer_desc& desc) {
  std::string activation = "silu";
  std::string order = "gate_first";
  if (!read_text(v[kActivation], "activation", activation) || !read_text(v[kOrder], "gate_order", order)) return false;
  expertile_activation known_activation{};
  expertile_gate_order known_order{};
  if (expertile_parse_activation(activation.c_str(), &known_activation) != EXPERTILE_OK ||
      expertile_parse_gate_order(order.c_str(), &known_order) != EXPERTILE_OK) {
    raise(EXPERTILE_INVALID_ARGUMENT);
    return false;
  }
  desc.activation = known_activation;
  desc.gate_order = known_order;
  return read_float(v[kAlpha], "alpha", desc.alpha) && read_float(v[kLimit], "limit", desc.limit) &&
         read_flag(v[kOnInput], "apply_router_weight_on_input", desc.router_weight_on_input) &&
         read_flag(v[kInvariant], "batch_invariant", desc.batch_invariant) && read_flag(v[kTf32], "tf32", desc.tf32);
}

bool check_dimensions(const Array& array, const char* name, int dimensions, const char* shape) {
  if (array.dimensions == dimensions) return true;
  return refuse(std::string(name) + " is " + array.shape_text() + ", it must be " + shape);
}

bool read_layer(const Values& v, const Arrays& arrays, expertile_layer_desc& desc) {
  if (!check_dimensions(arrays[kHidden], "hidden_states", 2, "[T, H]") ||
      !check_dimensions(arrays[kW13], "w13", 3, "[E, 2I, H]") || !check_dimensions(arrays[kW2], "w2", 3, "[E, H, I]") ||
      !check_dimensions(arrays[kIds], "topk_ids", 2, "[T, top_k]")) {
    return false;
  }
  desc.size = sizeof desc;
  desc.experts = arrays[kW13].shape[0];
  desc.hidden_size = arrays[kHidden].shape[1];
  desc.intermediate_size = arrays[kW2].shape[2];
  desc.top_k = arrays[kIds].shape[1];
  if (desc.top_k == 0) return refuse("topk_ids is " + arrays[kIds].shape_text() + ", each token needs an id");
  desc.hidden_element = element_of(arrays[kHidden].kind);
  if (!read_block_shape(v[kBlock], desc.block_n, desc.block_k)) return false;
  return read_words(v, desc) && read_dtype(v, arrays, desc);
}

// ---- a call ---------------------------------------------------------------------------------------------------------

bool take_list(const Values& v, const Arrays& arrays, Place place, const Prepared& where, const float*& data,
               std::int64_t& count) {
  if (!is_given(v[place])) return true;
  const char* name = signature().names[place];
  if (!check_list(v[place], arrays[place], name, Kind::float32, where)) return false;
  data = static_cast<const float*>(arrays[place].data);
  count = arrays[place].count();
  return true;
}

bool take_scales(const Values& v, const Arrays& arrays, const Prepared& where, expertile_layer_args& args) {
  return take_list(v, arrays, kScale13, where, args.scale_13, args.scale_13_count) &&
         take_list(v, arrays, kScale2, where, args.scale_2, args.scale_2_count) &&
         take_list(v, arrays, kInput13, where, args.input_scale_13, args.input_scale_13_count) &&
         take_list(v, arrays, kInput2, where, args.input_scale_2, args.input_scale_2_count);
}

bool take_ids(const Values& v, const Arrays& arrays, const Prepared& where, expertile_layer_args& args) {
  const Array& ids = arrays[kIds];
  if (ids.kind != Kind::int32 && ids.kind != Kind::int64) {
    return refuse(std::string("topk_ids is ") + name(ids.kind) + ", it must be int32 or int64");
  }
  if (!check_device(ids, "topk_ids", where)) return false;
  if (ids.shape[0] != arrays[kHidden].shape[0]) {
    return refuse("topk_ids is " + ids.shape_text() + " and hidden_states " + arrays[kHidden].shape_text() +
                  ": their first dimensions, T, must agree");
  }
  if (ids.shape[1] > 1 && ids.strides[1] != 1) {
    return refuse("topk_ids " + ids.shape_text() + " has a stride of " + std::to_string(ids.strides[1]) +
                  " along its last dimension, it must be 1");
  }
  args.topk_ids = ids.data;
  args.topk_ids_pitch = ids.shape[0] > 1 ? ids.strides[0] : ids.shape[1];
  args.topk_ids_bits = ids.kind == Kind::int64 ? 64 : 32;
  if (!is_given(v[kMap])) return true;
  if (!check_list(v[kMap], arrays[kMap], "expert_map", Kind::int32, where)) return false;
  args.expert_map = static_cast<const std::int32_t*>(arrays[kMap].data);
  args.expert_map_count = arrays[kMap].count();
  return true;
}

bool take_matrices(const Values& v, const Arrays& arrays, const Prepared& where, expertile_layer_args& args) {
  constexpr Stack kOfW13{"[E, 2I, H]", "expert", "2I"};
  constexpr Stack kOfW2{"[E, H, I]", "expert", "H"};
  const bool is_read = read_rows(arrays[kHidden], "hidden_states", "[T, H]", where, args.hidden_states) &&
                       read_stack(arrays[kW13], "w13", kOfW13, where, args.w13) &&
                       read_stack(arrays[kW2], "w2", kOfW2, where, args.w2) &&
                       read_rows(arrays[kWeights], "topk_weights", "[T, top_k]", where, args.topk_weights);
  if (!is_read) return false;
  const auto read_given = [&](Place place, const char* shape, expertile_matrix& out) {
    return !is_given(v[place]) || read_rows(arrays[place], signature().names[place], shape, where, out);
  };
  return read_given(kBias13, "[E, 2I]", args.bias_13) && read_given(kBias2, "[E, H]", args.bias_2) &&
         read_given(kShared, "[T, H]", args.shared_output);
}

bool take_workspace(const Values& v, const Arrays& arrays, const Prepared& where, const KeptLayer& layer, Ref& object,
                    Array& made, expertile_layer_args& args) {
  std::size_t bytes = 0;
  const auto status = expertile_layer_workspace_bytes(layer.handle, args.hidden_states.rows, &bytes);
  if (status != EXPERTILE_OK) {
    raise(status);
    return false;
  }
  constexpr std::size_t kAlignment = 256;
  object = is_given(v[kWorkspace])
               ? Ref::borrowed(v[kWorkspace])
               : call_arrays("workspace",
                             Ref(Py_BuildValue("(On)", v[kHidden], static_cast<Py_ssize_t>(bytes + kAlignment))));
  if (!object) return false;
  if (!is_given(v[kWorkspace]) && !read_array(object.get(), "workspace", made)) return false;
  const Array& array = is_given(v[kWorkspace]) ? arrays[kWorkspace] : made;
  if (!check_device(array, "workspace", where)) return false;
  if (!array.is_contiguous() || array.is_read_only) return refuse("workspace is strided or read-only");
  const std::size_t all = static_cast<std::size_t>(array.count()) * array.item_bytes;
  const std::size_t skipped = (kAlignment - reinterpret_cast<std::uintptr_t>(array.data) % kAlignment) % kAlignment;
  if (all < bytes + skipped) {
    return refuse("workspace has " + std::to_string(all) + " bytes, " + std::to_string(args.hidden_states.rows) +
                  " tokens need " + std::to_string(bytes + skipped) + " from its address on");
  }
  args.workspace = static_cast<char*>(array.data) + skipped;
  args.workspace_bytes = bytes;
  return true;
}

bool take_stream(const Values& v, const Prepared& where, expertile_layer_args& args) {
  if (where.device < 0) return !is_given(v[kStream]) || refuse("stream is given, a CPU has none");
  PyObject* wanted = is_given(v[kStream]) ? v[kStream] : Py_None;
  const Ref stream = call_arrays("stream_of", Ref(Py_BuildValue("(OO)", v[kHidden], wanted)));
  if (!stream) return false;
  args.stream = PyLong_AsVoidPtr(stream.get());
  return PyErr_Occurred() == nullptr;
}

bool take_out(const Values& v, const Arrays& arrays, const Prepared& where, Ref& object, Array& made,
              expertile_layer_args& args) {
  if (is_given(v[kOut])) {
    if (arrays[kOut].is_waited_for) return refuse("out is an array of JAX, which cannot be written");
    if (arrays[kOut].is_read_only) return refuse("out is read-only");
    object = Ref::borrowed(v[kOut]);
    return read_rows(arrays[kOut], "out", "[T, H]", where, args.out);
  }
  const Array& hidden = arrays[kHidden];
  object = call_arrays("empty", Ref(Py_BuildValue("(O(LL)s)", v[kHidden], static_cast<long long>(hidden.shape[0]),
                                                  static_cast<long long>(hidden.shape[1]), name(hidden.kind))));
  return object && read_array(object.get(), "out", made) && read_rows(made, "out", "[T, H]", where, args.out);
}

// No formula is known for the layer's: PyTorch is told so, unless it asks for none.
bool check_gradient(const Values& v, const Arrays& arrays) {
  for (const Place place : {kHidden, kW13, kW2, kWeights}) {
    if (arrays[place].exchange == nullptr) continue;
    const Ref flag(PyObject_GetAttr(v[place], names().requires_grad));
    PyErr_Clear();
    if (!flag || flag.get() != Py_True) continue;
    return static_cast<bool>(call_arrays("refuse_gradient", Ref(Py_BuildValue("(s)", signature().names[place]))));
  }
  return true;
}

PyObject* run(const Values& v, const Arrays& arrays, const KeptLayer& layer, const Prepared& where) {
  expertile_layer_args args{};
  args.size = sizeof args;
  if (!take_matrices(v, arrays, where, args) || !take_ids(v, arrays, where, args) ||
      !take_scales(v, arrays, where, args) || !take_stream(v, where, args)) {
    return nullptr;
  }
  Ref out;
  Ref workspace;
  Array made_out;
  Array made_workspace;
  if (!take_out(v, arrays, where, out, made_out, args)) return nullptr;
  if (!take_workspace(v, arrays, where, layer, workspace, made_workspace, args)) return nullptr;
  expertile_status status = EXPERTILE_OK;
  {
    const Unlocked unlocked;
    status = expertile_layer_run(layer.handle, &args);
    const bool waits = status == EXPERTILE_OK && where.device >= 0 && made_out.is_waited_for;
    if (waits) status = expertile_device_synchronise(layer.opened);
  }
  return status == EXPERTILE_OK ? out.release() : raise(status);
}

}  // namespace

bool init_fused_moe() { return signature().init(); }

PyObject* fused_moe(PyObject*, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) {
  Values v{};
  if (!signature().parse(arguments, count, keywords, v)) return nullptr;
  Arrays arrays;
  if (!read_arrays(v, arrays)) return nullptr;
  if (!check_gradient(v, arrays)) return nullptr;
  LayerKey key;
  if (!read_layer(v, arrays, key.desc) || !read_text(v[kConfig], "config_dir", key.config_dir)) return nullptr;
  key.device = arrays[kHidden].device;
  Prepared where;
  where.device = key.device;
  const KeptLayer* layer = find_layer(key);
  return layer == nullptr ? nullptr : run(v, arrays, *layer, where);
}

}  // namespace expertile::python
