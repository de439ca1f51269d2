"""What the benchmarks left in a folder, read and checked."""

import contextlib
import json
import math

from performance.texts import quartiles

# Losses after 20 steps that differ by no more are of the same work.
TOLERANCE = 1e-3
LADDER = ["regression5", "regression1024", "mlp_small", "mlp_big", "lenet", "resnet", "lstm", "gpt", "skip_gram"]
FRAMEWORKS = {"torch": "PyTorch", "jax": "JAX"}


NUMBER = (int, float)
AT = {"commit": str, "date": str, "processor": str, "processors": str}
CONTESTANT = {"name": str, "threads": int, "seconds": NUMBER, "low": NUMBER, "high": NUMBER, "repetitions": int, "turns": list,
              "floor": NUMBER, "share_of_floor": NUMBER}


class Unreadable(Exception):
    """A file that is not what a benchmark writes; the text names it."""


@contextlib.contextmanager
def reading(path, what):
    """Whatever is wrong with the content of a file is told as that of this file."""
    try:
        yield
    except KeyError as error:
        raise Unreadable(f"{path}: not {what}: no {error}; measure it again") from None
    except (ArithmeticError, AttributeError, IndexError, TypeError, ValueError) as error:
        raise Unreadable(f"{path}: not {what}: {error}; measure it again") from None


def check(data, **kinds):
    """An object that has these fields of these kinds."""
    if not isinstance(data, dict):
        raise TypeError(f"expected an object, got {json.dumps(data)[:60]}")
    for name, kind in kinds.items():
        if not isinstance(data[name], kind):
            raise TypeError(f"'{name}' is {json.dumps(data[name])[:60]}")


def check_positive(data, *names):
    check(data, **dict.fromkeys(names, NUMBER))
    for name in names:
        if not 0 < data[name] < math.inf:
            raise ValueError(f"'{name}' is {data[name]}, expected more than 0")


def read(path):
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise Unreadable(f"{path}: not JSON: {error}; measure it again") from None


class Row:
    """Everybody's steps of one model, measured in turns in one run."""

    def __init__(self, path):
        self.path = path
        data = read(path)
        with reading(path, "a row of the ladder"):
            check(data, row=str, title=str, flops=NUMBER, bytes=NUMBER, peak_bytes=int, kernels=int, disturbed=int, made_again=int,
                  contestants=list, roofs=dict, at=dict)
            check(data["at"], **AT)
            for threads, roof in data["roofs"].items():
                int(threads)
                check_positive(roof, "flops", "bytes")
            self.name, self.title = data["row"], data["title"]
            self.flops, self.bytes, self.roofs = data["flops"], data["bytes"], data["roofs"]
            self.peak_bytes, self.kernels, self.at = data["peak_bytes"], data["kernels"], data["at"]
            self.disturbed, self.made_again = data["disturbed"], data["made_again"]
            self.contestants = [self._contestant(c) for c in data["contestants"]]
            self.left_out, self.losses = data.get("left_out", []), data.get("losses", [])
            self.ours = sorted(self._called("blockgrad"), key=lambda c: c["threads"])
            for peer in self.left_out:
                check(peer, name=str, threads=int, why=str)
            for loss in self.losses:
                check(loss, what=str, seconds=NUMBER, above_floor=NUMBER)
            if not self.ours:
                raise ValueError("none of the contestants is ours")
            self.loss = self.ours[0]["loss"]
            if math.isnan(self.loss):
                raise ValueError("our loss is not a number")

    @staticmethod
    def _contestant(data):
        check(data, **CONTESTANT)
        check_positive(data, "seconds")
        if not data["name"] or not all(isinstance(turn, NUMBER) for turn in data["turns"]):
            raise TypeError("a contestant without name, or with turns that are no numbers")
        # JSON has no NaN: it is written as null.
        return data | {"loss": math.nan if data["loss"] is None else float(data["loss"])}

    def _called(self, name):
        return [c for c in self.contestants if c["name"] == name]

    @property
    def is_quiet(self):
        return self.disturbed == 0

    @property
    def marked_title(self):
        return self.title + ("" if self.is_quiet else " †")

    @property
    def best_of_ours(self):
        return min(self.ours, key=lambda c: c["seconds"])

    @property
    def repetitions(self):
        return self.ours[0]["repetitions"]

    def guarded(self, threads):
        """Our step with the check that it is finite, on so many threads, or None."""
        return next((c for c in self._called("with guard") if c["threads"] == threads), None)

    def agrees(self, contestant):
        return abs(contestant["loss"] - self.loss) <= TOLERANCE * abs(self.loss)

    def difference(self, contestant):
        """Of its loss from ours, as a share of ours if that is not 0."""
        return abs(contestant["loss"] - self.loss) / (abs(self.loss) or 1)

    def best(self, framework):
        """The fastest that does the same work, or None."""
        found = [c for c in self.contestants if c["name"].split()[0] == framework and self.agrees(c)]
        return min(found, key=lambda c: c["seconds"], default=None)

    def ratio(self, framework):
        """Lower quartile, median and upper quartile of the best peer's time over ours, or None."""
        peer = self.best(framework)
        if not peer:
            return None
        pairs = zip(peer["turns"], self.best_of_ours["turns"])
        ratios = [theirs / ours for theirs, ours in pairs if theirs > 0 and ours > 0]
        return quartiles(ratios) if ratios else None


class Rows:
    """The rows of these names that are there; `missing` are the others."""

    def __init__(self, folder, names):
        paths = {name: folder / f"{name}.json" for name in names}
        self.rows = [Row(path) for path in paths.values() if path.exists()]
        self.missing = [name for name, path in paths.items() if not path.exists()]

    def __iter__(self):
        return iter(self.rows)

    def __len__(self):
        return len(self.rows)

    @property
    def disturbed(self):
        return [row for row in self.rows if not row.is_quiet]

    @property
    def models(self):
        """Rows that means are taken over: undisturbed, without the regressions."""
        return [row for row in self.rows if row.is_quiet and not row.name.startswith("regression")]
