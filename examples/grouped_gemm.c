/* Three experts' products of a few tokens, in C alone: example_grouped_gemm [cpu, cuda or cuda:I] */
#include <expertile/expertile.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef EXAMPLE_HAS_CUDA
#include <cuda_runtime_api.h>
#endif

enum { EXPERTS = 3, N = 64, K = 128, ROWS = 5, GROUPS = 3 };

static int refused(const char* what) {
  fprintf(stderr, "%s: %s\n", what, expertile_last_error());
  return 1;
}

/* Memory that both the host and the device may use. */
static void* memory(size_t bytes, int is_gpu) {
#ifdef EXAMPLE_HAS_CUDA
  void* shared = NULL;
  if (is_gpu) return cudaMallocManaged(&shared, bytes, cudaMemAttachGlobal) == cudaSuccess ? shared : NULL;
#endif
  return is_gpu ? NULL : calloc(bytes, 1);
}

static void release(void* shared, int is_gpu) {
#ifdef EXAMPLE_HAS_CUDA
  if (is_gpu) cudaFree(shared);
#endif
  if (!is_gpu) free(shared);
}

static void wait_for_the_device(void) {
#ifdef EXAMPLE_HAS_CUDA
  cudaDeviceSynchronize();
#endif
}

/* Row r of A is all (r + 1) / 4, and expert e's weights are all e + 1: C[r] is K * (r + 1) / 4 * (e + 1). */
static expertile_status fill(void* a, void* b) {
  static float values[EXPERTS * N * K];
  for (int i = 0; i < ROWS * K; ++i) values[i] = (float)(i / K + 1) / 4;
  const expertile_status status = expertile_convert(values, EXPERTILE_FLOAT32, a, EXPERTILE_BFLOAT16, ROWS * K);
  if (status != EXPERTILE_OK) return status;
  for (int i = 0; i < EXPERTS * N * K; ++i) values[i] = (float)(i / (N * K) + 1);
  return expertile_convert(values, EXPERTILE_FLOAT32, b, EXPERTILE_BFLOAT16, EXPERTS * N * K);
}

int main(int argc, char** argv) {
  expertile_device* device = NULL;
  expertile_device_info info = {.size = sizeof info};
  if (expertile_device_open(argc > 1 ? argv[1] : "cpu", 0, &device) || expertile_device_get_info(device, &info))
    return refused("device");

  const expertile_problem_desc desc = {
      .size = sizeof desc, .experts = EXPERTS, .n = N, .k = K, .dtype = EXPERTILE_DTYPE_BFLOAT16};
  const expertile_prepare_options options = {.size = sizeof options, .device = device};
  expertile_problem* problem = NULL;
  expertile_operation* gemm = NULL;
  if (expertile_problem_create(&desc, &problem) || expertile_prepare(problem, &options, &gemm))
    return refused("prepare");

  expertile_problem_tensors sizes = {.size = sizeof sizes};
  if (expertile_problem_get_tensors(problem, ROWS, &sizes)) return refused("sizes");
  void* a = memory((size_t)sizes.a_bytes, info.is_gpu);
  void* b = memory((size_t)sizes.b_bytes, info.is_gpu);
  float* c = memory(ROWS * N * sizeof(float), info.is_gpu);
  int64_t* offsets = memory((GROUPS + 1) * sizeof(int64_t), info.is_gpu);
  int64_t* experts = memory(GROUPS * sizeof(int64_t), info.is_gpu);
  if (!a || !b || !c || !offsets || !experts) return fprintf(stderr, "no memory that %s can use\n", info.name), 1;
  if (fill(a, b)) return refused("convert");
  offsets[1] = 2; /* rows 0 and 1 */
  offsets[2] = 2; /* none */
  offsets[3] = 5; /* rows 2, 3 and 4 */
  for (int g = 0; g < GROUPS; ++g) experts[g] = g;

  const expertile_grouped_gemm_args args = {
      .size = sizeof args,
      .a = {.data = a, .rows = ROWS, .cols = K, .element = EXPERTILE_BFLOAT16},
      .b = {.data = b, .rows = EXPERTS * N, .cols = K, .element = EXPERTILE_BFLOAT16},
      .c = {.data = c, .rows = ROWS, .cols = N, .element = EXPERTILE_FLOAT32},
      .seg_indptr = offsets,
      .weight_indices = experts,
      .groups = GROUPS};
  if (expertile_run(gemm, &args)) return refused("run");
  wait_for_the_device();
  for (int row = 0; row < ROWS; ++row) printf("C[%d] = %g ... %g\n", row, c[row * N], c[row * N + N - 1]);

  expertile_selection selection = {.size = sizeof selection};
  if (expertile_operation_select(gemm, ROWS, &selection)) return refused("selection");
  printf("%s, %s: %s\n", info.name, expertile_match_name((expertile_match)selection.match), selection.tile);
  void* all[] = {a, b, c, offsets, experts};
  for (int i = 0; i < 5; ++i) release(all[i], info.is_gpu);
  expertile_operation_destroy(gemm);
  expertile_problem_destroy(problem);
  expertile_device_destroy(device);
  return 0;
}
