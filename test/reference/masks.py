#===- masks.py - masks as objects: IR, expression, dense array ------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===-----------------------------------------------------------------------===#
"""A tree of masks that tests write in three ways:

    emit(builder)            ops of the sparse_attn dialect
    expression()             the text that sparse-attn-compile --pattern takes
    mask(setting, operands)  the dense array, by numpy_reference

`operands(rng, shape)` makes the layout operands of a tree for a `Shape`; their
names are unique in a tree when every node was made with its own `tag`.
"""

from dataclasses import dataclass, field

import numpy as np

import numpy_reference as ref


@dataclass(frozen=True)
class Shape:
    """Run-time sizes. `positions` bounds the positions of rows from above."""

    B: int
    H: int
    Hkv: int
    M: int
    N: int

    @property
    def positions(self):
        return max(self.M, self.N) + 8


class Builder:
    """Collects arguments and ops of a kernel; names values in order."""

    def __init__(self):
        self.arguments, self.lines, self.known, self.count = [], [], {}, 0
        self.sampled = set()

    def argument(self, name, type):
        if name not in self.known:
            self.known[name] = f"%{name}"
            self.arguments.append(f'%{name}: {type} {{sparse_attn.name = "{name}"}}')
        return self.known[name]

    def op(self, text, results=1, sampled=False):
        """`sampled`: the result is a sampled mask."""
        self.count += 1
        if sampled:
            self.sampled.add(f"%{self.count}")
        self.lines.append(f"%{self.count}{f':{results}' if results > 1 else ''} = {text}")
        return f"%{self.count}"

    def combine(self, name, values, clause=""):
        """An op of the algebra, which writes its types where an operand is sampled."""
        drawn = [value in self.sampled for value in values]
        types = ", ".join("!sparse_attn.mask" + ("<sampled>" if d else "") for d in drawn)
        text = f"sparse_attn.{name} {', '.join(values)}{clause}"
        return self.op(text + (f" : {types}" if any(drawn) else ""), sampled=any(drawn))

    def emit(self, node):
        """One op for each object of a tree, however often it appears."""
        key = id(node)
        if key not in self.known:
            self.known[key] = node.emit(self)
        return self.known[key]


class Mask:
    """Leaves override everything that they have; `children` are masks."""

    children = ()

    def operands(self, rng, shape):
        result = {}
        for child in self.children:
            result.update(child.operands(rng, shape))
        return result

    def heads(self):
        """The H that the mask is written for, None where any will do."""
        return next((child.heads() for child in self.children if child.heads()), None)

    def expressible(self):
        """Whether the expression language has it."""
        return all(child.expressible() for child in self.children)

    def __repr__(self):
        return self.expression()


#===--- Algebra -----------------------------------------------------------===#


class Combined(Mask):
    def __init__(self, name, children):
        self.name, self.children = name, children

    def emit(self, builder):
        return builder.combine(self.name, [builder.emit(child) for child in self.children])

    def expression(self):
        symbol = {"union": " | ", "intersect": " & ", "difference": " - "}.get(self.name)
        if self.name == "complement":
            return f"~({self.children[0].expression()})"
        return "(" + symbol.join(child.expression() for child in self.children) + ")"

    def mask(self, setting, operands):
        parts = [(lambda s, m=child: m.mask(s, operands)) for child in self.children]
        return getattr(ref, self.name)(*parts)(setting)


class PerHead(Mask):
    def __init__(self, children, table):
        self.children, self.table = children, table

    def emit(self, builder):
        return builder.combine("per_head", [builder.emit(child) for child in self.children],
                               f" table = {self.table}")

    def expression(self):
        masks = ", ".join(child.expression() for child in self.children)
        return f"per_head([{masks}], table={self.table})"

    def heads(self):
        return len(self.table)

    def mask(self, setting, operands):
        parts = [(lambda s, m=child: m.mask(s, operands)) for child in self.children]
        return ref.per_head(parts, self.table)(setting)


#===--- Closed forms ------------------------------------------------------===#


@dataclass(repr=False)
class Pattern(Mask):
    """A pattern without operands: attributes in the order of the op."""

    name: str
    attributes: dict = field(default_factory=dict)

    def emit(self, builder):
        text = "".join(f" {k} = {v}" for k, v in self.attributes.items()
                       if v is not None)
        return builder.op(f"sparse_attn.{self.name}{text}")

    def expression(self):
        given = [f"{k}={v}" for k, v in self.attributes.items() if v is not None]
        return f"{self.name}({', '.join(given)})" if given else self.name

    def mask(self, setting, operands):
        function = {"all": ref.everything, "none": ref.nothing, "causal": ref.causal}
        if self.name in function:
            return function[self.name](setting)
        function = getattr(ref, {"global": "global_"}.get(self.name, self.name))
        return function(**self.attributes)(setting)


@dataclass(repr=False)
class Custom(Mask):
    """`body` computes %r from the region's arguments; `function` is the same."""

    text: str
    body: str
    function: object

    def emit(self, builder):
        return builder.op(f"sparse_attn.custom {{\n    ^bb0({CUSTOM_ARGUMENTS}):\n"
                          f"{self.body}\n      sparse_attn.yield %r : i1\n  }}")

    def expression(self):
        return f"custom[{self.text}]"

    def expressible(self):
        return False

    def mask(self, setting, operands):
        return ref.custom(self.function)(setting)


CUSTOM_ARGUMENTS = "%b: index, %h: index, %p: index, %j: index"


#===--- Layout patterns ---------------------------------------------------===#


def random_offsets(rng, batch, count, end):
    """Ascending offsets up to `end`; some segments may be empty, and tokens
    before the first and after the last belong to none."""
    offsets = np.sort(rng.integers(0, end + 1, (batch, count + 1)), axis=1)
    if rng.random() < 0.5:
        offsets[:, 0] = 0
    if rng.random() < 0.5:
        offsets[:, -1] = end
    return offsets.astype(np.int32)


def one_or(rng, size):
    """An axis that may broadcast."""
    return 1 if rng.random() < 0.5 else size


@dataclass(repr=False)
class Prefix(Mask):
    tag: str

    def emit(self, builder):
        length = builder.argument(f"length{self.tag}", "tensor<?xi32>")
        return builder.op(f"sparse_attn.prefix {length} : tensor<?xi32>")

    def expression(self):
        return f"prefix(length{self.tag})"

    def operands(self, rng, shape):
        length = rng.integers(0, shape.N + 1, shape.B).astype(np.int32)
        return {f"length{self.tag}": length}

    def mask(self, setting, operands):
        return ref.prefix(operands[f"length{self.tag}"])(setting)


@dataclass(repr=False)
class GlobalIndex(Mask):
    tag: str

    def emit(self, builder):
        index = builder.argument(f"index{self.tag}", "tensor<?x?xi32>")
        return builder.op(f"sparse_attn.global index({index} : tensor<?x?xi32>)")

    def expression(self):
        return f"global(index=index{self.tag})"

    def operands(self, rng, shape):
        size = (one_or(rng, shape.B), int(rng.integers(0, 4)))
        return {f"index{self.tag}": rng.integers(-1, shape.N, size).astype(np.int32)}

    def mask(self, setting, operands):
        return ref.global_(index=operands[f"index{self.tag}"])(setting)


@dataclass(repr=False)
class Segments(Mask):
    tag: str

    def emit(self, builder):
        offsets = builder.argument(f"offsets{self.tag}", "tensor<?x?xi32>")
        return builder.op(f"sparse_attn.segments {offsets} : tensor<?x?xi32>")

    def expression(self):
        return f"segments(offsets{self.tag})"

    def operands(self, rng, shape):
        offsets = random_offsets(rng, one_or(rng, shape.B), int(rng.integers(1, 6)), shape.N)
        return {f"offsets{self.tag}": offsets}

    def mask(self, setting, operands):
        return ref.segments(operands[f"offsets{self.tag}"])(setting)


GRAPH_TYPES = "tensor<?x?xi32>, tensor<?x?xi32>, tensor<?xi32>, tensor<?xi32>"


def graph_arguments(builder, tag):
    names = (f"offsets{tag}", f"node{tag}", f"indptr{tag}", f"edges{tag}")
    types = GRAPH_TYPES.split(", ")
    return ", ".join(builder.argument(*pair) for pair in zip(names, types))


def graph_operands(rng, shape, tag):
    chunks, nodes = int(rng.integers(1, 7)), int(rng.integers(1, 6))
    batch = one_or(rng, shape.B)
    degrees = rng.integers(0, 3, nodes)
    indptr = np.concatenate([[0], np.cumsum(degrees)]).astype(np.int32)
    return {
        f"offsets{tag}": random_offsets(rng, batch, chunks, shape.N),
        f"node{tag}": rng.integers(0, nodes, (batch, chunks)).astype(np.int32),
        f"indptr{tag}": indptr,
        f"edges{tag}": rng.integers(0, nodes, indptr[-1]).astype(np.int32),
    }


def graph_values(operands, tag):
    return [operands[f"{name}{tag}"] for name in ("offsets", "node", "indptr", "edges")]


@dataclass(repr=False)
class GraphHop(Mask):
    tag: str
    max_hops: int = None
    directed: bool = False

    def emit(self, builder):
        text = f" max_hops = {self.max_hops}" if self.max_hops is not None else ""
        text += " directed = true" if self.directed else ""
        return builder.op(f"sparse_attn.graph_hop {graph_arguments(builder, self.tag)}{text} "
                          f": {GRAPH_TYPES}")

    def expression(self):
        text = f", max_hops={self.max_hops}" if self.max_hops is not None else ""
        text += ", directed=true" if self.directed else ""
        names = ", ".join(f"{n}{self.tag}" for n in ("offsets", "node", "indptr", "edges"))
        return f"graph_hop({names}{text})"

    def operands(self, rng, shape):
        return graph_operands(rng, shape, self.tag)

    def mask(self, setting, operands):
        return ref.graph_hop(*graph_values(operands, self.tag), self.max_hops,
                             self.directed)(setting)


@dataclass(repr=False)
class BlockMask(Mask):
    tag: str
    rows: int
    columns: int
    bits: bool = False

    def emit(self, builder):
        names = [builder.argument(f"{n}{self.tag}", "tensor<?x?x?xi32>")
                 for n in ("indptr", "blocks")]
        bits = ""
        if self.bits:
            type = f"tensor<?x?x{self.rows}x{-(-self.columns // 8)}xi8>"
            bits = f" bits({builder.argument(f'bits{self.tag}', type)} : {type})"
        return builder.op(f"sparse_attn.block_mask {names[0]}, {names[1]}{bits} "
                          f"block = {self.rows} x {self.columns} "
                          ": tensor<?x?x?xi32>, tensor<?x?x?xi32>")

    def expression(self):
        bits = f", bits=bits{self.tag}" if self.bits else ""
        return (f"block_mask(indptr{self.tag}, blocks{self.tag}{bits}, rows={self.rows}, "
                f"columns={self.columns})")

    def operands(self, rng, shape):
        batch, heads = one_or(rng, shape.B), one_or(rng, shape.H)
        row_blocks = int(rng.integers(0, -(-shape.positions // self.rows) + 1))
        key_blocks = -(-shape.N // self.columns)
        indptr = np.zeros((batch, heads, row_blocks + 1), np.int32)
        lists = []
        for b in range(batch):
            for h in range(heads):
                rows = [np.flatnonzero(rng.random(key_blocks) < 0.4) for _ in range(row_blocks)]
                indptr[b, h, 1:] = np.cumsum([len(row) for row in rows])
                lists.append(np.concatenate(rows) if rows else np.zeros(0, int))
        longest = max((len(x) for x in lists), default=0)
        indices = np.zeros((batch, heads, longest), np.int32)
        for at, row in enumerate(lists):
            indices[at // heads, at % heads, :len(row)] = row
        result = {f"indptr{self.tag}": indptr, f"blocks{self.tag}": indices}
        if self.bits:
            size = (one_or(rng, shape.B), longest, self.rows, -(-self.columns // 8))
            result[f"bits{self.tag}"] = rng.integers(0, 256, size).astype(np.uint8)
        return result

    def mask(self, setting, operands):
        bits = operands[f"bits{self.tag}"] if self.bits else None
        return ref.block_mask(operands[f"indptr{self.tag}"], operands[f"blocks{self.tag}"],
                              self.rows, self.columns, bits)(setting)
