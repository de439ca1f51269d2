#!/usr/bin/env python3
"""Checks the CUDA backend on a GPU, stage by stage. What was done is kept in bench/results/gpu as it goes: the same command again does
the rest. Exit status: 0 all is right, 1 something is not, 3 there is no GPU, 4 some is left to do."""

import argparse
import datetime
import hashlib
import pathlib
import subprocess
import sys
import time

from gpu.checks import OutOfTime, Programs, items
from gpu.page import page
from gpu.results import Outcome, Results, Unreadable, all_results

ROOT = pathlib.Path(__file__).resolve().parent.parent
STAGES = ("correctness", "sanitizers", "kernels", "steps")
TARGETS = {
    "correctness": ("test_cuda_loading", "test_cuda", "test_cuda_calls", "test_ops", "matmul_ladder", "ad_spend"),
    "sanitizers": ("test_cuda",),
    "kernels": ("matmul_ladder", "bench_kernels"),
    "steps": ("bench_ladder",),
}
NO_GPU, LEFT = 3, 4


def output_of(*command):
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def commit():
    """A changed tree is told by a hash of the change. Without git it is not known what a run is of, and none is gone on with."""
    name = output_of("git", "rev-parse", "--short", "HEAD")
    if not name:
        return time.strftime("unknown-%H%M%S")
    change = output_of("git", "diff", "HEAD", "--", ":!bench/results", ":!docs/gpu-results.md")
    return f"{name}-dirty-{hashlib.sha256(change.encode()).hexdigest()[:7]}" if change else name


def about(said):
    """What the numbers depend on, besides the commit."""
    smi = output_of("nvidia-smi", "--query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit", "--format=csv,noheader")
    return {"device": said, "nvidia_smi": smi, "toolkit": output_of("nvcc", "--version").splitlines()[-1:],
            "math": "exact: fp32 is fp32"}


def run_stage(stage, todo, results, seconds, say=print, clock=time.monotonic):
    """Runs what is not done yet. True if nothing is left. An item that does not fit into a whole call has failed."""
    end = clock() + seconds
    done = results.items(stage)
    is_first = True
    for item in todo:
        if item.name in done:
            continue
        start = clock()
        left = end - start
        if left < seconds / 10 and not is_first:
            return False
        try:
            outcome = item.run(max(1.0, left))
        except OutOfTime:
            if not is_first:
                return False
            outcome = Outcome("failed", f"not done in {seconds:.0f} s")
        outcome.seconds = round(clock() - start, 3)
        is_first = False
        results.keep(stage, item.name, outcome)
        say(f"{outcome.status:8} {item.name}" + (f": {outcome.detail.splitlines()[-1]}" if outcome.detail else ""), flush=True)
    return True


def check(options, programs):
    why, said = programs.why_no_gpu()
    if why:
        print(f"no GPU: not run ({why})")
        return NO_GPU
    date = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    results = Results.of_commit(options.results, options.commit or commit(), date, about(said))
    if options.again:
        results.data["stages"].pop(options.stage, None)
    todo = items(programs, options.stage)
    is_whole = run_stage(options.stage, todo, results, 60 * options.minutes)
    outcomes = results.items(options.stage)
    counts = {status: sum(outcome.status == status for outcome in outcomes.values()) for status in dict.fromkeys(o.status for o in outcomes.values())}
    print(f"{options.stage}: " + ", ".join(f"{count} {status}" for status, count in counts.items()) + f"; kept in {results.path}")
    if not is_whole:
        print(f"{len(todo) - len(outcomes)} left: the same command again does them")
        return LEFT
    return 1 if counts.get("failed") else 0


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="./run gpu-check", description=__doc__)
    parser.add_argument("stage", choices=[*STAGES, "page", "look", "targets"],
                        help="page: write docs/gpu-results.md; look: only say whether there is a GPU; targets: what the stages need built")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "release", help="folder of a build with the CUDA backend")
    parser.add_argument("--results", type=pathlib.Path, default=ROOT / "bench" / "results" / "gpu", help="folder of the files of runs")
    parser.add_argument("--page", type=pathlib.Path, default=ROOT / "docs" / "gpu-results.md")
    parser.add_argument("--commit", default="", help="of the build, where git is not there to tell")
    parser.add_argument("--minutes", type=float, default=8.5, help="after which a call ends, with what is left for the next")
    parser.add_argument("--python", type=pathlib.Path, help="the interpreter that has PyTorch and JAX; build/peers, else the one of this script")
    parser.add_argument("--again", action="store_true", help="do the stage anew")
    options = parser.parse_args(arguments)
    try:
        if options.stage == "targets":
            print(" ".join(sorted({name for names in TARGETS.values() for name in names})))
        elif options.stage == "page":
            options.page.write_text(page(all_results(options.results), ROOT))
        elif options.stage == "look":
            why, said = Programs(options.build).why_no_gpu()
            print(f"no GPU: not run ({why})" if why else said)
            return NO_GPU if why else 0
        else:
            return check(options, Programs(options.build, python=options.python))
    except Unreadable as error:
        sys.exit(f"gpu-check: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
