"""JAX as a peer: a jitted step called again and again, or many steps in one lax.scan."""

import os
import time

if len(os.sched_getaffinity(0)) == 1:
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"

import jax
from jax import lax
from jax import numpy as jnp

from model_file import ModelFile


def cross_entropy(logits, labels):
    picked = jnp.take_along_axis(jax.nn.log_softmax(logits.astype(jnp.float32)), labels[..., None], -1)
    return -picked.mean()


def regression(file):
    return lambda p, b: jnp.mean((b["x"] @ p["w"] + p["b"] - b["t"]) ** 2)


def mlp(file):
    layers = len(file.parameters) // 2

    def loss(p, b):
        x = b["x"]
        for i in range(1, layers + 1):
            x = (jax.nn.relu(x) if i > 1 else x) @ p[f"layer{i}.weight"] + p[f"layer{i}.bias"]
        return cross_entropy(x, b["t"])

    return loss


def convolve(x, w, stride=1):
    """Pictures [B, H, W, C] and kernels [h, w, C, O], which this compiler likes best."""
    padding = [(size // 2, size // 2) for size in w.shape[:2]]
    return lax.conv_general_dilated(x, w, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def lenet(file):
    convolutions = [name[:-7] for name in file.parameters if name.startswith("conv") and name.endswith(".weight")]

    def loss(p, b):
        x = b["x"]
        for name in convolutions:
            x = jax.nn.relu(convolve(x, p[name + ".weight"]) + p[name + ".bias"])
            batch, height, width, channels = x.shape
            x = x.reshape(batch, height // 2, 2, width // 2, 2, channels).max((2, 4))
        features = x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)
        return cross_entropy(features @ p["linear.weight"] + p["linear.bias"], b["t"])

    return loss


def resnet(file):
    count = sum(name.startswith("conv") and name.endswith(".weight") for name in file.parameters)

    def loss(p, b):
        statistics = {}

        def conv_norm(x, i, stride):
            y = convolve(x, p[f"conv{i}.weight"], stride)
            mean, variance = y.mean((0, 1, 2)), y.var((0, 1, 2))
            pixels = y.size // y.shape[-1]
            old = b["statistics"][f"conv{i}"]
            statistics[f"conv{i}"] = (0.9 * old[0] + 0.1 * mean, 0.9 * old[1] + 0.1 * variance * pixels / (pixels - 1))
            return (y - mean) * lax.rsqrt(variance + 1e-5) * p[f"conv{i}.gain"] + p[f"conv{i}.shift"]

        def skip(x, outputs, stride):
            more = outputs - x.shape[3]
            if more == 0 and stride == 1:
                return x
            return jnp.pad(x[:, ::stride, ::stride], ((0, 0), (0, 0), (0, 0), (more // 2, more - more // 2)))

        x = jax.nn.relu(conv_norm(jax.nn.relu(conv_norm(b["x"], 1, 1)), 2, 1))
        for i in range(3, count + 1, 2):
            outputs = p[f"conv{i}.weight"].shape[3]
            stride = 1 if outputs == x.shape[3] else 2
            inner = jax.nn.relu(conv_norm(x, i, stride))
            x = jax.nn.relu(conv_norm(inner, i + 1, 1) + skip(x, outputs, stride))
        value = cross_entropy(x.mean((1, 2)) @ p["linear.weight"] + p["linear.bias"], b["t"])
        return value, statistics

    return loss


def lstm(file):
    def loss(p, b):
        batch, _, _ = b["x"].shape
        hidden = p["lstm.hidden"].shape[0]
        inputs = (b["x"] @ p["lstm.input"] + p["lstm.bias"] + p["lstm.hidden_bias"]).swapaxes(0, 1)

        def cell(state, x):
            h, c = state
            i, f, g, o = jnp.split(x + h @ p["lstm.hidden"], 4, -1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

        zero = jnp.zeros((batch, hidden), jnp.float32)
        (h, _), _ = lax.scan(cell, (zero, zero), inputs)
        return cross_entropy(h @ p["linear.weight"] + p["linear.bias"], b["t"])

    return loss


def gpt(file):
    heads = int(file.settings["heads"])
    layers = sum(name.endswith(".wide.weight") for name in file.parameters)

    def loss(p, b):
        def norm(x, name):
            wide = x.astype(jnp.float32)
            centred = wide - wide.mean(-1, keepdims=True)
            variance = (centred**2).mean(-1, keepdims=True)
            return (centred * lax.rsqrt(variance + 1e-5)).astype(x.dtype) * p[name + ".gain"] + p[name + ".shift"]

        def linear(x, name):
            return x @ p[name + ".weight"] + p[name + ".bias"]

        def attention(x, name):
            batch, length, width = x.shape
            parts = [part.reshape(batch, length, heads, width // heads) for part in jnp.split(linear(x, name + ".qkv"), 3, -1)]
            if x.dtype == jnp.bfloat16:  # its fastest, which takes nothing else
                fastest = "cudnn" if jax.default_backend() == "gpu" else None
                y = jax.nn.dot_product_attention(*parts, is_causal=True, implementation=fastest)
                return linear(y.reshape(batch, length, width), name + ".projection")
            q, k, v = (part.transpose(0, 2, 1, 3) for part in parts)
            scores = q @ k.swapaxes(-1, -2) / (width // heads) ** 0.5
            scores = jnp.where(jnp.tril(jnp.ones((length, length), bool)), scores, -jnp.inf)
            y = (jax.nn.softmax(scores) @ v).transpose(0, 2, 1, 3).reshape(batch, length, width)
            return linear(y, name + ".projection")

        x = p["tokens"][b["x"]] + p["positions"]
        for i in range(layers):
            name = f"block{i}"
            x = x + attention(norm(x, name + ".norm1"), name)
            wide = linear(norm(x, name + ".norm2"), name + ".wide")
            x = x + linear(jax.nn.gelu(wide, approximate=False), name + ".narrow")
        return cross_entropy(norm(x, "norm") @ p["tokens"].T, b["t"])

    return loss


def skip_gram_step(file, rate):
    """Adagrad on touched rows: gradients by rows, added up where a row comes twice."""

    def loss(rows, t):
        u, v = rows
        x = jnp.einsum("bd,bcd->bc", u, v)
        return jnp.mean(jnp.maximum(x, 0) - x * t + jnp.log1p(jnp.exp(-jnp.abs(x))))

    def update(table, slot, ids, gradient):
        count = min(ids.size, table.shape[0])
        rows, place = jnp.unique(ids.reshape(-1), return_inverse=True, size=count, fill_value=table.shape[0])
        g = jax.ops.segment_sum(gradient.reshape(-1, table.shape[1]), place.reshape(-1), count)
        s = slot[rows] + g * g
        slot = slot.at[rows].set(s, mode="drop", unique_indices=True)
        return table.at[rows].add(-rate * g / (jnp.sqrt(s) + 1e-10), mode="drop", unique_indices=True), slot

    def step(state, batch):
        p, slots, count = state
        rows = (p["words"][batch["x"]], p["contexts"][batch["others"]])
        value, (du, dv) = jax.value_and_grad(loss)(rows, batch["t"])
        words, words_slot = update(p["words"], slots["words"], batch["x"], du)
        contexts, contexts_slot = update(p["contexts"], slots["contexts"], batch["others"], dv)
        return ({"words": words, "contexts": contexts}, {"words": words_slot, "contexts": contexts_slot}, count), value

    return step


MODELS = {"regression": regression, "mlp": mlp, "lenet": lenet, "resnet": resnet, "lstm": lstm, "gpt": gpt}


def updated(name, rate, p, slots, g, count):
    """One parameter and its slots after a step; `count` is that of the step, from 1."""
    if name == "sgd":
        return p - rate * g, slots
    if name == "momentum":
        velocity = 0.9 * slots[0] + g
        return p - rate * velocity, (velocity, slots[1])
    m = 0.9 * slots[0] + 0.1 * g
    s = 0.999 * slots[1] + 0.001 * g * g
    if name == "adamw":
        p = p - rate * 0.01 * p
    root = jnp.sqrt(s) / jnp.sqrt(1 - 0.999**count) + 1e-8
    return p - rate / (1 - 0.9**count) * m / root, (m, s)


def in_bf16(loss):
    """The same loss computed in bf16, as far as its formula leaves it there, from parameters in f32."""
    def narrow(value):
        return value.astype(jnp.bfloat16) if value.dtype == jnp.float32 else value

    return lambda p, b: loss(jax.tree.map(narrow, p), jax.tree.map(narrow, b))


def step_of(file, is_bf16=False):
    rate = file.learning_rate
    if file.family == "skip_gram":
        return skip_gram_step(file, rate)
    name = file.settings["optimizer"]
    loss = MODELS[file.family](file)
    if is_bf16:
        loss = in_bf16(loss)
    has_statistics = file.family == "resnet"

    def step(state, batch):
        p, slots, count = state
        if has_statistics:
            batch = batch | {"statistics": slots["statistics"]}
        value, gradients = jax.value_and_grad(loss, has_aux=has_statistics)(p, batch)
        new_p, new_slots = {}, {}
        if has_statistics:
            value, new_slots["statistics"] = value
        for key in p:
            new_p[key], new_slots[key] = updated(name, rate, p[key], slots[key], gradients[key], count + 1)
        return (new_p, new_slots, count + 1), value

    return step


def slots_of(file, parameters):
    kinds = {"sgd": 0, "momentum": 1, "adam": 2, "adamw": 2}
    if file.family == "skip_gram":
        return {name: jnp.zeros_like(value) for name, value in parameters.items()}
    used = kinds[file.settings["optimizer"]]
    slots = {name: tuple(jnp.zeros_like(value) if i < used else jnp.zeros(()) for i in range(2))
             for name, value in parameters.items()}
    if file.family == "resnet":
        slots["statistics"] = {name[:-5]: (jnp.zeros_like(value), jnp.ones_like(value))
                               for name, value in parameters.items() if name.endswith(".gain")}
    return slots


def in_layout(value):
    return value.transpose(0, 2, 3, 1) if value.ndim == 4 else value


def scan_length(steps):
    """About so many, by few different lengths: each is compiled once, and kept. Long steps need no scan."""
    length = 1
    while 4 <= steps and length < steps and length < 4096:
        length *= 4
    return length


class Peer:
    def __init__(self, mode, device="cpu", math="exact"):
        precisions = {"exact": "highest", "tf32": "tensorfloat32", "bf16": "default"}
        if math not in precisions:
            raise ValueError(f"JAX has no arithmetic '{math}' here")
        if device != "cpu":
            jax.config.update("jax_default_matmul_precision", precisions[math])
        self.is_scan, self.is_bf16 = mode == "scan", math == "bf16"
        self.version = jax.__version__

    def load(self, path, steps):
        file = ModelFile(path)
        kernels = {name: value.transpose(2, 3, 1, 0) if value.ndim == 4 else value
                   for name, value in file.parameters.items()}
        parameters = {name: jnp.array(value) for name, value in kernels.items()}
        is_picture = file.family in ("lenet", "resnet")
        self.batch = {name: jnp.array(in_layout(value) if is_picture else value)
                      for name, value in file.batch.items()}
        self.state = (parameters, slots_of(file, parameters), jnp.zeros((), jnp.float32))
        step = step_of(file, self.is_bf16)
        self.step = jax.jit(step, donate_argnums=0)
        for _ in range(steps + 1):
            self.state, loss = self.step(self.state, self.batch)
        result = float(loss)
        self.length = 1
        if self.is_scan:
            start = time.perf_counter()
            self.steps(10)
            once = (time.perf_counter() - start) / 10
            self.length = length = scan_length(0.02 / once)

            def many(state, batch):
                state, values = lax.scan(lambda s, _: step(s, batch), state, None, length=length)
                return state, values[-1]

            self.step = jax.jit(many, donate_argnums=0).lower(self.state, self.batch).compile()
            start = time.perf_counter()
            self.steps(1)
            times = (time.perf_counter() - start) / length / once
            if times > 2:
                raise RuntimeError(f"a step in a scan takes {times:.1f} times as long as one that is called")
        return result

    def steps(self, count):
        """Runs at least so many steps, in whole scans, and tells how many."""
        calls = -(-count // self.length)
        for _ in range(calls):
            self.state, loss = self.step(self.state, self.batch)
        jax.block_until_ready((self.state, loss))
        return calls * self.length
