"""The part of the page about how cost grows."""

from performance import pictures
from performance.left_out import left_out
from performance.measured import Row, read, reading
from performance.texts import mib, plural, table, text_of


def curves_of(points):
    """points: [(x, Row)] -> a curve for us on each number of threads, one for the best of each peer, the floor."""
    curves = {}
    for x, row in points:
        for c in row.ours:
            curves.setdefault(f"blockgrad, {plural(c['threads'], 'thread')}", []).append((x, c["seconds"] * 1e6))
        for name in dict.fromkeys(c["name"] for c in row.contestants if c["name"].split()[0] in ("torch", "jax")):
            times = [c["seconds"] for c in row.contestants if c["name"] == name and row.agrees(c)]
            if times:
                curves.setdefault("best " + name, []).append((x, min(times) * 1e6))
    for x, row in points:
        last = row.ours[-1]
        curves.setdefault(f"floor, {plural(last['threads'], 'thread')}", []).append((x, last["floor"] * 1e6))
    return curves


def steps(folder, page, prefix, name, title, x_label, wanted=(), more=None):
    """A picture of the rows mlp_batch1, mlp_batch4, .. and of `more` by x, and what must be said of them, of those wanted and not
    there too."""
    points = []
    for x, row in (more or {}).items():
        path = folder / "ladder" / f"{row}.json"
        if path.exists():
            points.append((x, Row(path)))
    for path in (folder / "ladder").glob(f"{prefix}*.json"):
        number = path.stem.removeprefix(prefix)
        if number.isdigit():
            points.append((int(number), Row(path)))
    points.sort(key=lambda point: point[0])
    missing = sorted({*wanted, *(more or {})} - {x for x, _ in points})
    if all(x in (more or {}) for x, _ in points):
        return f"{title}: not measured.\n"
    disturbed = [str(x) for x, row in points if not row.is_quiet]
    text = f"**{title}: not measured at {x_label} {', '.join(map(str, missing))}.**\n\n" if missing else ""
    picture = page.with_name(f"{page.stem}_{name}.svg")
    picture.unlink(missing_ok=True)  # of what was measured before
    if pictures.is_possible() and len(points) > 1:
        pictures.draw(picture, title + (" (disturbed, no result)" if disturbed else ""), x_label, "one step, microseconds", curves_of(points))
    if picture.exists():
        text += f"![{title}]({picture.name})\n"
    else:
        text += f"{title}: no picture, it needs gnuplot and two points.\n"
    reasons = left_out([row for _, row in points])
    if reasons:
        text += "\nPeers that took no part:\n\n" + reasons
    if disturbed:
        text += f"\n**† Disturbed by other programs, no results: {x_label} {', '.join(disturbed)}.**\n"
    behind = [f"{x} ({peer['name']}, {min(row.ratio(peer['name'].split()[0])[1], 1):.2f})" for x, row in points
              for peer in [row.best("torch"), row.best("jax")]
              if peer and row.ratio(peer["name"].split()[0])[1] < 1]
    if behind:
        text += f"\nBehind a peer at {x_label} {', '.join(behind)}.\n"
    return text


def attention(folder, page):
    path = folder / "attention.json"
    if not path.exists():
        return "Attention: not measured.\n"
    data = read(path)
    with reading(path, "a table of attention"):
        rows = data["rows"]
        if not rows:
            return "Attention: not measured.\n"
        threads = max(row["threads"] for row in rows)
        long = sorted((row for row in rows if row["batch"] * row["heads"] == 1 and row["threads"] == threads),
                      key=lambda row: row["length"])
        lines, memory = [], {"by blocks": [], "composed": [], "scores alone": []}
        for row in long:
            blocks, composed = row["blocks"], row.get("composed")
            memory["by blocks"].append((row["length"], blocks["peak_bytes"] / 2**20))
            memory["scores alone"].append((row["length"], row["score_bytes"] / 2**20))
            if composed:
                memory["composed"].append((row["length"], composed["peak_bytes"] / 2**20))
            lines.append([str(row["length"]) + ("" if row["others"] <= 0.1 else " †"),
                          f"{text_of(blocks['seconds'])} [{text_of(blocks['low'])}, {text_of(blocks['high'])}]",
                          mib(blocks["peak_bytes"]), mib(row["score_bytes"]),
                          text_of(composed["seconds"]) if composed else "not run",
                          mib(composed["peak_bytes"]) if composed else "-"])
    text = ""
    picture = page.with_name(f"{page.stem}_attention.svg")
    picture.unlink(missing_ok=True)
    if len(long) > 1 and pictures.is_possible():
        pictures.draw(picture, "Attention forward and backward: peak memory by the length", "length of the sequence",
                      "MiB", {name: points for name, points in memory.items() if points})
    if picture.exists():
        text += f"![Attention: peak memory by the length]({picture.name})\n\n"
    text += table(["length", f"forward and backward, {plural(threads, 'thread')}", "peak, MiB", "scores alone, MiB", "composed",
                   "its peak, MiB"], lines)
    if any(row["others"] > 0.1 for row in long):
        text += "\n**† Other programs used the machine: no result.**\n"
    return text
