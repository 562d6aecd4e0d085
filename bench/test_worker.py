#!/usr/bin/env python3
"""The asking side of peers/worker.py, with a worker that needs no GPU: peers that fail, hang or take the process along
cost themselves alone."""

import os
import pathlib
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from peers.worker import STALE, Worker  # noqa: E402

FAR = 1e9


def pretend(pipe):
    """Does to each peer what its name says."""
    while True:
        job = pipe.recv()
        if job["problem"] == "no tensors":
            pipe.send(("died", "out of memory"))
            continue
        unfit = None
        for name in job["peers"]:
            pipe.send(("begin", name))
            if name == "crash":
                os._exit(3)
            if name == "hang":
                time.sleep(60)
            if name == "wrong":
                pipe.send(("failed", name, "wrong is wrong"))
            elif name.startswith("missing"):
                pipe.send(("unavailable", name, "not installed"))
            else:
                pipe.send(("result", name, {"us": 1.0, "how": "eager" if name == "stale" else "graph"}))
            unfit = {"stale": STALE, "breaks": "it broke the GPU's context"}.get(name)
            if unfit:
                break
        pipe.send(("done", unfit))


class AskingAWorker(unittest.TestCase):
    def setUp(self):
        self.worker = Worker(pretend)
        self.addCleanup(self.worker.stop)
        self.stderr, sys.stderr = sys.stderr, open(os.devnull, "w")

    def tearDown(self):
        sys.stderr.close()
        sys.stderr = self.stderr

    def ask(self, *peers, problem="some", silence=20.0):
        return set(self.worker.run_cell("cell", {"problem": problem}, list(peers), silence, FAR))

    def test_every_peer_answers(self):
        self.assertEqual(self.ask("a", "b"), {"a", "b"})

    def test_a_peer_that_fails_costs_itself(self):
        self.assertEqual(self.ask("a", "wrong", "b"), {"a", "b"})
        self.assertIsNotNone(self.worker.process)

    def test_a_crash_costs_the_peer_and_twice_leaves_it_out(self):
        self.assertEqual(self.ask("a", "crash", "b"), {"a", "b"})
        self.assertEqual(self.ask("crash", "b"), {"b"})
        self.assertIn("crash", self.worker.left_out)

    def test_a_hang_is_ended(self):
        self.ask("a")  # so that the start of the process is no part of the silence
        self.assertEqual(self.ask("a", "hang", "b", silence=3.0), {"a", "b"})

    def test_a_broken_context_is_not_used_again(self):
        self.assertEqual(self.ask("a", "breaks", "b"), {"a", "b"})
        self.assertEqual(self.worker.deaths, {"breaks": 1})

    def test_a_capture_that_failed_keeps_its_result(self):
        self.assertEqual(self.ask("stale", "b"), {"stale", "b"})
        self.assertTrue(self.worker.eagerly)
        self.assertEqual(self.worker.deaths, {})

    def test_what_is_not_installed_is_asked_for_once(self):
        self.assertEqual(self.ask("missing_one", "missing_two", "a"), {"a"})
        self.assertEqual(self.worker.left_out, {"missing_one", "missing_two"})

    def test_a_cell_without_tensors_is_given_up(self):
        self.assertEqual(self.ask("a", "b", problem="no tensors"), set())
        self.assertEqual(self.ask("a"), {"a"})


if __name__ == "__main__":
    unittest.main()
