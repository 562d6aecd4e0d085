/* expertile in C: the grouped GEMM of Mixture-of-Experts layers, on NVIDIA GPUs and CPUs.
 *
 *   expertile_problem_desc layer = {.size = sizeof layer, .experts = 8, .n = 4096, .k = 4096,
 *                                   .dtype = EXPERTILE_DTYPE_BFLOAT16};
 *   expertile_problem* problem = NULL;
 *   expertile_operation* gemm = NULL;
 *   if (expertile_problem_create(&layer, &problem) || expertile_prepare(problem, NULL, &gemm))
 *     return fprintf(stderr, "%s\n", expertile_last_error());
 *   expertile_grouped_gemm_args args = {.size = sizeof args, ...};
 *   expertile_run(gemm, &args);
 *
 * Status. Every function that can fail returns a status, and expertile_last_error() says in one line what was wrong:
 * the name, the value, and what would be right. On an error nothing is written to what the arguments point to, but for
 * an `out` handle, which becomes NULL. Nothing throws, and nothing ends the process.
 *
 * Structs begin with their size, which the caller sets to sizeof: so they can grow. A field that is 0 has its default.
 * Bytes behind those that this version knows must be 0.
 *
 * Handles are made by a function that names them and belong to who asked for them until they are destroyed. They may
 * be destroyed in any order, while calls that were enqueued still run and while graphs that captured such calls live.
 * A handle that was destroyed, is NULL, or never was one is refused, wherever it is given. NULL may be destroyed.
 *
 * Threads. Every function may be called by any number of threads at once, but no handle may be destroyed while another
 * thread is in a call with it. A process that forks may go on with CPU devices in the child; a GPU is the parent's.
 *
 * Strings that are given are read before the call returns. Strings that come back say how long they live.
 */
#ifndef EXPERTILE_EXPERTILE_H
#define EXPERTILE_EXPERTILE_H

#include <stddef.h>
#include <stdint.h>

#define EXPERTILE_VERSION_MAJOR 0
#define EXPERTILE_VERSION_MINOR 1
#define EXPERTILE_VERSION_PATCH 0

#if defined(__GNUC__)
#define EXPERTILE_API __attribute__((visibility("default")))
#else
#define EXPERTILE_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- status ---------------------------------------------------------------------------------------------------- */

typedef enum expertile_status {
  EXPERTILE_OK = 0,
  EXPERTILE_INVALID_ARGUMENT = 1, /* a size, pointer, handle, option or file that the caller can put right */
  EXPERTILE_NOT_FOUND = 2,        /* a file, model or device that is not there */
  EXPERTILE_UNSUPPORTED = 3,      /* understood, but outside what this build or device can do */
  EXPERTILE_IO_ERROR = 4,         /* reading or writing failed; the message names the path */
  EXPERTILE_INTERNAL_ERROR = 5    /* not the caller's fault */
} expertile_status;

/* "0.1.0", of the library that runs: the macros above are of the header. For ever. */
EXPERTILE_API const char* expertile_version(void);
/* "invalid_argument". For ever. */
EXPERTILE_API const char* expertile_status_name(expertile_status status);
/* What this thread's latest call that failed was refused for; "" if none has. Until this thread's next one. */
EXPERTILE_API const char* expertile_last_error(void);

/* ---- the problem ----------------------------------------------------------------------------------------------- */

/* What one element of a tensor is stored as. float8_e4m3 is OCP's "fn" form: no infinities, 448 the largest. */
typedef enum expertile_element {
  EXPERTILE_ELEMENT_NONE = 0, /* not given */
  EXPERTILE_FLOAT16 = 1,
  EXPERTILE_BFLOAT16 = 2,
  EXPERTILE_FLOAT32 = 3,
  EXPERTILE_FLOAT8_E4M3 = 4,
  EXPERTILE_INT8 = 5
} expertile_element;

/* The operation's dtype: how A and B are stored and multiplied. */
typedef enum expertile_dtype {
  EXPERTILE_DTYPE_FLOAT16 = 0, /* with a block shape, of these three: B is e4m3, and the call quantises A */
  EXPERTILE_DTYPE_BFLOAT16 = 1,
  EXPERTILE_DTYPE_FLOAT32 = 2,
  EXPERTILE_DTYPE_FP8_W8A8 = 3,
  EXPERTILE_DTYPE_INT8_W8A16 = 4, /* A is float16 or bfloat16 */
  EXPERTILE_DTYPE_INT8_W8A8 = 5
} expertile_dtype;

/* How operands are dequantised; E experts, M rows of A, blocks of [bn, bk]. */
typedef enum expertile_scales {
  EXPERTILE_SCALES_USUAL = 0,             /* of the dtype: with a block shape block, else the first that it takes */
  EXPERTILE_SCALES_NONE = 1,              /* float16, bfloat16, float32 */
  EXPERTILE_SCALES_PER_TENSOR = 2,        /* fp8_w8a8: scale_a [E], scale_b [E], both by expert */
  EXPERTILE_SCALES_PER_TOKEN_CHANNEL = 3, /* fp8_w8a8, int8_w8a8: scale_a [M], scale_b [E, N] */
  EXPERTILE_SCALES_PER_CHANNEL = 4,       /* int8_w8a16: scale_b [E, N] */
  EXPERTILE_SCALES_BLOCK = 5 /* scale_a [M, ceil(K/bk)] where A is quantised, [E, ceil(N/bn), ceil(K/bk)] */
} expertile_scales;

/* One expert layer's projection, without the batch size. */
typedef struct expertile_problem_desc {
  size_t size;     /* sizeof(expertile_problem_desc) */
  int64_t experts; /* E, on this rank */
  int64_t n;       /* columns of C */
  int64_t k;       /* length of the sums */
  int32_t dtype;   /* expertile_dtype */
  int32_t scales;  /* expertile_scales */
  int64_t block_n; /* block quantisation of B; 0, 0: none */
  int64_t block_k;
  int64_t top_k;       /* experts a token: a batch size is rows over top_k. It chooses the tile; 0: 2 */
  int64_t hidden_size; /* part of the configuration file's name; 0: k */
  int32_t tf32;        /* float32 on a GPU: 1 allows operands to be rounded to tf32 */
  int32_t reserved;    /* 0 */
} expertile_problem_desc;

typedef struct expertile_problem expertile_problem;
EXPERTILE_API expertile_status expertile_problem_create(const expertile_problem_desc* desc, expertile_problem** out);
/* The same, with nothing left to defaults. desc->size is set by the caller. */
EXPERTILE_API expertile_status expertile_problem_describe(const expertile_problem* problem,
                                                          expertile_problem_desc* desc);
EXPERTILE_API expertile_status expertile_problem_destroy(expertile_problem* problem);

/* The usual tensors of a problem for so many rows of A. */
typedef struct expertile_problem_tensors {
  size_t size;       /* sizeof(expertile_problem_tensors) */
  int32_t a_element; /* expertile_element; what else A may be is in docs/c-api.md */
  int32_t b_element;
  int32_t c_element;
  int32_t reserved;
  int64_t a_bytes;       /* [M, K] */
  int64_t b_bytes;       /* [E, N, K] */
  int64_t c_bytes;       /* [M, N] */
  int64_t scale_a_count; /* floats; 0 where the call takes none */
  int64_t scale_b_count;
} expertile_problem_tensors;
EXPERTILE_API expertile_status expertile_problem_get_tensors(const expertile_problem* problem, int64_t rows,
                                                             expertile_problem_tensors* tensors);

/* "bfloat16", "fp8_w8a8", "per_channel", "float8_e4m3"; "?" of a value that is none. For ever. */
EXPERTILE_API const char* expertile_dtype_name(expertile_dtype dtype);
EXPERTILE_API const char* expertile_scales_name(expertile_scales scales);
EXPERTILE_API const char* expertile_element_name(expertile_element element);
EXPERTILE_API expertile_status expertile_parse_dtype(const char* name, expertile_dtype* dtype);

/* ---- the device ------------------------------------------------------------------------------------------------ */

typedef struct expertile_device_info {
  size_t size; /* sizeof(expertile_device_info) */
  int32_t is_gpu;
  int32_t threads;                 /* of a CPU: that an operation runs on */
  const char* name;                /* as it stands in paths of files; strings live as long as the handle */
  const char* instructions;        /* what kernels are made for: "avx512_bf16", "sm_90a" */
  int64_t free_memory_bytes;       /* when it was opened; 0 where unknown */
  int64_t last_cache_bytes;        /* L3 or a GPU's L2; 0 where unknown */
  int32_t compute_capability;      /* of a GPU: 10 * major + minor */
  int32_t multiprocessors;         /* of a GPU */
  int64_t shared_bytes_per_block;  /* of a GPU */
  int64_t memory_bytes_per_second; /* of a GPU, by clock and width; 0 where unknown */
  int64_t loaded_kernels;          /* of a GPU, so far */
} expertile_device_info;

typedef struct expertile_device expertile_device;
/* name: "auto" (a GPU when there is one; so is NULL), "cpu", "cuda" or "cuda:I". threads: of a CPU, 0 for all. The
 * first who names a device opens it, all share it, and it stays open until the process ends. */
EXPERTILE_API expertile_status expertile_device_open(const char* name, int threads, expertile_device** out);
EXPERTILE_API expertile_status expertile_device_get_info(const expertile_device* device, expertile_device_info* info);
/* Returns when everything that was enqueued on a GPU, by whomever in this process, is complete. Not while capturing. */
EXPERTILE_API expertile_status expertile_device_synchronise(const expertile_device* device);
EXPERTILE_API expertile_status expertile_device_destroy(expertile_device* device);

/* ---- the operation --------------------------------------------------------------------------------------------- */

/* How a call tells which rows are a group's; see expertile_grouped_gemm_args. */
typedef enum expertile_row_layout {
  EXPERTILE_ROWS_OFFSETS = 0,    /* by seg_indptr */
  EXPERTILE_ROWS_OFFSETS_32 = 1, /* by seg_indptr_32 */
  EXPERTILE_ROWS_MASKED = 2      /* by masked_m and max_m */
} expertile_row_layout;
EXPERTILE_API const char* expertile_row_layout_name(expertile_row_layout layout); /* "offsets_32". For ever. */

typedef struct expertile_prepare_options {
  size_t size;                    /* sizeof(expertile_prepare_options) */
  const expertile_device* device; /* NULL: "auto" */
  const char* config_dir;         /* NULL: $EXPERTILE_CONFIG_DIR, else the user's data directory */
  int32_t c_element;              /* of C in the calls to come; 0: any that the problem allows */
  int32_t reserved;               /* 0 */
  int32_t row_layout;             /* expertile_row_layout: of the calls to come */
  int32_t reserved_2;             /* 0 */
} expertile_prepare_options;

typedef struct expertile_operation expertile_operation;
/* Looks the configuration up, loads or compiles what is missing, and works out what does not depend on a call's
 * pointers: once. options: NULL for all defaults. Logs one line to standard error, once a problem and process, where no
 * exact file was found. */
EXPERTILE_API expertile_status expertile_prepare(const expertile_problem* problem,
                                                 const expertile_prepare_options* options, expertile_operation** out);
EXPERTILE_API expertile_status expertile_operation_destroy(expertile_operation* operation);

/* A row-major matrix of the caller's. pitch: elements from one row's start to the next; 0: cols. */
typedef struct expertile_matrix {
  const void* data;
  int64_t rows;
  int64_t cols;
  int64_t pitch;
  int32_t element;  /* expertile_element */
  int32_t reserved; /* 0 */
} expertile_matrix;
typedef struct expertile_mutable_matrix {
  void* data;
  int64_t rows;
  int64_t cols;
  int64_t pitch;
  int32_t element;
  int32_t reserved;
} expertile_mutable_matrix;

/* C[r] = A[r] x B[weight_indices[g]]^T for the rows r of every group g. Nothing is owned. On a GPU every pointer is
 * into its memory, and what the pointers lead to must live until the call is complete.
 *
 * One array tells the groups' rows, that of the layout which the operation was prepared for; the others are NULL:
 *   seg_indptr     rows [seg_indptr[g], seg_indptr[g+1])
 *   seg_indptr_32  likewise, of int32
 *   masked_m       rows [g * max_m, g * max_m + masked_m[g]) of A [groups, max_m, K] and C [groups, max_m, N] */
typedef struct expertile_grouped_gemm_args {
  size_t size;                   /* sizeof(expertile_grouped_gemm_args) */
  expertile_matrix a;            /* [M, K] */
  expertile_matrix b;            /* [E * N, K]: expert e begins at row e * N */
  expertile_mutable_matrix c;    /* [M, N]: float16, bfloat16 or float32 */
  const int64_t* seg_indptr;     /* [groups + 1], not decreasing, the last at most M */
  const int64_t* weight_indices; /* [groups], each in [0, E); with masked_m NULL where group g is expert g */
  int64_t groups;
  const float* scale_a; /* see expertile_scales; NULL and 0 where there is none */
  int64_t scale_a_count;
  const float* scale_b;
  int64_t scale_b_count;
  void* stream;    /* of a GPU: a CUstream or cudaStream_t; NULL: the default stream */
  void* workspace; /* expertile_operation_workspace_bytes, 16-byte aligned */
  size_t workspace_bytes;
  const int32_t* seg_indptr_32; /* [groups + 1] */
  const int32_t* masked_m;      /* [groups], each in [0, max_m]; on a GPU cut to that where the kernel reads it */
  int64_t max_m;
  int64_t expected_rows; /* of all groups: chooses the tile, nothing else; 0: on a GPU M, on a CPU what there is */
} expertile_grouped_gemm_args;

/* On a CPU, returns when C is complete. On a GPU, enqueues one kernel (two where A is quantised by the call) and
 * returns: nothing is allocated, waited for or read back, and a CUDA graph can capture it. Rows outside every group are
 * left untouched; on an error C is untouched. */
EXPERTILE_API expertile_status expertile_run(const expertile_operation* operation,
                                             const expertile_grouped_gemm_args* args);
/* Whether a call with these arguments, all of them in the host's memory, would be right; runs nothing. */
EXPERTILE_API expertile_status expertile_validate(const expertile_problem* problem,
                                                  const expertile_grouped_gemm_args* args);
/* What args.workspace must hold for so many rows of A; 0 where the call does not quantise A. */
EXPERTILE_API expertile_status expertile_operation_workspace_bytes(const expertile_operation* operation, int64_t rows,
                                                                   size_t* bytes);
EXPERTILE_API expertile_status expertile_operation_describe(const expertile_operation* operation,
                                                            expertile_problem_desc* desc);

/* How a configuration was found, best first; docs/file-format.md says more. */
typedef enum expertile_match {
  EXPERTILE_MATCH_EXACT = 0,
  EXPERTILE_MATCH_NEAREST_BATCH = 1,
  EXPERTILE_MATCH_OTHER_TOP_K = 2,
  EXPERTILE_MATCH_OTHER_THREADS = 3,
  EXPERTILE_MATCH_OTHER_SCALES = 4,
  EXPERTILE_MATCH_OTHER_INSTRUCTIONS = 5,
  EXPERTILE_MATCH_OTHER_SHAPE = 6,
  EXPERTILE_MATCH_OTHER_DEVICE = 7,
  EXPERTILE_MATCH_BUILT_IN = 8
} expertile_match;
EXPERTILE_API const char* expertile_match_name(expertile_match match); /* "exact". For ever. */

/* What a call with a number of rows runs with, and why. Strings live until this thread's next such question. */
typedef struct expertile_selection {
  size_t size;   /* sizeof(expertile_selection) */
  int32_t match; /* expertile_match */
  int32_t reserved;
  int64_t batch;           /* the tuned batch size that was taken; 0 for built_in */
  const char* file;        /* it came from; "" for built_in */
  const char* wanted_file; /* the exact one, there or not */
  const char* differs;     /* "tuned at top_k 2, this is 8"; "" where nothing does */
  const char* tile;        /* "BLOCK_SIZE_M=64, BLOCK_SIZE_N=128, ...", by the file's keys */
} expertile_selection;
EXPERTILE_API expertile_status expertile_operation_select(const expertile_operation* operation, int64_t rows,
                                                          expertile_selection* selection);

/* ---- elements, on the host ------------------------------------------------------------------------------------- */

/* Quantises A [M, K] (float16, bfloat16 or float32) to out [M, K] (float8_e4m3 or int8), with one scale a row (block_k
 * = 0: scales [M]) or one a row and block of K (scales [M, ceil(K/block_k)]): amax / 448 or / 127, and 1 where amax is
 * 0. A value is stored * scale. */
EXPERTILE_API expertile_status expertile_quantise_rows(const expertile_matrix* a, int64_t block_k,
                                                       const expertile_mutable_matrix* out, float* scales,
                                                       int64_t scale_count);
/* `count` elements of any type to another one, through float: to nearest even; e4m3 and int8 saturate, and int8 has no
 * NaN (0). The two may not overlap. */
EXPERTILE_API expertile_status expertile_convert(const void* from, expertile_element from_element, void* to,
                                                 expertile_element to_element, int64_t count);

/* ---- tuning, timing and looking up ----------------------------------------------------------------------------- */

/* As on the command line, without dashes in front: {"hidden-size", "2048"}; `expertile tune --help` lists them, and
 * "hidden_size" is the same. Of one that takes no value there ("tf32"): "true", "yes", "1" or "", or "false", "no",
 * "0". */
typedef struct expertile_option {
  const char* name;
  const char* value;
} expertile_option;

/* Where a run stands. */
typedef struct expertile_tune_progress {
  size_t size;            /* of what the library filled in */
  const char* projection; /* "gate_up", "up" or "down" */
  const char* tile;       /* that was just timed, or, of a batch size that is decided, chosen; by the file's keys */
  int64_t batch;          /* in tokens */
  double best_us;         /* the shortest time of this batch size so far */
  double share_done;      /* of the run, 0 to 1; never falls */
  double seconds_left;    /* an estimate */
  int32_t done;           /* batch sizes of the run that are decided, of all projections */
  int32_t all;
} expertile_tune_progress;

/* One batch size, decided. Times are microseconds a call. */
typedef struct expertile_tuned_batch {
  size_t size; /* of what the library filled in */
  const char* projection;
  const char* tile; /* the chosen one (expertile_bench: the one in use) */
  int64_t batch;
  double rows; /* M, mean over the routing's samples */
  double default_us;
  double tuned_us;
  double ratio;      /* default over tuned, of rounds that timed both */
  double noise;      /* of the time: smaller gains count as none */
  double gflops;     /* 10^9 operations a second */
  double gbps;       /* 10^9 bytes a second, of the least that must move */
  double ceiling_us; /* what the machine's own limits allow */
} expertile_tuned_batch;

/* Called on the thread that called the function, between timings; what is given lives until the callback returns. Any
 * may be NULL. They must not throw or leave by longjmp. */
typedef struct expertile_events {
  size_t size;                                   /* sizeof(expertile_events) */
  void* user;                                    /* is handed to each of them */
  void (*notice)(void* user, const char* line);  /* what was decided for the user */
  void (*warning)(void* user, const char* line); /* of files that were refused, or a busy machine */
  void (*step)(void* user, const char* line);    /* what is done next */
  void (*progress)(void* user, const expertile_tune_progress* progress);
  void (*decided)(void* user, const expertile_tuned_batch* batch); /* and, of expertile_tune, on disk */
  int (*stop_requested)(void* user); /* not 0: the batch size in hand is given up, what is decided is kept */
  void (*document)(void* user, const char* json); /* the results, once: what the command prints with --json */
} expertile_events;

/* Finds the best tiles and writes each batch size as soon as it is decided; takes seconds a batch size. On a GPU, and
 * with {"isolate", ""}, it measures in processes of its own: worker_program is the path of the `expertile` tool of this
 * version, or of a program that behaves as it, and arguments that it takes before; 0 of them: the tool that is
 * installed beside the library. events may be NULL. */
EXPERTILE_API expertile_status expertile_tune(const expertile_option* options, size_t option_count,
                                              const expertile_events* events, const char* const* worker_program,
                                              size_t worker_count);
/* Times what calls would run with; writes nothing. */
EXPERTILE_API expertile_status expertile_bench(const expertile_option* options, size_t option_count,
                                               const expertile_events* events);
/* Which file and tile calls would get, and why: events->document. Opens no GPU, times nothing. */
EXPERTILE_API expertile_status expertile_show(const expertile_option* options, size_t option_count,
                                              const expertile_events* events);

#ifdef __cplusplus
}
#endif

#endif /* EXPERTILE_EXPERTILE_H */
