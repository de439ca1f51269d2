"""The stage `steps`: rows of bench_ladder on the GPU in turns with PyTorch and JAX, and their bits from run to run."""

import json
import os
import pathlib
import re
import tempfile

from gpu.kernels import beside
from gpu.results import Outcome

LOSS_TOLERANCE = {"exact": 1e-3, "tf32": 1e-2, "bf16": 3e-2}  # of the loss after 20 steps, as a share
MATHS = {"gpt2": ("bf16", "tf32", "exact")}  # by the start of a row's name; others exact alone
# One after the other, each with all of the memory to itself and us.
ALONE = {"gpt2": ("torch compile", "torch reduce-overhead", "torch eager", "jax jit")}
PATIENCE = 240  # seconds for peers to compile a row
THREADS = min(16, os.cpu_count() or 1)  # that they compile on
EQUAL_BITS = ("mlp_small", "lenet", "gpt")


def of_row(table, row, usual):
    return next((value for start, value in table.items() if row.startswith(start)), usual)


def of_large(rows):
    return [row for row in rows if of_row(ALONE, row, None)]


def combinations(rows):
    """(name of the item, row, math, peer or empty for all at once); what peers take minutes to compile comes last, the largest first."""
    found = []
    for row in [row for row in rows if row not in of_large(rows)] + of_large(rows)[::-1]:
        for math in of_row(MATHS, row, ("exact",)):
            for peer in of_row(ALONE, row, ("",)):
                found.append((f"ladder/{row}" + (f" in {math}" if math != "exact" else "") + (f" beside {peer}" if peer else ""), row, math, peer))
    return found


def figure(data):
    """Our step, with those of all peers in the same run."""
    ours = next(one for one in data["contestants"] if one["name"] == "blockgrad")
    milliseconds = 1e3 * ours["seconds"]
    made = {"of": data["title"], "device": data["device"], "math": data.get("math", "exact"), "milliseconds": milliseconds,
            "low": 1e3 * ours["low"], "high": 1e3 * ours["high"], "repetitions": ours["repetitions"], "loss": ours["loss"]}
    if data.get("tokens"):
        made["tokens_per_second"] = data["tokens"] / ours["seconds"]
    peers = [one for one in data["contestants"] if one["name"] != "blockgrad" and one.get("seconds")]
    missing = {one["name"]: one["why"] for one in data.get("left_out", [])}
    return made | beside({one["name"]: 1e3 * one["seconds"] for one in peers}, missing, milliseconds)


def other_losses(data):
    ours = next(one for one in data["contestants"] if one["name"] == "blockgrad")["loss"]
    tolerance = LOSS_TOLERANCE[data.get("math", "exact")]
    return [f"{one['name']} has the loss {one['loss']:.6f}, not {ours:.6f}" for one in data["contestants"]
            if not abs(one["loss"] - ours) <= tolerance * abs(ours)]


def timed(programs, row, math, peer):
    def run(seconds):
        with tempfile.TemporaryDirectory() as folder:
            command = [programs.path("bench_ladder"), "--device", "cuda", "--row", row, "--math", math, "--threads", THREADS, "--json", folder,
                       "--peers", "--python", programs.python, "--worker", programs.peers / "worker.py",
                       "--patience", min(PATIENCE, max(10, round(seconds / 2)))]
            status, said = programs.call(command + (["--peer", peer] if peer else []), seconds)
            files = sorted(pathlib.Path(folder).glob("*.json"))
            if status != 0 or not files:
                return Outcome("failed", said.strip()[-2000:])
            data = json.loads(files[0].read_text())
        wrong = other_losses(data)
        return Outcome("failed" if wrong else "passed", "; ".join(wrong), figures=[figure(data)])
    return run


def equal_bits(programs, row, times=20):
    def run(seconds):
        command = [programs.path("bench_ladder"), "--device", "cuda", "--row", row, "--equal-bits", times, "--threads", 1]
        status, said = programs.call(command, seconds)
        found = re.search(r"\d+ trainings of \d+ steps, (\d+) different parameters", said)
        if found is None:
            return Outcome("failed", said.strip()[-2000:])
        return Outcome("passed" if status == 0 and found[1] == "1" else "failed", found[0])
    return run


def row_names(programs):
    _, said = programs.call([programs.path("bench_ladder"), "--device", "cuda", "--list"], 60)
    return re.findall(r"^([a-z0-9_]+)\b", said, re.MULTILINE)
