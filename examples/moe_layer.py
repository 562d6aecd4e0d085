"""One MoE layer by hand, in NumPy: route, gate and up, SiLU, down, combine. Beside it the same, token by token."""

import numpy as np

import expertile

TOKENS, EXPERTS, TOP_K, HIDDEN, WIDTH = 32, 8, 2, 64, 96
random = np.random.default_rng(0)
hidden = random.standard_normal((TOKENS, HIDDEN)).astype(np.float32)
w13 = random.standard_normal((EXPERTS, 2 * WIDTH, HIDDEN)).astype(np.float32) / 8  # gate, then up
w2 = random.standard_normal((EXPERTS, HIDDEN, WIDTH)).astype(np.float32) / 8
topk_ids = np.argsort(random.random((TOKENS, EXPERTS)))[:, :TOP_K]
topk_weights = random.dirichlet(np.ones(TOP_K), TOKENS).astype(np.float32)


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


order = np.argsort(topk_ids, axis=None, kind="stable")  # rows sorted by expert
token = order // TOP_K
seg_indptr = np.searchsorted(topk_ids.ravel()[order], np.arange(EXPERTS + 1))
experts = np.arange(EXPERTS)
gate_up = expertile.grouped_gemm(hidden[token], w13, seg_indptr, experts, top_k=TOP_K)
activated = silu(gate_up[:, :WIDTH]) * gate_up[:, WIDTH:]
down = expertile.grouped_gemm(activated, w2, seg_indptr, experts, top_k=TOP_K)
out = np.zeros_like(hidden)
np.add.at(out, token, down * topk_weights.ravel()[order, None])

plain = np.zeros((TOKENS, HIDDEN))
for t in range(TOKENS):
    for e, weight in zip(topk_ids[t], topk_weights[t]):
        gate, up = np.split(w13[e].astype(np.float64) @ hidden[t], 2)
        plain[t] += weight * (w2[e].astype(np.float64) @ (silu(gate) * up))
print(f"largest difference {np.abs(out - plain).max():.1e} of values up to {np.abs(plain).max():.1f}")
