#===- random_expressions.py - random masks and kernels --------------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===-----------------------------------------------------------------------===#
"""Random trees of masks.py, and one of every kind for tables of tests."""

import numpy as np

from kernels import Alibi, Bias, CustomScore, HopDecay, Kernel, RelativeBias, Softcap
from masks import BlockMask, Combined, Custom, GlobalIndex, GraphHop, Pattern, PerHead
from masks import Prefix, Segments, Shape
from selections import Selecting


def constant(name, value):
    return f"      %{name} = arith.constant {value} : index\n"


# Regions as text beside the same in NumPy.
CUSTOMS = [
    Custom("p + j even",
           constant("two", 2) + "      %s = arith.addi %p, %j : index\n"
           "      %m = arith.remsi %s, %two : index\n" + constant("zero", 0) +
           "      %r = arith.cmpi eq, %m, %zero : index",
           lambda b, h, p, j: np.fmod(p + j, 2) == 0),
    Custom("j < 3 (h + 1) or j == p",
           constant("one", 1) + constant("three", 3) +
           "      %h1 = arith.addi %h, %one : index\n"
           "      %end = arith.muli %h1, %three : index\n"
           "      %head = arith.cmpi slt, %j, %end : index\n"
           "      %same = arith.cmpi eq, %j, %p : index\n"
           "      %r = arith.ori %head, %same : i1",
           lambda b, h, p, j: (j < 3 * (h + 1)) | (j == p)),
    Custom("j / 4 >= b and |p - j| <= 9",
           constant("four", 4) + constant("nine", 9) +
           "      %quarter = arith.divsi %j, %four : index\n"
           "      %late = arith.cmpi sge, %quarter, %b : index\n"
           "      %pj = arith.subi %p, %j : index\n      %jp = arith.subi %j, %p : index\n"
           "      %far = arith.maxsi %pj, %jp : index\n"
           "      %near = arith.cmpi sle, %far, %nine : index\n"
           "      %r = arith.andi %late, %near : i1",
           lambda b, h, p, j: (j // 4 >= b) & (np.abs(p - j) <= 9)),
]

CUSTOM_SCORES = [
    CustomScore("      %d = arith.subi %p, %j : index\n"
                "      %i = arith.index_cast %d : index to i32\n"
                "      %f = arith.sitofp %i : i32 to f32\n"
                "      %c = arith.constant 6.250000e-02 : f32\n"
                "      %t = arith.mulf %f, %c : f32\n      %r = arith.subf %s, %t : f32",
                lambda s, b, h, p, j: s - (p - j) / 16),
    CustomScore("      %two = arith.constant 2 : index\n"
                "      %m = arith.remsi %j, %two : index\n"
                "      %zero = arith.constant 0 : index\n"
                "      %even = arith.cmpi eq, %m, %zero : index\n"
                "      %c = arith.constant 5.000000e-01 : f32\n"
                "      %t = arith.mulf %s, %c : f32\n"
                "      %r = arith.select %even, %s, %t : f32",
                lambda s, b, h, p, j: np.where(j % 2 == 0, s, s / 2)),
]


class Generator(Selecting):
    """Everything random comes from `rng`; `keys` is about the N to expect.
    `expressible` leaves out what the expression language does not have, `compiled`
    what kernels do not: modifiers of pooled keys and two distances in one score.
    `selecting` adds what depends on Q and K, and draws."""

    def __init__(self, rng, keys=40, heads=None, expressible=False, compiled=False,
                 selecting=False):
        self.rng, self.keys, self.heads = rng, keys, heads
        self.expressible, self.compiled = expressible, compiled
        self.selecting = selecting
        self.tags = 0

    def integer(self, low, high):
        """In [low, high]."""
        return int(self.rng.integers(low, high + 1))

    def choice(self, items):
        return items[self.integer(0, len(items) - 1)]

    def tag(self):
        self.tags += 1
        return str(self.tags)

    def bound(self):
        """An end of a window: small, large, or none."""
        return self.choice([0, 1, self.integer(0, self.keys // 2), self.integer(0, self.keys),
                            None])

    #===--- Leaves ----------------------------------------------------------===#

    def all(self):
        return Pattern("all")

    def none(self):
        return Pattern("none")

    def causal(self):
        return Pattern("causal")

    def window(self):
        return Pattern("window", {"left": self.bound(), "right": self.bound()})

    def dilated(self):
        return Pattern("dilated", {"left": self.bound(), "right": self.bound(),
                                   "rate": self.integer(1, 5)})

    def sink(self):
        return Pattern("sink", {"size": self.integer(0, self.keys // 4)})

    def prefix(self):
        return Prefix(self.tag())

    def global_positions(self):
        count = self.integer(1, 4)
        return Pattern("global", {"positions": sorted({self.integer(0, self.keys)
                                                       for _ in range(count)})})

    def global_stride(self):
        return Pattern("global", {"stride": self.integer(1, 12)})

    def global_index(self):
        return GlobalIndex(self.tag())

    def strided(self):
        return Pattern("strided", {"stride": self.integer(1, 9)})

    def fixed(self):
        stride = self.integer(1, 9)
        return Pattern("fixed", {"stride": stride, "columns": self.integer(0, stride)})

    def block_diagonal(self):
        return Pattern("block_diagonal", {"size": self.integer(1, self.keys)})

    def dilated_segment(self):
        rate = self.integer(1, 5)
        offset = self.choice([None, self.integer(0, rate - 1)])
        return Pattern("dilated_segment", {"segment": self.integer(1, self.keys), "rate": rate,
                                           "offset": offset})

    def neighborhood(self):
        rank = self.integer(1, 3)
        side = max(2, round(self.keys ** (1 / rank)))
        grid = [self.integer(max(1, side - 2), side + 2) for _ in range(rank)]
        dilation = [self.integer(1, max(1, min(3, size))) for size in grid]
        # NATTEN's rule is for windows that fit: (2 r + 1) * dilation <= length.
        radius = [self.integer(0, (size // d - 1) // 2) for size, d in zip(grid, dilation)]
        return Pattern("neighborhood", {"grid": grid, "radius": radius,
                                        "dilation": self.choice([None, dilation])
                                        if max(dilation) == 1 else dilation})

    def random_blocks(self):
        return Pattern("random_blocks", {"block": self.integer(1, 12),
                                         "count": self.integer(1, 4),
                                         "seed": self.integer(0, 2**40)})

    def segments(self):
        return Segments(self.tag())

    def graph_hop(self):
        return GraphHop(self.tag(), self.choice([None, 0, 1, 2]), self.choice([False, True]))

    def block_mask(self):
        return BlockMask(self.tag(), self.integer(1, 12), self.integer(1, 20),
                         self.choice([False, True]))

    def custom(self):
        return self.choice(CUSTOMS)

    LEAVES = ("all none causal window dilated sink prefix global_positions global_stride "
              "global_index strided fixed block_diagonal dilated_segment neighborhood "
              "random_blocks segments graph_hop block_mask custom").split()

    #===--- Trees -----------------------------------------------------------===#

    def leaf(self):
        name = self.choice(self.LEAVES)
        if name == "custom" and self.expressible:
            name = "causal"
        return getattr(self, name)()

    def mask(self, depth):
        """A deterministic mask, so that any other may take it away."""
        if depth and self.selecting and self.rng.random() < 0.25:
            name = self.choice([n for n in self.SELECTIONS if n not in self.SAMPLED])
            return getattr(self, name)()
        if depth == 0 or self.rng.random() < 0.15:
            return self.leaf()
        kind = self.choice(["union", "intersect", "union", "intersect", "difference",
                            "complement", "per_head"])
        if kind == "complement":
            return Combined(kind, [self.mask(depth - 1)])
        if kind == "difference":
            return Combined(kind, [self.mask(depth - 1), self.mask(depth - 1)])
        if kind == "per_head":
            if not self.heads:
                return self.leaf()
            children = [self.mask(depth - 1) for _ in range(self.integer(1, 3))]
            table = [self.integer(0, len(children) - 1) for _ in range(self.heads)]
            return PerHead(children, table)
        return Combined(kind, [self.mask(depth - 1) for _ in range(self.integer(2, 3))])

    def any_mask(self, depth):
        """A mask that may be sampled, in the shapes that people use."""
        mask = self.mask(depth)
        if not self.selecting or self.rng.random() < 0.5:
            return mask
        drawn = getattr(self, self.choice(self.SAMPLED))()
        kind = self.choice(["union", "intersect", "difference", "twice", "per_head"])
        if kind == "difference":
            return Combined(kind, [drawn, mask])
        if kind == "twice":
            other = getattr(self, self.choice(self.SAMPLED))()
            return Combined(self.choice(["union", "intersect"]), [mask, drawn, other])
        if kind == "per_head" and self.heads:
            table = [self.integer(0, 1) for _ in range(self.heads)]
            return PerHead([mask, drawn], table)
        return Combined("union" if kind == "per_head" else kind, [mask, drawn])

    #===--- Kernels ---------------------------------------------------------===#

    def modifier(self):
        kind = self.integer(0, 5)
        if kind == 0:
            return Softcap(float(self.choice([0.5, 2.0, 30.0])))
        if kind == 1:
            return Alibi(self.tag())
        if kind == 2:
            return Bias(self.tag(), self.choice([False, True]), self.rng.random() < 0.2)
        if kind == 3:
            return RelativeBias(self.tag())
        if kind == 4:
            return HopDecay(self.tag(), self.integer(0, 2), float(self.choice([0.5, 2.0])),
                            self.choice([False, True]))
        return self.choice(CUSTOM_SCORES)

    def kernel(self, name, depth=2, modifiers=0, D=8, Dv=8, pool=False, split=False,
               dtypes=("f32",)):
        flag = lambda chance: bool(self.rng.random() < chance)
        pool = pool and not self.selecting
        kernel = Kernel(name, self.any_mask(depth), D, Dv)
        kernel.modifiers = [self.modifier() for _ in range(modifiers)]
        if self.compiled and sum(isinstance(m, HopDecay) for m in kernel.modifiers) > 1:
            kernel.modifiers = kernel.modifiers[:1]
        kernel.kv_len, kernel.q_len = flag(0.3), flag(0.3)
        kernel.q_offset, kernel.sinks = flag(0.2), flag(0.3)
        kernel.scale = self.choice([None, None, round(1.5 / D**0.5, 3)])
        if pool:
            kernel.pool, kernel.pool_mask = self.integer(1, 9), self.mask(1)
            kernel.pool_modifiers = [] if self.compiled else kernel.modifiers
        if split:
            # A sink would count in both parts.
            kernel.split, kernel.sinks, kernel.nested = self.mask(1), False, flag(0.5)
        if self.compiled and flag(0.5):
            kernel.tile = (self.choice([1, 7, 16, 48, 64, 96, 128, 160]),
                           self.choice([64, 128, 192, 256]))
        kernel.dtype = self.choice(dtypes)
        kernel.out = self.choice([kernel.dtype, "f32"])
        if pool or split:
            kernel.out = self.choice(dtypes)
            kernel.states = [self.choice([kernel.dtype, "f32"]) for _ in range(3)]
        return kernel

    def shape(self, longest=40, batch=2):
        """Sizes with M < N, M = N, M > N, M = 1 and a few zeros."""
        rng, heads = self.rng, self.heads
        group = self.choice([1, 1, 2, 4] if heads is None else
                            [g for g in (1, 2, 4) if heads % g == 0])
        kv_heads = heads // group if heads else self.integer(1, 2)
        N = 0 if rng.random() < 0.02 else self.integer(1, longest)
        M = self.choice([1, N, self.integer(1, longest), self.integer(1, longest)])
        M = 0 if rng.random() < 0.02 else M
        return Shape(self.integer(1, batch), group * kv_heads, kv_heads, M, N)
