#===- selections.py - selecting and drawing masks as objects --------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===-----------------------------------------------------------------------===#
"""Scores, selections and draws as masks.py has masks: IR, expression, dense array."""

from dataclasses import dataclass, field

import numpy as np

import numpy_reference as ref
import numpy_selections as sel
from masks import Mask, one_or

#: The head dimension that weights are made for.
D = 8


def words(attributes):
    """Attributes as IR and expressions spell them, without those that are not given."""
    spell = lambda v: f"{v:e}" if isinstance(v, float) else str(v).lower()
    return {name: spell(v) for name, v in attributes.items() if v is not None}


def spelled(attributes):
    return "".join(f" {name} = {value}" for name, value in words(attributes).items())


#===--- Scores ------------------------------------------------------------===#


@dataclass
class Score:
    """A score without weights."""

    name: str
    share: bool = False

    def emit(self, builder):
        return builder.op(f"sparse_attn.score.{self.name}{self.shared(' share = group')}")

    def expression(self):
        return self.name + self.shared("(share=group)")

    def operands(self, rng, shape):
        return {}

    def score(self, operands):
        return getattr(sel, self.name)(share=self.share)

    def shared(self, text):
        return text if self.share else ""


@dataclass
class Weighted(Score):
    """A score with weights: `shapes` gives them, `types` how IR writes them."""

    tag: str = ""
    attributes: dict = field(default_factory=dict)

    def names(self):
        return [f"{name}{self.tag}" for name in self.weights]

    def given(self):
        return {**self.attributes, "share": "group" if self.share else None}

    def emit(self, builder):
        values = ", ".join(builder.argument(name, type)
                           for name, type in zip(self.names(), self.types()))
        return builder.op(f"sparse_attn.score.{self.name} {values}{spelled(self.given())} "
                          f": {', '.join(self.types())}")

    def types(self):
        return [f"tensor<{'?x' * rank}{type}>" for rank, type in self.weights.values()]

    def expression(self):
        given = [f"{name}={value}" for name, value in words(self.given()).items()]
        return f"{self.name}({', '.join(self.names() + given)})"

    def operands(self, rng, shape):
        normal = lambda *size: rng.normal(size=size).astype(np.float32)
        return dict(zip(self.names(), self.draw(rng, shape, normal)))

    def score(self, operands):
        attributes = {name: v for name, v in self.attributes.items() if v is not None}
        return getattr(sel, self.function)(*(operands[name] for name in self.names()),
                                           **attributes, share=self.share)


class Hash(Weighted):
    function = "hash_bits"
    weights = {"query_weights": (2, "f32"), "key_weights": (2, "f32")}

    def draw(self, rng, shape, normal):
        widths = [D, *self.attributes["layers"]]
        size = sum((a + 1) * b for a, b in zip(widths, widths[1:]))
        return [normal(one_or(rng, shape.H), size) for _ in self.weights]


class Channels(Weighted):
    function = "channels"
    weights = {"channels": (2, "i32")}

    def draw(self, rng, shape, normal):
        size = (one_or(rng, shape.H), self.attributes["count"])
        return [rng.integers(0, D, size).astype(np.int32)]


class ProductCodes(Weighted):
    function = "pq"
    weights = {"centroids": (4, "f32")}

    def draw(self, rng, shape, normal):
        pieces = self.attributes["subvectors"]
        return [normal(shape.Hkv, pieces, self.attributes["codes"], D // pieces)]


class SoftHash(Weighted):
    function = "soft_hash"
    weights = {"projections": (3, "f32")}

    def draw(self, rng, shape, normal):
        return [normal(self.attributes["tables"], D, self.attributes["bits"])]


class Gated(Weighted):
    """score.pooled with gates, which the op writes as clauses."""

    function = "pooled"
    weights = {"query_gate": (3, "f32"), "key_gate": (3, "f32")}

    def emit(self, builder):
        type = self.types()[0]
        clauses = " ".join(f"{clause}({builder.argument(name, type)} : {type})"
                           for clause, name in zip(self.weights, self.names()))
        return builder.op(f"sparse_attn.score.pooled {clauses}{spelled(self.given())}")

    def draw(self, rng, shape, normal):
        width = self.attributes["width"]
        return [normal(one_or(rng, shape.H), D, width), normal(shape.Hkv, D, width)]

    def score(self, operands):
        return sel.pooled(*(operands[name] for name in self.names()), share=self.share)


@dataclass
class Antidiagonal(Score):
    stride: int = 1

    def emit(self, builder):
        return builder.op(f"sparse_attn.score.antidiagonal stride = {self.stride}"
                          f"{self.shared(' share = group')}")

    def expression(self):
        return f"antidiagonal({self.stride}{self.shared(', share=group')})"

    def score(self, operands):
        return sel.antidiagonal(self.stride, self.share)


#===--- Selections and draws ----------------------------------------------===#


@dataclass(repr=False)
class Selection(Mask):
    """An op that chooses from candidates, by `score` if it has one. `beside` is the mask
    that sample.adaptive adds to, `tensor` the (name, tag) of a tensor of rank 3."""

    name: str
    candidates: Mask
    attributes: dict = field(default_factory=dict)
    score: Score = None
    beside: Mask = None
    tensor: tuple = None

    @property
    def children(self):
        return tuple(x for x in (self.candidates, self.beside) if x)

    def emit(self, builder):
        values = ", ".join(builder.emit(x) for x in (self.score, self.candidates) if x)
        if self.beside:
            values += f" beside {builder.emit(self.beside)}"
        if self.tensor:
            type = "tensor<?x?x?xf32>"
            tensor = builder.argument("".join(self.tensor), type)
            values += f" {self.tensor[0]}({tensor} : {type})"
        return builder.op(f"sparse_attn.{self.name} {values}{spelled(self.attributes)}",
                          sampled=self.name.startswith("sample."))

    def expression(self):
        given = [x.expression() for x in (self.score, self.candidates, self.beside) if x]
        given += ["".join(self.tensor)] if self.tensor else []
        given += [f"{name}={value}" for name, value in words(self.attributes).items()]
        return f"{self.name}({', '.join(given)})"

    def operands(self, rng, shape):
        result = super().operands(rng, shape)
        if self.score:
            result.update(self.score.operands(rng, shape))
        if self.tensor:
            first = (int(rng.integers(1, 6)),) if self.tensor[0] == "centroids" else ()
            size = ((shape.Hkv, *first, D) if first else
                    (one_or(rng, shape.B), shape.Hkv, D))
            result["".join(self.tensor)] = rng.normal(size=size).astype(np.float32)
        return result

    def mask(self, setting, operands):
        candidates = lambda s: self.candidates.mask(s, operands)
        score = [self.score.score(operands)] if self.score else []
        if self.beside:
            score.append(candidates)
            candidates = lambda s: self.beside.mask(s, operands)
        function = getattr(sel, self.name.replace(".", "_"))
        given = {name: v for name, v in self.attributes.items() if v is not None}
        if self.tensor:
            given[self.tensor[0]] = operands["".join(self.tensor)]
        return function(*score, candidates, **given)(setting)


@dataclass(repr=False)
class Listed(Mask):
    """What a run's operand lists; with `sampled`, with probabilities."""

    tag: str
    block_q: int = 1
    share_group: bool = False
    sampled: bool = False

    def names(self):
        return [f"list{self.tag}", f"chance{self.tag}"][:1 + self.sampled]

    def emit(self, builder):
        types = [f"tensor<?x?x?x?x{word}>" for word in ("i32", "f32")]
        values = [builder.argument(name, type) for name, type in zip(self.names(), types)]
        chance = f" probability({values[1]} : {types[1]})" if self.sampled else ""
        return builder.op(f"sparse_attn.listed {values[0]}{chance} block_q = {self.block_q} "
                          f"share_group = {str(self.share_group).lower()} : {types[0]}",
                          sampled=self.sampled)

    def expression(self):
        return (f"listed({', '.join(self.names())}, block_q={self.block_q}, "
                f"share_group={str(self.share_group).lower()})")

    def operands(self, rng, shape):
        heads = shape.Hkv if self.share_group else shape.H
        lists, width = -(-shape.M // self.block_q), int(rng.integers(0, 20))
        size = (one_or(rng, shape.B), one_or(rng, heads), lists, width)
        keys = rng.integers(-1, max(shape.N, 0), size).astype(np.int32)
        chance = rng.choice(np.float32([0, 0.125, 0.3, 1]), size)
        return dict(zip(self.names(), [keys, chance]))

    def mask(self, setting, operands):
        values = [operands[name] for name in self.names()]
        group = setting.H // max(setting.k.shape[1], 1)
        return ref.listed(*values, block_q=self.block_q, share_group=self.share_group,
                          group=group)(setting)


class Selecting:
    """What a Generator makes of scores and draws; `rng` and helpers are its own."""

    SELECTIONS = ("top_k top_p threshold cluster listed random_keys sample_uniform "
                  "sample_lsh sample_adaptive listed_sample").split()
    SAMPLED = ("sample_uniform", "sample_lsh", "sample_adaptive", "listed_sample")
    SCORES = "dot pages hash channels pq soft_hash pooled gated antidiagonal".split()

    def score(self, kind=None):
        kind = kind or self.choice(self.SCORES)
        share, tag = self.choice([False, False, True]), self.tag()
        if kind == "hash":
            return Hash("hash", share, tag, {
                "layers": self.choice([[32], [5, 32], [6, 4, 64]]),
                "activation": self.choice([None, "relu", "silu", "gelu", "tanh"])})
        if kind == "channels":
            return Channels(kind, share, tag, {"count": self.integer(1, 5),
                                               "quantized": self.choice([None, True])})
        if kind == "pq":
            return ProductCodes(kind, share, tag, {"subvectors": self.choice([1, 2, 4, 8]),
                                                   "codes": self.integer(2, 9)})
        if kind == "soft_hash":
            return SoftHash(kind, share, tag, {"tables": self.integer(1, 3),
                                               "bits": self.integer(1, 4),
                                               "temperature": self.choice([0.25, 1.0])})
        if kind == "gated":
            return Gated("pooled", share, tag, {"width": self.integer(1, 5)})
        if kind == "antidiagonal":
            return Antidiagonal(kind, share, self.integer(1, 4))
        return Score(kind, share)

    def units(self):
        """Sizes of units; None is one row or key."""
        return {"block_q": self.choice([None, None, 2, 5]),
                "block_k": self.choice([None, None, 3, 8])}

    def candidates(self):
        """A mask that leaves something to choose."""
        return self.leaf() if self.rng.random() < 0.5 else self.mask(1)

    def top_k(self):
        size = self.choice([{"k": self.integer(1, 12)},
                            {"fraction": self.choice([0.1, 0.25, 0.5, 1.0])}])
        return Selection("top_k", self.candidates(), {**size, **self.units()}, self.score())

    def top_p(self):
        p = self.choice([0.0, 0.3, 0.8, 0.95, 1.0])
        return Selection("top_p", self.candidates(), {"p": p, **self.units()}, self.score())

    def threshold(self):
        t = self.choice([-0.5, 0.0, 0.7, 2.0])
        return Selection("threshold", self.candidates(), {"t": t, **self.units()}, self.score())

    def draws(self):
        size = self.choice([{"count": self.integer(1, 12)},
                            {"rate": self.choice([0.1, 0.25, 0.5, 1.0])}])
        return {**size, "seed": self.integer(0, 2**40)}

    def listed(self, sampled=False):
        return Listed(self.tag(), self.choice([1, 1, 4, 7]), self.choice([False, True]), sampled)

    def listed_sample(self):
        return self.listed(sampled=True)

    def random_keys(self):
        return Selection("random_keys", self.candidates(), self.draws())

    def sample_uniform(self):
        return Selection("sample.uniform", self.candidates(), self.draws())

    def cluster(self):
        hashed = self.choice([False, True])
        attributes = {"buckets": self.choice([2, 4, 8]), "rounds": self.integer(1, 3),
                      "seed": self.integer(0, 2**40)} if hashed else {}
        return Selection("cluster", self.candidates(), {**attributes, **self.units()},
                         tensor=None if hashed else ("centroids", self.tag()))

    def sample_lsh(self):
        center = self.choice(["keys", "both", "none"])
        tensor = ("mean", self.tag()) if center != "none" and self.choice([0, 1]) else None
        bits = self.integer(1, 4)
        return Selection("sample.lsh", self.candidates(), {
            "tables": self.integer(2, 12), "bits": bits,
            "min_matches": self.choice([1, 2, None]), "center": center,
            "normalize": self.choice([None, "cosine", "simple_lsh"]),
            "seed": self.integer(0, 2**40)}, tensor=tensor)

    def sample_adaptive(self):
        base = self.choice([{"base_count": self.integer(1, 8)},
                            {"base_rate": self.choice([0.1, 0.3])}])
        return Selection("sample.adaptive", self.candidates(), {
            **base, "epsilon": self.choice([0.2, 0.5, 0.9]),
            "delta": self.choice([0.1, 0.25]),
            "tail": self.choice([None, "two_sided", "one_sided"]),
            "finite_population": self.choice([None, False]),
            "seed": self.integer(0, 2**40)}, beside=self.mask(1))
