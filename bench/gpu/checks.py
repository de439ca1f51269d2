"""The items of each stage: what is run, and how its answer is read."""

import dataclasses
import hashlib
import json
import pathlib
import re
import tempfile
from typing import Callable

from gpu import kernels, products, steps
from gpu.programs import ROOT
from gpu.results import Outcome

LONGEST_DETAIL = 2000  # characters of what a program said
CPU_ALONE = ("cuda_tile", "epilogue_code", "harness", "kernel_code", "lt_program", "matmul", "matmul_mma", "quick_power", "tune_products",
             "user_kernel_limits")  # suites of test_cuda that ask no device
SANITIZERS = ("memcheck", "initcheck", "racecheck", "synccheck")
SANITIZED = ("maps", "product_program", "attention_program", "rows", "cuda_index", "cuda_order")  # suites of test_cuda with small shapes


@dataclasses.dataclass
class Item:
    """`run` takes the seconds that are left and returns an Outcome; it may raise OutOfTime."""

    name: str
    run: Callable[[float], Outcome]


def last_of(text):
    return text.strip()[-LONGEST_DETAIL:]


def errors_of(status, said):
    """The first errors of Boost.Test, as later ones may follow from them; else the end of what was said. A crash is told."""
    errors = [line.strip()[:400] for line in said.splitlines() if re.search(r"\b(fatal )?error: in ", line)]
    found = last_of("\n".join(errors[:5] + [f"{len(errors)} errors"]) if errors else said)
    return f"ended by signal {-status}: {found}" if status < 0 else found


def test_outcome(status, said):
    """Of a suite; skipped if all its cases are."""
    reasons = re.findall(r"skipped: (.*)", said)
    if status != 0:
        return Outcome("failed", errors_of(status, said))
    if "No errors detected" not in said:
        return Outcome("failed", "it ended without a result: " + last_of(said))
    cases = re.search(r"Running (\d+) test case", said)
    told = "; ".join(sorted(set(reasons)))
    if reasons and cases and len(reasons) < int(cases[1]):
        return Outcome("passed", f"{len(reasons)} of {cases[1]} cases skipped: {told}")
    return Outcome("skipped", told) if reasons else Outcome("passed")


def sanitizer_outcome(status, said):
    """Without a summary it saw nothing, however the program ended."""
    errors = re.findall(r"ERROR SUMMARY: (\d+) errors?|RACECHECK SUMMARY: (\d+) hazards?", said)
    if not errors:
        return Outcome("refused", last_of(said))
    if status != 0 or any(int(one or other) > 0 for one, other in errors):
        return Outcome("failed", last_of(said))
    ran = test_outcome(status, said)
    return ran if ran.status != "passed" else Outcome("passed", said[said.rfind("========="):].strip())


def rungs(said):
    """Rows of the table of matmul_ladder: rung, ms, TFLOP/s, off, at most."""
    number = r"([-+.\d]+(?:e[-+]?\d+)?)"
    rows = re.findall(rf"^\s*(\S.*?)\s+{number}\s+{number}\s+{number}\s+{number}\s*$", said.split("Each rung on the GPU", 1)[-1], re.MULTILINE)
    return [{"of": name, "milliseconds": float(ms), "teraflops": float(rate), "off": float(off), "at_most": float(bound)}
            for name, ms, rate, off, bound in rows]


def ladder(programs, runs):
    def run(seconds):
        status, said = programs.call([programs.path("matmul_ladder"), "--device", "cuda", "--runs", runs], seconds)
        rows = rungs(said)
        if status != 0 or not rows:
            return Outcome("failed", last_of(said))
        return Outcome("passed", f"{len(rows)} rungs agree", figures=rows)
    return run


def train(programs, folder, device, seconds, epochs=5):
    """Losses by strategy, and the bits of the parameters. The shipped table fits exactly: after many epochs the loss is only rounding."""
    report, weights = folder / "report.json", folder / "weights.safetensors"
    status, said = programs.call([programs.path("ad_spend"), "--data", ROOT / "examples" / "ad_spend" / "ad_spend.csv", "--device", device, "--strategy", "mini-batch",
                                  "--epochs", epochs, "--report", report, "--weights", weights, "--plot", folder / "plot.svg"], seconds)
    if status != 0:
        raise RuntimeError(last_of(said))
    losses = [(run.get("strategy", str(i)), run["loss"]) for i, run in enumerate(found(json.loads(report.read_text()), "loss"))]
    return losses, hashlib.sha256(weights.read_bytes()).hexdigest()


def found(data, key):
    """Every object in the data that has the key."""
    below = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    return ([data] if isinstance(data, dict) and key in data else []) + [one for part in below for one in found(part, key)]


def trains_as_the_cpu(programs, tolerance=1e-9):
    def run(seconds):
        with tempfile.TemporaryDirectory() as folder:
            try:
                (cpu, _), (cuda, _) = (train(programs, pathlib.Path(folder), device, seconds / 2) for device in ("cpu", "cuda"))
            except RuntimeError as error:
                return Outcome("failed", str(error))
        if not cpu or len(cpu) != len(cuda):
            return Outcome("failed", f"losses of the CPU: {cpu}, of CUDA: {cuda}")
        wrong = [f"{name}: {there} on CUDA, {here} on the CPU" for (name, here), (_, there) in zip(cpu, cuda)
                 if not abs(here - there) <= tolerance * abs(here)]
        return Outcome("failed", "; ".join(wrong)) if wrong else Outcome("passed", f"{len(cpu)} losses agree within {tolerance:g}")
    return run


def equal_bits(programs, times=20):
    def run(seconds):
        with tempfile.TemporaryDirectory() as folder:
            try:
                bits = [train(programs, pathlib.Path(folder), "cuda", seconds, epochs=50)[1] for _ in range(times)]
            except RuntimeError as error:
                return Outcome("failed", str(error))
        different = len(set(bits))
        return Outcome("passed" if different == 1 else "failed", f"{times} trainings, {different} different parameters")
    return run


def test(programs, name, suite):
    def run(seconds):
        command = [programs.path(name), f"--run_test={suite}", "--log_level=message", "--color_output=no"]
        return test_outcome(*programs.call(command, seconds))
    return run


def sanitized(programs, tool, suite):
    def run(seconds):
        command = [programs.sanitizer, "--tool", tool, "--error-exitcode", 86, programs.path("test_cuda"), f"--run_test={suite}",
                   "--log_level=message", "--color_output=no"]
        try:
            return sanitizer_outcome(*programs.call(command, seconds))
        except FileNotFoundError:
            return Outcome("refused", f"{programs.sanitizer} is not there")
    return run


def program_items(programs, name, make):
    return make() if programs.path(name) is not None else [Item(name, lambda seconds: Outcome("skipped", f"{name} is not built"))]


def items(programs, stage):
    def suites(name, without=()):
        return program_items(programs, name, lambda: [Item(f"{name}/{suite}", test(programs, name, suite))
                                                      for suite in programs.suites(name) if suite not in without])

    if stage == "correctness":
        return [*suites("test_cuda", CPU_ALONE), *suites("test_cuda_calls"), *suites("test_ops"),
                *program_items(programs, "matmul_ladder", lambda: [Item("matmul_ladder", ladder(programs, 3))]),
                *program_items(programs, "bench_tune", lambda: [Item("a tuning of every layout", products.agree(programs))]),
                *program_items(programs, "ad_spend", lambda: [Item("ad_spend", trains_as_the_cpu(programs)),
                                                              Item("equal bits of 20 runs", equal_bits(programs))])]
    if stage == "sanitizers":
        there = [suite for suite in SANITIZED if suite in programs.suites("test_cuda")]
        return program_items(programs, "test_cuda", lambda: [Item(f"{tool} test_cuda/{suite}", sanitized(programs, tool, suite))
                                                             for tool in SANITIZERS for suite in there])
    if stage == "kernels":
        return [*program_items(programs, "matmul_ladder", lambda: [Item("matmul_ladder", ladder(programs, 20))]),
                *program_items(programs, "bench_kernels", lambda: [
                    Item(group, kernels.timed(programs, rows)) for group, rows in kernels.groups(kernels.row_names(programs)).items()])]
    if stage == "tune":
        return program_items(programs, "bench_tune", lambda: [Item(f"tune/{name}", products.tuned(programs, *of)) for name, *of in products.LISTS])

    def of_the_ladder():
        rows = steps.row_names(programs)
        return [*(Item(f"equal bits of 20 runs of {row}", steps.equal_bits(programs, row)) for row in steps.EQUAL_BITS if row in rows),
                *(Item(name, steps.timed(programs, *of)) for name, *of in steps.combinations(rows))]

    return program_items(programs, "bench_ladder", of_the_ladder)
