"""The stage `kernels`: rows of bench_kernels by group, and PyTorch's times for the same rows beside them."""

import json
import pathlib
import re
import tempfile
import time

from gpu.results import Outcome

# Names of rows, whatever dtype they end in; each row belongs to the first group that fits.
GROUPS = {
    "copy bandwidth": r"copy",
    "elementwise against the copy": r"scale|add|gelu|transpose",
    "norms and softmax": r"layer_norm(_backward)?|softmax(_backward)?",
    "loss with gradient": r"cross_entropy_and_gradient",
    "updates": r"adamw",
    "attention": r"attention(_backward)?",
    "gather, scatter and embedding": r"gather|scatter_add|embedding_gradient",
    "sort": r"sort(_lines)?",
    "products in tf32": r"matmul_\w+_tf32",
    "products in bf16": r"matmul_\w+_bf16",
    "products in f32": r"matmul_\w+",
}


def group_of(row):
    """Empty if there is none."""
    return next((group for group, pattern in GROUPS.items() if re.fullmatch(f"({pattern})(_bf16)?", row)), "")


def groups(rows):
    """Rows by group, in the order of GROUPS; those that fit none under their own names."""
    found = {group: [] for group in GROUPS}
    for row in rows:
        found.setdefault(group_of(row) or row, []).append(row)
    return {group: names for group, names in found.items() if names}


def figure(row, peers):
    """A row of numbers, with all peers and the ratio to the fastest: its time / ours. Peers alone where we have no time."""
    made = {"of": row["name"], "sizes": row["sizes"], "dtype": row["dtype"], "math": row["math"]}
    if "seconds" in row:
        made |= {"milliseconds": 1e3 * row["seconds"], "low": 1e3 * row["low"], "high": 1e3 * row["high"], "repetitions": row["repetitions"],
                 "gigabytes_per_second": row["bytes"] / row["seconds"] * 1e-9, "share_of_copy": row["share_of_copy"],
                 "teraflops": row["flops"] / row["seconds"] * 1e-12, "off": row["off"], "kernel": row["kernel"]}
    return made | beside({one["peer"]: 1e3 * one["seconds"] for one in peers if "seconds" in one},
                         {one["peer"]: one["why"] for one in peers if "why" in one}, made.get("milliseconds"))


def beside(times, missing, ours):
    """Milliseconds of the peers, the fastest of them, and its time / ours; and why others have none."""
    made = {}
    if times:
        best = min(times, key=times.get)
        made = {"peers": times, "best_peer": best} | ({"ratio": times[best] / ours} if ours else {})
    return made | ({"peers_without": missing} if missing else {})


def outcome(ours, theirs, word):
    """Of what both have left; `word` is why there are no peers, if so."""
    figures, wrong = [], []
    for row in ours["rows"]:
        peers = [one for one in theirs.get("rows", []) if one["name"] == row["name"]]
        if "seconds" in row or peers:
            figures.append(figure(row, peers))
        if "seconds" not in row:
            wrong.append(f"{row['name']}: {row['why']}")
    detail = "; ".join(wrong) + (f"; {word}" if word else "")
    return Outcome("failed" if wrong else "passed", detail.strip("; "), figures=figures)


def timed(programs, rows):
    """Ours first, then PyTorch in what is left of the time; its rows are kept as far as it came."""
    def run(seconds):
        end = time.monotonic() + seconds
        with tempfile.TemporaryDirectory() as folder:
            ours, theirs = pathlib.Path(folder) / "ours.json", pathlib.Path(folder) / "theirs.json"
            command = [programs.path("bench_kernels"), "--device", "cuda", "--json", ours]
            for row in rows:
                command += ["--row", row]
            status, said = programs.call(command, seconds)
            if status != 0 or not ours.exists():
                return Outcome("failed", said.strip()[-2000:])
            word = programs.peers_beside([programs.peers / "kernels.py", ours, "--device", "cuda", "--json", theirs],
                                         max(1.0, end - time.monotonic() - 2))
            return outcome(json.loads(ours.read_text()), json.loads(theirs.read_text()) if theirs.exists() else {}, word)
    return run


def row_names(programs):
    _, said = programs.call([programs.path("bench_kernels"), "--list"], 60)
    return re.findall(r"^([a-z0-9_]+)\b", said, re.MULTILINE)
