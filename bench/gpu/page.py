"""docs/gpu-results.md, from the files of all runs and what the tree has."""

import dataclasses


@dataclasses.dataclass
class Family:
    """What proves each column: sources of tests, and items of a run on a GPU."""

    name: str
    compiled: tuple
    harness: tuple
    items: tuple
    goal: str
    speed: str = ""  # the item of the stage `kernels` that times it


COMPILES = ("compile_cubin", "cubin_of", "BG_NVCC", "check_machine_code", "drawn_case.h")
RUNS = ("on_cuda.h", "host_runtime.h", "backends/cuda/harness/")

FAMILIES = (
    Family("elementwise (Map)", ("emit_test",), ("maps_test",), ("test_cuda/maps",), "at least 90 % of the copy", "elementwise against the copy"),
    Family("products, the ladder", ("kernel_code_test",), ("matmul_test", "matmul_mma_test"), ("matmul_ladder",),
           "at least cuBLAS SGEMM in exact mode", "matmul_ladder"),
    Family("products in programs", ("product_text_test",), ("product_program_test",), ("test_cuda/product_program",),
           "at least cuBLASLt's best", "products against cuBLASLt's best"),
    Family("convolution", ("product_text_test",), ("conv_program_test",), ("test_cuda/conv_program",), "none yet"),
    Family("attention", ("attention_program_test",), ("attention_program_test",), ("test_cuda/attention_program",),
           "cuDNN's rate in bf16; no score matrix"),
    Family("reductions and row programs", ("rows_test",), ("rows_test",), ("test_cuda/rows",), "norms 3.8 TB/s forward, 3.4 backward",
           "norms, softmax and loss"),
    Family("index, scatter, embedding", ("cuda_index_test",), ("cuda_index_test",), ("test_cuda/cuda_index",), "none yet"),
    Family("sort, scan", ("cuda_order_test",), ("cuda_order_test",), ("test_cuda/cuda_order",), "none yet"),
    Family("every row of every op", ("../support/op_check_cuda",), ("../support/op_check_cuda",), ("test_ops/elementwise", "test_ops/norms"),
           "right only"),
    Family("random graphs", ("random_graphs_test",), ("random_graphs_test",), ("test_cuda/random_graphs",), "right only"),
    Family("whole steps as graphs", ("models_test",), ("models_test",), ("test_cuda/models",), "5x PyTorch eager, 2x torch.compile"),
)


def escaped(text):
    return text.replace("|", "\\|").replace("\n", " ").strip()


def place(results):
    return f"{results.data['date'][:10]}, {results.data['commit']}"


def newest(all_results, stage, name):
    """The last run that has the item, with its outcome."""
    for results in reversed(all_results):
        outcome = results.items(stage).get(name)
        if outcome is not None:
            return results, outcome
    return None


def on_gpu(family, all_results):
    parts = []
    for name in family.items:
        last = newest(all_results, "correctness", name)
        parts.append("not run" if last is None else f"{last[1].status} ({place(last[0])})")
    return "; ".join(dict.fromkeys(parts))


def speed(family, all_results):
    last = newest(all_results, "kernels", family.speed) if family.speed else None
    if last is None or not last[1].figures:
        return "not run" if last is None else last[1].status
    best = max(last[1].figures, key=lambda row: row.get("teraflops", 0))
    return f"{best['of']}: {best['teraflops']:.1f} TFLOP/s ({place(last[0])})"


def tests_there(names, root, signs):
    """The tests that are there and show a sign of what they are named for."""
    def shows(name):
        source = root / "tests" / "cuda" / f"{name}.cpp"
        return source.exists() and any(sign in source.read_text() for sign in signs)

    return ", ".join(f"`{name.rsplit('/')[-1]}`" for name in names if shows(name)) or "no"


def table(head, rows):
    lines = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]
    return "\n".join(lines) + "\n"


def status_table(all_results, root):
    rows = [[family.name, tests_there(family.compiled, root, COMPILES), tests_there(family.harness, root, RUNS), on_gpu(family, all_results),
             speed(family, all_results), family.goal] for family in FAMILIES]
    return table(["kernels", "compiled to machine code by", "run on the CPU harness by", "on a GPU", "speed", "goal"], rows)


def figures(row):
    return ", ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items())


def run_section(results):
    text = f"## {place(results)}\n\n```\n{results.data['device'].strip()}\n```\n"
    for stage in results.data["stages"]:
        items = results.items(stage)
        counts = {}
        for outcome in items.values():
            counts[outcome.status] = counts.get(outcome.status, 0) + 1
        text += f"\n### {stage}: " + ", ".join(f"{count} {status}" for status, count in counts.items()) + "\n\n"
        told = [[escaped(name), outcome.status, escaped(outcome.detail[-300:] or "; ".join(map(figures, outcome.figures)))]
                for name, outcome in items.items() if outcome.status != "passed" or outcome.figures or outcome.detail]
        text += table(["item", "outcome", "what it said"], told) if told else "Nothing else to tell.\n"
    return text + "\n"


def page(all_results, root):
    runs = "".join(run_section(results) for results in reversed(all_results)) or "## Runs\n\nNo GPU could be had yet: nothing was run on one.\n"
    return f"""# On a GPU

Written by `./run gpu-check page` from `bench/results/gpu/*.json`, which `./run gpu-check STAGE` leaves on a machine with a GPU;
edit `bench/gpu/page.py`. 'not run' is said where no file tells of it. Tests are named by their files in `tests/cuda/` and
`tests/support/`: those that call a compiler for the GPU, and those that run kernels on the CPU's harness; 'no' where there is none.

{status_table(all_results, root)}
{runs}"""
