/* A program of somebody else, in C99: one product, and where the tile of one token's two rows comes from. */
#include <expertile/expertile.h>
#include <stdio.h>

int main(void) {
  static float a[4], b[2 * 3 * 4], c[3];
  const int64_t offsets[] = {0, 1}, experts[] = {1};
  expertile_problem_desc desc = {.size = sizeof desc, .experts = 2, .n = 3, .k = 4, .dtype = EXPERTILE_DTYPE_FLOAT32};
  expertile_grouped_gemm_args args = {.size = sizeof args,
                                      .a = {a, 1, 4, 0, EXPERTILE_FLOAT32, 0},
                                      .b = {b, 6, 4, 0, EXPERTILE_FLOAT32, 0},
                                      .c = {c, 1, 3, 0, EXPERTILE_FLOAT32, 0},
                                      .seg_indptr = offsets,
                                      .weight_indices = experts,
                                      .groups = 1};
  expertile_selection selection = {.size = sizeof selection};
  expertile_prepare_options options = {.size = sizeof options};
  expertile_device* device = NULL;
  expertile_problem* problem = NULL;
  expertile_operation* gemm = NULL;
  for (int i = 0; i < 4; ++i) a[i] = (float)(i + 1);
  for (int i = 0; i < 24; ++i) b[i] = (float)i;
  if (expertile_device_open("cpu", 1, &device) || expertile_problem_create(&desc, &problem)) goto failed;
  options.device = device;
  if (expertile_prepare(problem, &options, &gemm) || expertile_run(gemm, &args)) goto failed;
  if (expertile_operation_select(gemm, 2, &selection)) goto failed;
  printf("expertile %s: %g %g %g, %s\n", expertile_version(), c[0], c[1], c[2],
         expertile_match_name((expertile_match)selection.match));
  return 0;
failed:
  fprintf(stderr, "%s\n", expertile_last_error());
  return 1;
}
