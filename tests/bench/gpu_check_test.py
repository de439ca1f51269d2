"""What ./run gpu-check does with programs that are made up, and what it says of their answers."""

import contextlib
import io
import json
import pathlib
import sys
import tempfile
import time
import unittest
import unittest.mock

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

import gpu_check
from gpu import checks
from gpu.programs import Programs
from gpu.results import all_results

GPU = "cpu: 2 threads\ncuda: NVIDIA H200, 132 multiprocessors\n  NVRTC 13.0"
TABLE = """
3. Each rung on the GPU: C[512, 512] over k = 512, f32, median of 3 runs

  rung          ms  TFLOP/s      off  at most
  -------------------------------------------
  elements   1.250     2.00  0.0e+00    1e-06
  tiles, 8x8 0.125    20.50  1.2e-07    1e-06

off: from the first rung
"""
SUITES = """#!/bin/sh
echo "$@" >> "$(dirname "$0")/asked"
[ "$1" = --list_content ] && { printf 'maps*\\n    a_case*\\nrows*\\nold*\\n'; exit 0; }
case "$1" in
  --run_test=maps) echo '*** No errors detected' ;;
  --run_test=rows) echo 'rows differ by 3'; exit 201 ;;
  --run_test=old) echo 'skipped: there is no compiler'; echo '*** No errors detected' ;;
esac
"""


class Check(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.results = self.folder / "results"
        for part in ("tests", "examples", "bench"):
            (self.folder / part).mkdir()

    def program(self, name, text):
        path = self.folder / name
        path.write_text(text if text.startswith("#!") else f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    def device(self, said=GPU):
        self.program("bench/bench_device", f"cat << 'END'\n{said}\nEND")

    def check(self, *arguments):
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            status = gpu_check.main(["--build", str(self.folder), "--results", str(self.results), "--commit", "abc1234", "--jobs", "1", *arguments])
        return status, said.getvalue()

    def outcomes(self, stage):
        return all_results(self.results)[-1].items(stage)

    def asked(self):
        return (self.folder / "tests" / "asked").read_text().splitlines()

    def test_without_a_gpu_nothing_is_run_and_the_reason_is_told(self):
        self.device("cpu: 2 threads\ncuda: off, no NVIDIA driver was found here")
        for stage in gpu_check.STAGES:
            self.assertEqual(self.check(stage), (3, "no GPU: not run (no NVIDIA driver was found here)\n"))
        self.assertFalse(self.results.exists())
        (self.folder / "bench" / "bench_device").unlink()
        self.assertEqual(self.check("kernels"), (3, "no GPU: not run (bench_device is not built)\n"))

    def test_every_suite_is_an_item_and_what_fails_is_kept(self):
        self.device()
        self.program("tests/test_cuda", SUITES)
        status, said = self.check("correctness")
        self.assertEqual(status, 1)
        outcomes = self.outcomes("correctness")
        self.assertEqual(outcomes["test_cuda/maps"].status, "passed")
        self.assertEqual((outcomes["test_cuda/rows"].status, outcomes["test_cuda/rows"].detail), ("failed", "rows differ by 3"))
        self.assertEqual((outcomes["test_cuda/old"].status, outcomes["test_cuda/old"].detail), ("skipped", "there is no compiler"))
        self.assertEqual((outcomes["ad_spend"].status, outcomes["ad_spend"].detail), ("skipped", "ad_spend is not built"))
        self.assertRegex(said, r"failed   test_cuda/rows, \d+\.\d s: rows differ by 3")
        self.assertIn("correctness: 1 passed, 1 failed, 6 skipped\n  failed test_cuda/rows: rows differ by 3\nkept in ", said)
        self.assertRegex((self.results / "said.log").read_text(), r"--run_test=rows.*\nrows differ by 3\n\n\[status 201, ")
        data = json.loads(next(self.results.glob("*-abc1234.json")).read_text())
        self.assertIn("NVIDIA H200", data["device"])

    def test_the_same_command_again_does_what_is_left(self):
        self.device()
        self.program("tests/test_cuda", SUITES)
        self.check("correctness")
        file = next(self.results.glob("*.json"))
        data = json.loads(file.read_text())
        del data["stages"]["correctness"]["test_cuda/rows"]
        file.write_text(json.dumps(data))
        (self.folder / "tests" / "asked").unlink()
        self.assertEqual(self.check("correctness")[0], 1)
        self.assertEqual([line.split()[0] for line in self.asked()], ["--list_content", "--run_test=rows"])
        self.check("correctness", "--again")
        self.assertEqual(len(self.asked()), 2 + 4)
        self.assertEqual(len(list(self.results.glob("*.json"))), 1)

    def test_another_device_has_a_file_of_its_own(self):
        self.program("tests/test_cuda", SUITES)
        for said in (GPU, GPU.replace("H200", "H100")):
            self.device(said)
            self.check("correctness")
        self.assertEqual(len(list(self.results.glob("*-abc1234*.json"))), 2)

    def test_what_does_not_fit_into_a_call_is_left_and_fails_alone(self):
        self.device()
        self.program("tests/test_cuda", SUITES.replace("echo 'rows differ by 3'; exit 201", "sleep 30"))
        status, said = self.check("correctness", "--minutes", "0.01")
        self.assertEqual(status, 4)
        self.assertIn("some is left of correctness: the same command again does it", said)
        self.assertNotIn("test_cuda/rows", self.outcomes("correctness"))
        self.check("correctness", "--minutes", "0.01")
        self.assertEqual(self.outcomes("correctness")["test_cuda/rows"].status, "failed")

    def test_what_hangs_takes_no_more_than_an_item_may(self):
        self.device()
        self.program("tests/test_cuda", SUITES.replace("echo 'rows differ by 3'; exit 201", "sleep 30"))
        with unittest.mock.patch.dict(gpu_check.LONGEST, correctness=1):
            self.assertEqual(self.check("correctness")[0], 1)
        outcomes = self.outcomes("correctness")
        self.assertEqual(outcomes["test_cuda/rows"].detail, "not done in 1 s")
        self.assertEqual(outcomes["test_cuda/old"].status, "skipped")

    def test_a_folder_that_cannot_be_written_ends_before_anything_runs(self):
        self.device()
        self.results.write_text("a file")
        with self.assertRaisesRegex(SystemExit, "gpu-check: .*results"):
            self.check("correctness")

    def test_items_side_by_side_are_all_kept(self):
        self.device()
        self.program("tests/test_cuda", "[ $1 = --list_content ] && { printf 'a*\\nb*\\nc*\\nd*\\ne*\\n'; exit 0; }; sleep 0.2; echo '*** No errors detected'")
        start = time.monotonic()
        self.assertEqual(self.check("correctness", "--jobs", "5")[0], 0)
        self.assertLess(time.monotonic() - start, 0.9)
        self.assertEqual([self.outcomes("correctness")[f"test_cuda/{suite}"].status for suite in "abcde"], ["passed"] * 5)

    def test_all_stages_go_on_after_one_that_fails(self):
        self.device()
        self.program("tests/test_cuda", SUITES)
        self.timer(copy=1e-3)
        self.ladder(["mlp_small"])
        status, said = self.check("all", "--python", str(self.peer_script([])))
        self.assertEqual(status, 1)
        for stage in gpu_check.STAGES:
            self.assertTrue(self.outcomes(stage), stage)
        self.assertIn("  copy bandwidth:\n    copy: 1 ms, 2000 TFLOP/s, 0.5 of the copy", said)
        self.assertIn("  ladder/mlp_small:\n    a row: 1 ms, 3x the fastest peer, 4e+06 tokens/s", said)

    def test_a_later_stage_that_has_little_time_is_left_and_has_not_failed(self):
        self.device()
        self.program("tests/test_cuda", "[ $1 = --list_content ] && { echo 'maps*'; exit 0; }; sleep 1; echo '*** No errors detected'")
        self.program("examples/matmul_ladder", "sleep 30")
        status, said = self.check("all", "--minutes", "0.05", "--only", "maps$|matmul_ladder$")
        self.assertEqual((status, self.outcomes("kernels")), (4, {}))
        self.assertRegex(said, "some is left of .*kernels")

    def test_only_items_that_are_asked_for_are_done(self):
        self.device()
        self.program("tests/test_cuda", SUITES)
        self.assertEqual(self.check("correctness", "--only", "cuda/(maps|old)$")[0], 0)
        self.assertEqual(list(self.outcomes("correctness")), ["test_cuda/maps", "test_cuda/old"])

    def test_a_sanitizer_that_says_nothing_of_errors_was_refused(self):
        fine = "*** No errors detected\n"
        for status, said, expected in (
                (0, fine + "========= ERROR SUMMARY: 0 errors", "passed"),
                (0, fine + "========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)", "passed"),
                (0, fine, "refused"),
                (1, "========= Error: the device is not supported", "refused"),
                (86, fine + "========= ERROR SUMMARY: 2 errors", "failed"),
                (0, fine + "========= RACECHECK SUMMARY: 1 hazard displayed", "failed"),
                (0, "skipped: no kernels\n" + fine + "========= ERROR SUMMARY: 0 errors", "skipped"),
                (0, "it ended early\n========= ERROR SUMMARY: 0 errors", "failed")):
            self.assertEqual(checks.sanitizer_outcome(status, said).status, expected, said)

    def test_a_sanitizer_that_is_not_there_was_refused(self):
        self.program("tests/test_cuda", SUITES)
        programs = Programs(self.folder, self.folder / "no-sanitizer")
        todo = checks.items(programs, "sanitizers")
        self.assertEqual([item.name for item in todo][:2], ["memcheck test_cuda/maps", "memcheck test_cuda/rows"])
        self.assertEqual(todo[0].run(60).status, "refused")

    def test_times_of_rungs_are_kept(self):
        self.device()
        self.program("examples/matmul_ladder", f"cat << 'END'\n{TABLE}\nEND")
        self.assertEqual(self.check("kernels")[0], 0)
        outcomes = self.outcomes("kernels")
        self.assertEqual(outcomes["matmul_ladder"].figures[1],
                         {"of": "tiles, 8x8", "milliseconds": 0.125, "teraflops": 20.5, "off": 1.2e-7, "at_most": 1e-6})
        self.assertEqual((outcomes["bench_kernels"].status, outcomes["bench_kernels"].detail), ("skipped", "bench_kernels is not built"))
        self.program("examples/matmul_ladder", "echo nothing")
        self.check("kernels", "--again")
        self.assertEqual(self.outcomes("kernels")["matmul_ladder"].status, "failed")

    def timer(self, **times):
        """A bench_kernels of these rows: seconds, or why there are none."""
        rows = [{"name": name, "family": name, "sizes": {"n": 8}, "dtype": "f32", "math": "exact", "bytes": 4e9, "flops": 2e12,
                 **({"why": time} if isinstance(time, str) else {"seconds": time, "low": time, "high": time, "repetitions": 9,
                                                                 "share_of_copy": 0.5, "off": 0.0, "kernel": "k"})}
                for name, time in times.items()]
        content = json.dumps({"rows": rows})
        self.program("bench/bench_kernels", f"""#!/bin/sh
[ "$1" = --list ] && {{ printf '%s  a title\\n' {" ".join(times)}; exit 0; }}
while [ $# -gt 0 ]; do [ "$1" = --json ] && printf '%s' '{content}' > "$2"; shift; done
""")

    def peer_script(self, rows, end="exit 0"):
        return self.program("python", f"""#!/bin/sh
while [ $# -gt 0 ]; do [ "$1" = --json ] && printf '%s' '{json.dumps({"rows": rows})}' > "$2"; shift; done
{end}
""")

    def test_rows_of_kernels_are_kept_by_group_beside_the_fastest_peer(self):
        self.device()
        self.timer(copy=1e-3, layer_norm_backward=2e-3)
        python = self.peer_script([{"name": "layer_norm_backward", "peer": "torch eager", "seconds": 4e-3},
                                   {"name": "layer_norm_backward", "peer": "torch compile", "seconds": 3e-3},
                                   {"name": "layer_norm_backward", "peer": "other", "why": "cannot"}])
        self.assertEqual(self.check("kernels", "--python", str(python))[0], 0)
        outcomes = self.outcomes("kernels")
        self.assertEqual(list(outcomes), ["matmul_ladder", "copy bandwidth", "norms and softmax"])
        norm = outcomes["norms and softmax"].figures[1]
        self.assertEqual((norm["of"], norm["milliseconds"], norm["share_of_copy"]), ("layer_norm_backward", 2.0, 0.5))
        self.assertEqual((norm["best_peer"], norm["ratio"], norm["peers_without"]), ("torch compile", 1.5, {"other": "cannot"}))
        self.assertAlmostEqual(norm["gigabytes_per_second"], 2000)
        text = next(self.results.glob("*-abc1234.md")).read_text()
        self.assertIn("#### norms and softmax\n\n| of | ms |", text)
        self.assertIn("| torch compile | 1.5 | torch eager 4, torch compile 3 | other cannot |", text)
        self.assertIn("passed: kernels: copy bandwidth, kernels: norms and softmax\n", text)

    def test_rows_without_peers_or_without_a_time_say_so(self):
        self.device()
        wrong = "differs by 1 from the CPU, at most 0.1 is allowed"
        self.timer(copy=1e-3, gelu=wrong)
        self.assertEqual(self.check("kernels", "--python", str(self.program("python", "echo no torch here; exit 1")))[0], 1)
        outcomes = self.outcomes("kernels")
        self.assertEqual((outcomes["copy bandwidth"].status, outcomes["copy bandwidth"].detail),
                         ("failed", f"gelu: {wrong}; no peers: no torch here"))
        self.timer(matmul_qkv_tf32=wrong)
        self.check("kernels", "--again", "--python", str(self.peer_script([{"name": "matmul_qkv_tf32", "peer": "torch eager", "seconds": 1}])))
        tf32 = self.outcomes("kernels")["products in tf32"]
        self.assertEqual((tf32.status, tf32.figures[0]["peers"]), ("failed", {"torch eager": 1e3}))

    def test_peers_that_are_late_leave_what_they_have(self):
        self.timer(copy=1e-3)
        python = self.peer_script([{"name": "copy", "peer": "torch eager", "seconds": 2e-3}], "sleep 30")
        outcome = checks.kernels.timed(Programs(self.folder, python=python), ["copy"])(3)
        self.assertEqual((outcome.status, outcome.detail, outcome.figures[0]["ratio"]), ("passed", "the peers were not done in time", 2.0))

    def test_every_row_of_kernels_has_a_group(self):
        for row, group in (("copy", "copy bandwidth"), ("gelu_bf16", "elementwise against the copy"), ("sort_lines", "sort"),
                           ("softmax_backward_bf16", "norms and softmax"), ("matmul_wide_to_weight", "products in f32"),
                           ("matmul_qkv_tf32", "products in tf32"), ("matmul_square_bf16", "products in bf16"), ("new", "")):
            self.assertEqual(checks.kernels.group_of(row), group)
        self.assertEqual(checks.kernels.groups(["new", "copy"]), {"copy bandwidth": ["copy"], "new": ["new"]})

    def ladder(self, rows, loss=2.5, said="", different=1):
        """A bench_ladder that measures us and torch, or says that it cannot."""
        content = json.dumps({"title": "a row", "device": "cuda, NVIDIA H200", "math": "exact", "tokens": 4000,
                              "left_out": [{"name": "jax jit", "threads": 4, "why": "late"}], "contestants": [
                                  {"name": name, "seconds": time, "low": time, "high": time, "repetitions": 15, "loss": value}
                                  for name, time, value in (("blockgrad", 1e-3, 2.5), ("torch eager", 8e-3, loss), ("torch compile", 3e-3, 2.5))]})
        self.program("bench/bench_ladder", f"""#!/bin/sh
echo "$@" >> "$(dirname "$0")/asked"
while [ $# -gt 0 ]; do
  case "$1" in
    --list) printf '%s  a title\\n' {" ".join(rows)}; exit 0 ;;
    --json) folder=$2 ;;
    --row) row=$2 ;;
    --equal-bits) echo "$row: $2 trainings of 100 steps, {different} different parameters"; exit $(({different} > 1)) ;;
  esac
  shift
done
[ -z "{said}" ] || {{ echo "{said}"; exit 1; }}
printf '%s' '{content}' > "$folder/$row.json"
""")

    def test_steps_are_kept_beside_the_fastest_peer(self):
        self.device()
        self.ladder(["mlp_small", "skip_gram"])
        self.assertEqual(self.check("steps")[0], 0)
        outcomes = self.outcomes("steps")
        self.assertEqual(list(outcomes), ["equal bits of 20 runs of mlp_small", "ladder/mlp_small", "ladder/skip_gram"])
        self.assertEqual(outcomes["equal bits of 20 runs of mlp_small"].detail, "20 trainings of 100 steps, 1 different parameters")
        row = outcomes["ladder/mlp_small"].figures[0]
        self.assertEqual((row["milliseconds"], row["peers"]), (1.0, {"torch eager": 8.0, "torch compile": 3.0}))
        self.assertEqual((row["best_peer"], row["ratio"], row["peers_without"]), ("torch compile", 3.0, {"jax jit": "late"}))
        self.assertAlmostEqual(row["tokens_per_second"], 4e6)

    def test_steps_of_other_losses_or_other_bits_fail(self):
        self.device()
        self.ladder(["mlp_small"], loss=2.51, different=3)
        self.assertEqual(self.check("steps")[0], 1)
        outcomes = self.outcomes("steps")
        self.assertEqual(outcomes["ladder/mlp_small"].detail, "torch eager has the loss 2.510000, not 2.500000")
        self.assertEqual(outcomes["equal bits of 20 runs of mlp_small"].status, "failed")
        self.ladder(["mlp_small"], said="out of memory on the device")
        self.check("steps", "--again")
        row = self.outcomes("steps")["ladder/mlp_small"]
        self.assertEqual((row.status, row.detail), ("failed", "out of memory on the device"))

    def test_large_rows_meet_their_peers_one_by_one_in_every_arithmetic(self):
        found = checks.steps.combinations(["gpt", "gpt2_batch4"])
        self.assertEqual(found[0], ("ladder/gpt", "gpt", "exact", ""))
        self.assertEqual(len(found), 1 + 3 * 4)
        self.assertIn(("ladder/gpt2_batch4 in bf16 beside jax jit", "gpt2_batch4", "bf16", "jax jit"), found)
        self.device()
        self.ladder(["gpt2_batch4"], said="out of memory on the device")
        self.check("steps")
        asked = (self.folder / "bench" / "asked").read_text()
        self.assertIn("--row gpt2_batch4 --math tf32", asked)
        self.assertIn("--peer torch reduce-overhead", asked)

    def trainer(self, loss, weights):
        self.program("examples/ad_spend", f"""#!/bin/sh
while [ $# -gt 0 ]; do
  case "$1" in
    --device) device=$2 ;;
    --report) printf '[{{"strategy": "mini-batch", "loss": %s}}]' {loss} > "$2" ;;
    --weights) printf '%s' {weights} > "$2" ;;
  esac
  shift
done
""")
        return Programs(self.folder)

    def test_training_agrees_with_the_cpu_or_fails(self):
        self.assertEqual(checks.trains_as_the_cpu(self.trainer("1.5", "same"))(60).status, "passed")
        wrong = checks.trains_as_the_cpu(self.trainer('"$(test $device = cpu && echo 1.5 || echo 1.6)"', "same"))(60)
        self.assertEqual((wrong.status, wrong.detail), ("failed", "mini-batch: 1.6 on CUDA, 1.5 on the CPU"))
        self.assertEqual(checks.trains_as_the_cpu(self.trainer("NaN", "same"))(60).status, "failed")

    def test_runs_of_different_bits_fail(self):
        self.assertEqual(checks.equal_bits(self.trainer("1", "same"), 3)(60).status, "passed")
        different = checks.equal_bits(self.trainer("1", "$$"), 3)(60)
        self.assertEqual((different.status, different.detail), ("failed", "3 trainings, 3 different parameters"))


if __name__ == "__main__":
    unittest.main()
