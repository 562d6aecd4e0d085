"""cuBLAS's own grouped product, called through ctypes: PyTorch has no door to it."""

import ctypes
import functools
import glob
import sys

import torch

from .cells import first_line
from .timing import captured, run_once, time_eagerly, time_graph

CUDA_TYPES = {torch.float32: 0, torch.float16: 2, torch.bfloat16: 14}  # cudaDataType_t
COMPUTE_32F, COMPUTE_32F_FAST_TF32 = 68, 77                            # cublasComputeType_t
OP_N, OP_T = 0, 1
WORKSPACE_BYTES = 64 << 20


def loaded_library():
    """The very library that PyTorch has loaded, else one by its usual names."""
    with open("/proc/self/maps") as maps:
        for line in maps:
            path = line.split()[-1]
            if "/libcublas.so" in path:
                return ctypes.CDLL(path)
    names = ["libcublas.so.13", "libcublas.so.12", *glob.glob("/usr/local/cuda/lib64/libcublas.so*")]
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise RuntimeError("no libcublas was found")


class Cublas:
    """A handle with a workspace of its own, so that a graph can capture its calls."""

    def __init__(self):
        library = loaded_library()
        pointer, number = ctypes.c_void_p, ctypes.c_int
        if not hasattr(library, "cublasGemmGroupedBatchedEx"):
            raise RuntimeError("this cuBLAS has no cublasGemmGroupedBatchedEx")
        self.grouped = library.cublasGemmGroupedBatchedEx
        # handle, transa[], transb[], m[], n[], k[], alpha[], A[], type, lda[], B[], type, ldb[], beta[], C[], type, ldc[],
        # groups, group_size[], compute type. A[], B[] and C[] lie on the device, the others on the host.
        self.grouped.argtypes = [pointer, pointer, pointer, pointer, pointer, pointer, pointer, pointer, number, pointer,
                                 pointer, number, pointer, pointer, pointer, number, pointer, number, pointer, number]
        library.cublasCreate_v2.argtypes = [ctypes.POINTER(pointer)]
        library.cublasSetStream_v2.argtypes = [pointer, pointer]
        library.cublasSetWorkspace_v2.argtypes = [pointer, pointer, ctypes.c_size_t]
        for function in (self.grouped, library.cublasCreate_v2, library.cublasSetStream_v2, library.cublasSetWorkspace_v2):
            function.restype = number
        self.library = library
        self.handle = pointer()
        checked(library.cublasCreate_v2(ctypes.byref(self.handle)), "cublasCreate")
        self.workspace = torch.empty(WORKSPACE_BYTES, dtype=torch.uint8, device="cuda")

    def follow_stream(self):
        """Setting the stream sets the workspace back to cuBLAS's own, so it is given again each time."""
        stream = torch.cuda.current_stream().cuda_stream
        checked(self.library.cublasSetStream_v2(self.handle, stream), "cublasSetStream")
        checked(self.library.cublasSetWorkspace_v2(self.handle, self.workspace.data_ptr(), WORKSPACE_BYTES),
                "cublasSetWorkspace")


@functools.lru_cache(maxsize=1)
def the_cublas():
    return Cublas()


def checked(status, what):
    if status != 0:
        raise RuntimeError(f"{what} failed with status {status}")


def addresses(tensors):
    return torch.tensor([t.data_ptr() for t in tensors], dtype=torch.int64, device="cuda")


def repeated(value, count, kind=ctypes.c_int):
    return (kind * count)(*([value] * count))


def prepared_call(cublas, cell, a, b, c, segments):
    """cuBLAS counts by columns: C^T [N, rows] = B [N, K] x A^T [K, rows], B being stored as its own transpose."""
    active = [e for e in range(cell.experts) if segments[e + 1] > segments[e]]
    groups = len(active)
    rows = (ctypes.c_int * groups)(*[segments[e + 1] - segments[e] for e in active])
    weights = addresses([b[e] for e in active])
    inputs = addresses([a[segments[e]:segments[e + 1]] for e in active])
    outputs = addresses([c[segments[e]:segments[e + 1]] for e in active])
    kind = CUDA_TYPES[a.dtype]
    compute = COMPUTE_32F_FAST_TF32 if cell.dtype == "tf32" else COMPUTE_32F
    transposed, straight = repeated(OP_T, groups), repeated(OP_N, groups)
    n, k, ones = repeated(cell.n, groups), repeated(cell.k, groups), repeated(1, groups)
    alpha, beta = repeated(1.0, groups, ctypes.c_float), repeated(0.0, groups, ctypes.c_float)

    def call():
        cublas.follow_stream()
        checked(cublas.grouped(cublas.handle, transposed, straight, n, rows, k, alpha, weights.data_ptr(), kind, k,
                               inputs.data_ptr(), kind, k, beta, outputs.data_ptr(), kind, n, groups, ones, compute),
                "cublasGemmGroupedBatchedEx")
    return call


def cublas_grouped(cell, eagerly=False):
    cublas = the_cublas()
    known = {}

    def make():
        copy, sample = cell.next()
        if (copy, sample) not in known:
            a, b, c = cell.copies[copy]
            known[copy, sample] = prepared_call(cublas, cell, a, b, c, cell.segments[sample])
        return known[copy, sample]

    cell.check(make, "cuBLAS's grouped product")
    if not eagerly:
        try:
            return {"us": time_captured(cell, make), "how": "graph"}
        except Exception as error:
            print(f"cuBLAS grouped in a graph: {first_line(error)}; timed call by call", file=sys.stderr)
            torch.cuda.synchronize()  # raises where the context is broken: then there is nothing left to time
    cell.restart()
    return {"us": time_eagerly(make), "how": "eager"}


def time_captured(cell, make):
    """Host memory that a capture does not keep would show in a replay alone, soon or late: one is checked before the
    others are timed, and once more after."""
    what = "cuBLAS's grouped product in a graph"
    cell.restart()
    work = [make()]
    run_once(work)
    graph = captured(work, "relaxed")
    cell.check(lambda: graph.replay, what)
    cell.restart()
    us = time_graph(make, mode="relaxed", load_us=cell.load_us)
    cell.check(lambda: graph.replay, what)
    return us
