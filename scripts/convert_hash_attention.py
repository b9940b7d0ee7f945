#!/usr/bin/env python3
# ===- convert_hash_attention.py - weights of HashAttention as operands ------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Turns a checkpoint of HashAttention into operands of score.hash.

  in    L.learning_to_hash_transformation_q.H.I.weight   [out, in]  linear layer I of the
        L.learning_to_hash_transformation_q.H.I.bias     [out]      network of head H
        L.learning_to_hash_transformation_k.H.I. ...                in transformer layer L
  out   layers.L.query_weights                           [heads, parameters], f32
        layers.L.key_weights                             [heads, parameters], f32

A row of the output holds, linear layer after linear layer, W[in][out] row by row and
then the offsets. docs/weights.md tells more.
"""
import argparse
import json
import re
import struct
import sys

import numpy as np

NAME = re.compile(
    r"(?:.*\.)?(\d+)\.learning_to_hash_transformation_([qk])\.(\d+)\.(\d+)\.(weight|bias)"
)
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
LARGEST_HEADER = 100_000_000
WORD_BITS, MOST_BITS = 32, 1024


class Mistake(Exception):
    """What is wrong with the input, in one sentence."""


# ===--- Files --------------------------------------------------------------===#


class Checkpoint:
    """The tensors of a .safetensors file, read one at a time."""

    def __init__(self, path):
        with open(path, "rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else LARGEST_HEADER + 1
            text = file.read(length) if length <= LARGEST_HEADER else b""
        try:
            self.header = json.loads(text)
            self.header.pop("__metadata__", None)
        except (ValueError, AttributeError, RecursionError):
            raise Mistake(f"'{path}' is not a .safetensors file") from None
        self.path, self.start = path, 8 + length
        self.bytes = np.memmap(path, np.uint8, "r")

    def read(self, name):
        """A tensor as f32 or f64; bf16 is the upper half of an f32."""
        try:
            entry = self.header[name]
            dtype, shape = entry["dtype"], tuple(int(size) for size in entry["shape"])
            begin, end = (self.start + int(offset) for offset in entry["data_offsets"])
        except (KeyError, TypeError, ValueError):
            raise Mistake(f"the header of '{self.path}' does not describe '{name}'") from None
        if dtype not in DTYPES:
            raise Mistake(f"'{name}' is {dtype}; a network of numbers was expected")
        raw = self.bytes[begin:end].tobytes()
        if len(raw) != np.dtype(DTYPES[dtype]).itemsize * int(np.prod(shape, dtype=object)):
            raise Mistake(f"'{self.path}' does not hold the {shape} numbers of '{name}'")
        numbers = np.frombuffer(raw, DTYPES[dtype]).reshape(shape)
        if dtype == "BF16":
            numbers = (numbers.astype(np.uint32) << 16).view(np.float32)
        return numbers.astype(np.float32)


def write_safetensors(path, tensors, metadata):
    """Writes f32 arrays; the header ends at a multiple of 8 bytes."""
    header, end = {"__metadata__": metadata}, 0
    for name, array in tensors.items():
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in tensors.values():
            file.write(np.ascontiguousarray(array, "<f4").tobytes())


# ===--- Networks -----------------------------------------------------------===#


def find_networks(checkpoint):
    """{layer: {"q" or "k": {head: {position: {"weight" or "bias": name}}}}}"""
    networks, others = {}, []
    for name in checkpoint.header:
        match = NAME.fullmatch(name)
        if not match:
            others.append(name)
            continue
        layer, side, head, position, part = match.groups()
        heads = networks.setdefault(int(layer), {}).setdefault(side, {})
        heads.setdefault(int(head), {}).setdefault(int(position), {})[part] = name
    if not networks:
        raise Mistake(
            f"'{checkpoint.path}' has no tensor "
            "'LAYER.learning_to_hash_transformation_q.HEAD.INDEX.weight'"
        )
    if others:
        print(f"left out {len(others)} tensors of another name: {others[0]}", file=sys.stderr)
    return networks


def flatten_network(checkpoint, parts, where):
    """One head's network as a row of weights, and the widths [D, ..., bits]."""
    row, widths = [], []
    for position in sorted(parts):
        if "weight" not in parts[position]:
            raise Mistake(f"{where} has a bias without a weight at position {position}")
        weight = checkpoint.read(parts[position]["weight"])
        if weight.ndim != 2 or (widths and widths[-1] != weight.shape[1]):
            raise Mistake(
                f"{where}: the weight at position {position} has shape {list(weight.shape)}, "
                f"expected [out, {widths[-1] if widths else 'in'}]"
            )
        outputs, inputs = weight.shape
        bias = np.zeros(outputs, np.float32)
        if "bias" in parts[position]:
            bias = checkpoint.read(parts[position]["bias"])
        if bias.shape != (outputs,):
            raise Mistake(
                f"{where}: the bias at position {position} has shape {list(bias.shape)}, "
                f"expected [{outputs}]"
            )
        widths = (widths or [inputs]) + [outputs]
        row += [weight.T.reshape(-1), bias]
    return np.concatenate(row), widths


def flatten_heads(checkpoint, heads, where):
    """[heads, parameters] and the widths, which all heads share."""
    if sorted(heads) != list(range(len(heads))):
        raise Mistake(f"{where} has heads {sorted(heads)}, expected 0 to {len(heads) - 1}")
    rows, first = [], None
    for head in range(len(heads)):
        row, widths = flatten_network(checkpoint, heads[head], f"{where}, head {head}")
        first = first or widths
        if widths != first:
            raise Mistake(f"{where}: head {head} has widths {widths}, head 0 {first}")
        rows.append(row)
    return np.stack(rows), first


def convert(checkpoint):
    """The output tensors, and the widths [D, ..., bits] of every network."""
    tensors, shared, heads = {}, None, None
    for layer, sides in sorted(find_networks(checkpoint).items()):
        for side, name in (("q", "query"), ("k", "key")):
            where = f"layer {layer}, {name}"
            if side not in sides:
                raise Mistake(f"{where}: there is no network")
            rows, widths = flatten_heads(checkpoint, sides[side], where)
            if shared not in (None, widths) or heads not in (None, len(rows)):
                raise Mistake(
                    f"{where} has {len(rows)} heads of widths {widths}, "
                    f"those before it {heads} of {shared}"
                )
            shared, heads = widths, len(rows)
            tensors[f"layers.{layer}.{name}_weights"] = rows
    if shared[-1] % WORD_BITS or shared[-1] > MOST_BITS:
        raise Mistake(
            f"signatures have {shared[-1]} bits, score.hash takes a multiple of "
            f"{WORD_BITS} up to {MOST_BITS}"
        )
    return tensors, shared


def main():
    parser = argparse.ArgumentParser(
        description="Turns a checkpoint of HashAttention into operands of score.hash."
    )
    parser.add_argument("checkpoint", help="a .safetensors file, in the public layout")
    parser.add_argument("output", help="the .safetensors file to write")
    options = parser.parse_args()
    try:
        tensors, widths = convert(Checkpoint(options.checkpoint))
        layers = ", ".join(str(width) for width in widths[1:])
        write_safetensors(
            options.output, tensors, {"layers": f"[{layers}]", "activation": "silu"}
        )
    except (Mistake, OSError) as mistake:
        raise SystemExit(f"convert_hash_attention: error: {mistake}") from None
    rows = next(iter(tensors.values()))
    print(f"{len(tensors) // 2} layers of {len(rows)} heads, head dimension {widths[0]}")
    print(f"hash(query_weights, key_weights, layers = [{layers}], activation = silu)")


if __name__ == "__main__":
    main()
