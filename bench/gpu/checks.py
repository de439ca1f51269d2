"""The items of each stage: what is run, and how its answer is read."""

import dataclasses
import hashlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
from typing import Callable

from gpu import kernels, steps
from gpu.results import Outcome

ON_GPU = {"BLOCKGRAD_TEST_DEVICE": "cuda", "BLOCKGRAD_TEST_ALL": "1"}  # every dtype of every row, not a tenth
LONGEST_DETAIL = 2000  # characters of what a program said
SANITIZERS = ("memcheck", "initcheck", "racecheck", "synccheck")
SANITIZED = ("maps", "product_program", "attention_program", "rows", "cuda_index", "cuda_order")  # suites of test_cuda with small shapes


class OutOfTime(Exception):
    pass


@dataclasses.dataclass
class Item:
    """`run` takes the seconds that are left and returns an Outcome; it may raise OutOfTime."""

    name: str
    run: Callable[[float], Outcome]


class Programs:
    """Executables of a build, on the GPU."""

    peers = pathlib.Path(__file__).resolve().parents[1] / "peers"

    def __init__(self, build, sanitizer="compute-sanitizer", python=None):
        self.build, self.sanitizer = pathlib.Path(build), sanitizer
        installed = self.peers.parents[1] / "build" / "peers" / "bin" / "python"
        self.python = python or (installed if installed.exists() else sys.executable)

    def path(self, name):
        for folder in ("tests", "examples", "bench"):
            if (self.build / folder / name).exists():
                return self.build / folder / name
        return None

    def call(self, command, seconds):
        """The exit status, and all that was said."""
        with subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace", text=True,
                              env=os.environ | ON_GPU, start_new_session=True) as program:
            try:
                said, _ = program.communicate(timeout=seconds)
            except BaseException as error:
                os.killpg(program.pid, signal.SIGKILL)  # with what it started
                if isinstance(error, subprocess.TimeoutExpired):
                    raise OutOfTime from error
                raise
        return program.returncode, said

    def peers_beside(self, command, seconds):
        """Runs a script by the interpreter that has the peers, for so many seconds. Empty, or why it did not get to its end."""
        try:
            status, said = self.call([self.python, "-B", *command], seconds)
        except OutOfTime:
            return "the peers were not done in time"
        return "" if status == 0 else "no peers: " + (said.strip().splitlines() or ["they said nothing"])[-1]

    def why_no_gpu(self):
        """Empty where there is one; and what the engine says of its devices."""
        if self.path("bench_device") is None:
            return "bench_device is not built", ""
        _, said = self.call([self.path("bench_device")], 60)
        cuda = re.search(r"^cuda: (.*)", said, re.MULTILINE)
        if cuda is None:
            return "bench_device says nothing of CUDA", said
        return (cuda[1].removeprefix("off, ") if cuda[1].startswith("off") else ""), said

    def suites(self, name):
        if self.path(name) is None:
            return []
        _, said = self.call([self.path(name), "--list_content", "--color_output=no"], 60)
        return re.findall(r"^(\w+)\*?(?::.*)?$", said, re.MULTILINE)


def last_of(text):
    return text.strip()[-LONGEST_DETAIL:]


def test_outcome(status, said):
    reasons = sorted(set(re.findall(r"skipped: (.*)", said)))
    if status != 0:
        return Outcome("failed", last_of(said))
    if "No errors detected" not in said:
        return Outcome("failed", "it ended without a result: " + last_of(said))
    return Outcome("skipped", "; ".join(reasons)) if reasons else Outcome("passed")


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
    status, said = programs.call([programs.path("ad_spend"), "--device", device, "--strategy", "mini-batch", "--epochs", epochs, "--report", report,
                                  "--weights", weights, "--plot", folder / "plot.svg"], seconds)
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
    def suites(name):
        return program_items(programs, name, lambda: [Item(f"{name}/{suite}", test(programs, name, suite)) for suite in programs.suites(name)])

    if stage == "correctness":
        return [*suites("test_cuda_loading"), *suites("test_cuda"), *suites("test_cuda_calls"), *suites("test_ops"),
                *program_items(programs, "matmul_ladder", lambda: [Item("matmul_ladder", ladder(programs, 3))]),
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

    def of_the_ladder():
        rows = steps.row_names(programs)
        return [*(Item(f"equal bits of 20 runs of {row}", steps.equal_bits(programs, row)) for row in steps.EQUAL_BITS if row in rows),
                *(Item(name, steps.timed(programs, *of)) for name, *of in steps.combinations(rows))]

    return program_items(programs, "bench_ladder", of_the_ladder)
