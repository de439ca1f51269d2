"""The part of the page about matrix products."""

from performance.measured import check, check_positive, read, reading
from performance.texts import geometric_mean, plural, table, text_of

FILES = ("matmul.json", "matmul_others.json")
OTHERS = 0.1  # processors that others may use in a cell
TINY = (5, 1, 2)  # a call costs more than its work: in no mean, its time is told instead


class Cell:
    """One product beside one peer."""

    def __init__(self, data, path):
        with reading(path, "a table of products"):
            check(data, type=str, layout=str, peer=str, threads=int, m=int, n=int, k=int)
            check_positive(data, "gflops", "percent_of_peak", "nanoseconds", "ratio", "ratio_low", "ratio_high")
            self.type, self.layout, self.threads, self.peer = data["type"], data["layout"], data["threads"], data["peer"]
            self.shape = (data["m"], data["n"], data["k"])
            self.gflops, self.share, self.nanoseconds = data["gflops"], data["percent_of_peak"], data["nanoseconds"]
            self.ratio, self.low, self.high = data["ratio"], data["ratio_low"], data["ratio_high"]
            self.peer_build, self.plan = data.get("peer_build", ""), data.get("plan", "")
            self.is_quiet = data["others"] <= OTHERS

    @property
    def key(self):
        return self.type, self.peer, self.shape, self.layout, self.threads

    @property
    def title(self):
        return "x".join(map(str, self.shape))

    @property
    def is_behind(self):
        return self.ratio < 1

    @property
    def is_clearly_behind(self):
        return self.high < 1


def cells_of(folder):
    """All, in the order in which they were measured; of one that was measured twice the first."""
    cells = {}
    for path in (folder / name for name in FILES):
        if not path.exists():
            continue
        data = read(path)
        with reading(path, "a table of products"):
            check(data, rows=list)
        for cell in data["rows"]:
            cell = Cell(cell, path)
            cells.setdefault(cell.key, cell)
    return list(cells.values())


def ratio_text(cell):
    if cell is None:
        return "-"
    text = f"**{cell.ratio:.2f}**" if cell.is_behind else f"{cell.ratio:.2f}"
    return text + ("" if cell.is_quiet else " †")


def grid(cells):
    columns = sorted({(cell.threads, cell.layout) for cell in cells})
    threads = sorted({cell.threads for cell in cells})
    by_place = {(cell.shape, cell.threads, cell.layout): cell for cell in cells}
    lines = []
    for shape in dict.fromkeys(cell.shape for cell in cells):
        line = ["x".join(map(str, shape))]
        for count in threads:
            first = by_place.get((shape, count, "NN"))
            line.append(f"{first.gflops:.0f} ({first.share:.0f} %)" if first else "-")
        line += [ratio_text(by_place.get((shape, count, layout))) for count, layout in columns]
        lines.append(line)
    head = ["m x n x k"] + [f"GFLOP/s, NN, {plural(count, 'thread')} (of peak)" for count in threads]
    return table(head + [f"{layout}, {count}" for count, layout in columns], lines)


def tiny(cells):
    """Products whose time is told in nanoseconds."""
    lines = [f"{cell.layout} {text_of(cell.nanoseconds * 1e-9)}{'' if cell.is_quiet else ' †'}" for cell in cells
             if cell.shape == TINY and cell.threads == 1]
    return f"\n5x1x2 inside a program, one thread: {', '.join(lines)}; it is in no mean.\n" if lines else ""


def summary(cells, threads):
    mine = [cell for cell in cells if cell.threads == threads and cell.shape != TINY]
    quiet = [cell for cell in mine if cell.is_quiet]
    if not mine:
        return ""
    text = f"\nOn {plural(threads, 'thread')}: "
    if not quiet:
        return text + f"all {len(mine)} cells were disturbed.\n"
    ratios = [cell.ratio for cell in quiet]
    behind = [cell for cell in mine if cell.is_behind]
    clearly = sum(cell.is_clearly_behind for cell in behind)
    text += (f"geometric mean **{geometric_mean(ratios):.3f}** of {plural(len(quiet), 'undisturbed cell')} of {len(mine)}, the least "
             f"{min(ratios):.2f}; {len(behind)} below 1, {clearly} of them by more than their spread.\n")
    for cell in sorted(behind, key=lambda cell: cell.ratio):
        spread = "" if cell.is_clearly_behind else ", within the spread"
        mark = "" if cell.is_quiet else " †"
        text += f"* {cell.title} {cell.layout}{mark}: {cell.ratio:.3f} [{cell.low:.3f}, {cell.high:.3f}]{spread}; {cell.plan}\n"
    return text


def means(cells):
    """Geometric mean and least of the undisturbed ratios to each peer, of each type."""
    groups = {}
    for cell in cells:
        if cell.is_quiet and cell.shape != TINY:
            groups.setdefault((cell.type, cell.peer, cell.threads), []).append(cell.ratio)
    lines = [[kind, peer, str(threads), str(len(ratios)), f"{geometric_mean(ratios):.3f}", f"{min(ratios):.3f}"]
             for (kind, peer, threads), ratios in groups.items()]
    return "\nAll peers, undisturbed cells:\n\n" + table(["type", "peer", "threads", "cells", "geometric mean", "least"], lines)


def rungs(folder):
    """Products that add one thing after the other to the tile in registers; "" if they were not measured."""
    path = folder / "rungs.json"
    if not path.exists():
        return ""
    data = read(path)
    with reading(path, "a table of rungs"):
        lines = [[row["rung"] + ("" if row["others"] <= OTHERS else " †"), f"{row['m']}x{row['n']}x{row['k']}",
                  f"{row['percent_of_peak']:.1f} [{row['low']:.1f}, {row['high']:.1f}]"] for row in data["rows"]]
    return ("\nWhat each step of a product costs, by products that add one after the other, f32 on one thread:\n\n"
            + table(["step", "m x n x k", "% of the FMA peak"], lines))


def products(folder):
    """The grid of f32 beside the first peer that was found, and the means of all."""
    everything = cells_of(folder)
    if not everything:
        return "Not measured.\n"
    peer = everything[0].peer
    cells = [cell for cell in everything if cell.type == "f32" and cell.peer == peer]
    text = f"Ratios of our rate to that of {peer} (quartiles in brackets), in turns in one run on random data; below 1 in bold.\n\n"
    builds = dict.fromkeys(f"{cell.peer} {cell.peer_build}" for cell in everything if cell.peer_build)
    text += f"Peers: {'; '.join(builds)}.\n\n" if builds else ""
    text += grid(cells) + tiny(cells)
    for threads in sorted({cell.threads for cell in cells}):
        text += summary(cells, threads)
    text += rungs(folder)
    if len({(cell.type, cell.peer) for cell in everything}) > 1:
        text += means(everything)
    if not all(cell.is_quiet for cell in everything):
        text += "\n**† Other programs used the machine: no result, and in no mean.**\n"
    return text
