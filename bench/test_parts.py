#!/usr/bin/env python3
"""peers.py's table shared out over GPUs, with a run that needs none: every part once, none after the time, and what was
begun goes on with its own card."""

import os
import pathlib
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from peers import cells, parts  # noqa: E402

# Stands in for peers.py: writes as many rows as PRETEND_ROWS says (default: more than any part has) and where it ran.
PRETEND = """
import json, os, pathlib, sys
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
rows = [dict(whole=True)] * int(os.environ.get("PRETEND_ROWS", "999"))
(out / "peers.json").write_text(json.dumps(rows))
(out / "peers.md").write_text("A machine\\n")
with open(out / "ran", "a") as ran:
    ran.write(os.environ["CUDA_VISIBLE_DEVICES"] + "\\n")
"""


class SharingOut(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = pathlib.Path(folder.name)
        (self.out / "run.py").write_text(PRETEND)
        self.command = [sys.executable, str(self.out / "run.py")]
        self.parts = parts.parts_of(self.out, list(cells.PROBLEMS), cells.BATCHES, ["bfloat16", "int8_w8a8"])
        self.addCleanup(os.environ.pop, "PRETEND_ROWS", None)
        self.stderr, sys.stderr = sys.stderr, open(os.devnull, "w")

    def tearDown(self):
        sys.stderr.close()
        sys.stderr = self.stderr

    def ran(self, part):
        file = part.folder / "ran"
        return file.read_text().split() if file.exists() else []

    def test_the_parts_hold_every_cell_once(self):
        steps = cells.plan(["bfloat16", "int8_w8a8"], list(cells.PROBLEMS), cells.BATCHES)
        self.assertEqual(sum(part.cells for part in self.parts), sum(len(step.batches) for step in steps))
        self.assertEqual(len({part.name for part in self.parts}), 2 * len(cells.PROBLEMS))

    def test_every_part_runs_once_on_one_of_the_gpus(self):
        parts.run_parts(self.command, self.parts, ["0", "3"], 1000)
        for part in self.parts:
            self.assertIn(self.ran(part), (["0"], ["3"]))
            self.assertTrue(part.is_complete())

    def test_what_is_complete_is_not_run_again(self):
        parts.run_parts(self.command, self.parts, ["0"], 1000)
        parts.run_parts(self.command, self.parts, ["0", "1"], 1000)
        self.assertTrue(all(self.ran(part) == ["0"] for part in self.parts))

    def test_a_part_goes_on_with_the_card_that_it_began_on(self):
        os.environ["PRETEND_ROWS"] = "1"
        parts.run_parts(self.command, self.parts, ["0", "1"], 1000)
        before = [self.ran(part) for part in self.parts]
        del os.environ["PRETEND_ROWS"]
        parts.run_parts(self.command, self.parts, ["0", "1"], 1000)
        self.assertEqual([self.ran(part) for part in self.parts], [2 * cards for cards in before])

    def test_a_part_whose_card_is_gone_goes_on_with_another(self):
        os.environ["PRETEND_ROWS"] = "1"
        parts.run_parts(self.command, self.parts[:1], ["7"], 1000)
        parts.run_parts(self.command, self.parts[:1], ["0"], 1000)
        self.assertEqual(self.ran(self.parts[0]), ["7", "0"])

    def test_nothing_is_begun_when_the_time_is_over(self):
        parts.run_parts(self.command, self.parts, ["0"], parts.LEAST_SECONDS - 1)
        self.assertTrue(all(self.ran(part) == [] for part in self.parts))
        self.assertEqual(threading.active_count(), 1)

    def test_the_heading_is_the_runs_own(self):
        self.assertIn("nothing was measured", parts.heading(self.parts, ["0"]))
        parts.run_parts(self.command, self.parts[:1], ["0"], 1000)
        self.assertIn("1 GPUs of one host", parts.heading(self.parts, ["0"]))
        self.assertIn("A machine", parts.heading(self.parts, ["0"]))


if __name__ == "__main__":
    unittest.main()
