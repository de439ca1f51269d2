"""The part of the page about whole training steps."""

from performance.measured import FRAMEWORKS, LADDER
from performance.texts import geometric_mean, mib, plural, table, text_of


def ratio_text(ratio):
    if ratio is None:
        return "-"
    low, median, high = ratio
    text = f"**{median:.2f}**" if median < 1 else f"{median:.2f}"
    return f"{text} [{low:.2f}, {high:.2f}]"


def with_peer(row, framework):
    peer = row.best(framework)
    if not peer:
        return ["missing", "-"]
    return [f"{text_of(peer['seconds'])} ({peer['name'].split()[1]}, {peer['threads']})", ratio_text(row.ratio(framework))]


def guard_text(row):
    ours = row.best_of_ours
    guarded = row.guarded(ours["threads"])
    return f"{100 * (guarded['seconds'] / ours['seconds'] - 1):+.0f} %" if guarded else "-"


def overview(rows):
    threads = sorted({c["threads"] for row in rows for c in row.ours})
    head = ["row"]
    for i, count in enumerate(threads):
        head += [plural(count, "thread"), "of the floor"] + (["gain"] if i > 0 else [])
    head += ["best PyTorch", "ratio", "best JAX", "ratio", "finite check"]
    lines = []
    for row in rows:
        line = [row.marked_title]
        by_threads = {c["threads"]: c for c in row.ours}
        for i, count in enumerate(threads):
            c = by_threads.get(count)
            line += [text_of(c["seconds"]), f"{100 * c['share_of_floor']:.0f} %"] if c else ["-", "-"]
            if i > 0:
                line.append(f"{row.ours[0]['seconds'] / c['seconds']:.2f}" if c else "-")
        lines.append(line + with_peer(row, "torch") + with_peer(row, "jax") + [guard_text(row)])
    return table(head, lines)


def warnings(rows):
    """What a reader must know before believing the table."""
    lines = []
    if rows.disturbed:
        names = ", ".join(row.name for row in rows.disturbed)
        lines.append(f"**† Other programs used the machine while {plural(len(rows.disturbed), 'row')} of {len(rows)} "
                     f"({names}) {'were' if len(rows.disturbed) > 1 else 'was'} measured, also when measured again. These "
                     "figures are no results; they stand in no mean. Measure them again on an idle machine.**")
    if rows.missing:
        lines.append(f"**Not measured: {', '.join(rows.missing)}.** The run was ended before them, or left them out.")
    return "\n\n".join(lines) + "\n" if lines else "All rows were measured while nobody else used the machine.\n"


def means(rows):
    lines = []
    for framework, title in FRAMEWORKS.items():
        ratios = [row.ratio(framework) for row in rows.models]
        ratios = [ratio[1] for ratio in ratios if ratio]
        if ratios:
            lines.append(f"Geometric mean of the ratios to the best {title}, {plural(len(ratios), 'undisturbed row')} of "
                         f"{len(LADDER) - 2} without the regressions: **{geometric_mean(ratios):.2f}**.")
    return "\n".join(lines) + "\n"


def losses_text(row):
    parts = [f"{loss['what']} ({text_of(loss['seconds'])} of which {text_of(loss['above_floor'])} are above its floor)"
             for loss in row.losses[:3]]
    return "; ".join(parts)


def behind(rows):
    lines = []
    for row in rows:
        for framework, title in FRAMEWORKS.items():
            ratio = row.ratio(framework)
            if not ratio or ratio[1] >= 1:
                continue
            low, median, high = ratio
            peer = row.best(framework)
            by_spread = "" if high < 1 else ", within the spread"
            mark = "" if row.is_quiet else " † disturbed;"
            lines.append(f"* **{row.title}**:{mark} {title} ({peer['name'].split()[1]}, {plural(peer['threads'], 'thread')}) takes "
                         f"{text_of(peer['seconds'])}, we take {text_of(row.best_of_ours['seconds'])}: ratio **{median:.2f}** "
                         f"[{low:.2f}, {high:.2f}]{by_spread}. On one thread we lose most in {losses_text(row) or 'nothing that was profiled'}.")
    return "\n".join(lines) + "\n" if lines else "None.\n"


def where_time_goes(rows):
    lines = [[row.name, losses_text(row)] for row in rows if row.losses]
    return table(["row", "kernels that lose most, one thread"], lines) if lines else ""


def everybody(rows):
    lines = []
    for row in rows:
        for c in row.contestants:
            difference = row.difference(c)
            lines.append([row.name + ("" if row.is_quiet else " †"), c["name"], str(c["threads"]), text_of(c["seconds"]),
                          f"{text_of(c['low'])} .. {text_of(c['high'])}", str(c["repetitions"]),
                          f"{100 * c['share_of_floor']:.1f} %", f"{c['loss']:.6f}",
                          f"{difference:.0e}" + ("" if row.agrees(c) else ", other work")])
    return table(["row", "who", "threads", "median", "quartiles", "times", "of the floor", "loss after 20 steps",
                  "differs by"], lines)


def floors(rows):
    lines = []
    for row in rows:
        for threads, roof in sorted(row.roofs.items(), key=lambda item: int(item[0])):
            least = row.flops / roof["flops"] + row.bytes / roof["bytes"]
            lines.append([row.name, threads, f"{row.flops / 1e6:.3g}", f"{row.bytes / 1e6:.3g}",
                          f"{roof['flops'] / 1e9:.0f}", f"{roof['bytes'] / 1e9:.1f}", text_of(least)])
    return table(["row", "threads", "MFLOP", "MB", "peak, GFLOP/s", "triad, GB/s", "floor"], lines)


def footprints(rows):
    lines = [[row.name, mib(row.peak_bytes), str(row.kernels)] for row in rows]
    return table(["row", "memory of the program, MiB", "kernels"], lines)
