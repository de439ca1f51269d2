"""The parts of the page about memory and about several users, from what `./run bench memory` and `threads` left."""

from performance.measured import read, reading
from performance.texts import mib, table


def limit_text(limit):
    return (f"\n{limit['row']} with a `memory_limit` of {mib(limit['limit_bytes'])} MiB, of {mib(limit['peak_bytes'])}: "
            f"{limit['recomputed']} nodes run again, the step takes {limit['time_ratio']:.2f} times as long "
            f"[{limit['low']:.2f}, {limit['high']:.2f}], bits {'equal' if limit['equal_bits'] else '**differ**'}. Whether others used the machine meanwhile is not known.\n")


def memory(folder):
    """Planned memory beside its bound, and what running steps took; "" if it was not measured."""
    path = folder / "memory.json"
    if not path.exists():
        return ""
    data = read(path)
    with reading(path, "a table of memory"):
        lines = [[row["row"], mib(row["arena_bytes"]), mib(row["live_bytes"]),
                  f"{row['ratio']:.3f}" if row["ratio"] <= 1.1 else f"**{row['ratio']:.3f}**", mib(row["peak_bytes"]),
                  str(row["steps"]), str(row["page_faults"]),
                  str(row["allocations"]) if row["allocations"] >= 0 else "not counted"] for row in data["rows"]]
        text = ("The arena is what values between kernels share; no plan in this order of running can do with less than the most bytes "
                "that are live at once. Peak is the arena, scratch of all threads, parameters and states. Page faults and "
                "allocations are counted while the steps run.\n\n")
        text += table(["row", "arena, MiB", "live at once, MiB", "ratio", "peak, MiB", "steps", "page faults", "allocations"], lines)
        return text + (limit_text(data["limit"]) if "limit" in data else "")


def users(folder):
    """Several user threads, each with its own program; "" if it was not measured."""
    path = folder / "threads.json"
    if not path.exists():
        return ""
    data = read(path)
    with reading(path, "a table of users"):
        lines = []
        for row in data["rows"]:
            spreads = [row[key] for key in ("as_many_as_processors", "on_one_thread_each", "on_all_threads_each")]
            mark = " †" if row["disturbed"] >= 2 * row["repetitions"] else ""
            lines.append([row["row"] + mark, str(row["users"])]
                         + [f"{s['median']:.2f} [{s['low']:.2f}, {s['high']:.2f}]" for s in spreads])
        text = ("## Several users\n\nUser threads, each training a program of its own: steps of all together, as a share of what one alone "
                "does on one thread times the processors.\n\n")
        text += table(["row", "users", "one user for each processor", "users on 1 thread each", "users on all threads each"], lines)
        if any(" †" in line[0] for line in lines):
            text += "\n**† Other programs used the machine: no result.**\n"
        return text + "\n"
