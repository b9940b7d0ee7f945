# ===- patterns.py - the benchmark's masks, for peers and as operands -------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""What benchmark/configs/peers.json names as the `mask` of a pattern.

Each function here takes the pattern's parameters and a Shape, and returns a Mask:
the layout operands that our kernel takes, and the same mask as a predicate
`keep(torch) -> (b, h, p, j) -> bool` for FlexAttention and for dense boolean
masks; its tables are on torch's default device. Positions are tokens; rows are aligned to the end of the keys.
"""
import json
import os
import sys
from dataclasses import dataclass, field
from typing import Callable, NamedTuple, Optional

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "test", "reference"))
from numpy_reference import drawn_blocks  # noqa: E402


class Shape(NamedTuple):
    batch: int
    heads: int
    kv_heads: int
    queries: int
    keys: int


@dataclass
class Mask:
    #: None where every pair is kept.
    keep: Optional[Callable] = None
    operands: dict = field(default_factory=dict)
    per_head: bool = False
    #: Operands of a run.
    inputs: dict = field(default_factory=dict)


def make_mask(pattern, shape):
    """The Mask of a pattern of the configuration."""
    return MASKS[pattern["mask"]](shape, **pattern.get("parameters", {}))


def make_expression(pattern):
    """What sparse-attn-compile --pattern takes."""
    return pattern["expression"].format(**pattern.get("parameters", {}))


# ===--- Closed forms -------------------------------------------------------===#


def dense(shape):
    return Mask()


def causal(shape):
    return Mask(lambda torch: lambda b, h, p, j: j <= p)


def window(shape, left):
    return Mask(lambda torch: lambda b, h, p, j: (j <= p) & (p - j <= left))


def window_sink(shape, left, sink):
    return Mask(lambda torch: lambda b, h, p, j: (j <= p) & ((p - j <= left) | (j < sink)))


def dilated(shape, left, rate):
    return Mask(
        lambda torch: lambda b, h, p, j: (j <= p) & (p - j <= left) & ((p - j) % rate == 0)
    )


def dilated_segment(shape, segment, rate):
    def keep(torch):
        def kept(b, h, p, j):
            offset = h % rate
            same = p // segment == j // segment
            return same & (p % segment % rate == offset) & (j % segment % rate == offset)

        return kept

    return Mask(keep, per_head=True)


def prefix(shape, share):
    length = int(shape.keys * share)
    return Mask(
        lambda torch: lambda b, h, p, j: (j <= p) | (j < length),
        {"length": np.array([length], np.int32)},
    )


# ===--- Documents and graphs -----------------------------------------------===#


def source_tree():
    """(path, tokens, edges) of every file: four bytes are about one token."""
    path = os.path.join(HERE, "configs", "source-tree.json")
    with open(path, encoding="utf-8") as file:
        return [(name, max(1, size // 4), edges) for name, size, edges in json.load(file)]


def cut(lengths, keys):
    """Offsets of as many lengths, over and over, as fill `keys` tokens."""
    offsets = [0]
    while offsets[-1] < keys:
        offsets.append(min(keys, offsets[-1] + lengths[(len(offsets) - 1) % len(lengths)]))
    return np.array(offsets, np.int32)


def owner_of(offsets):
    """The segment of every token."""
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


def documents(shape, seed):
    lengths = [tokens for _, tokens, _ in source_tree()]
    order = np.random.default_rng(seed).permutation(len(lengths))
    offsets = cut([lengths[i] for i in order], shape.keys)
    owner = owner_of(offsets)

    def keep(torch):
        table = torch.as_tensor(owner)
        return lambda b, h, p, j: (j <= p) & (table[p] == table[j])

    return Mask(keep, {"offsets": offsets[None]})


def to_csr(edges):
    """indptr and indices of a list of neighbours for each node."""
    indptr = np.cumsum([0] + [len(row) for row in edges]).astype(np.int32)
    return indptr, np.array([node for row in edges for node in row], np.int32)


def reach_hops(edges, hops):
    """[from, to]: at most `hops` edges apart, every edge counting both ways."""
    near = np.eye(len(edges), dtype=bool)
    for node, row in enumerate(edges):
        near[node, row] = near[row, node] = True
    reach = np.eye(len(edges), dtype=bool)
    for _ in range(hops):
        reach = (reach.astype(np.float32) @ near.astype(np.float32)) > 0
    return reach


def graph_operands(offsets, edges):
    indptr, indices = to_csr(edges)
    nodes = np.arange(len(edges), dtype=np.int32)
    return {"offsets": offsets[None], "node": nodes[None], "indptr": indptr, "edges": indices}


def source_graph(shape, hops):
    """Files see the files that they include, and those that include them."""
    files = source_tree()
    # Files in the order of the tree, from its middle: the compiler's core.
    start = len(files) // 3
    order = [(start + i) % len(files) for i in range(len(files))]
    offsets = cut([files[i][1] for i in order], shape.keys)
    count = min(len(offsets) - 1, len(files))
    place = {file: node for node, file in enumerate(order[:count])}
    # A file that fills the rest again is a node of its own.
    names = [order[i % len(order)] for i in range(len(offsets) - 1)]
    edges = [[place[e] for e in files[name][2] if e in place] for name in names]
    reach, owner = reach_hops(edges, hops), owner_of(offsets)

    def keep(torch):
        near, table = torch.as_tensor(reach), torch.as_tensor(owner)
        return lambda b, h, p, j: near[table[p], table[j]]

    return Mask(keep, graph_operands(offsets, edges))


def random_tree(nodes, reach_back, rng):
    """The parent of every node but the first, and [node, itself or ancestor]."""
    parents = [rng.integers(max(0, node - reach_back), node) for node in range(1, nodes)]
    ancestors = np.eye(nodes, dtype=bool)
    for node, parent in enumerate(parents, 1):
        ancestors[node] |= ancestors[parent]
    return [[]] + [[int(parent)] for parent in parents], ancestors


def text_tree(shape, low, high, seed):
    """A tree of passages: each reads itself and what leads to it."""
    rng = np.random.default_rng(seed)
    lengths = [int(rng.integers(low, high)) for _ in range(shape.keys // low + 1)]
    offsets = cut(lengths, shape.keys)
    edges, ancestors = random_tree(len(offsets) - 1, 32, rng)
    owner = owner_of(offsets)

    def keep(torch):
        near, table = torch.as_tensor(ancestors), torch.as_tensor(owner)
        return lambda b, h, p, j: (j <= p) & near[table[p], table[j]]

    return Mask(keep, graph_operands(offsets, edges))


def token_tree(shape, seed):
    """Speculative decoding: the queries are a tree of tokens after a context."""
    context = shape.keys - shape.queries
    rng = np.random.default_rng(seed)
    edges, ancestors = random_tree(shape.queries, 8, rng)
    offsets = (context + np.arange(shape.queries + 1)).astype(np.int32)

    def keep(torch):
        near = torch.as_tensor(ancestors)
        node = torch.arange(shape.keys).sub(context).clamp(min=0)
        return lambda b, h, p, j: (j < context) | ((j <= p) & near[node[p], node[j]])

    operands = graph_operands(offsets, edges)
    operands["context"] = np.array([context], np.int32)
    return Mask(keep, operands)


# ===--- Blocks -------------------------------------------------------------===#


def bigbird(shape, reach, tokens, block, count, seed):
    """A window, global tokens, and random blocks of each head."""
    total = -(-shape.keys // block)
    index = np.arange(tokens, dtype=np.int32)[None]
    drawn = np.zeros((shape.batch * shape.heads, total, total), bool)
    for plane in range(len(drawn)):
        for row in range(total):
            drawn[plane, row, list(drawn_blocks(total, count, seed, plane, row))] = True

    def keep(torch):
        table = torch.as_tensor(drawn)

        def kept(b, h, p, j):
            near = (p - j <= reach) & (j - p <= reach)
            named = (p < tokens) | (j < tokens)
            return near | named | table[b * shape.heads + h, p // block, j // block]

        return kept

    return Mask(keep, {"index": index}, per_head=True)


def block_mask(shape, block, density, seed):
    """Random blocks and the diagonal, the same for every head."""
    rows, columns = -(-shape.queries // block), -(-shape.keys // block)
    kept_blocks = np.random.default_rng(seed).random((rows, columns)) < density
    kept_blocks[np.arange(rows), np.arange(rows) % columns] = True
    indptr, indices = to_csr([np.flatnonzero(row) for row in kept_blocks])

    def keep(torch):
        table = torch.as_tensor(kept_blocks)
        return lambda b, h, p, j: table[p // block, j // block]

    return Mask(keep, {"indptr": indptr[None, None], "blocks": indices[None, None]})


# ===--- What a run brings --------------------------------------------------===#


def listed(shape, count, block, seed):
    """Random keys for blocks of rows of a group's heads, some of them twice."""
    units, group = -(-shape.queries // block), shape.heads // shape.kv_heads
    indices = np.random.default_rng(seed).integers(
        -1, shape.keys, (shape.batch, shape.kv_heads, units, count), np.int32
    )

    def keep(torch):
        table = torch.zeros(*indices.shape[:3], shape.keys + 1, dtype=torch.bool)
        table.scatter_(3, torch.as_tensor(indices).long().to(table.device) + 1, True)
        first = shape.keys - shape.queries
        return lambda b, h, p, j: (j <= p) & table[b, h // group, (p - first) // block, j + 1]

    return Mask(keep, inputs={"indices": indices})


MASKS = {
    function.__name__: function
    for function in (
        dense,
        causal,
        window,
        window_sink,
        dilated,
        dilated_segment,
        prefix,
        documents,
        source_graph,
        text_tree,
        token_tree,
        bigbird,
        block_mask,
        listed,
    )
}
