#!/usr/bin/env python3
"""PyTorch's times for the rows that bench_kernels has left in a file: `kernels.py ROWS.json --device cuda --json TIMES.json`.

Each row is timed eagerly and by torch.compile; attention with each backend. Values are random, as many calls in turn on buffers of
their own as bench_kernels made, enough of them for --milliseconds, the device waited for once at the end. What cannot be done is said.
"""

import argparse
import contextlib
import json
import statistics
import sys
import time

import torch
import torch._functorch.config
from torch.nn import functional as F

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f64": torch.float64, "f16": torch.float16}


class Maker:
    """Random values on a device, and the calls of each family: a list of functions without arguments, one for each set of buffers."""

    def __init__(self, row, device):
        self.sizes, self.dtype, self.device = row["sizes"], DTYPES[row["dtype"]], device

    def numbers(self, *shape, grad=False):
        return (torch.rand(shape, device=self.device) * 2 - 1).to(self.dtype).requires_grad_(grad)

    def below(self, n, *shape):
        return torch.randint(n, shape, device=self.device)

    def size(self, *names):
        return [int(self.sizes[name]) for name in names]


def forward(make_inputs, function):
    """A family whose call is `function` on fresh inputs."""
    def build(make, calls, compiled):
        f = compiled(function)
        return [lambda inputs=make_inputs(make): f(*inputs) for _ in range(calls)]
    return build


def backward(make_inputs, function):
    """Only the gradients of what `function` gave once."""
    def build(make, calls, compiled):
        f = compiled(function)

        def one():
            inputs = make_inputs(make)
            y = f(*inputs)
            dy = make.numbers(*y.shape)
            wanted = [x for x in inputs if x.requires_grad]
            return lambda: torch.autograd.grad(y, wanted, dy, retain_graph=True)
        return [one() for _ in range(calls)]
    return build


def with_gradient(make_inputs, function):
    """A loss and its gradient to the first input."""
    def build(make, calls, compiled):
        f = compiled(function)

        def one():
            inputs = make_inputs(make)
            return lambda: torch.autograd.grad(f(*inputs), inputs[0])
        return [one() for _ in range(calls)]
    return build


def copies(make, calls, compiled):
    (n,) = make.size("n")
    pairs = [(make.numbers(n), make.numbers(n)) for _ in range(calls)]
    return [lambda x=x, y=y: y.copy_(x) for x, y in pairs]


def updates(make, calls, compiled):
    width, layers, vocabulary, context = make.size("width", "layers", "vocabulary", "context")
    shapes = [(vocabulary, width), (context, width), (width,), (width,)]
    shapes += [(width,), (width,), (width,), (width,), (width, 3 * width), (3 * width,), (width, width), (width,), (width, 4 * width),
               (4 * width,), (4 * width, width), (width,)] * layers
    parameters = [torch.nn.Parameter(make.numbers(*shape)) for shape in shapes]
    for parameter in parameters:
        parameter.grad = make.numbers(*parameter.shape)
    is_compiled = compiled is not eager
    optimizer = torch.optim.AdamW(parameters, 1e-3, weight_decay=0.01, **({"foreach": True} if is_compiled else {"fused": True}))
    return [compiled(optimizer.step)]


def lines(make):
    return make.numbers(*make.size("rows", "columns"))


def norm_inputs(grad):
    def inputs(make):
        rows, columns = make.size("rows", "columns")
        return make.numbers(rows, columns, grad=grad), make.numbers(columns, grad=grad), make.numbers(columns, grad=grad)
    return inputs


def heads(grad):
    def inputs(make):
        shape = make.size("batch", "heads", "length", "size")
        return tuple(make.numbers(*shape, grad=grad) for _ in range(3))
    return inputs


def table(make):
    rows, columns, ids = make.size("rows", "columns", "ids")
    return make.numbers(rows, columns), make.below(rows, ids), make.numbers(ids, columns)


def operands(make):
    m, n, k, turned_a, turned_b = make.size("m", "n", "k", "transpose_a", "transpose_b")
    a = make.numbers(k, m).t() if turned_a else make.numbers(m, k)
    b = make.numbers(n, k).t() if turned_b else make.numbers(k, n)
    return a, b


def numbers_of(count):
    return lambda make: tuple(make.numbers(*make.size("n")) for _ in range(count))


def norm(x, gain, shift):
    return F.layer_norm(x, x.shape[-1:], gain, shift)


def attention(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def softmax(x):
    return F.softmax(x, -1)


FAMILIES = {
    "copy": copies,
    "scale": forward(numbers_of(1), lambda x: x * 2 + 1),
    "add": forward(numbers_of(2), lambda x, y: x + y),
    "gelu": forward(numbers_of(1), F.gelu),
    "transpose": forward(lambda make: (lines(make),), lambda x: x.t().contiguous()),
    "layer_norm": forward(norm_inputs(False), norm),
    "layer_norm_backward": backward(norm_inputs(True), norm),
    "softmax": forward(lambda make: (lines(make),), softmax),
    "softmax_backward": backward(lambda make: (lines(make).requires_grad_(),), softmax),
    "cross_entropy_and_gradient": with_gradient(
        lambda make: (lines(make).requires_grad_(), make.below(int(make.sizes["columns"]), int(make.sizes["rows"]))), F.cross_entropy),
    "adamw": updates,
    "attention": forward(heads(False), attention),
    "attention_backward": backward(heads(True), attention),
    "gather": forward(lambda make: table(make)[:2], lambda x, ids: F.embedding(ids, x)),
    "scatter_add": forward(table, lambda x, ids, v: x.index_add(0, ids, v)),
    "embedding_gradient": forward(
        table, lambda x, ids, dy: torch.ops.aten.embedding_dense_backward(dy, ids, x.shape[0], -1, False)),
    "sort": forward(lambda make: (lines(make),), lambda x: torch.sort(x, -1)),
    "matmul": forward(operands, torch.matmul),
}
ALL_DETERMINISTIC = {"scatter_add", "embedding_gradient"}  # where eager PyTorch adds in any order unless it is told not to


def eager(function):
    return function


def compiled_anew(function):
    torch._dynamo.reset()
    return torch.compile(function)


@contextlib.contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def variants(row):
    """Name, what compiles, and in which context, of everybody who runs the row."""
    family = row["family"]
    if family.startswith("attention"):
        from torch.nn.attention import SDPBackend, sdpa_kernel

        for backend in ("FLASH_ATTENTION", "CUDNN_ATTENTION", "EFFICIENT_ATTENTION", "MATH"):
            if hasattr(SDPBackend, backend):
                yield f"torch {backend.lower().removesuffix('_attention')}", eager, sdpa_kernel(getattr(SDPBackend, backend))
        return
    yield "torch eager", eager, contextlib.nullcontext()
    if family in ALL_DETERMINISTIC:
        yield "torch deterministic", eager, deterministic()
    if family != "copy":
        yield "torch compile", compiled_anew, contextlib.nullcontext()


def waited(device):
    if device == "cuda":
        torch.cuda.synchronize()


def seconds_of(calls, steps, device):
    start = time.perf_counter()
    for _ in range(steps):
        for call in calls:
            call()
    waited(device)
    return (time.perf_counter() - start) / (steps * len(calls))


def times(calls, device, options):
    for _ in range(2):
        seconds_of(calls, 1, device)
    steps = max(1, round(options.milliseconds * 1e-3 / max(seconds_of(calls, 2, device) * len(calls), 1e-9)))
    seconds_of(calls, steps, device)
    each = sorted(seconds_of(calls, steps, device) for _ in range(options.repetitions))
    quarter = len(each) // 4
    return {"seconds": statistics.median(each), "low": each[quarter], "high": each[-1 - quarter], "repetitions": len(each)}


def measured(row, peer, compiled, context, device, options):
    result = {"name": row["name"], "peer": peer}
    is_tf32 = row["math"] == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = is_tf32
    torch.backends.cudnn.allow_tf32 = is_tf32
    try:
        with context:
            calls = FAMILIES[row["family"]](Maker(row, device), int(row.get("calls", 1)), compiled)
            result |= times(calls, device, options)
    except Exception as error:  # it is said, and the others go on
        result["why"] = f"{type(error).__name__}: {str(error)[:200]}"
    calls = None
    if device == "cuda":
        torch.cuda.empty_cache()
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", required=True)
    parser.add_argument("--milliseconds", type=float, default=100)
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--peer", action="append", help="these only, such as 'torch eager'")
    options = parser.parse_args()
    torch.manual_seed(1)
    torch._functorch.config.donated_buffer = False  # backward runs again and again
    with open(options.rows) as file:
        rows = json.load(file)["rows"]
    result = {"torch": torch.__version__, "device": torch.cuda.get_device_name() if options.device == "cuda" else options.device, "rows": []}
    for row in rows:
        for peer, compiled, context in variants(row):
            if options.peer and peer not in options.peer:
                continue
            one = measured(row, peer, compiled, context, options.device, options)
            result["rows"].append(one)
            with open(options.json, "w") as file:
                json.dump(result, file, indent=1)
            print(f"{one['name']:32} {peer:20} " + (one.get("why") or f"{one['seconds'] * 1e3:.6f} ms"), flush=True)


if __name__ == "__main__":
    sys.exit(main())
