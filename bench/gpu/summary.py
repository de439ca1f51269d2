"""What a run of checks found, on a page that fits at the end of a log."""

LONGEST = 10_000  # characters
COLUMNS = (("milliseconds", "{:.4g} ms"), ("teraflops", "{:.4g} TFLOP/s"), ("share_of_copy", "{:.3g} of the copy"), ("ratio", "{:.3g}x the fastest peer"),
           ("tokens_per_second", "{:.4g} tokens/s"))


def figure(row):
    told = ", ".join(form.format(row[key]) for key, form in COLUMNS if isinstance(row.get(key), (int, float)) and row[key])
    return f"    {row['of']}{': ' if told else ''}{told}"


def cut(lines, longest):
    """As many lines as fit, and how many do not."""
    for count in range(len(lines), 0, -1):
        text = "\n".join(lines[:count]) + (f"\n  … {len(lines) - count} more lines" if count < len(lines) else "")
        if len(text) <= longest:
            return text
    return ""


def summary(results, stages):
    """Counts, then what failed or was refused, then figures."""
    counts, wrong, told = [], [], []
    for stage in stages:
        outcomes = results.items(stage)
        if not outcomes:
            continue
        of = [outcome.status for outcome in outcomes.values()]
        counts.append(f"{stage}: " + ", ".join(f"{of.count(status)} {status}" for status in dict.fromkeys(of)))
        for name, outcome in outcomes.items():
            if outcome.status in ("failed", "refused"):
                wrong.append(f"  {outcome.status} {name}: " + " | ".join(outcome.detail.split("\n")[:2])[:300])
            if outcome.figures:
                told += [f"  {name}:", *(figure(row) for row in outcome.figures)]
    return "\n".join(part for part in ("\n".join(counts), cut(wrong, LONGEST // 2), cut(told, LONGEST // 2), f"kept in {results.path}" if counts else "") if part)
