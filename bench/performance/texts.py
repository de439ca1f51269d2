"""Numbers and tables as text."""

import math


def text_of(seconds):
    for unit, size in (("s", 1), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)):
        if seconds >= size:
            break
    number = seconds / size
    return f"{number:.0f} {unit}" if number >= 100 else f"{number:.3g} {unit}"


def mib(size):
    return f"{size / 2**20:.1f}" if size >= 2**17 else f"{size / 2**20:.3f}"


def table(head, rows):
    lines = ["| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head)] + rows]
    return "\n".join(lines) + "\n"


def plural(count, noun):
    return f"{count} {noun}" + ("s" if count != 1 else "")


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def quartiles(values):
    """Lower quartile, median and upper quartile, as the benchmarks take them."""
    ordered = sorted(values)

    def at(part):
        place = part * (len(ordered) - 1)
        below = int(place)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (place - below) * (ordered[above] - ordered[below])

    return [at(part) for part in (0.25, 0.5, 0.75)]
