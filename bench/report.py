#!/usr/bin/env python3
"""Writes docs/performance.md and its pictures from what the benchmarks left in build/bench."""

import argparse
import pathlib
import sys

from performance import circumstances, growth, memory, steps
from performance.left_out import left_out
from performance.measured import LADDER, Rows, TOLERANCE, Unreadable
from performance.products import products

ROOT = pathlib.Path(__file__).resolve().parent.parent


def machine(rows, measured):
    first = rows.rows[0]
    versions = {name: version for row in rows for name, version in row.at.get("peers", {}).items()}
    peers = ", ".join(f"{name} {version}" for name, version in sorted(versions.items())) or "none installed"
    places = [at for at, _ in circumstances.measured(measured).values()]
    dates = sorted({at["date"] for at in places})
    when = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    commits = sorted({at["commit"] for at in places})
    return (f"Machine: {first.at['processor']}; {first.at['processors'].strip()}. Measured {when} "
            f"at commit {', '.join(commits)}. Peers: {peers}.")


def repetitions(rows):
    """How often we ran, in all rows."""
    counts = sorted({row.repetitions for row in rows})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def page(rows, measured, at):
    batch = growth.steps(measured, at, "mlp_batch", "batch", "MLP 784-128-10: a step by the batch", "batch",
                         (1, 4, 16, 64, 256, 1024, 4096))
    width = growth.steps(measured, at, "mlp_width", "width", "MLP 784-width-10, batch 64: a step by the width", "width",
                         (16, 64, 256, 1024, 2048))
    gpt = growth.steps(measured, at, "gpt_width", "gpt", "GPT, 4 layers, context 64, batch 12: a step by the width", "width",
                       (32, 64, 256), {128: "gpt"})
    return f"""# Performance

Written by `./run performance` from what `./run bench --peers`, `./run bench memory` and `./run bench threads` measured; edit
`bench/report.py`.

{machine(rows, measured)}

{circumstances.warnings(measured)}{steps.warnings(rows)}
## Training steps

One step is forward, backward and update in f32; everybody starts from the same values, reads the same batch and must have the same
loss after 20 steps (within {TOLERANCE:g} of it; the last table has the differences). In each of {repetitions(rows)} repetitions all run in turns, in an order
that is turned around each time, for at least 20 ms; times are medians, and who is far behind runs only three times. Every step is of
one batch, read again and again. A peer's best mode and number of threads counts: PyTorch
eager and compiled, with fused optimizers (Adagrad has none) and channels last; JAX with a jitted step and with many steps in one `lax.scan`, both
with donated buffers. Compiling is not timed. Ratios are the peer's time divided by ours on our best number of threads, medians
over the repetitions with their quartiles: above 1 we are ahead, below 1 they are in bold. The floor is defined below. Our step leaves out `minimize`'s
check that loss and gradients are finite, which no peer makes; the last column is what it would add.

{steps.overview(rows)}
{steps.means(rows)}
### Rows that are behind

{steps.behind(rows)}
### Peers that took no part

{left_out(rows) or "None."}
### Where the time goes

{steps.where_time_goes(rows)}
## Matrix products

{products(measured)}
## How cost grows

{batch}
{width}
{gpt}
### Attention

One causal head of 64. The scores alone are what a full matrix of them takes; the composition holds several such.

{growth.attention(measured, at)}
## Memory

{memory.memory(measured) or steps.footprints(rows)}
{memory.users(measured)}## The floor

FLOP of the products divided by the rate of fused multiply-adds, plus bytes divided by the bandwidth of a triad, both measured beside
every row. A product [m, k] x [k, n] is 2 m n k; a layer has one forward and two backward, the first layer one. Attention counts the
scores that a causal mask leaves. Bytes are those of the update (the gradient read; the parameter and each of its slots read and
written; of skip-gram's tables the rows that the batch names) and for batch norm seven passes over its input: forward one read and
one write, backward two reads for its sums, two reads and one write for its result. Activations that a product could take along are
free. The triad runs over half the bytes of a step, so that caches serve it as they serve the step.

{steps.floors(rows)}
## Everybody

{steps.everybody(rows)}"""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("measured", nargs="?", type=pathlib.Path, default=ROOT / "build" / "bench", help="folder of the benchmarks' files")
    parser.add_argument("page", nargs="?", type=pathlib.Path, default=ROOT / "docs" / "performance.md", help="the page; pictures go beside it, under its name")
    options = parser.parse_args()
    try:
        rows = Rows(options.measured / "ladder", LADDER)
        if not len(rows):
            sys.exit(f"nothing measured in {options.measured}; run ./run bench --peers first")
        options.page.write_text(page(rows, options.measured, options.page), encoding="utf-8")
    except (OSError, Unreadable) as error:
        sys.exit(str(error))
    for name in rows.missing:
        print(f"not measured: {name}")
    for row in rows.disturbed:
        print(f"disturbed by other programs, marked †: {row.name}")
    print(f"wrote {options.page}")


if __name__ == "__main__":
    main()
