#!/usr/bin/env python3
"""Writes docs/performance.md and its pictures from what the benchmarks left in build/bench: report.py [MEASURED PAGE]"""

import json
import math
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
MEASURED = pathlib.Path(sys.argv[1]) if len(sys.argv) > 2 else ROOT / "build" / "bench"
PAGE = pathlib.Path(sys.argv[2]).resolve() if len(sys.argv) > 2 else ROOT / "docs" / "performance.md"
ROWS = ["regression5", "regression1024", "mlp_small", "mlp_big", "lenet", "resnet", "lstm", "gpt", "skip_gram"]
TOLERANCE = 1e-3


def text_of(seconds):
    for unit, size in (("s", 1), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)):
        if seconds >= size:
            break
    number = seconds / size
    return f"{number:.0f} {unit}" if number >= 100 else f"{number:.3g} {unit}"


def table(head, rows):
    lines = ["| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head)] + rows]
    return "\n".join(lines) + "\n"


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


class Row:
    """One row of the ladder as measured in one run."""

    def __init__(self, path):
        self.data = json.loads(path.read_text())
        self.contestants = self.data["contestants"]
        self.ours = [c for c in self.contestants if c["name"] == "blockgrad"]
        self.loss = self.ours[0]["loss"]
        # Repetitions are made again up to twice as often as asked for.
        self.is_quiet = self.data["disturbed"] < 2 * self.ours[0]["repetitions"]
        self.title = self.data["title"] + ("" if self.is_quiet else " (*)")

    def agrees(self, contestant):
        return abs(contestant["loss"] - self.loss) <= TOLERANCE * abs(self.loss)

    def best(self, framework):
        """The fastest that does the same work, or None."""
        found = [c for c in self.contestants if c["name"].split()[0] == framework and self.agrees(c)]
        return min(found, key=lambda c: c["seconds"], default=None)

    def ratio(self, framework):
        peer = self.best(framework)
        return peer["seconds"] / self.best("blockgrad")["seconds"] if peer else None


def rows_of(names):
    paths = [MEASURED / "ladder" / f"{name}.json" for name in names]
    return [Row(path) for path in paths if path.exists()]


def with_peer(row, framework):
    peer = row.best(framework)
    if not peer:
        return ["-", "-"]
    kind = peer["name"].split()[1]
    return [f"{text_of(peer['seconds'])} ({kind}, {peer['threads']})", f"**{row.ratio(framework):.2f}**"]


def overview(rows):
    head = ["row", "1 thread", "of the floor"]
    threads = sorted({c["threads"] for row in rows for c in row.ours})
    for count in threads[1:]:
        head += [f"{count} threads", "of the floor", "gain"]
    head += ["best PyTorch", "ratio", "best JAX", "ratio"]
    lines = []
    for row in rows:
        line = [row.title]
        one = row.ours[0]
        for c in row.ours:
            line += [text_of(c["seconds"]), f"{100 * c['share_of_floor']:.0f} %"]
            line += [f"{one['seconds'] / c['seconds']:.2f}"] if c is not one else []
        lines.append(line + with_peer(row, "torch") + with_peer(row, "jax"))
    text = table(head, lines)
    if not all(row.is_quiet for row in rows):
        text += "\n(*) Other programs used the machine in all repetitions: measure again before believing it.\n"
    return text


def means(rows):
    models = [row for row in rows if not row.data["row"].startswith("regression")]
    lines = []
    for framework, title in (("torch", "PyTorch"), ("jax", "JAX")):
        ratios = [row.ratio(framework) for row in models]
        ratios = [ratio for ratio in ratios if ratio]
        if ratios:
            lines.append(f"Geometric mean of the ratios to the best {title} over {len(ratios)} rows without the "
                         f"regressions: **{geometric_mean(ratios):.2f}**.")
    return "\n".join(lines) + "\n"


def behind(rows):
    lines = []
    for row in rows:
        for framework, title in (("torch", "PyTorch"), ("jax", "JAX")):
            ratio = row.ratio(framework)
            if ratio and ratio < 1:
                lines.append(f"* {row.data['title']}: {title} is {1 / ratio:.2f} times as fast.")
    return "\n".join(lines) + "\n" if lines else "None.\n"


def details(rows):
    lines = []
    for row in rows:
        for c in row.contestants:
            difference = abs(c["loss"] - row.loss) / abs(row.loss)
            lines.append([row.data["row"], c["name"], str(c["threads"]), text_of(c["seconds"]),
                          f"{text_of(c['low'])} .. {text_of(c['high'])}", f"{100 * c['share_of_floor']:.1f} %",
                          f"{c['loss']:.6f}", f"{difference:.0e}" + ("" if row.agrees(c) else ", other work")])
    return table(["row", "who", "threads", "median", "quartiles", "of the floor", "loss after 20 steps",
                  "differs by"], lines)


def floors(rows):
    lines = []
    for row in rows:
        roof = row.data["roofs"]["1"]
        lines.append([row.data["row"], f"{row.data['flops'] / 1e6:.3g}", f"{row.data['bytes'] / 1e6:.3g}",
                      f"{roof['flops'] / 1e9:.0f}", f"{roof['bytes'] / 1e9:.1f}",
                      f"{row.data['peak_bytes'] / 2**20:.1f}", str(row.data["kernels"])])
    return table(["row", "MFLOP", "MB", "peak, GFLOP/s", "triad, GB/s", "memory, MiB", "kernels"], lines)


def product_means(cells):
    """Geometric mean and least ratio to each peer, of each type."""
    ratios = {}
    for cell in cells:
        ratios.setdefault((cell["type"], cell["peer"], cell["threads"]), []).append(cell["ratio"])
    return table(["type", "peer", "threads", "cells", "geometric mean", "least"],
                 [[kind, peer, str(threads), str(len(values)), f"{geometric_mean(values):.3f}", f"{min(values):.3f}"]
                  for (kind, peer, threads), values in ratios.items()])


def products():
    """The grid of matrix products beside the first peer that was found."""
    path = MEASURED / "matmul.json"
    if not path.exists():
        return "Not measured.\n"
    everything = json.loads(path.read_text())
    peer = everything[0]["peer"]
    cells = [cell for cell in everything if cell["type"] == "f32" and cell["peer"] == peer]
    columns = sorted({(cell["threads"], cell["layout"]) for cell in cells})
    shapes = list(dict.fromkeys((cell["m"], cell["n"], cell["k"]) for cell in cells))
    by_place = {(cell["m"], cell["n"], cell["k"], cell["threads"], cell["layout"]): cell for cell in cells}
    lines = []
    for shape in shapes:
        row = [by_place.get(shape + column) for column in columns]
        first = next(cell for cell in row if cell)
        lines.append(["x".join(map(str, shape)), f"{first['gflops']:.0f} ({first['percent_of_peak']:.0f} %)"]
                     + [f"{cell['ratio']:.2f}" if cell else "-" for cell in row])
    text = table(["m x n x k", "GFLOP/s, NN, 1 thread (of peak)"]
                 + [f"{layout}, {threads}" for threads, layout in columns], lines)
    for threads in sorted({cell["threads"] for cell in cells}):
        ratios = [cell["ratio"] for cell in cells if cell["threads"] == threads]
        behind = [cell for cell in cells if cell["threads"] == threads and cell["ratio"] < 1]
        text += (f"\nOn {threads} thread{'s' * (threads > 1)}: geometric mean **{geometric_mean(ratios):.3f}** of "
                 f"{len(ratios)} cells, the least {min(ratios):.2f}, {len(behind)} below 1.\n")
        for cell in behind:
            text += (f"* {cell['m']}x{cell['n']}x{cell['k']} {cell['layout']}: {cell['ratio']:.3f} "
                     f"[{cell['ratio_low']:.3f}, {cell['ratio_high']:.3f}]\n")
    text += f"\nAll peers, over the same grid:\n\n{product_means(everything)}"
    return f"Ratios of our rate to that of {peer} (quartiles in brackets), in turns in one run on random data.\n\n{text}"


def draw(name, title, x_label, points):
    """points: (x, Row). A curve for us on each number of threads, and one for the best of each peer."""
    curves = {}
    for x, row in points:
        for c in row.ours:
            curves.setdefault(f"blockgrad, {c['threads']} thread" + "s" * (c["threads"] > 1), []).append(
                (x, c["seconds"]))
        for c in row.contestants:
            if c["name"] == "blockgrad" or not row.agrees(c):
                continue
            curve = curves.setdefault("best " + c["name"], [])
            if curve and curve[-1][0] == x:
                curve[-1] = (x, min(curve[-1][1], c["seconds"]))
            else:
                curve.append((x, c["seconds"]))
        floor = row.ours[-1]["floor"]
        curves.setdefault("floor", []).append((x, floor))
    blocks, plots = [], []
    for i, (curve, values) in enumerate(curves.items()):
        blocks.append(f"$curve{i} << end\n" + "\n".join(f"{x} {y * 1e6}" for x, y in values) + "\nend\n")
        style = "lines lw 1 dt 2 lc 'gray'" if curve == "floor" else f"linespoints lw 2 pt 7 ps 0.6 lc {i + 1}"
        plots.append(f"$curve{i} using 1:2 with {style} title '{curve}'")
    script = f"""set terminal svg size 760,480 font 'sans,13' background 'white'
set output '{PAGE.parent / name}'
set title '{title}'
set xlabel '{x_label}'
set ylabel 'one step, microseconds'
set logscale xy
set autoscale xfix
set format y '10^{{%T}}'
set grid
set key outside right top
{''.join(blocks)}plot {', '.join(plots)}
"""
    subprocess.run(["gnuplot"], input=script, text=True, check=True)


def growth(kind, title, x_label):
    paths = (MEASURED / "ladder").glob(f"mlp_{kind}*.json")
    points = sorted((int(path.stem.removeprefix(f"mlp_{kind}")), Row(path)) for path in paths)
    if not points:
        return ""
    name = f"performance_{kind}.svg"
    if shutil.which("gnuplot"):
        draw(name, title, x_label, points)
    return f"![{title}]({name})\n"


def page(rows):
    at = rows[0].data["at"]
    versions = next((row.data["at"]["peers"] for row in rows if "peers" in row.data["at"]), {})
    peers = ", ".join(f"{name} {version}" for name, version in sorted(versions.items())) or "no peers installed"
    cores = max(c["threads"] for c in rows[0].ours)
    dates = sorted({row.data["at"]["date"][:10] for row in rows})
    commits = sorted({row.data["at"]["commit"] for row in rows})
    repetitions = max(row.ours[0].get("repetitions", 15) for row in rows)
    batch = growth("batch", "MLP 784-128-10: a step by the batch", "batch")
    width = growth("width", "MLP 784-width-10, batch 64: a step by the width", "width")
    return f"""# Performance

Written by `./run performance` from what `./run bench --peers` measured; edit `bench/report.py`.

Machine: {at['processor']}, {cores} core{'s' * (cores > 1)}. Measured {', '.join(dates)} at commit {', '.join(commits)}. Peers: {peers}.

## Training steps

One step is forward, backward and update in f32; everybody starts from the same values, reads the same batch and must have the same
loss after 20 steps (within {TOLERANCE:g} of it; the last table has the differences). In each of {repetitions} repetitions all run in turns, in an order
that is turned around each time, for at least 20 ms; times are medians. A peer's best mode and number of threads counts: PyTorch
eager and compiled, with fused optimizers and channels last; JAX with a jitted step and with many steps in one `lax.scan`, both
with donated buffers. Ratios are the peer's time divided by ours on our best number of threads: above 1 we are ahead. Our step
leaves out `minimize`'s check that loss and gradients are finite, which no peer makes.

{overview(rows)}
{means(rows)}
### Rows that are behind

{behind(rows)}
## Matrix products

{products()}
## How cost grows

{batch}
{width}
## The floor

FLOP of the products divided by the rate of fused multiply-adds, plus bytes divided by the bandwidth of a triad, both measured beside
every row. A product [m, k] x [k, n] is 2 m n k; a layer has one forward and two backward, the first layer one. Attention counts the
scores that a causal mask leaves. Bytes are those of the update (the gradient read; the parameter and each of its slots read and
written; of skip-gram's tables the rows that the batch names) and for batch norm seven passes over its input: forward one read and
one write, backward two reads for its sums, two reads and one write for its result. Activations that a product could take along are free.

{floors(rows)}
## Everybody

{details(rows)}"""


def main():
    rows = rows_of(ROWS)
    if not rows:
        sys.exit(f"nothing measured in {MEASURED}; run ./run bench --peers first")
    PAGE.write_text(page(rows))
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
