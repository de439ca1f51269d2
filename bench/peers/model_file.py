"""A model of the ladder as the benchmark wrote it: parameters, batch and settings in a safetensors file."""

import json
import struct

import numpy as np

DTYPES = {"F32": np.float32, "I32": np.int32}


class ModelFile:
    """`parameters` and `batch` are arrays by name, in the model's order; `settings` are texts."""

    def __init__(self, path):
        with open(path, "rb") as file:
            content = file.read()
        (size,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + size])
        self.settings = header.pop("__metadata__")
        arrays = {}
        for name, entry in header.items():
            first, last = entry["data_offsets"]
            flat = np.frombuffer(content[8 + size + first : 8 + size + last], DTYPES[entry["dtype"]])
            arrays[name] = flat.reshape(entry["shape"]).copy()
        self.parameters = {name: arrays[name] for name in self.settings["parameters"].split()}
        self.batch = {name: arrays[name] for name in self.settings["batch"].split()}

    @property
    def family(self):
        return self.settings["model"]

    @property
    def learning_rate(self):
        return float(self.settings["learning_rate"])
