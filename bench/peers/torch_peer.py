"""PyTorch as a peer: eager or compiled, with its fused optimizers, parameters in its own layouts. On a GPU also as a CUDA graph of a whole
step, which somebody has to write by hand, and compiled for CUDA graphs.
"""

import contextlib

import torch
from torch.nn import functional as F

from model_file import ModelFile


def regression(file, p):
    return lambda b: F.mse_loss(F.linear(b["x"], p["w"], p["b"]), b["t"])


def mlp(file, p):
    layers = len(p) // 2

    def loss(b):
        x = b["x"]
        for i in range(1, layers + 1):
            x = F.linear(F.relu(x) if i > 1 else x, p[f"layer{i}.weight"], p[f"layer{i}.bias"])
        return F.cross_entropy(x, b["t"])

    return loss


def lenet(file, p):
    convolutions = [name[:-7] for name in p if name.startswith("conv") and name.endswith(".weight")]

    def loss(b):
        x = b["x"]
        for name in convolutions:
            x = F.max_pool2d(F.relu(F.conv2d(x, p[name + ".weight"], p[name + ".bias"], padding=2)), 2)
        return F.cross_entropy(F.linear(x.flatten(1), p["linear.weight"], p["linear.bias"]), b["t"])

    return loss


def resnet(file, p):
    count = sum(name.startswith("conv") and name.endswith(".weight") for name in p)
    statistics = {}
    for i in range(1, count + 1):
        outputs = p[f"conv{i}.gain"].shape[0]
        device = p[f"conv{i}.gain"].device
        statistics[i] = (torch.zeros(outputs, device=device), torch.ones(outputs, device=device))

    def conv_norm(x, i, stride):
        y = F.conv2d(x, p[f"conv{i}.weight"], stride=stride, padding=1)
        mean, variance = statistics[i]
        return F.batch_norm(y, mean, variance, p[f"conv{i}.gain"], p[f"conv{i}.shift"], training=True)

    def skip(x, outputs, stride):
        more = outputs - x.shape[1]
        if more == 0 and stride == 1:
            return x
        return F.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, more // 2, more - more // 2))

    def loss(b):
        x = F.relu(conv_norm(F.relu(conv_norm(b["x"], 1, 1)), 2, 1))
        for i in range(3, count + 1, 2):
            outputs = p[f"conv{i}.weight"].shape[0]
            stride = 1 if outputs == x.shape[1] else 2
            inner = F.relu(conv_norm(x, i, stride))
            x = F.relu(conv_norm(inner, i + 1, 1) + skip(x, outputs, stride))
        return F.cross_entropy(F.linear(x.mean((2, 3)), p["linear.weight"], p["linear.bias"]), b["t"])

    return loss


def lstm(file, p):
    inputs, hidden = p["lstm.input"].shape[1], p["lstm.hidden"].shape[1]
    cell = torch.nn.LSTM(inputs, hidden, batch_first=True, device=p["lstm.input"].device)
    for ours, theirs in (("input", "weight_ih_l0"), ("hidden", "weight_hh_l0"), ("bias", "bias_ih_l0"),
                         ("hidden_bias", "bias_hh_l0")):
        with torch.no_grad():
            getattr(cell, theirs).copy_(p["lstm." + ours])
        p["lstm." + ours] = getattr(cell, theirs)

    def loss(b):
        last = cell(b["x"])[1][0][0]
        return F.cross_entropy(F.linear(last, p["linear.weight"], p["linear.bias"]), b["t"])

    return loss


def gpt(file, p):
    heads = int(file.settings["heads"])
    layers = sum(name.endswith(".wide.weight") for name in p)

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], p[name + ".gain"], p[name + ".shift"])

    def linear(x, name):
        return F.linear(x, p[name + ".weight"], p[name + ".bias"])

    def attention(x, name):
        batch, length, width = x.shape
        q, k, v = (part.view(batch, length, heads, width // heads).transpose(1, 2)
                   for part in linear(x, name + ".qkv").split(width, -1))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return linear(y.transpose(1, 2).reshape(batch, length, width), name + ".projection")

    def loss(b):
        x = F.embedding(b["x"], p["tokens"]) + p["positions"]
        for i in range(layers):
            name = f"block{i}"
            x = x + attention(norm(x, name + ".norm1"), name)
            x = x + linear(F.gelu(linear(norm(x, name + ".norm2"), name + ".wide")), name + ".narrow")
        logits = F.linear(norm(x, "norm"), p["tokens"])
        return F.cross_entropy(logits.flatten(0, 1), b["t"].flatten())

    return loss


def skip_gram(file, p):
    def loss(b):
        u = F.embedding(b["x"], p["words"], sparse=True).unsqueeze(1)
        v = F.embedding(b["others"], p["contexts"], sparse=True)
        return F.binary_cross_entropy_with_logits((u * v).sum(-1), b["t"])

    return loss


MODELS = {"regression": regression, "mlp": mlp, "lenet": lenet, "resnet": resnet, "lstm": lstm, "gpt": gpt,
          "skip_gram": skip_gram}
# Stored [in, out] by the benchmark, [out, in] by PyTorch; convolutions are stored alike.
IS_TRANSPOSED = {"w", "lstm.input", "lstm.hidden"}


def parameter(name, value, device):
    tensor = torch.from_numpy(value).to(device)
    is_linear = tensor.dim() == 2 and name.endswith(".weight")
    if is_linear or name in IS_TRANSPOSED:
        tensor = tensor.t().contiguous()
    if tensor.dim() == 4:
        tensor = tensor.contiguous(memory_format=torch.channels_last)
    return torch.nn.Parameter(tensor)


def batch_value(value, device):
    tensor = torch.from_numpy(value).to(device)
    if tensor.dim() == 4:
        tensor = tensor.contiguous(memory_format=torch.channels_last)
    return tensor.long() if tensor.dtype == torch.int32 else tensor


def optimizer_of(file, parameters, is_graph):
    rate = file.learning_rate
    counting = {"capturable": True} if is_graph else {}  # its counter of steps lies on the device
    name = file.settings["optimizer"]
    if name == "sgd":
        return torch.optim.SGD(parameters, rate, fused=True)
    if name == "momentum":
        return torch.optim.SGD(parameters, rate, momentum=0.9, fused=True)
    if name == "adam":
        return torch.optim.Adam(parameters, rate, fused=True, **counting)
    if name == "adamw":
        return torch.optim.AdamW(parameters, rate, weight_decay=0.01, fused=True, **counting)
    return torch.optim.Adagrad(parameters, rate, eps=1e-10)  # sparse gradients: touched rows only


COMPILE_MODES = {"compile": "default", "reduce-overhead": "reduce-overhead"}


class Peer:
    def __init__(self, mode, threads, device="cpu", math="exact"):
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        if math not in ("exact", "tf32", "bf16"):
            raise ValueError(f"PyTorch has no arithmetic '{math}' here")
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = math == "tf32"
        self.mode, self.device, self.is_bf16 = mode, device, math == "bf16"
        self.version = torch.__version__

    def arithmetic(self):
        return torch.autocast(self.device, torch.bfloat16) if self.is_bf16 else contextlib.nullcontext()

    def load(self, path, steps):
        file = ModelFile(path)
        self.graph = None
        p = {name: parameter(name, value, self.device) for name, value in file.parameters.items()}
        self.batch = {name: batch_value(value, self.device) for name, value in file.batch.items()}
        self.loss = MODELS[file.family](file, p)
        if self.mode in COMPILE_MODES:
            torch._dynamo.reset()
            self.loss = torch.compile(self.loss, mode=COMPILE_MODES[self.mode])
        self.optimizer = optimizer_of(file, list(p.values()), self.mode == "graphs")
        if self.mode == "graphs":
            return self.recorded(steps)
        for _ in range(steps):
            self.step()
        return self.value().item()

    def value(self):
        with self.arithmetic():
            return self.loss(self.batch)

    def step(self):
        self.optimizer.zero_grad(set_to_none=True)
        self.value().backward()
        self.optimizer.step()

    def recorded(self, steps):
        """The first steps are run one by one on a stream of their own, as recording asks for."""
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(steps):
                self.step()
            loss = self.value().item()
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.cuda.graph(graph):
            self.value().backward()
            self.optimizer.step()
        self.graph = graph
        return loss

    def steps(self, count):
        for _ in range(count):
            if self.graph is not None:
                self.graph.replay()
            else:
                self.step()
        if self.device == "cuda":
            torch.cuda.synchronize()
        return count
