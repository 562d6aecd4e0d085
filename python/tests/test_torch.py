"""PyTorch's tensors, on the CPU and, where there is one, on the GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import BFLOAT16, CASES, E4M3, Product, check_masked, make_product, masked_arguments

import expertile

torch = pytest.importorskip("torch")

import expertile.torch  # noqa: E402
from expertile import compat  # noqa: E402

HAS_GPU = torch.cuda.is_available()
on_gpu = pytest.mark.skipif(not HAS_GPU, reason="PyTorch sees no GPU")
DEVICES = ["cpu", pytest.param("cuda", marks=on_gpu)]
OPERATOR = torch.ops.expertile.grouped_gemm


def to_torch(array: np.ndarray, device: str) -> Any:
    if array.dtype == BFLOAT16:
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16).to(device)
    if array.dtype == E4M3:
        return torch.from_numpy(array.view(np.uint8).copy()).view(torch.float8_e4m3fn).to(device)
    return torch.from_numpy(array.copy()).to(device)


def placed(product: Product, device: str) -> tuple[list[Any], dict[str, Any]]:
    named = {
        name: to_torch(value, device) if isinstance(value, np.ndarray) else value
        for name, value in product.named.items()
    }
    return [to_torch(array, device) for array in product.arguments], named


def without_others(arrays: list[Any], named: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Without the rows that belong to no group: a new C has anything there, and two calls may differ."""
    a, b, seg_indptr, experts = arrays
    used = int(seg_indptr[-1])
    named = {name: value[:used] if name == "scale_a" and len(value) == len(a) else value
             for name, value in named.items()}  # fmt: skip
    return [a[:used], b, seg_indptr, experts], named


def check(product: Product, c: Any) -> None:
    product.check(c.detach().to(torch.float64).cpu().numpy())


# ---- right -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
def test_every_dtype_agrees_with_float64(product: Product, device: str) -> None:
    arrays, named = placed(product, device)
    c = expertile.grouped_gemm(*arrays, **named)
    assert isinstance(c, torch.Tensor) and c.device == arrays[0].device
    check(product, c)


@pytest.mark.parametrize("device", DEVICES)
def test_the_operator_gives_the_same_bits(product: Product, device: str) -> None:
    arrays, named = placed(product, device)
    named["block_shape"] = list(named["block_shape"]) if "block_shape" in named else None
    c = OPERATOR(*arrays, **named)
    rows = torch.from_numpy(product.rows)
    assert torch.equal(c.cpu()[rows], expertile.grouped_gemm(*arrays, **named).cpu()[rows])
    out = torch.full_like(c, 7)
    torch.ops.expertile.grouped_gemm_out(*arrays, **named, out=out)
    assert torch.equal(out.cpu()[rows], c.cpu()[rows]) and (out.cpu()[~rows] == 7).all()


@pytest.mark.parametrize("device", DEVICES)
def test_a_parameter_and_a_view_are_tensors_too(device: str) -> None:
    product = make_product("bfloat16", None, None)
    (a, b, seg_indptr, experts), _ = placed(product, device)
    wide = torch.zeros(a.shape[0], 2 * a.shape[1], dtype=a.dtype, device=device)
    wide[:, : a.shape[1]] = a
    with torch.no_grad():
        check(product, expertile.grouped_gemm(wide[:, : a.shape[1]], torch.nn.Parameter(b), seg_indptr, experts))


@pytest.mark.parametrize("device", DEVICES)
def test_offsets_of_int32_give_the_same_bits(product: Product, device: str) -> None:
    (a, b, seg_indptr, experts), named = placed(product, device)
    rows = torch.from_numpy(product.rows)
    c = expertile.grouped_gemm(a, b, seg_indptr, experts, **named)
    short = seg_indptr.to(torch.int32)
    named["block_shape"] = list(named["block_shape"]) if "block_shape" in named else None
    assert torch.equal(OPERATOR(a, b, short, experts, **named).cpu()[rows], c.cpu()[rows])
    first = expertile.grouped_gemm(a, b, short[2:], experts[2:], **named)
    used = rows[int(seg_indptr[2]) : int(seg_indptr[-1])]
    assert torch.equal(first.cpu()[int(seg_indptr[2]) : int(seg_indptr[-1])][used],
                       c.cpu()[int(seg_indptr[2]) : int(seg_indptr[-1])][used])  # fmt: skip


@pytest.mark.parametrize("device", DEVICES)
def test_every_dtype_agrees_with_float64_in_masks(product: Product, device: str) -> None:
    arguments, rows = masked_arguments(product)
    named = {name: to_torch(value, device) if isinstance(value, np.ndarray) else value
             for name, value in arguments.items()}  # fmt: skip
    out_dtype = {"out_dtype": torch.float16} if named["a"].dtype == torch.int8 else {}
    c = expertile.grouped_gemm_masked(**named, **out_dtype, expected_rows=20)
    assert c.device == named["a"].device and list(c.shape) == [*rows.shape, product.b.shape[1]]
    check_masked(product, c.to(torch.float64).cpu().numpy(), rows)


def test_masks_follow_no_gradient_and_say_so() -> None:
    a = torch.ones(2, 3, 8)
    b = torch.nn.Parameter(torch.ones(2, 4, 8))
    masked_m = torch.tensor([3, 1], dtype=torch.int32)
    with pytest.raises(expertile.Unsupported) as raised:
        expertile.grouped_gemm_masked(a, b, masked_m)
    assert str(raised.value) == (
        "a or b requires a gradient, which grouped_gemm_masked does not follow; use expertile.grouped_gemm, or "
        "torch.no_grad()"
    )
    with torch.no_grad():
        c = expertile.grouped_gemm_masked(a, b, masked_m)
    assert (c[0] == 8).all() and (c[1, 0] == 8).all()


@on_gpu
def test_a_graph_of_masked_groups_reads_the_counts_that_are_there_then() -> None:
    a = torch.ones(2, 3, 64, dtype=torch.bfloat16, device="cuda")
    b = torch.ones(2, 16, 64, dtype=torch.bfloat16, device="cuda")
    masked_m = torch.tensor([0, 0], dtype=torch.int32, device="cuda")
    out = torch.zeros(2, 3, 16, dtype=torch.bfloat16, device="cuda")
    expertile.grouped_gemm_masked(a, b, masked_m, out=out)  # prepared outside
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        expertile.grouped_gemm_masked(a, b, masked_m, out=out)
    masked_m.copy_(torch.tensor([-5, 2]))
    graph.replay()
    torch.cuda.synchronize()
    assert (out[0] == 0).all() and (out[1, :2] == 64).all() and (out[1, 2] == 0).all()


@on_gpu
def test_work_on_a_side_stream_is_in_order() -> None:
    product = make_product("bfloat16", None, None, n=512, k=512)
    arrays, _ = placed(product, "cuda")
    a = torch.zeros_like(arrays[0])
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(20_000_000)
        a.copy_(arrays[0])
        c = expertile.grouped_gemm(a, *arrays[1:])
        a.zero_()
    stream.synchronize()
    check(product, c)
    again = expertile.grouped_gemm(arrays[0], *arrays[1:], stream=stream)
    stream.synchronize()
    check(product, again)


@on_gpu
@pytest.mark.parametrize("case", [CASES[2], CASES[5], CASES[8]], ids=["bfloat16", "quantised by the call", "fp8 block"])
def test_a_graph_replays_on_new_values(case: Any) -> None:
    first, second = make_product(*case, seed=5), make_product(*case, seed=5)
    arrays, named = placed(first, "cuda")
    expertile.grouped_gemm(*arrays, **named)  # prepared outside
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        c = expertile.grouped_gemm(*arrays, **named)
    arrays[0].copy_(-arrays[0].to(torch.float32))
    graph.replay()
    torch.cuda.synchronize()
    second.wanted = -second.wanted
    check(second, c)


# ---- tracing and gradients -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
def test_opcheck_passes(device: str) -> None:
    for case in (CASES[0], CASES[2], CASES[10]):  # its own arithmetic has no e4m3
        arrays, named = without_others(*placed(make_product(*case, seed=1), device))
        named["block_shape"] = list(named["block_shape"]) if "block_shape" in named else None
        torch.library.opcheck(OPERATOR, tuple(arrays), named)
    arrays, _ = without_others(*placed(make_product("float32", None, None), device))
    arrays[0].requires_grad_()
    arrays[1].requires_grad_()
    torch.library.opcheck(OPERATOR, tuple(arrays))
    out = torch.zeros(arrays[0].shape[0], arrays[1].shape[1], device=device)
    plain = [array.detach() for array in arrays]
    torch.library.opcheck(torch.ops.expertile.grouped_gemm_out, tuple(plain), {"out": out})


@pytest.mark.parametrize("device", DEVICES)
def test_a_compiled_function_has_it_in_one_graph(device: str) -> None:
    backend = "inductor" if device == "cuda" else "aot_eager"
    product = make_product("bfloat16", None, None)
    arrays, _ = placed(product, device)
    rows = torch.from_numpy(product.rows).to(device)

    def by_operator(*arguments: Any) -> Any:
        return OPERATOR(*arguments) * 2

    def by_function(*arguments: Any) -> Any:
        return expertile.grouped_gemm(*arguments, top_k=2) * 2

    for function in (by_operator, by_function):
        torch.compiler.reset()
        compiled = torch.compile(function, fullgraph=True, backend=backend)
        assert torch.equal(compiled(*arrays)[rows], function(*arrays)[rows])


def reference(a: Any, b: Any, seg_indptr: Any, experts: Any) -> Any:
    """By PyTorch's own operations, whose gradients are known."""
    parts = [torch.zeros(0, b.shape[1], dtype=a.dtype, device=a.device)]
    bounds = seg_indptr.tolist()
    for group, expert in enumerate(experts.tolist()):
        parts.append(a[bounds[group] : bounds[group + 1]] @ b[expert].T)
    return torch.cat(parts)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gradients_are_those_of_the_same_products(device: str, dtype: str) -> None:
    product = make_product(dtype, None, None, seed=11)
    (a, b, seg_indptr, experts), _ = placed(product, device)
    used = int(seg_indptr[-1])
    for fresh in (a, b):
        fresh.requires_grad_()
    c = expertile.grouped_gemm(a, b, seg_indptr, experts)
    weight = torch.randn(used, b.shape[1], device=device)
    (c[:used] * weight).sum().backward()
    wide_a, wide_b = (x.detach().to(torch.float64).requires_grad_() for x in (a, b))
    (reference(wide_a, wide_b, seg_indptr, experts) * weight).sum().backward()
    tolerance = 1e-4 if dtype == "float32" else 3e-2
    for found, wanted in ((a.grad, wide_a.grad), (b.grad, wide_b.grad)):
        assert torch.isfinite(found).all()
        difference = (found.to(torch.float64) - wanted).abs().max()
        assert difference <= tolerance * wanted.abs().max()
    assert (a.grad[used:] == 0).all()


def test_a_product_with_scales_has_no_gradient_and_says_so() -> None:
    product = make_product("int8_w8a16_float16", "per_channel", None)
    (a, b, seg_indptr, experts), named = placed(product, "cpu")
    a.requires_grad_()
    c = expertile.grouped_gemm(a, b, seg_indptr, experts, **named)
    with pytest.raises(
        expertile.Unsupported,
        match=r"^no gradient is known of a product with scales \(a is torch.float16, b is torch.int8\)",
    ):
        c.sum().backward()
    with torch.no_grad():
        check(product, expertile.grouped_gemm(a, b, seg_indptr, experts, **named))


def test_an_operation_does_not_lose_a_gradient_in_silence() -> None:
    product = make_product("float32", None, None)
    (a, b, seg_indptr, experts), _ = placed(product, "cpu")
    gemm = expertile.GroupedGemm(*b.shape, dtype="float32", device="cpu")
    with pytest.raises(expertile.Unsupported, match="^a or b requires a gradient, which GroupedGemm does not follow"):
        gemm(a.requires_grad_(), b, seg_indptr, experts)


# ---- in the place of others ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", [CASES[1], CASES[2], CASES[6], CASES[8], CASES[5]], ids=str)
def test_sglangs_function(device: str, case: Any) -> None:
    product = make_product(*case, seed=21)
    (a, b, seg_indptr, experts), named = placed(product, device)
    scale_b = named.get("scale_b")
    if scale_b is not None and scale_b.dim() == 3:  # as a layer that was loaded transposed has it
        scale_b = scale_b.transpose(1, 2).contiguous().transpose(1, 2)
        assert not scale_b.is_contiguous()
    groups = experts.shape[0]
    c = torch.full((a.shape[0], b.shape[1]), 7, dtype=torch.bfloat16 if a.dtype != torch.float16 else a.dtype,
                   device=device)  # fmt: skip
    # The caller's arrays are longer than batch_size says, and seg_indptr begins above 0.
    longer = torch.cat([experts, experts[:1]])
    returned = compat.grouped_gemm_triton(
        a, b, c, groups - 2, True, seg_indptr=seg_indptr[2:], weight_indices=longer[2:],
        use_fp8_w8a8=case[0] == "fp8_w8a8", scale_a=named.get("scale_a"), scale_b=scale_b,
        block_shape=list(named["block_shape"]) if "block_shape" in named else None,
    )  # fmt: skip
    assert returned is c
    first = int(seg_indptr[2])
    assert (c[:first] == 7).all()
    product.rows[:first] = False
    check(product, c)


def test_sglangs_function_with_a_scale_a_row() -> None:
    product = make_product("fp8_w8a8", "per_token_channel", None, seed=22)
    (a, b, seg_indptr, experts), named = placed(product, "cpu")
    one_an_expert = torch.rand(b.shape[0]) / 10
    named["scale_b"] = one_an_expert[:, None].expand(b.shape[0], b.shape[1]).contiguous()
    wanted = expertile.grouped_gemm(a, b, seg_indptr, experts, **named)
    c = compat.grouped_gemm_triton(
        a, b, None, experts.shape[0], True, seg_indptr, experts, True, named["scale_a"][:, None], one_an_expert,
        c_dtype=torch.bfloat16,
    )  # fmt: skip
    rows = torch.from_numpy(product.rows)
    assert torch.equal(c[rows], wanted[rows])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("turned", [True, False], ids=["as PyTorch's layers have it", "the other way round"])
def test_pytorchs_grouped_mm(device: str, turned: bool) -> None:
    torch.manual_seed(0)
    groups, n, k = 4, 64, 96
    a = torch.randn(40, k, dtype=torch.bfloat16, device=device)
    b = torch.randn(groups, n, k, dtype=torch.bfloat16, device=device).transpose(1, 2)
    if not turned:
        b = b.contiguous()
    offs = torch.tensor([8, 8, 24, 40], dtype=torch.int32, device=device)
    c = compat.grouped_mm(a, b, offs=offs)
    wanted = torch.cat([a[begin:end].double() @ b[g].double()
                        for g, (begin, end) in enumerate(zip([0, 8, 8, 24], [8, 8, 24, 40]))])  # fmt: skip
    assert (c.double() - wanted).abs().max() <= 5e-3 * wanted.abs().max() + 0.1
