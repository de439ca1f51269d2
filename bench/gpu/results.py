"""What checks on a GPU left: one file for a commit, written anew after every item, and a text of it beside it."""

import dataclasses
import json
import os
import pathlib

from gpu.page import text_of_run

STATUSES = ("passed", "failed", "refused", "skipped")


@dataclasses.dataclass
class Outcome:
    """`refused`: the machine does not let the tool work. `figures`: rows of numbers, each with what it is of."""

    status: str
    detail: str = ""
    seconds: float = 0.0
    figures: list = dataclasses.field(default_factory=list)

    def __post_init__(self):
        if self.status not in STATUSES:
            raise ValueError(f"no status '{self.status}'")


class Unreadable(Exception):
    pass


class Results:
    def __init__(self, path, data):
        self.path, self.data = path, data

    @staticmethod
    def read(path):
        try:
            data = json.loads(path.read_text())
            for key in ("date", "commit", "device"):
                if not isinstance(data[key], str):
                    raise TypeError(f"{key} is no text")
            for items in data["stages"].values():
                for outcome in items.values():
                    Outcome(**outcome)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise Unreadable(f"{path}: {error!r}") from error
        return Results(path, data)

    @staticmethod
    def of_commit(folder, commit, date, about):
        """The file of that commit and device, which is gone on with, or a new one."""
        for path in sorted(folder.glob(f"*-{commit}*.json"), reverse=True):
            old = Results.read(path)
            if old.data["commit"] == commit and old.data["device"] == about["device"]:
                return old
        path = folder / f"{date[:10]}-{commit}.json"
        number = 2
        while path.exists():
            path = folder / f"{date[:10]}-{commit}-{number}.json"
            number += 1
        return Results(path, {"date": date, "commit": commit, **about, "stages": {}})

    def items(self, stage):
        return {name: Outcome(**outcome) for name, outcome in self.data["stages"].get(stage, {}).items()}

    def keep(self, stage, name, outcome):
        self.data["stages"].setdefault(stage, {})[name] = dataclasses.asdict(outcome)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix(".writing")
        for path, text in ((self.path, json.dumps(self.data, indent=1) + "\n"), (self.path.with_suffix(".md"), text_of_run(self))):
            beside.write_text(text)
            os.replace(beside, path)


def all_results(folder):
    """Oldest first."""
    return sorted((Results.read(path) for path in pathlib.Path(folder).glob("*.json")), key=lambda one: one.data["date"])
