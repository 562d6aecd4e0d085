#!/usr/bin/env python3
"""The order of peers.py's cells and its tables, over made-up rows. Needs neither PyTorch nor a GPU."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from peers import cells, table, triton_configs, warm_up  # noqa: E402


def row(dtype="bfloat16", problem="mixtral.gate_up", batch=4096, expertile=100.0, routing="uniform", **more):
    made = dict(dtype=dtype, problem=problem, batch=batch, routing=routing, expertile=expertile, default=expertile,
                whole=True, copy_tbps=4.0)
    return table.complete(made | more)


class OrderOfCells(unittest.TestCase):
    def steps(self):
        return cells.plan(cells.DTYPES, list(cells.PROBLEMS), cells.BATCHES)

    def test_every_cell_is_measured_once(self):
        found = [(s.dtype, s.problem, b) for s in self.steps() if s.routing == "uniform" for b in s.batches]
        wanted = [(d, p, b) for d in cells.DTYPES for p in cells.PROBLEMS for b in cells.BATCHES]
        self.assertEqual(sorted(found), sorted(wanted))

    def test_the_most_telling_come_first(self):
        steps = self.steps()
        first = steps[:len(cells.DTYPES) * 3]
        self.assertTrue(all(s.problem.endswith("gate_up") and s.batches == (1, 16, 256, 4096) for s in first))
        self.assertEqual({s.dtype for s in first}, set(cells.DTYPES))
        second = steps[len(first):2 * len(first)]
        self.assertTrue(all(s.batches == (4, 64, 1024, 16384) for s in second))
        skewed = steps[2 * len(first):3 * len(first)]
        self.assertTrue(all(s.routing == "zipf:1.2" and s.batches == (4096, 16384) for s in skewed))
        down = steps[3 * len(first):]
        self.assertTrue(all(s.problem.endswith("down") for s in down))
        served = [s.dtype in cells.DEEPGEMM_DTYPES for s in down]
        self.assertEqual(served, sorted(served, reverse=True))

    def test_phases_without_batches_are_left_out(self):
        self.assertEqual({s.batches for s in cells.plan(["float16"], ["qwen3.gate_up"], [64])}, {(64,)})

    def test_what_a_call_moves(self):
        moved = cells.traffic("mixtral.gate_up", "int8_w8a16", [[0, 1, 2, 2, 2, 2, 2, 2, 2], [0, 2, 2, 2, 2, 2, 2, 2, 2]])
        self.assertEqual((moved["rows"], moved["active"]), (2, 1.5))
        self.assertEqual(moved["weight_bytes"], 1.5 * 28672 * 4096)
        self.assertEqual(moved["bytes"], 1.5 * 28672 * 4096 + 2 * 2 * (4096 + 28672))
        self.assertEqual(moved["flops"], 2 * 2 * 28672 * 4096)

    def test_guessed_counts_have_every_row(self):
        counts = cells.likely_counts("qwen3.gate_up", 64)
        self.assertEqual((len(counts), sum(counts)), (128, 64 * 8))

    def test_peers_of_a_dtype(self):
        self.assertIn("dense", cells.peers_of("bfloat16", 1024))
        self.assertNotIn("dense", cells.peers_of("bfloat16", 512))
        self.assertEqual(cells.peers_of("int8_w8a8", 4096), ["triton"])
        self.assertEqual(cells.peers_of("fp8_w8a8_block", 1), ["triton", "deepgemm_contiguous", "deepgemm_masked"])


class TritonConfigurations(unittest.TestCase):
    def test_there_are_some_and_few_everywhere(self):
        for dtype in cells.DTYPES:
            for rows in (0.1, 1, 8, 12, 32, 64, 95, 96, 512, 4096):
                configs = triton_configs.configurations(dtype, rows)
                self.assertTrue(3 <= len(configs) <= 12, (dtype, rows, len(configs)))

    def test_blocks_divide_every_problem(self):
        for dtype in cells.DTYPES:
            for rows in (1, 32, 4096):
                for config in triton_configs.configurations(dtype, rows):
                    for _, n, k, _, _ in cells.PROBLEMS.values():
                        self.assertEqual((n % config["BLOCK_N"], k % config["BLOCK_K"]), (0, 0))

    def test_jobs_are_not_repeated(self):
        jobs = warm_up.triton_jobs(cells.plan(["bfloat16"], list(cells.PROBLEMS), cells.BATCHES))
        self.assertEqual(len(jobs), len({repr(job) for job in jobs}))


class Tables(unittest.TestCase):
    def test_the_best_form_and_the_best_peer(self):
        made = row(triton=130.0, cublas_loop=150.0, cublas_grouped=120.0, deepgemm_masked=110.0, dense=50.0)
        self.assertEqual((made["cublas"], made["cublas_form"]), (120.0, "cublas_grouped"))
        self.assertEqual((made["best_peer"], made["best"]), ("deepgemm", 110.0))

    def test_a_row_without_peers(self):
        made = row()
        self.assertIsNone(made["best"])
        self.assertIn("| - | - |", "\n".join(table.cells_table([made])))

    def test_means(self):
        rows = [row(triton=200.0, torch=150.0), row(batch=1, triton=50.0, default=110.0), row(dtype="tf32")]
        lines = table.means_table(rows)
        self.assertIn("| bfloat16 | 2 | 0.87 | 0.50 | 1 | - | 1.00 | 0.50 | 1 | 1.05 |", lines)
        self.assertIn("| tf32 | 1 | - | - | - | - | - | - | - | 1.00 |", lines)

    def test_the_floor_is_the_slower_of_memory_and_products(self):
        measured = dict(bytes=4e9, copy_tbps=4.0, dense_tflops=800.0)
        self.assertAlmostEqual(table.floor_us(row(flops=8e11, **measured)), 1000)
        self.assertAlmostEqual(table.floor_us(row(flops=8e12, **measured)), 10000)
        self.assertAlmostEqual(table.floor_us(row(dtype="int8_w8a8", flops=8e12, **measured)), 5000)
        self.assertIsNone(table.floor_us(row(flops=8e12)))

    def test_rows_of_a_problem_stand_side_by_side(self):
        rows = [row(batch=256), row(dtype="float16", batch=1), row(batch=4), row(problem="mixtral.down", batch=1)]
        order = [line.split(" | ")[:3] for line in table.cells_table(rows)[2:]]
        self.assertEqual(order, [["| bfloat16", "mixtral.gate_up", "4"], ["| bfloat16", "mixtral.gate_up", "256"],
                                 ["| bfloat16", "mixtral.down", "1"], ["| float16", "mixtral.gate_up", "1"]])

    def test_decode_counts_large_weights_alone(self):
        rows = [row(batch=16, expertile=100.0, weight_bytes=3e8, bytes=3.6e8), row(batch=16, weight_bytes=1e8, bytes=1e8),
                row(batch=64, weight_bytes=1e9, bytes=1e9)]
        self.assertEqual([round(share, 3) for _, share in table.decode_shares(rows)], [0.9])

    def test_quantised_against_own_bfloat16(self):
        rows = [row(rows_an_expert=1024, expertile=180.0), row(dtype="fp8_w8a8", rows_an_expert=1024, expertile=100.0),
                row(dtype="fp8_w8a8", problem="deepseek.gate_up", rows_an_expert=128, expertile=1.0)]
        self.assertEqual([ratio for _, ratio in table.against_bfloat16(rows, "fp8_w8a8")], [1.8])

    def test_skewed_against_uniform(self):
        rows = [row(), row(routing="zipf:1.2", expertile=120.0), row(routing="zipf:1.2", batch=16384)]
        self.assertEqual([ratio for _, ratio in table.against_uniform(rows)], [1.2])
        self.assertEqual(len(table.cells_table(rows)), 3)

    def test_goals(self):
        rows = [row(triton=130.0, dense=95.0, rows_an_expert=1024), row(batch=1, triton=90.0),
                row(routing="zipf:1.2", expertile=110.0)]
        lines = "\n".join(table.goals_table(rows))
        self.assertIn("| Triton's time over expertile's | 1.0 in every cell, mean 1.5 | 2 | 0.90 (bfloat16 mixtral.gate_up 1) "
                      "| 1.08 | 1 | no |", lines)
        self.assertIn("0.95 (bfloat16 mixtral.gate_up 4096) | 0.95 | 0 | yes |", lines)
        self.assertIn("| at most 1.15 | 1 | 1.10 (bfloat16 mixtral.gate_up 4096) | 1.10 | 0 | yes |", lines)
        self.assertIn("| prefill, int8_w8a16: speed over own bfloat16 | 0.80 | 0 | - | - | - | not measured |", lines)

    def test_the_document_of_no_rows(self):
        self.assertIn("not measured", "\n".join(table.document("heading", [])))

    def test_the_document_names_every_part(self):
        text = "\n".join(table.document("heading", [row(), row(routing="zipf:1.2")]))
        for part in ("heading", "Skewed routing", "\nGeometric means", "What was to be reached"):
            self.assertIn(part, text)


if __name__ == "__main__":
    unittest.main()
