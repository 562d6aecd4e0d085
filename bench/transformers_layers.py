"""One MoE layer of transformers with each experts_implementation that loads: medians, and how far each is from eager.

    python3 bench/transformers_layers.py [--layers tiny,qwen3-30b] [--tokens 1,16,128,1024,8192] [--csv FILE]

Needs PyTorch, transformers 5.7 or newer and this package. An implementation that does not load, or fails, is a row
with the reason. On a GPU a call is timed by CUDA events, and the L2 cache is written over before each. A median is of
20 to 200 calls, for a second where that is more than 20.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import time
from typing import Any, Callable, Iterator

import torch
import transformers
from transformers.models.mixtral.modeling_mixtral import MixtralExperts

IMPLEMENTATIONS = ("eager", "grouped_mm", "batched_mm", "deepgemm", "sonicmoe", "expertile")
# Experts, hidden size, intermediate size, experts a token.
LAYERS = {
    "tiny": (8, 256, 512, 2),
    "qwen3-30b": (128, 2048, 768, 8),
    "mixtral": (8, 4096, 14336, 2),
}
COLUMNS = ("layer", "tokens", "implementation", "median_us", "calls", "difference", "reason")


def make_layer(shape: tuple[int, int, int, int], dtype: torch.dtype, device: str) -> Any:
    experts, hidden, intermediate, _ = shape
    config = transformers.MixtralConfig(
        hidden_size=hidden, intermediate_size=intermediate, num_local_experts=experts, num_attention_heads=1
    )
    with torch.device(device):
        layer = MixtralExperts(config).to(dtype)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(0, parameter.shape[-1] ** -0.5)
    return layer


def route(shape: tuple[int, int, int, int], tokens: int, dtype: torch.dtype, device: str) -> tuple[Any, Any, Any]:
    experts, hidden, _, top_k = shape
    generator = torch.Generator(device).manual_seed(0)
    states = torch.randn(tokens, hidden, generator=generator, device=device).to(dtype)
    logits = torch.randn(tokens, experts, generator=generator, device=device)
    weights, ids = torch.softmax(logits, -1).topk(top_k)
    return states, ids, weights.to(dtype)


def timed_us(call: Callable[[], Any], device: str) -> Iterator[float]:
    if device != "cuda":
        while True:
            begin = time.perf_counter()
            call()
            yield 1e6 * (time.perf_counter() - begin)
    cache = torch.empty(256 << 20, dtype=torch.int8, device=device)
    while True:
        cache.zero_()
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        call()
        end.record()
        end.synchronize()
        yield 1e3 * begin.elapsed_time(end)


def measure(call: Callable[[], Any], device: str) -> tuple[float, int]:
    """The median in us, and of how many calls."""
    times, until = [], time.monotonic() + 1
    for _ in range(3):
        call()
    for elapsed in timed_us(call, device):
        times.append(elapsed)
        if len(times) == 200 or (len(times) >= 20 and time.monotonic() > until):
            break
    return statistics.median(times), len(times)


def rows_of(name: str, tokens: int, layer: Any, dtype: torch.dtype, device: str) -> Iterator[dict[str, Any]]:
    given = route(LAYERS[name], tokens, dtype, device)
    wanted = None
    for implementation in IMPLEMENTATIONS:
        row: dict[str, Any] = {"layer": name, "tokens": tokens, "implementation": implementation}
        layer.config._experts_implementation = implementation
        try:
            found = layer(*given).double()
            wanted = found if wanted is None else wanted
            difference = float((found - wanted).abs().max() / wanted.abs().max())
            median, calls = measure(lambda: layer(*given), device)
            row.update(median_us=f"{median:.1f}", calls=calls, difference=f"{difference:.1e}")
        except Exception as error:  # whatever an implementation raises is its row's reason
            row["reason"] = f"{type(error).__name__}: {' '.join(str(error).split())}"
        yield row


def print_table(rows: list[dict[str, Any]]) -> None:
    texts = [COLUMNS, *([str(row.get(column, "")) for column in COLUMNS] for row in rows)]
    widths = [max(len(text[i]) for text in texts) for i in range(len(COLUMNS) - 1)]
    for text in texts:
        fields = [f"{field:>{width}}" for field, width in zip(text, widths)]
        print("  ".join([*fields, text[-1][:80]]).rstrip())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", default="tiny,qwen3-30b")
    parser.add_argument("--tokens", default="1,16,128,1024,8192")
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float16", "float32"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--csv")
    options = parser.parse_args()
    dtype = getattr(torch, options.dtype)
    try:
        import expertile.integrations.transformers  # registers it
    except Exception as error:
        print(f"expertile does not load: {error}", file=sys.stderr)

    device = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    print(f"{device}, {options.dtype}, PyTorch {torch.__version__}, transformers {transformers.__version__}")
    rows: list[dict[str, Any]] = []
    with torch.no_grad():
        for name in options.layers.split(","):
            layer = make_layer(LAYERS[name], dtype, options.device)
            for tokens in map(int, options.tokens.split(",")):
                rows.extend(rows_of(name, tokens, layer, dtype, options.device))
            del layer
    print_table(rows)
    if options.csv:
        with open(options.csv, "w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
