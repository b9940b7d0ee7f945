#===- emulated.py - a library of another architecture, under an emulator --===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===-----------------------------------------------------------------------===#
"""Library of library.py for kernels of another architecture: a program of that
architecture (test/Integration/Cross/runner.c) opens the library under an emulator
and answers one request a line."""

import json
import pathlib
import subprocess
import tempfile

import numpy as np

from reals import decode, encode

# What NumPy has of a type; of bf16 its bits.
REALS = {"f32": np.float32, "f16": np.float16, "bf16": np.uint16}
INTEGERS = {"i8": np.int8, "u8": np.uint8, "i32": np.int32}


class EmulatedLibrary:
    """`emulator` is the command that runs the runner, itself included."""

    def __init__(self, path, emulator, environment=None):
        path = pathlib.Path(path)
        manifest = json.loads(path.with_name(f"{path.stem[3:]}.json").read_text())
        self.kernels = {kernel["name"]: kernel for kernel in manifest["kernels"]}
        self.folder = tempfile.TemporaryDirectory()
        self.process = subprocess.Popen([*emulator, str(path)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, env=environment)
        self.level = None

    def close(self):
        self.process.communicate()
        self.folder.cleanup()

    def run(self, name, inputs, value_dim, threads=0, out_dtype="f32"):
        """(O, LSE) of the kernel called `name`, as f32."""
        kernel = self.kernels[name]
        batch, heads, queries, _ = inputs["q"].shape
        _, kv_heads, keys, _ = inputs["k"].shape
        words = [name, str(threads), f"{batch},{heads},{kv_heads},{queries},{keys}"]
        place = lambda tensor: pathlib.Path(self.folder.name, tensor["name"])

        def add(tensor, shape):
            words.append(f"{tensor['name']}:{','.join(map(str, shape))}={place(tensor)}")

        for tensor in kernel["inputs"]:
            array, dtype = inputs[tensor["name"]], tensor["dtype"]
            is_real = dtype in REALS
            memory = encode(array, dtype) if is_real else array.astype(INTEGERS[dtype])
            memory.tofile(place(tensor))
            add(tensor, array.shape)
        shapes = [(batch, heads, queries, value_dim), (batch, heads, queries)]
        for tensor, shape in zip(kernel["outputs"], shapes):
            add(tensor, shape)
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if not answer.startswith("ok "):
            raise RuntimeError(answer or f"the emulator ended with {self.process.wait()}")
        self.level = answer[3:]
        results = []
        for tensor, shape in zip(kernel["outputs"], shapes):
            memory = np.fromfile(place(tensor), REALS[tensor["dtype"]])
            results.append(decode(memory.reshape(shape), tensor["dtype"]))
        return tuple(results)
