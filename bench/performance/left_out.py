"""Which peers took no part."""

from performance.measured import FRAMEWORKS
from performance.texts import plural


def left_out(rows):
    """Peers that took no part and why, with the rows if it is not in all; "" if all did."""
    reasons = {}
    for row in rows:
        for peer in row.left_out:
            who = f"{FRAMEWORKS.get(peer['name'].split()[0], '?')} {peer['name'].split()[-1]} on {plural(peer['threads'], 'thread')}"
            reasons.setdefault((who, peer["why"]), []).append(row.name)
    lines = [f"* {who}: {why}{'' if len(names) == len(rows) else ' (' + ', '.join(names) + ')'}"
             for (who, why), names in reasons.items()]
    without = [row.name for row in rows if not any(row.best(framework) for framework in FRAMEWORKS) and not row.left_out]
    if without:
        lines.append(f"* Measured without peers: {', '.join(without)}")
    return "\n".join(lines) + "\n" if lines else ""
