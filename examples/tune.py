"""Tunes a small problem from Python and finds the file again: tune.py [configuration directory]."""

import sys
import tempfile

import expertile

folder = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()
rows = expertile.tune(
    hidden_size=64, num_experts=4, intermediate_size=32, dtype="float32", batch_size=[1, 16], projection="gate_up",
    device="cpu", output_dir=folder, warning=lambda line: print(line, file=sys.stderr),
)  # fmt: skip
for row in rows:
    print(f"batch {row['batch']:3}: {row['tuned_us']:.1f} us, {row['ratio']:.2f} of the built-in tile's speed")
gemm = expertile.GroupedGemm(4, 64, 64, dtype="float32", device="cpu", config_dir=folder)
print(gemm.selection(32)["match"])
