"""The product, in NumPy: six tokens, two groups, four experts."""

import numpy as np

import expertile

a = np.ones((6, 64), np.float32)  # [M, K]: tokens, sorted by expert
b = np.stack([np.full((128, 64), 1 / (1 + e), np.float32) for e in range(4)])  # [E, N, K]: the experts' weights
seg_indptr = np.array([0, 2, 6])  # group 0 has rows 0 and 1, group 1 rows 2 to 5
weight_indices = np.array([0, 1])  # which are of experts 0 and 1
c = expertile.grouped_gemm(a, b, seg_indptr, weight_indices)  # [M, N]
print(c[:, 0])
