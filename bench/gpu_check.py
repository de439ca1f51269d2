#!/usr/bin/env python3
"""Checks the CUDA backend on a GPU, stage by stage. What was done is kept in the folder of results as it goes: the same command again does
the rest. Exit status: 0 all is right, 1 something is not, 3 there is no GPU, 4 some is left to do."""

import argparse
import concurrent.futures
import contextlib
import datetime
import hashlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

from gpu.archive import pack
from gpu.checks import items
from gpu.page import page
from gpu.programs import ROOT, OutOfTime, Programs
from gpu.results import Outcome, Results, Unreadable, all_results
from gpu.summary import summary

TARGETS = {
    "correctness": ("test_cuda", "test_cuda_calls", "test_ops", "matmul_ladder", "bench_tune", "ad_spend"),
    "sanitizers": ("test_cuda",),
    "kernels": ("matmul_ladder", "bench_kernels"),
    "tune": ("bench_tune",),
    "steps": ("bench_ladder",),
}
STAGES = tuple(TARGETS)
SIDE_BY_SIDE = ("correctness", "sanitizers")  # what takes no times
LONGEST = {"correctness": 480, "tune": 3600}  # seconds of an item; who hangs takes no more of the others' time
USUALLY_LONGEST = 300
NO_GPU, LEFT, INTERRUPTED = 3, 4, 130


def output_of(*command):
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def commit():
    """A changed tree is told by a hash of the change. Empty without git."""
    name = output_of("git", "rev-parse", "--short", "HEAD")
    change = output_of("git", "diff", "HEAD", "--", ":!bench/results", ":!docs/gpu-results.md")
    return f"{name}-dirty-{hashlib.sha256(change.encode()).hexdigest()[:7]}" if name and change else name


def commit_of(programs):
    """That of packed programs, else of the tree. Where neither is known, no run is gone on with."""
    packed = programs.build / "commit"
    return packed.read_text().strip() if packed.exists() else commit() or time.strftime("unknown-%H%M%S")


def about(said):
    """What the numbers depend on, besides the commit."""
    smi = output_of("nvidia-smi", "--query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit", "--format=csv,noheader")
    return {"device": said, "nvidia_smi": smi, "toolkit": output_of("nvcc", "--version").splitlines()[-1:],
            "math": "exact: fp32 is fp32"}


def timed(item, seconds, is_all):
    """Runs an item; None if it is to be done again by a call that has more time than this, which is not all that it may take."""
    start = time.monotonic()
    try:
        outcome = item.run(max(1.0, seconds))
    except OutOfTime:
        if not is_all:
            return None
        outcome = Outcome("failed", f"not done in {seconds:.0f} s")
    except Exception as error:  # of one item; the others go on
        outcome = Outcome("failed", f"the check itself: {error!r}")
    outcome.seconds = round(time.monotonic() - start, 3)
    return outcome


def run_stage(stage, todo, results, seconds, jobs=1, is_whole_call=True, say=print, clock=time.monotonic, stop=lambda: None):
    """Runs what is not done yet, so many items at a time. True if nothing is left. What does not fit into a whole call has failed.
    Who interrupts it waits for no item: `stop` ends those that run."""
    end, longest = clock() + seconds, LONGEST.get(stage, USUALLY_LONGEST)
    todo = [item for item in todo if item.name not in results.items(stage)]
    count, is_whole, running = len(todo), True, {}
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool, contextlib.ExitStack() as interrupted:
        interrupted.callback(stop)
        while todo or running:
            while todo and len(running) < jobs:
                left, is_first = end - clock(), is_whole_call and len(todo) > count - jobs
                if left < seconds / 10 and not is_first:
                    todo, is_whole = [], False
                    break
                item = todo.pop(0)
                running[pool.submit(timed, item, min(left, longest), is_first or left >= longest)] = item
            for done in concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED).done:
                item, outcome = running.pop(done), done.result()
                if outcome is None:
                    is_whole = False
                    continue
                results.keep(stage, item.name, outcome)
                say(f"{outcome.status:8} {item.name}, {outcome.seconds:.1f} s" + (f": {outcome.detail.splitlines()[0][:200]}" if outcome.detail else ""),
                    flush=True)
        interrupted.pop_all()
    return is_whole


def check(options, stages):
    programs = Programs(options.build, python=options.python)
    why, said = programs.why_no_gpu()
    if why:
        print(f"no GPU: not run ({why})")
        return NO_GPU
    print(said.strip(), flush=True)
    programs.log = options.results / "said.log"
    options.results.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=options.results).close()  # an item that is not kept ran in vain
    date = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    results = Results.of_commit(options.results, options.commit or commit_of(programs), date, about(said))
    end = time.monotonic() + 60 * options.minutes
    left = []
    try:
        for stage in stages:
            if options.again:
                results.data["stages"].pop(stage, None)
            seconds = end - time.monotonic()
            if seconds < 6 * options.minutes and stage != stages[0]:  # a tenth
                left.append(stage)
                continue
            todo = [item for item in items(programs, stage) if re.search(options.only, item.name)]
            jobs = options.jobs if stage in SIDE_BY_SIDE else 1
            if not run_stage(stage, todo, results, seconds, jobs, is_whole_call=stage == stages[0], stop=programs.stop):
                left.append(stage)
    finally:
        print(summary(results, stages))
    if left:
        print(f"some is left of {', '.join(left)}: the same command again does it")
    failed = any(outcome.status == "failed" for stage in stages for outcome in results.items(stage).values())
    return 1 if failed else LEFT if left else 0


def packed(options):
    programs = Programs(options.build)
    names = sorted({name for names in TARGETS.values() for name in names} | {"bench_device"})
    missing = [name for name in names if programs.path(name) is None]
    if missing:
        sys.exit(f"gpu-check: not built in {options.build}: {', '.join(missing)}")
    size = pack([programs.path(name) for name in names], options.commit or commit_of(programs), options.to)
    print(f"{options.to}: {size / 2**20:.1f} MiB; there: ./run gpu-check all --build {options.to}")


def pattern(text):
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"'{text}' is no regular expression: {error}") from error


def at_least_one(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number from 1 on")
    return int(text)


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="./run gpu-check", description=__doc__)
    parser.add_argument("stage", choices=[*STAGES, "all", "pack", "page", "look", "targets"],
                        help="all: one after the other, whatever fails; pack: what the stages run into the file --to, for another machine's --build; "
                             "page: write docs/gpu-results.md; look: only say whether there is a GPU; targets: what the stages need built")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "release",
                        help="folder of a build with the CUDA backend, or a file that pack wrote")
    parser.add_argument("--results", type=pathlib.Path, default=ROOT / "bench" / "results" / "gpu",
                        help="folder of the files of runs, of what the programs said, and of the measured products")
    parser.add_argument("--page", type=pathlib.Path, default=ROOT / "docs" / "gpu-results.md")
    parser.add_argument("--to", type=pathlib.Path, default=ROOT / "build" / "gpu_programs.tar.xz", help="the file of pack")
    parser.add_argument("--commit", default="", help="of the build, where neither git nor the packed programs tell")
    parser.add_argument("--minutes", type=float, default=8.5, help="after which a call ends, with what is left for the next")
    parser.add_argument("--only", type=pattern, default="", help="items whose name has this regular expression")
    parser.add_argument("--jobs", type=at_least_one, default=min(8, os.cpu_count() or 1), help="items at a time, of stages that take no times")
    parser.add_argument("--python", type=pathlib.Path, help="the interpreter that has PyTorch and JAX; build/peers, else the one of this script")
    parser.add_argument("--again", action="store_true", help="do the stage anew")
    options = parser.parse_args(arguments)
    options.build, options.results, options.to = options.build.absolute(), options.results.absolute(), options.to.absolute()
    try:
        if options.stage == "targets":
            print(" ".join(sorted({name for names in TARGETS.values() for name in names})))
        elif options.stage == "page":
            options.page.write_text(page(all_results(options.results), ROOT))
        elif options.stage == "look":
            why, said = Programs(options.build).why_no_gpu()
            print(f"no GPU: not run ({why})" if why else said)
            return NO_GPU if why else 0
        elif options.stage == "pack":
            packed(options)
        else:
            return check(options, STAGES if options.stage == "all" else (options.stage,))
    except (OSError, Unreadable) as error:
        sys.exit(f"gpu-check: {error}")
    except KeyboardInterrupt:
        print("gpu-check: interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
