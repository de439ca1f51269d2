"""Curves on log-log axes, drawn by gnuplot."""

import shutil
import subprocess

COLOURS = {
    "blockgrad, 1 thread": "#56b4e9", "blockgrad, 2 threads": "#0050a0", "blockgrad": "#0050a0", "by blocks": "#0050a0",
    "torch eager": "#d55e00", "torch compile": "#e69f00", "jax jit": "#009e73", "jax scan": "#b03a8c",
    "composed": "#d55e00",
}


def is_possible():
    return shutil.which("gnuplot") is not None


def style_of(curve, number):
    if curve.startswith(("floor", "scores")):
        return "lines lw 1.5 dt 2 lc rgb '#808080'"
    width = 2.5 if curve.startswith(("blockgrad", "by blocks")) else 1.5
    colour = COLOURS.get(curve.removeprefix("best "))
    return f"linespoints lw {width} pt 7 ps 0.5 lc " + (f"rgb '{colour}'" if colour else str(number + 1))


def draw(path, title, x_label, y_label, curves):
    """curves: {name: [(x, y), ..]} -> an SVG with a white background, its legend beside the curves."""
    blocks, plots = [], []
    for i, (curve, points) in enumerate(curves.items()):
        blocks.append(f"$curve{i} << end\n" + "\n".join(f"{x} {y}" for x, y in sorted(points)) + "\nend\n")
        plots.append(f"$curve{i} using 1:2 with {style_of(curve, i)} title '{curve}'")
    ticks = ", ".join(str(x) for x in sorted({x for points in curves.values() for x, _ in points}))
    script = f"""set terminal svg size 800,460 font 'sans,13' background 'white'
set output '{path}'
set title '{title}'
set xlabel '{x_label}'
set ylabel '{y_label}'
set logscale xy
set autoscale xfix
set offsets graph 0.02, graph 0.02, 0, 0
set xtics ({ticks})
set format y '10^{{%T}}'
set grid
set key outside right top reverse Left samplen 2
{''.join(blocks)}plot {', '.join(plots)}
"""
    subprocess.run(["gnuplot"], input=script, text=True, check=True)
