"""The page about performance says what was measured, and what was not."""

import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench"))

import report
from performance import circumstances, growth, memory, pictures, products, steps, texts
from performance.left_out import left_out
from performance.measured import LADDER, Row, Rows, Unreadable


AT = {"commit": "abc1234", "date": "2026-11-21T23:00:00Z", "processor": "a processor", "processors": "cpu: 2 threads"}


def contestant(name, threads, seconds, loss=0.5, turns=3):
    return {"name": name, "threads": threads, "seconds": seconds, "low": seconds, "high": seconds, "steps": 1,
            "repetitions": turns, "turns": [seconds] * turns, "floor": 1e-3, "share_of_floor": 1e-3 / seconds, "loss": loss}


def ladder_row(name, **changes):
    return {"row": name, "title": f"the {name}", "flops": 1e6, "bytes": 1e6, "peak_bytes": 2**20, "kernels": 5,
            "made_again": 0, "disturbed": 0, "roofs": {"1": {"flops": 1e11, "bytes": 1e10}, "2": {"flops": 2e11, "bytes": 1e10}},
            "contestants": [contestant("blockgrad", 1, 2e-3), contestant("blockgrad", 2, 1e-3),
                            contestant("torch eager", 2, 3e-3), contestant("jax jit", 1, 2e-3)],
            "losses": [{"what": "matmul", "count": 3, "seconds": 1e-3, "above_floor": 4e-4}], "left_out": [],
            "at": AT | {"peers": {"torch": "2.1", "jax": "0.4"}}} | changes


def product(**changes):
    return {"type": "f32", "layout": "NN", "m": 64, "n": 32, "k": 16, "threads": 1, "nanoseconds": 100.0, "gflops": 200.0,
            "peak_gflops": 250.0, "percent_of_peak": 80.0, "peer": "oneDNN", "peer_build": "2.6, AVX2", "others": 0.0, "peer_gflops": 180.0, "ratio": 1.1, "ratio_low": 1.08,
            "ratio_high": 1.12, "plan": "blocks"} | changes


def attention_row(**changes):
    return {"name": "1 head", "threads": 2, "batch": 1, "heads": 1, "length": 8192, "depth": 64, "causal": True, "flops": 1e9,
            "score_bytes": 2**28, "others": 0.0, "blocks": {"seconds": 0.1, "low": 0.09, "high": 0.2, "peak_bytes": 2**23}} | changes


class Measured(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        (self.folder / "ladder").mkdir()

    def leave(self, name, **changes):
        path = self.folder / "ladder" / f"{name}.json"
        path.write_text(json.dumps(ladder_row(name, **changes)))
        return path

    def rows(self):
        return Rows(self.folder / "ladder", LADDER)

    def leave_json(self, name, content):
        (self.folder / name).write_text(json.dumps(content))

    def page(self):
        with contextlib.redirect_stdout(io.StringIO()) as said:
            sys.argv = ["report.py", str(self.folder), str(self.folder / "performance.md")]
            report.main()
        return (self.folder / "performance.md").read_text(encoding="utf-8"), said.getvalue()


class TrainingSteps(Measured):
    def test_a_quiet_row_shows_times_and_ratios_to_the_best_of_each_peer(self):
        self.leave("lenet")
        page, _ = self.page()
        self.assertIn("| the lenet | 2 ms | 50 % | 1 ms | 100 % | 2.00 | 3 ms (eager, 2) | 3.00 [3.00, 3.00] | "
                      "2 ms (jit, 1) | 2.00 [2.00, 2.00] | - |", page)
        self.assertIn("to the best PyTorch, 1 undisturbed row of 7 without the regressions: **3.00**", page)
        self.assertNotIn("†", page)

    def test_a_disturbed_row_is_marked_wherever_it_stands_and_in_no_mean(self):
        self.leave("lenet", disturbed=1)
        self.leave("gpt", contestants=[contestant("blockgrad", 1, 1e-3), contestant("torch eager", 1, 4e-3)])
        page, said = self.page()
        self.assertIn("| the lenet † |", page)
        self.assertIn("| lenet † | blockgrad |", page)
        self.assertIn("1 row of 2 (lenet) was measured", page)
        self.assertIn("1 undisturbed row of 7 without the regressions: **4.00**", page)
        self.assertIn("disturbed by other programs, marked †: lenet", said)

    def test_a_disturbed_row_is_marked_among_those_behind(self):
        self.leave("lstm", disturbed=2, contestants=[contestant("blockgrad", 1, 2e-3), contestant("torch eager", 1, 1e-3)])
        self.assertIn("* **the lstm**: † disturbed; PyTorch", steps.behind(self.rows()))

    def test_a_row_behind_is_bold_and_named_with_what_loses_it(self):
        self.leave("lstm", contestants=[contestant("blockgrad", 1, 2e-3), contestant("jax scan", 2, 1e-3)])
        page, _ = self.page()
        self.assertIn("1 ms (scan, 2) | **0.50** [0.50, 0.50] |", page)
        self.assertIn("JAX (scan, 2 threads) takes 1 ms, we take 2 ms: ratio **0.50** [0.50, 0.50]. On one thread we lose most in "
                      "matmul (1 ms of which 400 us are above its floor)", page)

    def test_a_row_whose_spread_reaches_one_is_behind_within_the_spread(self):
        slow, fast = contestant("blockgrad", 1, 2e-3, turns=5), contestant("jax scan", 1, 1.9e-3)
        fast["turns"] = [1.5e-3, 1.5e-3, 1.9e-3, 2.5e-3, 2.5e-3]
        self.leave("lstm", contestants=[slow, fast])
        self.assertIn("**0.95** [0.75, 1.25], within the spread", steps.behind(self.rows()))

    def test_a_missing_peer_is_shown_as_missing_with_the_reason(self):
        why = [{"name": "torch eager", "threads": 1, "why": "torch is not installed"}]
        self.leave("lenet", left_out=why, contestants=[contestant("blockgrad", 1, 2e-3), contestant("jax jit", 1, 3e-3)])
        page, _ = self.page()
        self.assertIn("| missing | - | 3 ms (jit, 1) | 1.50 [1.50, 1.50] |", page)
        self.assertIn("* PyTorch eager on 1 thread: torch is not installed\n", page)

    def test_a_peer_that_one_row_lacks_is_named_with_the_row(self):
        late = [{"name": "jax scan", "threads": 2, "why": "not ready 2:00 min after all peers began"}]
        self.leave("lenet")
        self.leave("gpt", left_out=late)
        self.assertIn("* JAX scan on 2 threads: not ready 2:00 min after all peers began (gpt)\n", left_out(self.rows()))

    def test_a_peer_with_another_loss_does_other_work_and_does_not_count(self):
        self.leave("lenet", contestants=[contestant("blockgrad", 1, 2e-3), contestant("torch eager", 1, 1e-3, loss=0.6)])
        page, _ = self.page()
        self.assertIn("| missing | - | missing | - |", page)
        self.assertIn("2e-01, other work", page)

    def test_rows_that_are_not_there_are_named(self):
        self.leave("lenet")
        page, said = self.page()
        self.assertIn("**Not measured: regression5, regression1024, mlp_small, mlp_big, resnet, lstm, gpt, skip_gram.**", page)
        self.assertIn("not measured: gpt\n", said)

    def test_rows_of_several_commits_are_named_with_them(self):
        self.leave("lenet")
        self.leave("gpt", at=ladder_row("gpt")["at"] | {"commit": "def5678"})
        self.leave_json("attention.json", {"rows": [attention_row()], "at": AT | {"processor": "another", "date": "2025-11-21T23:00:00Z"}})
        page, _ = self.page()
        self.assertIn("**Files are of different commits**: abc1234: lenet, attention; def5678: gpt.", page)
        self.assertIn("**Files are of different processors**: a processor: gpt, lenet; another: attention.", page)
        self.assertIn("Measured 2025-11-21T23:00:00Z to 2026-11-21T23:00:00Z at commit abc1234, def5678.", page)

    def test_files_of_one_commit_on_one_machine_are_not_warned_of(self):
        self.leave("lenet")
        self.leave_json("memory.json", {"rows": [], "at": AT})
        self.assertEqual(circumstances.warnings(self.folder), "")

    def test_tiny_models_are_no_results(self):
        self.leave("lenet", tiny=True)
        self.assertIn("**Measured with tiny models, no results: lenet.**", self.page()[0])

    def test_the_finite_check_is_told_by_what_it_adds(self):
        self.leave("lenet", contestants=[contestant("blockgrad", 1, 2e-3), contestant("with guard", 1, 2.1e-3)])
        self.assertIn("| +5 % |", steps.overview(self.rows()))


class Files(Measured):
    def test_a_broken_file_is_named(self):
        path = self.leave("lenet")
        path.write_text(path.read_text()[:100])
        with self.assertRaises(SystemExit) as ended:
            self.page()
        self.assertIn(f"{path}: not JSON: ", str(ended.exception))

    def test_a_file_of_something_else_is_named_with_what_it_lacks(self):
        path = self.folder / "ladder" / "lenet.json"
        path.write_text('{"row": "lenet"}')
        with self.assertRaisesRegex(Unreadable, "not a row of the ladder: no 'title'; measure it again"):
            Row(path)

    def test_rows_of_the_wrong_shape_are_named_and_never_a_traceback(self):
        ours = contestant("blockgrad", 1, 2e-3)
        without = {key: value for key, value in ours.items() if key != "seconds"}
        for wrong in ({"contestants": [without]}, {"contestants": [ours | {"loss": None}]}, {"contestants": [ours | {"seconds": 0}]},
                      {"contestants": []}, {"at": {}}, {"roofs": []}, {"roofs": {"1": {"flops": 0, "bytes": 1}}}, {"flops": None},
                      {"losses": [3]}, {"left_out": [{}]}):
            with self.subTest(wrong=wrong):
                path = self.leave("lenet", **wrong)
                with self.assertRaises(SystemExit) as ended:
                    self.page()
                self.assertIn(str(path), str(ended.exception))

    def test_other_files_of_the_wrong_shape_are_named(self):
        self.leave("lenet")
        for name in ("matmul", "rungs", "attention", "memory", "threads"):
            for wrong in (7, {}, {"at": AT}, {"at": AT, "rows": [{}]}, {"at": AT, "rows": [product(ratio=None)]}):
                if name == "rungs":
                    self.leave_json("matmul.json", {"rows": [product()], "at": AT})
                self.leave_json(f"{name}.json", wrong)
                with self.subTest(name=name, wrong=wrong), self.assertRaises(SystemExit) as ended:
                    self.page()
                self.assertIn(f"{name}.json", str(ended.exception))
            (self.folder / f"{name}.json").unlink()

    def test_a_loss_of_nothing_is_a_loss_and_a_peer_without_turns_has_no_ratio(self):
        self.leave("lenet", contestants=[contestant("blockgrad", 1, 2e-3, loss=0.0), contestant("jax jit", 1, 2e-3, loss=0.0, turns=0),
                                         contestant("torch eager", 1, 2e-3) | {"loss": None}])
        page, _ = self.page()
        self.assertIn("| missing | - | 2 ms (jit, 1) | - |", page)
        self.assertIn("nan, other work", page)

    def test_a_page_in_no_folder_is_no_traceback(self):
        self.leave("lenet")
        sys.argv = ["report.py", str(self.folder), str(self.folder / "nowhere" / "page.md")]
        with self.assertRaises(SystemExit) as ended:
            report.main()
        self.assertIn("nowhere", str(ended.exception))

    def test_attention_without_rows_was_not_measured(self):
        self.leave_json("attention.json", {"rows": []})
        self.assertEqual(growth.attention(self.folder, self.folder / "performance.md"), "Attention: not measured.\n")

    def test_nothing_measured_says_what_to_run(self):
        with self.assertRaises(SystemExit) as ended:
            self.page()
        self.assertIn("run ./run bench --peers first", str(ended.exception))


class Quartiles(unittest.TestCase):
    def test_they_lie_as_far_from_both_ends(self):
        self.assertEqual(texts.quartiles([2, 1]), [1.25, 1.5, 1.75])
        self.assertEqual(texts.quartiles([3, 1, 2]), [1.5, 2, 2.5])
        self.assertEqual(texts.quartiles(list(range(15, 0, -1))), [4.5, 8, 11.5])
        self.assertEqual(texts.quartiles([7]), [7, 7, 7])


class Products(Measured):
    def test_cells_behind_are_bold_and_listed_with_their_plan(self):
        self.leave_json("matmul.json", {"rows": [product(), product(layout="NT", ratio=0.9, ratio_low=0.88, ratio_high=0.92),
                                        product(layout="TN", ratio=0.98, ratio_low=0.95, ratio_high=1.01)]})
        text = products.products(self.folder)
        self.assertIn("| 64x32x16 | 200 (80 %) | 1.10 | **0.90** | **0.98** |", text)
        self.assertIn("the least 0.90; 2 below 1, 1 of them by more than their spread", text)
        self.assertIn("* 64x32x16 NT: 0.900 [0.880, 0.920]; blocks", text)
        self.assertIn("* 64x32x16 TN: 0.980 [0.950, 1.010], within the spread; blocks", text)

    def test_a_disturbed_cell_is_marked_and_in_no_mean(self):
        self.leave_json("matmul.json", {"rows": [product(ratio=2.0), product(layout="NT", ratio=8.0, others=0.5)]})
        text = products.products(self.folder)
        self.assertIn("| 2.00 | 8.00 † |", text)
        self.assertIn("geometric mean **2.000** of 1 undisturbed cell of 2", text)

    def test_steps_of_a_product_are_told_by_their_share_of_the_peak(self):
        self.leave_json("matmul.json", {"rows": [product()]})
        self.leave_json("rungs.json", {"rows": [{"rung": "B packed", "m": 1, "n": 2, "k": 3, "percent_of_peak": 91.0, "low": 90.0,
                                                 "high": 92.0, "others": 0.3}]})
        self.assertIn("| B packed † | 1x2x3 | 91.0 [90.0, 92.0] |", products.products(self.folder))

    def test_other_peers_and_types_are_told_by_their_means(self):
        self.leave_json("matmul.json", {"rows": [product(), product(peer="Eigen", ratio=1.5), product(type="f64", peer="Eigen", ratio=3.0)]})
        text = products.products(self.folder)
        self.assertIn("| f32 | Eigen | 1 | 1 | 1.500 | 1.500 |", text)
        self.assertIn("| f64 | Eigen | 1 | 1 | 3.000 | 3.000 |", text)

    def test_the_tiny_product_is_told_in_nanoseconds_and_in_no_mean(self):
        self.leave_json("matmul.json", {"rows": [product(ratio=2.0), product(m=5, n=1, k=2, ratio=40.0, nanoseconds=2.4)]})
        text = products.products(self.folder)
        self.assertIn("5x1x2 inside a program, one thread: NN 2.4 ns; it is in no mean.", text)
        self.assertIn("geometric mean **2.000** of 1 undisturbed cell of 1", text)

    def test_a_disturbed_tiny_product_is_marked(self):
        self.leave_json("matmul.json", {"rows": [product(m=5, n=1, k=2, nanoseconds=2.4, others=0.5)]})
        self.assertIn("5x1x2 inside a program, one thread: NN 2.4 ns †;", products.products(self.folder))

    def test_a_cell_that_was_measured_twice_counts_once_and_other_files_not(self):
        self.leave_json("matmul.json", {"rows": [product(peer="OpenBLAS", ratio=2.0)]})
        self.leave_json("matmul_others.json", {"rows": [product(peer="OpenBLAS", ratio=8.0), product(type="f64", peer="Eigen", ratio=3.0)]})
        self.leave_json("matmul_of_yesterday.json", {"rows": [product(peer="Eigen")]})
        text = products.products(self.folder)
        self.assertIn("| f32 | OpenBLAS | 1 | 1 | 2.000 | 2.000 |", text)
        self.assertIn("| f64 | Eigen | 1 | 1 | 3.000 | 3.000 |", text)
        self.assertNotIn("| f32 | Eigen |", text)

    def test_peers_are_told_with_version_and_instruction_set(self):
        self.leave_json("matmul.json", {"rows": [product()]})
        self.assertIn("Peers: oneDNN 2.6, AVX2.\n", products.products(self.folder))

    def test_a_cell_that_does_not_say_what_others_used_is_no_cell(self):
        cell = product()
        del cell["others"]
        self.leave_json("matmul.json", {"rows": [cell]})
        with self.assertRaisesRegex(Unreadable, "no 'others'"):
            products.products(self.folder)

    def test_products_that_were_not_measured_are_no_error(self):
        self.assertEqual(products.products(self.folder), "Not measured.\n")


class Growth(Measured):
    def test_a_curve_for_us_on_each_number_of_threads_and_the_best_of_each_peer(self):
        paths = [self.leave(f"mlp_batch{batch}") for batch in (4, 1)]
        curves = growth.curves_of([(4, Row(paths[0])), (1, Row(paths[1]))])
        self.assertEqual(list(curves), ["blockgrad, 1 thread", "blockgrad, 2 threads", "best torch eager", "best jax jit",
                                        "floor, 2 threads"])
        self.assertEqual(curves["best torch eager"], [(4, 3000), (1, 3000)])

    def test_a_row_of_the_ladder_is_a_point_of_a_curve(self):
        self.leave("gpt", contestants=[contestant("blockgrad", 1, 2e-3), contestant("jax jit", 1, 1e-3)])
        self.leave("gpt_width32")
        text = growth.steps(self.folder, self.folder / "performance.md", "gpt_width", "gpt", "by the width", "width", more={128: "gpt"})
        self.assertIn("Behind a peer at width 128 (jax jit, 0.50).", text)

    def test_a_point_of_its_own_is_enough_and_those_that_are_not_there_are_named(self):
        self.leave("gpt_width32")
        text = growth.steps(self.folder, self.folder / "performance.md", "gpt_width", "gpt", "by the width", "width", (32, 64), {128: "gpt"})
        self.assertIn("**by the width: not measured at width 64, 128.**", text)
        self.leave("gpt")
        (self.folder / "ladder" / "gpt_width32.json").unlink()
        text = growth.steps(self.folder, self.folder / "performance.md", "gpt_width", "gpt", "by the width", "width", (32, 64), {128: "gpt"})
        self.assertEqual(text, "by the width: not measured.\n")

    def test_a_picture_from_before_is_not_shown(self):
        self.leave("mlp_batch1")
        picture = self.folder / "intel_batch.svg"
        picture.write_text("of yesterday")
        text = growth.steps(self.folder, self.folder / "intel.md", "mlp_batch", "batch", "by the batch", "batch", (1,))
        self.assertNotIn("![", text)
        self.assertFalse(picture.exists())

    def test_disturbed_points_are_named(self):
        self.leave("mlp_batch1", disturbed=1)
        self.leave("mlp_batch16")
        text = growth.steps(self.folder, self.folder / "performance.md", "mlp_batch", "batch", "by the batch", "batch")
        if pictures.is_possible():
            self.assertIn("by the batch (disturbed, no result)", (self.folder / "performance_batch.svg").read_text())
        self.assertIn("Disturbed by other programs, no results: batch 1.", text)

    def test_a_picture_has_its_curves_by_name(self):
        if not pictures.is_possible():
            self.skipTest("no gnuplot")
        for batch in (1, 16):
            self.leave(f"mlp_batch{batch}")
        text = growth.steps(self.folder, self.folder / "performance.md", "mlp_batch", "batch", "by the batch", "batch")
        self.assertIn("![by the batch](performance_batch.svg)", text)
        self.assertIn(">best torch eager<", (self.folder / "performance_batch.svg").read_text())

    def test_attention_is_told_beside_the_bytes_of_its_scores(self):
        self.leave_json("attention.json", {"rows": [attention_row()]})
        self.assertIn("| 8192 | 100 ms [90 ms, 200 ms] | 8.0 | 256.0 | not run | - |", growth.attention(self.folder, self.folder / "performance.md"))


class Memory(Measured):
    def test_a_plan_far_above_its_bound_is_bold(self):
        row = {"row": "gpt", "arena_bytes": 12 * 2**20, "live_bytes": 10 * 2**20, "ratio": 1.2, "peak_bytes": 2**24, "steps": 100,
               "page_faults": 0, "allocations": -1}
        self.leave_json("memory.json", {"rows": [row]})
        self.assertIn("| gpt | 12.0 | 10.0 | **1.200** | 16.0 | 100 | 0 | not counted |", memory.memory(self.folder))


if __name__ == "__main__":
    unittest.main()
