#!/usr/bin/env python3
"""Cells as CSV, and the documents that are made from them. Needs neither PyTorch nor a GPU."""

import csv
import io
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import plots  # noqa: E402
from peers import results, table  # noqa: E402

MEASURED = dict(dtype="int8_w8a16", problem="mixtral.down", batch=4, routing="uniform", whole=True, expertile=111.2,
                default=129.0, rows=8.0, active=5.25, triton=108.4, cublas_loop=150.0, cublas_grouped=140.0, bytes=3.1e8,
                flops=9.4e8, copy_tbps=3.01, dense_tflops=712.0, config={"BLOCK_SIZE_M": 8, "kernel": "sm80"},
                match="exact", gpu="NVIDIA H100 80GB HBM3", date="2026-11-27", revision="7205d10", run="out")


def records(text):
    return list(csv.DictReader(io.StringIO(text)))


class CellsAsCsv(unittest.TestCase):
    def test_a_row_has_what_was_measured(self):
        record = records(results.csv_text([table.complete(dict(MEASURED))]))[0]
        wanted = {"gpu": "NVIDIA H100 80GB HBM3", "model": "mixtral", "projection": "down", "tokens": "4",
                  "expertile_us": "111.2", "built_in_us": "129", "triton_us": "108.4", "cublas_us": "140",
                  "cublas_form": "cublas_grouped", "deepgemm_us": "", "tile": "BLOCK_SIZE_M=8 kernel=sm80"}
        self.assertEqual({column: record[column] for column in wanted}, wanted)
        self.assertEqual(tuple(record), results.COLUMNS)

    def test_what_is_read_back_makes_the_same_tables(self):
        made = [table.complete(dict(MEASURED)), table.complete(dict(MEASURED, routing="zipf:1.2", expertile=120.0))]
        back = [results.to_row(record) for record in records(results.csv_text(made))]
        self.assertEqual(table.cells_table(back), table.cells_table(made))
        self.assertEqual(table.skewed_table(back), table.skewed_table(made))
        self.assertEqual(back[0]["weight_bytes"], 5.25 * 4096 * 14336)

    def test_skewed_cells_come_behind(self):
        made = [table.complete(dict(MEASURED, routing="zipf:1.2")), table.complete(dict(MEASURED))]
        self.assertEqual([r["routing"] for r in records(results.csv_text(made))], ["uniform", "zipf:1.2"])

    def test_a_skewed_cell_is_held_against_the_time_beside_it(self):
        rows = [dict(MEASURED), dict(MEASURED, routing="zipf:1.2", expertile=120.0, uniform=100.0)]
        self.assertEqual([ratio for _, ratio in table.against_uniform(rows)], [1.2])

    def test_every_column_is_explained(self):
        explained = (plots.RESULTS / "README.md").read_text()
        self.assertEqual([column for column in results.COLUMNS if f"`{column}`" not in explained], [])


class KeptCells(unittest.TestCase):
    def setUp(self):
        self.rows = {name: results.read_rows(plots.RESULTS / f"peers_{name}.csv") for name in ("h100", "h200")}

    def test_no_cell_is_lost_or_there_twice(self):
        for name, cells in (("h100", 432), ("h200", 358)):
            keys = {(row["dtype"], row["problem"], row["batch"], row["routing"]) for row in self.rows[name]}
            self.assertEqual((len(self.rows[name]), len(keys)), (cells, cells))

    def test_the_means_are_those_that_the_runs_printed(self):
        with open(plots.RESULTS / "printed_means.csv", newline="") as file:
            for line in csv.DictReader(file):
                mine = plots.of_dtype(self.rows["h100" if "H100" in line["gpu"] else "h200"], line["dtype"])
                for column, above, below in (("best_peer_over_expertile", "best", "expertile"),
                                             ("triton_over_expertile", "triton", "expertile"),
                                             ("built_in_over_tuned", "default", "expertile")):
                    found = table.geomean(ratio for _, ratio in table.ratios(mine, above, below))
                    self.assertAlmostEqual(found, float(line[column]), delta=0.011, msg=f"{line} {column}")

    def test_documents_and_pictures_are_what_the_cells_say(self):
        for path, text in plots.wanted_files().items():
            self.assertEqual(path.read_text(), text, f"{path} is out of date; run python3 bench/plots.py")

    def test_every_mark_stands_in_a_document(self):
        documents = "".join((plots.ROOT / name).read_text() for name in ("README.md", "bench/RESULTS.md"))
        for mark in plots.tables_of(self.rows["h100"], self.rows["h200"]):
            self.assertIn(f"<!-- bench/plots.py: {mark} -->", documents)


if __name__ == "__main__":
    unittest.main()
