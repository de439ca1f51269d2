"""When and where each file was measured, and what a reader must know of it."""

import re

from performance.measured import AT, LADDER, check, read, reading

GROWTH = re.compile(r"(mlp_batch|mlp_width|gpt_width)\d+")
OTHERS = ("matmul", "matmul_others", "rungs", "attention", "memory", "threads")


def files_of(folder):
    """All files that the page is written from."""
    rows = [path for path in sorted((folder / "ladder").glob("*.json")) if path.stem in LADDER or GROWTH.fullmatch(path.stem)]
    return rows + [path for path in (folder / f"{name}.json" for name in OTHERS) if path.exists()]


def measured(folder):
    """{name: (circumstances, is of tiny models)} of all files."""
    found = {}
    for path in files_of(folder):
        data = read(path)
        with reading(path, "a measurement"):
            check(data["at"], **AT)
            found[path.stem] = data["at"], bool(data.get("tiny", False))
    return found


def groups(places, key):
    """{value: names of the files that have it}."""
    found = {}
    for name, (at, _) in places.items():
        found.setdefault(at[key].strip(), []).append(name)
    return found


def warnings(folder):
    """What is not of one commit on one machine, and what is no result at all; "" if nothing."""
    places = measured(folder)
    lines = []
    for key, what in (("commit", "commits"), ("processor", "processors"), ("processors", "numbers of threads")):
        found = groups(places, key)
        if len(found) > 1:
            of = "; ".join(f"{value}: {', '.join(names)}" for value, names in sorted(found.items()))
            lines.append(f"**Files are of different {what}**: {of}.")
    dirty = sorted(commit for commit in groups(places, "commit") if commit.endswith("-dirty"))
    if dirty:
        lines.append(f"The tree had changes that are in no commit ({', '.join(dirty)}).")
    tiny = [name for name, (_, is_tiny) in places.items() if is_tiny]
    if tiny:
        lines.append(f"**Measured with tiny models, no results: {', '.join(tiny)}.**")
    return "".join(line + "\n\n" for line in lines)
