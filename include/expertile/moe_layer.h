/* The MoE layer in C: topk_ids and hidden states in, hidden states out. What expertile.h says of status, structs,
 * handles, threads and strings holds here, too.
 *
 *   expertile_layer_desc desc = {.size = sizeof desc, .experts = 8, .hidden_size = 4096, .intermediate_size = 14336,
 *                                .top_k = 2, .dtype = EXPERTILE_DTYPE_BFLOAT16};
 *   expertile_layer* layer = NULL;
 *   if (expertile_layer_prepare(&desc, NULL, &layer)) return fprintf(stderr, "%s\n", expertile_last_error());
 *   expertile_layer_args args = {.size = sizeof args, ...};
 *   expertile_layer_run(layer, &args);
 */
#ifndef EXPERTILE_MOE_LAYER_H
#define EXPERTILE_MOE_LAYER_H

#include "expertile/expertile.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Of gate g and up u, in float32. */
typedef enum expertile_activation {
  EXPERTILE_SILU = 0,       /* g * sigmoid(g) * u */
  EXPERTILE_GELU_TANH = 1,  /* g / 2 * (1 + tanh(sqrt(2 / pi) * (g + 0.044715 * g^3))) * u */
  EXPERTILE_SWIGLU_OAI = 2, /* g * sigmoid(alpha * g) * (u + 1) */
  EXPERTILE_RELU2 = 3       /* max(g, 0)^2: there is no u */
} expertile_activation;

/* How the rows of w13 are gate and up. */
typedef enum expertile_gate_order {
  EXPERTILE_GATE_FIRST = 0,      /* I rows of gate, then I of up */
  EXPERTILE_UP_FIRST = 1,        /* the other way round */
  EXPERTILE_GATE_INTERLEAVED = 2 /* gate, up, gate, up, ... */
} expertile_gate_order;

/* "silu", "gate_first"; "?" of a value that is none. For ever. */
EXPERTILE_API const char* expertile_activation_name(expertile_activation activation);
EXPERTILE_API const char* expertile_gate_order_name(expertile_gate_order order);
EXPERTILE_API expertile_status expertile_parse_activation(const char* name, expertile_activation* activation);
EXPERTILE_API expertile_status expertile_parse_gate_order(const char* name, expertile_gate_order* order);

/* One layer's experts on this rank, without the batch size. */
typedef struct expertile_layer_desc {
  size_t size;               /* sizeof(expertile_layer_desc) */
  int64_t experts;           /* E, on this rank */
  int64_t hidden_size;       /* H */
  int64_t intermediate_size; /* I, on this rank */
  int64_t top_k;             /* ids a token; 0: 2 */
  int32_t dtype;             /* expertile_dtype, of the products: what has eight bits the layer quantises itself */
  int32_t scales;            /* expertile_scales */
  int64_t block_n;           /* block quantisation of the weights; 0, 0: none */
  int64_t block_k;
  int32_t tf32;                   /* as of expertile_problem_desc */
  int32_t hidden_element;         /* of hidden states and out; 0: the dtype's own, bfloat16 where it is quantised */
  int32_t activation;             /* expertile_activation */
  int32_t gate_order;             /* expertile_gate_order */
  float alpha;                    /* of swiglu_oai; 0: 1.702 */
  float limit;                    /* g at most this, u from -this to this; 0: 7 of swiglu_oai, else there is none */
  int32_t router_weight_on_input; /* 1: hidden states are multiplied by the router's weights, not outputs */
  int32_t batch_invariant;        /* 1: a token's bits do not depend on the batch that it comes in */
} expertile_layer_desc;

typedef struct expertile_layer expertile_layer;
/* As expertile_prepare, for both products and what lies between them. options->c_element and row_layout must be 0. */
EXPERTILE_API expertile_status expertile_layer_prepare(const expertile_layer_desc* desc,
                                                       const expertile_prepare_options* options, expertile_layer** out);
EXPERTILE_API expertile_status expertile_layer_destroy(expertile_layer* layer);

/* out[t] = shared_output[t] + sum over its slots s of topk_weights[t, s] * (w2[e] x act(w13[e] x hidden_states[t] +
 * bias_13[e]) + bias_2[e]), e = topk_ids[t, s]. A matrix without data is not given, where it may be left out. */
typedef struct expertile_layer_args {
  size_t size;                    /* sizeof(expertile_layer_args) */
  expertile_matrix hidden_states; /* [T, H] */
  expertile_matrix w13;           /* [E * 2I, H], or [E * I, H] where the activation has no gate */
  expertile_matrix w2;            /* [E * H, I] */
  expertile_matrix topk_weights;  /* [T, top_k] float32 */
  expertile_matrix bias_13;       /* [E, 2I] or [E, I]; may be left out */
  expertile_matrix bias_2;        /* [E, H]; may be left out */
  expertile_matrix shared_output; /* [T, H]; may be left out */
  expertile_mutable_matrix out;   /* [T, H]; may be hidden_states or shared_output themselves */
  const void* topk_ids;           /* [T, top_k]; -1 is no expert */
  int64_t topk_ids_pitch;         /* elements from one token's ids to the next one's; 0: top_k */
  int32_t topk_ids_bits;          /* 32 or 64 */
  int32_t reserved;               /* 0 */
  const int32_t* expert_map;      /* [the model's experts]: local ones, -1 where on another rank; NULL: ids are local */
  int64_t expert_map_count;
  const float* scale_13; /* of weights, see expertile_scales; NULL and 0 where there are none */
  int64_t scale_13_count;
  const float* scale_2;
  int64_t scale_2_count;
  const float* input_scale_13; /* [E], EXPERTILE_SCALES_PER_TENSOR: what the products' inputs are divided by */
  int64_t input_scale_13_count;
  const float* input_scale_2;
  int64_t input_scale_2_count;
  void* stream;
  void* workspace; /* expertile_layer_workspace_bytes, 256-byte aligned */
  size_t workspace_bytes;
} expertile_layer_args;

/* On a CPU, returns when out is complete; on a GPU, enqueues the chain and returns, as expertile_run. */
EXPERTILE_API expertile_status expertile_layer_run(const expertile_layer* layer, const expertile_layer_args* args);
/* Whether a call with these arguments, all of them in the host's memory, would be right; runs nothing. */
EXPERTILE_API expertile_status expertile_layer_validate(const expertile_layer_desc* desc,
                                                        const expertile_layer_args* args);
EXPERTILE_API expertile_status expertile_layer_workspace_bytes(const expertile_layer* layer, int64_t tokens,
                                                               size_t* bytes);

#ifdef __cplusplus
}
#endif

#endif /* EXPERTILE_MOE_LAYER_H */
