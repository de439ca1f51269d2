"""The stage `tune`: the table of measured products; and whether a tuning of every type and layout ends well."""

import pathlib
import re
import tempfile

from gpu.results import Outcome

# Name, and arguments of bench_tune.
LISTS = (
    ("small", ["--lists", "small", "--types", "f32", "bf16-f32"]),
    ("squares", ["--lists", "squares", "--types", "f32", "bf16", "bf16-f32"]),
    ("squares in tf32", ["--lists", "squares", "--math", "tf32"]),
    ("small in tf32", ["--lists", "small", "--math", "tf32"]),
    ("gpt2 of 65536 rows", ["--lists", "gpt2", "--types", "bf16-f32"]),
    ("gpt2 of 65536 rows in tf32", ["--lists", "gpt2", "--math", "tf32"]),
    ("gpt2 of 65536 rows in f32", ["--lists", "gpt2"]),
)
SHAPES = ["128x96x64:NN", "128x96x64:NT", "128x96x64:TN", "128x96x64:TT", "64x40x24x6:NN", "64x40x24x6:NT", "64x40x24x6:TN", "72x1x40:NN"]


def lines_of(said):
    """How each product's contest ended."""
    return re.findall(r"^(.*(?: us, spread | own cut).*)$", said, re.MULTILINE)


def tuned(programs, arguments):
    """What is measured is kept in a table beside the file of the run, where the next call finds it."""
    def run(seconds):
        table = programs.log.parent / "products.jsonl" if programs.log else pathlib.Path("products.jsonl")
        status, said = programs.call([programs.path("bench_tune"), *arguments, "--table", table], seconds)
        end = (said.strip().splitlines() or ["it said nothing"])[-1]
        return Outcome("passed" if status == 0 else "failed", end if status == 0 else said.strip()[-2000:],
                       figures=[{"of": line.strip()[:300]} for line in lines_of(said)])
    return run


def agree(programs):
    """Every layout and type once, in a table of its own: what differs from own kernels' result is left out of a contest, and told."""
    def run(seconds):
        with tempfile.TemporaryDirectory() as folder:
            status, said = programs.call([programs.path("bench_tune"), "--shapes", *SHAPES, "--types", "f32", "f64", "bf16", "f16", "bf16-f32",
                                          "--warm", 0, "--milliseconds", 0, "--rotated", 0, "--table", pathlib.Path(folder) / "products.jsonl"],
                                         seconds)
        wrong = [line.strip() for line in said.splitlines() if re.search(r"wrong results|bits differ|was not found|refuses", line)]
        if status != 0 or wrong:
            return Outcome("failed", "\n".join(wrong[:10]) or said.strip()[-2000:])
        return Outcome("passed", said.strip().splitlines()[-1])
    return run
