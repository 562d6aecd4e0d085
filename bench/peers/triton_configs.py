"""Block sizes for the plain Triton kernel, few for each number of rows an expert: those that win on Hopper in
practice (in what SGLang and vLLM ship for its devices, and in earlier runs of this benchmark). Plain Python."""

from .cells import PROBLEMS, SIZES

# rows, columns, bytes of a row of A in a step over K, warps, stages
FEW_ROWS = [(16, 32, 256, 4, 5), (16, 64, 128, 4, 5), (16, 64, 256, 4, 4), (16, 64, 512, 4, 3), (16, 128, 128, 4, 4),
            (16, 128, 128, 4, 5), (16, 128, 256, 4, 3), (16, 128, 256, 4, 4), (16, 128, 256, 8, 4), (16, 256, 128, 4, 4),
            (16, 256, 128, 8, 4), (32, 128, 128, 4, 4)]
SOME_ROWS = [(16, 128, 256, 4, 3), (32, 128, 128, 4, 4), (32, 128, 256, 4, 3), (32, 256, 128, 4, 3),
             (32, 256, 128, 8, 4), (64, 128, 128, 4, 4), (64, 128, 256, 4, 3), (64, 256, 128, 4, 3),
             (64, 256, 128, 8, 4), (128, 128, 128, 4, 3), (128, 128, 128, 8, 3), (128, 256, 128, 8, 3)]
MANY_ROWS = [(64, 128, 128, 4, 4), (64, 256, 128, 4, 3), (64, 256, 128, 8, 4), (128, 64, 128, 4, 4),
             (128, 128, 128, 4, 3), (128, 128, 128, 8, 3), (128, 128, 128, 8, 4), (128, 256, 128, 8, 3),
             (128, 256, 128, 8, 4), (256, 128, 128, 8, 3)]
MOST_SHARED_BYTES = 224 << 10


def configurations(dtype, rows_an_expert):
    size_a, size_b, _ = SIZES[dtype]
    chosen = FEW_ROWS if rows_an_expert < 12 else SOME_ROWS if rows_an_expert < 96 else MANY_ROWS
    configs = []
    for m, n, k_bytes, warps, stages in chosen:
        k = k_bytes // size_a
        if m > 16 and m > max(32, 4 * rows_an_expert):
            continue  # most of the block would be no rows
        if dtype == "fp8_w8a8_block" and k != 128:
            continue  # one scale a step
        if any(problem[2] % k for problem in PROBLEMS.values()):
            continue  # the kernel takes whole steps alone
        if stages * k * (m * size_a + n * size_b) > MOST_SHARED_BYTES:
            continue
        configs.append(dict(BLOCK_M=m, BLOCK_N=n, BLOCK_K=k, num_warps=warps, num_stages=stages))
    return configs


def bands(config, rows_an_expert):
    """How many blocks of rows share a band of columns: the first is for ranking, the others are tried on the winner."""
    return [16, 1, 4, 64] if rows_an_expert >= 2 * config["BLOCK_M"] else [1]
