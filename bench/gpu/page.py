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
    speed: tuple = ()  # the items that time it, of the stage `steps` if they are of the ladder, else `kernels`


COMPILES = ("compile_cubin", "cubin::compiled", "cubin_of", "BG_NVCC", "check_machine_code", "drawn_case.h")
RUNS = ("on_cuda.h", "host_runtime.h", "backends/cuda/harness/")

FAMILIES = (
    Family("elementwise (Map)", ("emit_test",), ("maps_test",), ("test_cuda/maps",), "at least 90 % of the copy",
           ("elementwise against the copy", "updates")),
    Family("products, the ladder", ("kernel_code_test",), ("matmul_test", "matmul_mma_test"), ("matmul_ladder",),
           "at least cuBLAS SGEMM in exact mode", ("matmul_ladder",)),
    Family("products in programs", ("product_text_test",), ("product_program_test",),
           ("test_cuda/product_program", "test_cuda/tensor_cores", "test_cuda/lt_device"),
           "at least cuBLASLt's best", ("products in f32", "products in tf32", "products in bf16")),
    Family("convolution", ("product_text_test",), ("conv_program_test",), ("test_cuda/conv_program",), "none yet"),
    Family("attention", ("attention_program_test",), ("attention_program_test",), ("test_cuda/attention_program",),
           "cuDNN's rate in bf16; no score matrix", ("attention",)),
    Family("reductions and row programs", ("rows_test",), ("rows_test",), ("test_cuda/rows",), "90 % of the copy; norm backward 1.8x torch.compile",
           ("norms and softmax", "loss with gradient")),
    Family("index, scatter, embedding", ("cuda_index_test",), ("cuda_index_test",), ("test_cuda/cuda_index",), "none yet",
           ("gather, scatter and embedding",)),
    Family("sort, scan", ("cuda_order_test",), ("cuda_order_test",), ("test_cuda/cuda_order",), "none yet", ("sort",)),
    Family("sort, scan of long lines (CUB)", ("kernel_code_test",), ("cuda_sorts_test",), ("test_cuda/cuda_sorts",), "none yet", ("sort",)),
    Family("every row of every op", ("../support/op_check_cuda",), ("../support/op_check_cuda",), ("test_ops/elementwise", "test_ops/norms"),
           "right only"),
    Family("random graphs", ("random_graphs_test",), ("random_graphs_test",), ("test_cuda/random_graphs",), "right only"),
    Family("kernels of users", ("user_kernels_test",), ("user_kernels_test",), ("test_cuda/user_kernels",), "right only"),
    Family("whole steps as graphs", ("models_test",), ("models_test",), ("test_cuda/models",), "5x PyTorch eager, 2x torch.compile",
           ("ladder/mlp_small", "ladder/lenet", "ladder/gpt")),
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


def range_of(numbers, form):
    texts = [form(number) for number in (min(numbers), max(numbers))]
    return texts[0] if texts[0] == texts[1] else " to ".join(texts)


def speed_of(figures):
    """The best rate of products, else shares of the copy; and ratios to the fastest peer."""
    parts = []
    best = max(figures, key=lambda row: row.get("teraflops", 0))
    shares = [row["share_of_copy"] for row in figures if row.get("share_of_copy") and not row.get("teraflops")]
    ratios = [row["ratio"] for row in figures if "ratio" in row]
    if best.get("teraflops"):
        parts.append(f"{best['of']}: {best['teraflops']:.1f} TFLOP/s")
    if shares:
        parts.append(range_of(shares, lambda share: f"{100 * share:.0f} %") + " of the copy")
    if ratios:
        parts.append(range_of(ratios, lambda ratio: f"{ratio:.2f}x") + " the fastest peer")
    return ", ".join(parts)


def speed(family, all_results):
    parts = []
    for name in family.speed:
        last = newest(all_results, "steps" if name.startswith("ladder/") else "kernels", name)
        if last is not None:
            parts.append(f"{speed_of(last[1].figures) if last[1].figures else last[1].status} ({place(last[0])})")
    return "; ".join(parts) or "not run"


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


COLUMNS = {"of": "of", "by": "by", "milliseconds": "ms", "tokens_per_second": "tokens/s", "gigabytes_per_second": "GB/s",
           "share_of_copy": "of the copy", "teraflops": "TFLOP/s", "loss": "loss", "off": "off", "best_peer": "fastest peer",
           "ratio": "its time / ours", "peers": "peers, ms", "peers_without": "peers without a time"}


def cell(value):
    if isinstance(value, dict):
        return ", ".join(f"{key} {cell(one)}" for key, one in value.items())
    return f"{value:.4g}" if isinstance(value, float) else escaped(str(value))[:300]


def figures(rows):
    """A table of the columns that some row has."""
    keys = [key for key in COLUMNS if any(row.get(key) not in (None, 0, {}) for row in rows)]
    return table([COLUMNS[key] for key in keys], [[cell(row[key]) if key in row else "" for key in keys] for row in rows])


def run_section(results):
    text = f"## {place(results)}\n\n```\n{results.data['device'].strip()}\n```\n"
    for stage in results.data["stages"]:
        items = results.items(stage)
        counts = {}
        for outcome in items.values():
            counts[outcome.status] = counts.get(outcome.status, 0) + 1
        text += f"\n### {stage}: " + ", ".join(f"{count} {status}" for status, count in counts.items()) + "\n\n"
        told = [[escaped(name), outcome.status, escaped(outcome.detail[-300:])]
                for name, outcome in items.items() if outcome.status != "passed" or outcome.detail]
        text += table(["item", "outcome", "what it said"], told) if told else "Nothing else to tell.\n"
        for name, outcome in items.items():
            if outcome.figures:
                text += f"\n#### {name}\n\n" + figures(outcome.figures)
    return text + "\n"


def text_of_run(results):
    """The short text beside the file of a run."""
    data = results.data
    known = [[key, escaped(", ".join(data[key]) if isinstance(data[key], list) else data[key])]
             for key in ("date", "commit", "nvidia_smi", "toolkit", "math") if data.get(key)]
    items = {f"{stage}: {name}": outcome for stage in data["stages"] for name, outcome in results.items(stage).items()}
    names = {status: [name for name, outcome in items.items() if outcome.status == status]
             for status in dict.fromkeys(outcome.status for outcome in items.values())}
    lists = "".join(f"\n{status}: {', '.join(found)}\n" for status, found in names.items())
    return f"# On a GPU\n\n{table(['of', 'this run'], known)}\n{run_section(results)}## All items\n{lists}"


def page(all_results, root):
    runs = "".join(run_section(results) for results in reversed(all_results)) or "## Runs\n\nNo GPU could be had yet: nothing was run on one.\n"
    return f"""# On a GPU

Written by `./run gpu-check page` from `bench/results/gpu/*.json`, which `./run gpu-check STAGE` leaves on a machine with a GPU;
edit `bench/gpu/page.py`. 'not run' is said where no file tells of it. Tests are named by their files in `tests/cuda/` and
`tests/support/`: those that call a compiler for the GPU, and those that run kernels on the CPU's harness; 'no' where there is none.

{status_table(all_results, root)}
{runs}"""
