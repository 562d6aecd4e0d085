#!/usr/bin/env python3
"""Draws the pictures of docs/kernel-tour.md, from the figures that host and kernels share:

    python3 docs/make_pictures.py build/release/bench/bench_shared_layout
"""

import json
import pathlib
import subprocess
import sys
from html import escape

FOLDER = pathlib.Path(__file__).parent / "pictures"
COLOURS = {"a": "#9ecae1", "b": "#fdae6b", "barrier": "#e377c2", "queue": "#c5b0d5", "store": "#a1d99b",
           "free": "#f0f0f0", "producer": "#9ecae1", "first": "#fdae6b", "second": "#a1d99b", "engine": "#d9d9d9"}


class Picture:
    """Shapes with texts, in pixels from the upper left corner."""

    def __init__(self, width, height):
        self.width, self.height, self.parts = width, height, []

    def box(self, x, y, width, height, text="", colour="free", size=12, dashed=False):
        dash = ' stroke-dasharray="4 3"' if dashed else ""
        self.parts.append(f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="2" stroke="#444"'
                          f' fill="{COLOURS.get(colour, colour)}"{dash}/>')
        lines = text.split("\n")
        top = y + height / 2 - (len(lines) - 1) * size * 0.6 + size * 0.35
        for i, line in enumerate(lines):
            self.text(x + width / 2, top + i * size * 1.2, line, size, "middle")

    def text(self, x, y, text, size=12, anchor="start", weight="normal"):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"'
                          f' font-weight="{weight}">{escape(text)}</text>')

    def line(self, x1, y1, x2, y2, arrow=True, dashed=False, colour="#222"):
        end = ' marker-end="url(#arrow)"' if arrow else ""
        dash = ' stroke-dasharray="4 3"' if dashed else ""
        self.parts.append(f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}" stroke-width="1.4"'
                          f'{dash}{end}/>')

    def write(self, name):
        head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}"'
                f' viewBox="0 0 {self.width} {self.height}" font-family="DejaVu Sans, Verdana, sans-serif">\n'
                '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"'
                ' orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#222"/></marker></defs>\n'
                f'<rect width="{self.width}" height="{self.height}" fill="white"/>\n')
        (FOLDER / name).write_text(head + "\n".join(self.parts) + "\n</svg>\n")


def kib(count):
    return f"{count / 1024:.0f} KiB" if count >= 1024 else f"{count} bytes"


def tile_name(at):
    return (f'{at["block_size_m"]} x {at["block_size_n"]} x {at["block_size_k"]}, {at["num_stages"]} stages, '
            f'ping-pong, CLUSTER_SIZE=2, bfloat16')


def shared_memory(at):
    picture = Picture(900, 480)
    picture.text(20, 28, f"Shared memory of a block: tile {tile_name(at)}", 15, weight="bold")
    scale = 840 / at["most"]
    x = 20
    for stage in range(at["num_stages"]):
        for colour, size, name in (("a", at["b"], "A"), ("b", at["stage_bytes"] - at["b"], "B")):
            picture.box(round(x, 1), 60, round(size * scale, 1), 70, f"{name}\n{kib(size)}", colour, 11)
            x += size * scale
        picture.text(20 + (stage + 0.5) * at["stage_bytes"] * scale, 54, f"stage {stage}", 12, "middle")
    store = at["total"] - at["store_tiles"]
    left = 20 + at["store_tiles"] * scale
    picture.box(round(left, 1), 60, round(store * scale, 1), 70,
                f'store tiles\n{at["store_tile_owners"]} warps x {at["store_tiles_each"]}\n{kib(store)}', "store", 11)
    picture.text(20, 148, "0")
    picture.text(20 + at["total"] * scale, 54, f'{at["total"]} of {at["most"]} bytes', 12, "end")

    begin, end = at["stage_barriers"], at["store_tiles"]
    picture.line(20 + begin * scale, 130, 60, 236, arrow=False, dashed=True)
    picture.line(20 + end * scale, 130, 860, 236, arrow=False, dashed=True)
    picture.text(270, 226, f"between them, {end - begin} bytes (not to scale)", 13)
    slot = at["queue_slot_bytes"]
    rest = end - at["cluster_tile"] - at["cluster_tile_bytes"]
    parts = [(220, "barrier", f'{at["num_stages"]} x (full, empty)\nat {begin}',
              f'{at["stage_barrier_bytes"]} bytes per stage'),
             (110, "barrier", f'ordered\nbarriers\nat {at["ordered_barriers"]}', "2 x 8 bytes"),
             (240, "queue", f'tile queue: {at["queue_slots"]} x (tile, full, empty)\nat {at["tile_queue"]}',
              f"{slot} bytes per slot"),
             (130, "queue", f'cluster tile:\nnumber, full, empty\nat {at["cluster_tile"]}',
              f'{at["cluster_tile_bytes"]} bytes'),
             (100, "free", f"to a multiple\nof 1024", f"{rest} bytes")]
    x = 60
    for width, colour, name, size in parts:
        picture.box(x, 240, width, 70, name, colour, 11)
        picture.text(x + width / 2, 328, size, 11, "middle")
        x += width
    rows = at["box_rows_a"]
    k = at["block_size_k"]
    picture.text(20, 372, f'A stage: [{at["block_size_m"]} tokens, {k} of K] of A, which the two blocks of the cluster'
                 f' multicast in boxes of {rows} rows, and [{at["block_size_n"]} columns, {k} of K] of B.', 12)
    picture.text(20, 394, "With block scales their values lie behind the cluster tile, with SPLIT_K the partial sums; "
                 "with float32 (tf32x3) residuals between A and B.", 12)
    picture.text(20, 416, "kernels/sm90/shared_layout.hpp has this map as a table; host and kernel call it.", 12)
    picture.text(20, 450, f'{at["threads"]} threads: {at["num_warps"]} consumer warps in 2 warpgroups'
                 f' ({at["consumer_registers"]} registers per thread), and the producer\'s warpgroup'
                 f' ({at["producer_registers"]} registers).', 12)
    picture.write("shared_memory.svg")


def pipeline(at):
    stages, blocks = 3, 7  # fewer than the tile has, so that the picture stays small
    copy, multiply = 60, 90
    ready, done, begin, ends = [], [], [], []
    for k in range(blocks):
        free = ends[k - stages] if k >= stages else 0
        begin.append(max(free, begin[-1] + 16 if begin else 0))
        ready.append(begin[-1] + copy)
        done.append(max(ready[-1], done[-1][1] if done else 0))
        done[-1] = (done[-1], done[-1] + multiply)
        ends.append(done[-1][1])
    picture = Picture(880, 390)
    picture.text(20, 28, f"The stages over time: {blocks} k-blocks through {stages} stages", 15, weight="bold")
    left = 110
    for stage in range(stages):
        y = 60 + stage * 80
        picture.text(20, y + 26, f"stage {stage}", 13)
        for k in range(stage, blocks, stages):
            picture.box(left + begin[k], y, ready[k] - begin[k], 40, f"copy {k}", "producer")
            if done[k][0] > ready[k]:
                picture.box(left + ready[k], y, done[k][0] - ready[k], 40, "full", "free", 11, dashed=True)
            picture.box(left + done[k][0], y, multiply, 40, f"multiply {k}", "first")
            phase = k // stages % 2
            picture.text(left + ready[k], y + 56, f"full ends phase {phase}", 10, "middle")
            picture.text(left + done[k][1], y + 68, f"empty ends phase {phase}", 10, "middle")
    y = 320
    picture.line(left, y, 840, y)
    picture.text(840, y - 8, "time", 12, "end")
    picture.text(20, 350, "The producer waits for `empty` of a stage, then copies; `full` counts the bytes. A consumer"
                 " waits for `full`, multiplies,", 12)
    picture.text(20, 368, "and arrives at `empty` when its wgmmas have read the stage. A phase's parity tells it from"
                 " the next: nobody may be two ahead.", 12)
    picture.write("pipeline.svg")


def waits(at):
    picture = Picture(900, 500)
    picture.text(20, 28, "Who waits for whom", 15, weight="bold")
    picture.box(30, 190, 150, 90, "producer warp\nfinds tiles,\nissues copies", "producer")
    picture.box(370, 60, 160, 60, "tile queue\n4 slots", "queue")
    picture.box(370, 200, 160, 70, "stages\nA and B of a k-block", "a")
    picture.box(370, 350, 160, 60, "scales or residuals\nof a stage", "barrier")
    picture.box(30, 350, 150, 60, "scale producers,\nresidual warps", "producer")
    picture.box(690, 150, 180, 70, "consumer warpgroup 0\nwgmma, epilogue", "first")
    picture.box(690, 290, 180, 70, "consumer warpgroup 1\nwgmma, epilogue", "second")
    picture.box(690, 420, 180, 50, "copy engine: C", "engine")

    picture.line(180, 205, 368, 92)
    picture.text(90, 128, "push: waits for empty,", 11)
    picture.text(90, 142, "writes, arrives at full", 11)
    picture.line(180, 225, 368, 225)
    picture.text(190, 218, "acquire: waits for empty", 11)
    picture.line(180, 250, 368, 250)
    picture.text(190, 266, "copies, counted by full", 11)
    picture.line(180, 380, 368, 380)
    picture.text(184, 372, "wait for empty (scales)", 11)
    picture.text(184, 396, "or full (residuals)", 11)
    picture.line(530, 92, 700, 148)
    picture.text(560, 84, "pop: waits for full, reads,", 11)
    picture.text(560, 98, "arrives at empty", 11)
    picture.line(530, 222, 688, 192)
    picture.text(545, 186, "wait for full", 11)
    picture.line(688, 208, 532, 244)
    picture.text(560, 262, "release: arrives at empty,", 11)
    picture.text(560, 276, "of every block of the cluster", 11)
    picture.line(530, 370, 688, 345)
    picture.text(545, 392, "with the stage", 11)
    picture.line(740, 222, 740, 288)
    picture.line(820, 288, 820, 222)
    picture.text(748, 252, "ordered", 11)
    picture.text(748, 266, "barriers", 11)
    picture.line(780, 362, 780, 418)
    picture.text(700, 392, "store tiles:", 11)
    picture.text(700, 406, "fenced", 11)
    picture.text(20, 450, "An arrow leads from who fills or releases to who waits.", 12)
    picture.text(20, 470, "Not drawn: the grid of other blocks, with whom a cluster shares the next tile's number", 12)
    picture.text(20, 486, "and, where K is split, partial sums.", 12)
    picture.write("waits.svg")


def find_tile():
    rows = [130, 0, 300, 60]
    m, n, columns = 128, 128, 3
    tiles = [-(-r // m) * columns for r in rows]
    until, total = [], 0
    for count in tiles:
        total += count
        until.append(total)
    wanted = 7
    found = next(g for g, end in enumerate(until) if end > wanted)
    local = wanted - (until[found - 1] if found else 0)
    picture = Picture(860, 420)
    picture.text(20, 28, f"How a warp finds tile {wanted}: one group per lane", 15, weight="bold")
    names = ["lane", "rows of its group", f"tiles ({m} x {n}, N = {n * columns})", "until: tiles up to and with it"]
    for i, name in enumerate(names):
        picture.text(20, 74 + i * 34, name, 12)
    for g in range(len(rows)):
        x = 250 + g * 130
        colour = "first" if g == found else "free"
        for i, value in enumerate((g, rows[g], tiles[g], until[g])):
            picture.box(x, 54 + i * 34, 130, 30, str(value), colour)
    picture.text(20, 214, f"count_lanes(until <= {wanted}) = {found}: so it is tile {local} of group {found}, whose row"
                 " tiles pass over one column tile before the next:", 12)
    row_tiles = -(-rows[found] // m)
    for local_tile in range(tiles[found]):
        row, column = local_tile % row_tiles, local_tile // row_tiles
        height = min(m, rows[found] - row * m) * 34 // m
        colour = "first" if local_tile == local else "free"
        picture.box(250 + column * 130, 236 + row * 38, 124, height, f"tile {local_tile}", colour,
                    12 if height > 20 else 9)
    for row in range(row_tiles):
        first = row * m
        picture.text(20, 258 + row * 38, f"rows {first} to {min(first + m, rows[found])} of group {found}", 12)
    for column in range(columns):
        picture.text(250 + column * 130 + 62, 370, f"columns from {column * n}", 11, "middle")
    picture.text(20, 400, "32 groups are in hand at a time. One that cannot be right counts as empty.", 12)
    picture.write("find_tile.svg")


def swapped():
    picture = Picture(860, 380)
    picture.text(20, 28, "Straight and swapped: which operand takes the tensor core's 64 rows", 15, weight="bold")
    for x, title, rows, row_colour, columns, column_colour, width, note in (
            (40, "straight: tokens are the rows", "tokens", "a", "weights", "b", 230, "3 tokens use 3 rows of 64"),
            (470, "SWAP_AB=1: weights are the rows", "weights", "b", "tokens", "a", 40, "3 tokens use 3 of 8 columns")):
        picture.text(x, 60, title, 13)
        picture.box(x, 110, 60, 160, f"X\n64 {rows}\n32 bytes\nof K", row_colour, 10)
        picture.box(x + 80, 74, width, 28, f"Y: {columns}" if width > 100 else "", column_colour, 11)
        if width <= 100:
            picture.text(x + 130, 92, "Y: 8 tokens and on", 11)
        picture.box(x + 80, 110, width, 160, "sums\n64 x columns" if width > 100 else "", "free", 11)
        if width > 100:
            picture.box(x + 80, 110, width, 10, "", "store")
        else:
            picture.box(x + 80, 110, 15, 160, "", "store")
            picture.text(x + 130, 190, "sums: 64 x 8", 11)
        picture.text(x, 292, note, 12)
    for i, line in enumerate((
            "A wgmma always has 64 rows, and 8 to 256 columns. Few tokens per group, as in decode, waste most rows;",
            "as columns they cost what they are. C then comes out transposed, which stmatrix.trans turns round in the",
            "store tile. Weights that go through registers (int8 beside float16, float32) are always the rows.")):
        picture.text(40, 326 + 18 * i, line, 12)
    picture.write("swapped.svg")


def main():
    if len(sys.argv) != 2:
        sys.exit("make_pictures.py: give the program that prints the figures: build/release/bench/bench_shared_layout")
    at = json.loads(subprocess.run([sys.argv[1]], check=True, capture_output=True, text=True).stdout)
    FOLDER.mkdir(exist_ok=True)
    shared_memory(at)
    pipeline(at)
    waits(at)
    find_tile()
    swapped()


if __name__ == "__main__":
    main()
