"""What the benchmarks left in a folder, read and checked."""

import json

from performance.texts import quartiles

# Losses after 20 steps that differ by no more are of the same work.
TOLERANCE = 1e-3
LADDER = ["regression5", "regression1024", "mlp_small", "mlp_big", "lenet", "resnet", "lstm", "gpt", "skip_gram"]
FRAMEWORKS = {"torch": "PyTorch", "jax": "JAX"}


class Unreadable(Exception):
    """A file that is not what a benchmark writes; the text names it."""


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
        try:
            self.name, self.title = data["row"], data["title"]
            self.flops, self.bytes, self.roofs = data["flops"], data["bytes"], data["roofs"]
            self.peak_bytes, self.kernels, self.at = data["peak_bytes"], data["kernels"], data["at"]
            self.disturbed, self.made_again = data["disturbed"], data["made_again"]
            self.contestants = data["contestants"]
            self.left_out, self.losses = data.get("left_out", []), data.get("losses", [])
            self.ours = sorted(self._called("blockgrad"), key=lambda c: c["threads"])
            self.loss = self.ours[0]["loss"]
        except (KeyError, TypeError, IndexError) as error:
            raise Unreadable(f"{path}: not a row of the ladder: no {error}; measure it again") from None

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
        return quartiles([theirs / ours for theirs, ours in pairs if theirs > 0 and ours > 0])


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
