#!/usr/bin/env python3
"""Draws the pictures of bench/RESULTS.md and README.md, and works their tables out, from the CSVs in bench/results/.

    python3 bench/plots.py           # writes docs/images/*.svg and the tables between the marks in the two documents
    python3 bench/plots.py --check   # writes nothing; status 1 where one of them is not what the CSVs say

Needs nothing but Python.
"""

import argparse
import csv
import pathlib
import sys
import textwrap

from drawing import GRID, INK, SOFT, Axis, Canvas
from peers import results, table
from peers.cells import DTYPES, MANY_ROWS, PREFILL_BATCH, RATES

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench/results"
IMAGES = ROOT / "docs/images"
NAMES = {"bfloat16": "bfloat16", "fp8_w8a8_block": "fp8, block scales", "float16": "float16", "fp8_w8a8": "fp8",
         "int8_w8a8": "int8", "int8_w8a16": "int8 weights, 16-bit tokens", "tf32": "tf32", "float32": "float32"}
COLOURS = {"triton": "#0072b2", "cublas": "#e69f00", "deepgemm": "#009e73", "torch": "#cc79a7"}
OURS = "#c8430a"
BATCHES = (1, 4, 16, 64, 256, 1024, 4096, 16384)
FEW_TOKENS = 256  # and less: memory is the limit


def of_dtype(rows, dtype):
    return [row for row in table.uniform(rows) if row["dtype"] == dtype]


def over_ours(rows):
    return [ratio for _, ratio in table.ratios(table.uniform(rows), "best", "expertile")]


def mean(values, digits=2):
    return table.number(table.geomean(values), digits)


# ---- the numbers ----------------------------------------------------------------------------------------------------

def few(rows):
    return [row for row in rows if row["batch"] <= FEW_TOKENS]


def many(rows):
    return [row for row in rows if row["batch"] > FEW_TOKENS]


def mean_and_lowest(rows):
    found = over_ours(rows)
    return f"{mean(found)} ({min(found):.2f})" if found else "not measured"


def peers_summary(h100, h200):
    """Best peer's time over expertile's by dtype, few and many tokens, for each GPU."""
    header = ["dtype", "H100, 1 to 256 tokens", "H100, 1024 to 16384", "H200, 1 to 256", "H200, 1024 to 16384"]
    lines = [[NAMES[dtype], *(mean_and_lowest(part(of_dtype(rows, dtype))) for rows in (h100, h200)
                              for part in (few, many))] for dtype in DTYPES]
    return table.markdown(header, lines)


def cells_summary(rows):
    """The same with how many cells there are and how many are below 1, and Triton and the built-in tile beside it."""
    header = ["dtype", "cells", "best peer / expertile", "lowest", "cells below 1", "Triton / expertile", "lowest",
              "built-in / tuned"]
    lines = []
    for dtype in DTYPES:
        mine = of_dtype(rows, dtype)
        line = [NAMES[dtype], str(len(mine))]
        for peer in ("best", "triton"):
            found = [ratio for _, ratio in table.ratios(mine, peer, "expertile")]
            line += [mean(found), f"{min(found):.2f}"]
            line += [str(sum(1 for ratio in found if ratio < 1))] if peer == "best" else []
        lines.append([*line, mean(ratio for _, ratio in table.ratios(mine, "default", "expertile"))])
    return table.markdown(header, lines)


def skew_summary(h100, h200):
    header = ["dtype", "H100, mean", "worst", "where", "H200, mean", "worst", "where"]
    lines = []
    for dtype in DTYPES:
        line = [NAMES[dtype]]
        for rows in (h100, h200):
            found = [one for one in table.against_uniform(rows) if one[0]["dtype"] == dtype]
            row, worst = max(found, key=lambda one: one[1])
            line += [mean(ratio for _, ratio in found), f"{worst:.2f}", f"{row['problem']} {row['batch']}"]
        lines.append(line)
    return table.markdown(header, lines)


def goals_summary():
    """What the runs printed of what was to be reached, but for the lines that cells_summary has."""
    with open(RESULTS / "printed_goals.csv", newline="") as file:
        printed = [line for line in csv.DictReader(file) if not line["what"].startswith("best peer's")]
    lines = []
    for line in printed:
        if "H100" not in line["gpu"]:
            continue
        other = next(one for one in printed if "H200" in one["gpu"] and one["what"] == line["what"])
        lines.append([line["what"], line["must_reach"], line["worst"], line["geometric_mean"], line["reached"],
                      other["worst"], other["geometric_mean"], other["reached"]])
    return table.markdown(["what", "must reach", "H100: worst", "mean", "reached", "H200: worst", "mean", "reached"], lines)


def share_below(found, least):
    return f"{sum(1 for ratio in found if ratio < least)} of {len(found)}"


def answers(h100, h200):
    """The sentences above the tables."""
    lines = []
    for name, rows in (("H100", h100), ("H200, older kernels", h200)):
        found = over_ours(rows)
        lines.append(f"- {name}: the best peer takes {mean(over_ours(few(rows)))} times expertile's time up to {FEW_TOKENS} "
                     f"tokens and {mean(over_ours(many(rows)))} from 1024 on; expertile is slower by more than 2% in "
                     f"{share_below(found, 0.98)} cells, the worst {min(found):.2f}.")
    triton = [ratio for _, ratio in table.ratios(many(table.uniform(h100)), "triton", "expertile")]
    shares = [share for _, share in table.decode_shares(h100)]
    built_in = [ratio for _, ratio in table.ratios(table.uniform(h100), "default", "expertile")]
    skewed = [ratio for _, ratio in table.against_uniform(h100)]
    lines += [
        f"- Plain Triton, tuned cell by cell, takes {min(triton):.2f} to {max(triton):.2f} of expertile's time from 1024 tokens "
        f"on, {mean(triton)} in the mean (H100).",
        f"- Up to {table.DECODE_BATCH} tokens expertile reads weights at {min(shares):.2f} to {max(shares):.2f} of a copy's "
        f"speed, {mean(shares)} in the mean (H100).",
        f"- The tile that is used without a file takes {mean(built_in)} times the tuned one's time in the mean, at most "
        f"{max(built_in):.2f} (H100; the built-in tiles at the time of each run).",
        f"- Skewed routing (zipf:1.2) at prefill takes {mean(skewed)} times as long as uniform in the mean, at most "
        f"{max(skewed):.2f} (H100)."]
    return [textwrap.fill(line, 120, subsequent_indent="  ", break_on_hyphens=False) for line in lines]


def tables_of(h100, h200):
    """{mark: lines} of what the CSVs say in the documents."""
    return {"answers": answers(h100, h200), "goals": goals_summary(), "peers": peers_summary(h100, h200), "cells H100": cells_summary(h100), "cells H200": cells_summary(h200),
            "skewed": skew_summary(h100, h200)}


# ---- the pictures ---------------------------------------------------------------------------------------------------

def peers_picture(rows):
    below = sum(1 for ratio in over_ours(rows) if ratio < 0.98)
    canvas = Canvas(1000, 690, f"The best peer takes {mean(over_ours(few(rows)))} times expertile's time up to 256 tokens, "
                    f"{mean(over_ours(many(rows)))} from 1024 on",
                    [f"NVIDIA H100, {len(over_ours(rows))} cells: gate_up and down of Mixtral, Qwen3 and DeepSeek-V3. "
                     f"Above 1 expertile is faster; {below} cells are below 0.98.",
                     "A dot is a cell, in the colour of its fastest peer; the line is the geometric mean."])
    fastest = {row["best_peer"] for row in table.uniform(rows)}
    canvas.legend(24, 108, [(table.PEERS[peer], COLOURS[peer], False) for peer in COLOURS if peer in fastest])
    for at, dtype in enumerate(DTYPES):
        left, top = 62 + 236 * (at % 4), 158 + 264 * (at // 4)
        peers_panel(canvas, of_dtype(rows, dtype), NAMES[dtype], left, top, first=at % 4 == 0)
    canvas.text(500, 678, "tokens in a batch", size=13, colour=SOFT, anchor="middle")
    canvas.text(20, 390, "best peer's time / expertile's", size=13, colour=SOFT, anchor="middle", turned=True)
    return canvas.svg()


def peers_panel(canvas, rows, title, left, top, first):
    width, height = 214, 204
    across = Axis(0, len(BATCHES) - 1, left + 14, left + width - 14)
    up = Axis(0.88, 1.85, top + height, top, logarithmic=True)
    canvas.text(left, top - 9, title, size=13.5, bold=True)
    canvas.rect(left, up.at(1), width, top + height - up.at(1), "#fbeeee")
    for tick in (0.9, 1.0, 1.2, 1.4, 1.6, 1.8):
        canvas.line([(left, up.at(tick)), (left + width, up.at(tick))], SOFT if tick == 1 else GRID, 1.3 if tick == 1 else 1)
        if first:
            canvas.text(left - 7, up.at(tick) + 4.5, f"{tick:.1f}", size=12, colour=SOFT, anchor="end")
    line = []
    for at, batch in enumerate(BATCHES):
        name = str(batch) if batch < 1024 else f"{batch // 1024}k"
        canvas.text(across.at(at), top + height + 17, name, size=12, colour=SOFT, anchor="middle")
        found = table.ratios([row for row in rows if row["batch"] == batch], "best", "expertile")
        if found:
            line.append((across.at(at), up.at(table.geomean(ratio for _, ratio in found))))
        for step, (row, ratio) in enumerate(sorted(found, key=lambda one: one[1])):
            canvas.dot(across.at(at) + 2.6 * (step % 3 - 1), up.at(ratio), COLOURS[row["best_peer"]])
    canvas.line(line, INK, 1.6)


def columns_picture(title, subtitle, legend, columns, ticks, axis_title, line_at, line_title):
    """Columns of dots side by side. columns: (name, second line, [[values of a dot's kind], ...])."""
    canvas = Canvas(1000, 470, title, subtitle)
    canvas.legend(24, 110, legend)
    left, right, top, bottom = 72, 925, 140, 396
    up = Axis(ticks[0], ticks[-1], bottom, top)
    for tick in ticks:
        canvas.line([(left, up.at(tick)), (right, up.at(tick))], GRID)
        canvas.text(left - 8, up.at(tick) + 4.5, f"{tick:.2f}", size=12, colour=SOFT, anchor="end")
    canvas.line([(left, up.at(line_at)), (right, up.at(line_at))], INK, 1.3, dashes="5 4")
    canvas.text(right + 6, up.at(line_at) + 4.5, line_title, size=12, colour=INK)
    step = (right - left) / len(columns)
    for at, (name, second, kinds) in enumerate(columns):
        middle = left + step * (at + 0.5)
        canvas.text(middle, bottom + 22, name, size=12, bold=True, anchor="middle")
        canvas.text(middle, bottom + 39, second, size=11.5, colour=SOFT, anchor="middle")
        for kind, values in enumerate(kinds):
            x = middle + 32 * (kind - 0.5)
            if values:
                canvas.line([(x - 13, up.at(table.geomean(values))), (x + 13, up.at(table.geomean(values)))],
                            legend[kind][1], 2.2)
            for place, value in enumerate(sorted(values)):
                canvas.dot(x + 6 * (place % 3 - 1), up.at(value), legend[kind][1], hollow=legend[kind][2])
    canvas.text(20, (top + bottom) / 2, axis_title, size=13, colour=SOFT, anchor="middle", turned=True)
    canvas.text((left + right) / 2, 458, "a bar is the geometric mean of its dots", size=12, colour=SOFT, anchor="middle")
    return canvas.svg()


SHORT = {"fp8_w8a8_block": "fp8, blocks", "int8_w8a16": "int8 weights"}
LEGEND = [("expertile", OURS, False), ("best peer", COLOURS["triton"], True)]


def decode_picture(rows):
    shares = table.decode_shares(rows)
    columns = []
    for dtype in DTYPES:
        mine = [(row, share) for row, share in shares if row["dtype"] == dtype]
        columns.append((SHORT.get(dtype, NAMES[dtype]), f"{len(mine)} cells", [
            [share for _, share in mine], [share * row["expertile"] / row["best"] for row, share in mine if row["best"]]]))
    values = [share for _, share in shares]
    return columns_picture(
        f"Up to 16 tokens expertile reads weights at {min(values):.2f} to {max(values):.2f} of a copy's speed",
        [f"NVIDIA H100, {len(values)} cells of 1, 4 and 16 tokens that touch 200 MB of weights or more, "
         f"{mean(values)} in the mean.", f"The copy moves {rows[0]['copy_tbps']:.2f} TB/s, read and written."],
        LEGEND, columns, (0.85, 0.9, 0.95, 1.0, 1.05), "least bytes / time / copy's rate", 1.0, "a copy")


def prefill_picture(rows):
    found = [(row, table.floor_us(row) / row["expertile"]) for row in table.many_rows(rows) if table.floor_us(row)]
    dense = rows[0]["dense_tflops"]
    columns = []
    for dtype in DTYPES:
        mine = [(row, share) for row, share in found if row["dtype"] == dtype]
        columns.append((SHORT.get(dtype, NAMES[dtype]), f"{RATES[dtype] * dense:.0f} T{'' if dtype == 'int8_w8a8' else 'FL'}OP/s",
                        [[share for _, share in mine],
                         [share * row["expertile"] / row["best"] for row, share in mine if row["best"]]]))
    values = [share for _, share in found]
    return columns_picture(
        f"From {PREFILL_BATCH} tokens on expertile reaches {min(values):.2f} to {max(values):.2f} of the machine's own limit",
        [f"NVIDIA H100, {len(values)} cells with {MANY_ROWS} rows an expert or more, {mean(values)} in the mean.",
         f"The limit: cuBLAS's dense bfloat16 product, {dense:.0f} TFLOP/s, times the rate written below; or the copy's rate, "
         "where that takes longer."],
        LEGEND, columns, (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1), "limit's time / time", 1.0, "the limit")


def pictures_of(h100):
    return {"peers.svg": peers_picture(h100), "decode.svg": decode_picture(h100), "prefill.svg": prefill_picture(h100)}


# ---- the files ------------------------------------------------------------------------------------------------------

def with_tables(text, tables):
    """The document with each table put between its marks."""
    for mark, lines in tables.items():
        begin, end = f"<!-- bench/plots.py: {mark} -->\n", "<!-- end -->"
        head, found, rest = text.partition(begin)
        if found:
            text = head + begin + "\n" + "\n".join(lines) + "\n\n" + end + rest.partition(end)[2]
    return text


def wanted_files():
    """{path: text} of all that the CSVs decide."""
    h100, h200 = (results.read_rows(RESULTS / f"peers_{gpu}.csv") for gpu in ("h100", "h200"))
    files = {IMAGES / name: svg for name, svg in pictures_of(h100).items()}
    tables = tables_of(h100, h200)
    for document in (ROOT / "README.md", ROOT / "bench/RESULTS.md"):
        files[document] = with_tables(document.read_text(), tables)
    return files


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; say what is out of date")
    options = parser.parse_args()
    stale = [path for path, text in wanted_files().items() if not path.exists() or path.read_text() != text]
    if options.check:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not what bench/results/ says; run python3 bench/plots.py", file=sys.stderr)
        sys.exit(1 if stale else 0)
    IMAGES.mkdir(parents=True, exist_ok=True)
    for path, text in wanted_files().items():
        path.write_text(text)
    print("\n".join(str(path.relative_to(ROOT)) for path in stale) or "everything is as the CSVs say")


if __name__ == "__main__":
    main()
