"""What PyTorch itself has: grouped products, a loop of products, and one dense product of as many operations."""

import torch

from .timing import time_graph


def grouped(cell):
    offsets = [torch.tensor(s[1:], dtype=torch.int32, device="cuda") for s in cell.segments]
    scales = rowwise_scales(cell) if cell.dtype == "fp8_w8a8" else None

    def make():
        copy, sample = cell.next()
        a, b, _ = cell.copies[copy]
        offs = offsets[sample]
        if scales is None:
            return lambda: torch._grouped_mm(a, b.transpose(-2, -1), offs=offs)
        scale_a, scale_b = scales
        return lambda: torch._scaled_grouped_mm(a, b.transpose(-2, -1), scale_a[sample], scale_b, offs=offs,
                                                out_dtype=torch.bfloat16)

    cell.check(make, "PyTorch's grouped product")
    cell.restart()
    return {"us": time_graph(make, load_us=cell.load_us)}


def rowwise_scales(cell):
    """One scale a row and a column, the nearest that PyTorch has, with the values of one scale an expert."""
    scale_a = []
    for segments in cell.segments:
        counts = torch.tensor([end - begin for begin, end in zip(segments, segments[1:])], device="cuda")
        scale_a.append(torch.repeat_interleave(cell.scale_a, counts).contiguous())
    return scale_a, cell.scale_b[:, None].expand(cell.experts, cell.n).contiguous()


def loop(cell):
    """One cuBLAS product an expert that has rows."""
    def make():
        copy, sample = cell.next()
        a, b, c = cell.copies[copy]
        s = cell.segments[sample]
        parts = [(a[s[e]:s[e + 1]], b[e].T, c[s[e]:s[e + 1]]) for e in range(cell.experts) if s[e + 1] > s[e]]

        def call():
            for x, w, y in parts:
                torch.mm(x, w, out=y)
        return call

    cell.expected()  # in full precision, before tf32 is allowed
    with_tf32 = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = cell.dtype == "tf32"
    try:
        cell.check(make, "the loop of cuBLAS products")
        cell.restart()
        return {"us": time_graph(make, calls=4, load_us=cell.load_us)}
    finally:
        torch.backends.cuda.matmul.allow_tf32 = with_tf32


def dense(cell):
    """All rows by one expert's weights: as many operations without groups."""
    def make():
        copy, sample = cell.next()
        a, b, c = cell.copies[copy]
        weights = b[sample % cell.experts].T
        return lambda: torch.mm(a, weights, out=c)

    cell.restart()
    return {"us": time_graph(make, calls=4, load_us=cell.load_us)}
