"""From measured rows to markdown. Pure functions over dictionaries: no PyTorch, no GPU, no clock."""

import math

from .cells import DTYPES, MANY_ROWS, PREFILL_BATCH, RATES

PEERS = {"triton": "Triton", "torch": "PyTorch", "cublas": "cuBLAS", "deepgemm": "DeepGEMM"}
FORMS = {"cublas": ("cublas_loop", "cublas_grouped"), "deepgemm": ("deepgemm_contiguous", "deepgemm_masked")}
DECODE_BATCH = 16  # and less
DECODE_BYTES = 200e6  # of weights, and more


def complete(row):
    """Adds what follows from the times: the better form of each peer, and the best peer."""
    for peer, forms in FORMS.items():
        times = {form: row[form] for form in forms if row.get(form)}
        form = min(times, key=times.get) if times else None
        row[peer] = times[form] if form else None
        row[f"{peer}_form"] = form
    return with_best_peer(row)


def with_best_peer(row):
    times = {peer: row[peer] for peer in PEERS if row.get(peer)}
    row["best_peer"] = min(times, key=times.get) if times else None
    row["best"] = times[row["best_peer"]] if times else None
    return row


def uniform(rows):
    return [r for r in rows if r["routing"] == "uniform"]


def ratios(rows, above, below):
    """[(row, above / below)] of the rows that have both."""
    return [(r, r[above] / r[below]) for r in rows if r.get(above) and r.get(below)]


def geomean(values):
    values = list(values)
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def floor_us(row):
    """What no kernel can be faster than, about: what must move at the copy's rate, or the products at cuBLAS's dense rate
    in bfloat16, scaled. None where the run did not measure these."""
    if not all(row.get(key) for key in ("bytes", "flops", "copy_tbps", "dense_tflops")):
        return None
    return 1e6 * max(row["bytes"] / (row["copy_tbps"] * 1e12), row["flops"] / (row["dense_tflops"] * 1e12 * RATES[row["dtype"]]))


def number(value, digits=1):
    return "-" if value is None else f"{value:.{digits}f}"


def cell_name(row):
    return f"{row['dtype']} {row['problem']} {row['batch']}"


def markdown(header, rows):
    return ["| " + " | ".join(header) + " |", "|" + "---|" * len(header),
            *("| " + " | ".join(row) + " |" for row in rows)]


def cells_table(rows):
    header = ["dtype", "problem", "batch", "expertile us", "built-in us", "Triton us", "torch grouped us", "cuBLAS us",
              "DeepGEMM us", "best peer", "best peer / expertile", "Triton / expertile"]
    lines = []
    for r in sorted(uniform(rows), key=place):
        best = r["best"] / r["expertile"] if r["best"] else None
        triton = r["triton"] / r["expertile"] if r.get("triton") else None
        lines.append([r["dtype"], r["problem"], str(r["batch"]), number(r["expertile"]), number(r["default"]),
                      number(r.get("triton")), number(r.get("torch")), number(r["cublas"]), number(r["deepgemm"]),
                      PEERS.get(r["best_peer"], "-"), number(best, 2), number(triton, 2)])
    return markdown(header, lines)


def place(row):
    """Rows of a dtype and problem side by side, whatever phase measured them."""
    known = {dtype: at for at, dtype in enumerate(DTYPES)}
    return (known.get(row["dtype"], len(known)), row["dtype"], row["problem"].endswith("down"), row["problem"], row["batch"])


def means_table(rows):
    header = ["dtype", "cells", "best peer / expertile", "lowest", "below 1.0", "best peer / floor", "Triton / expertile",
              "lowest", "below 1.0", "built-in / tuned"]
    lines = []
    for dtype in sorted({r["dtype"] for r in uniform(rows)}, key=lambda d: place({"dtype": d, "problem": "", "batch": 0})):
        mine = [r for r in uniform(rows) if r["dtype"] == dtype]
        line = [dtype, str(len(mine))]
        for peer in ("best", "triton"):
            found = [ratio for _, ratio in ratios(mine, peer, "expertile")]
            line += [number(geomean(found), 2), number(min(found, default=None), 2),
                     str(sum(1 for ratio in found if ratio < 1)) if found else "-"]
            if peer == "best":
                line.append(number(geomean(r["best"] / floor_us(r) for r in mine if r["best"] and floor_us(r)), 2))
        line.append(number(geomean(ratio for _, ratio in ratios(mine, "default", "expertile")), 2))
        lines.append(line)
    return markdown(header, lines)


def decode_shares(rows):
    """[(row, share of the copy bandwidth)]: what must move at least, over the time and the copy's rate."""
    return [(r, r["bytes"] / (r["expertile"] * 1e-6) / (r["copy_tbps"] * 1e12)) for r in uniform(rows)
            if r["batch"] <= DECODE_BATCH and r.get("weight_bytes", 0) >= DECODE_BYTES and r.get("copy_tbps")]


def many_rows(rows):
    return [r for r in uniform(rows) if r["batch"] >= PREFILL_BATCH and r.get("rows_an_expert", 0) >= MANY_ROWS]


def against_bfloat16(rows, dtype):
    """[(row, the time of this library's own bfloat16 over the row's)] at prefill."""
    own = {(r["problem"], r["batch"]): r["expertile"] for r in many_rows(rows) if r["dtype"] == "bfloat16"}
    return [(r, own[r["problem"], r["batch"]] / r["expertile"]) for r in many_rows(rows)
            if r["dtype"] == dtype and (r["problem"], r["batch"]) in own]


def against_uniform(rows):
    """[(skewed row, its time over that of uniform routing)] at prefill: of the time that the row has beside it, else of
    the same cell's."""
    even = {(r["dtype"], r["problem"], r["batch"]): r["expertile"] for r in uniform(rows)}
    found = []
    for r in rows:
        beside = r.get("uniform") or even.get((r["dtype"], r["problem"], r["batch"]))
        if r["routing"] != "uniform" and beside:
            found.append((r, r["expertile"] / beside))
    return found


def goal(what, must, found, at_least=None, at_most=None, mean_at_least=None, mean_at_most=None):
    """A line of the table of goals: how many cells, the worst, the mean, and how many missed the mark."""
    if not found:
        return [what, must, "0", "-", "-", "-", "not measured"]
    pick = max if at_most is not None or mean_at_most is not None else min
    worst_row, worst = pick(found, key=lambda one: one[1])
    mean = geomean(value for _, value in found)
    missed = "-"
    if at_least is not None:
        missed = str(sum(1 for _, value in found if value < at_least))
    elif at_most is not None:
        missed = str(sum(1 for _, value in found if value > at_most))
    reached = missed in ("-", "0")
    reached = reached and (mean_at_least is None or mean >= mean_at_least)
    reached = reached and (mean_at_most is None or mean <= mean_at_most)
    return [what, must, str(len(found)), f"{number(worst, 2)} ({cell_name(worst_row)})", number(mean, 2), missed,
            "yes" if reached else "no"]


def goals_table(rows):
    header = ["what", "must reach", "cells", "worst", "geometric mean", "cells that miss", "reached"]
    even = uniform(rows)
    lines = []
    for dtype in [d for d in DTYPES if any(r["dtype"] == d for r in even)]:
        mine = [r for r in even if r["dtype"] == dtype]
        lines.append(goal(f"best peer's time over expertile's, {dtype}", "1.0 in every cell, mean 1.2",
                          ratios(mine, "best", "expertile"), at_least=1.0, mean_at_least=1.2))
    lines += [
        goal("Triton's time over expertile's", "1.0 in every cell, mean 1.5", ratios(even, "triton", "expertile"),
             at_least=1.0, mean_at_least=1.5),
        goal("decode: share of the copy bandwidth", "0.85", decode_shares(rows), at_least=0.85),
        goal("prefill, bfloat16 and float16: dense cuBLAS's time over expertile's", "0.90",
             ratios(many_rows(rows), "dense", "expertile"), at_least=0.90),
    ]
    for dtype, least in (("fp8_w8a8", 1.8), ("int8_w8a8", 1.8), ("fp8_w8a8_block", 1.6), ("int8_w8a16", 0.8)):
        lines.append(goal(f"prefill, {dtype}: speed over own bfloat16", f"{least:.2f}", against_bfloat16(rows, dtype),
                          at_least=least))
    lines += [
        goal("prefill, zipf:1.2: time over uniform", "at most 1.15", against_uniform(rows), at_most=1.15),
        goal("built-in configuration's time over the tuned one's", "mean at most 1.05",
             ratios(even, "default", "expertile"), mean_at_most=1.05),
    ]
    return markdown(header, lines)


def skewed_table(rows):
    lines = [[r["dtype"], r["problem"], str(r["batch"]), number(r["expertile"] / ratio), number(r["expertile"]),
              number(ratio, 2)] for r, ratio in sorted(against_uniform(rows), key=lambda one: place(one[0]))]
    return markdown(["dtype", "problem", "batch", "uniform us", "zipf:1.2 us", "zipf / uniform"], lines)


def document(heading, rows):
    """The whole report, as lines."""
    lines = [heading, "", *cells_table(rows), ""]
    if against_uniform(rows):
        lines += ["Skewed routing at prefill, with the tiles tuned for uniform routing:", "", *skewed_table(rows), ""]
    lines += ["Geometric means of the best peer's and of Triton's time over expertile's (above 1: expertile is faster), and "
              "of the built-in configuration's time over the tuned one's. The floor is what must move at the copy's rate, or the "
              "products at the rate of cuBLAS's dense ones in bfloat16 (8 bits: twice, tf32: half, float32: a sixth): about "
              "what no kernel could be ahead by more than:", "", *means_table(rows), "",
              f"What was to be reached (decode: batch to {DECODE_BATCH}, {DECODE_BYTES / 1e6:.0f} MB of weights touched and "
              f"more; prefill: batch {PREFILL_BATCH} and more, {MANY_ROWS} rows an expert and more except for zipf):", "",
              *goals_table(rows)]
    return lines
