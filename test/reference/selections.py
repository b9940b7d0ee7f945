#===- selections.py - selecting and drawing masks as objects --------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===-----------------------------------------------------------------------===#
"""Scores, selections and draws as masks.py has masks: IR, expression, dense array."""

from dataclasses import dataclass, field

import numpy as np

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
        return getattr(sel, self.name)(self.share)

    def shared(self, text):
        return text if self.share else ""


@dataclass
class Hash(Score):
    name: str = "hash"
    tag: str = ""
    layers: tuple = (32,)
    activation: str = None

    def names(self):
        return [f"query_weights{self.tag}", f"key_weights{self.tag}"]

    def attributes(self):
        return {"layers": list(self.layers), "activation": self.activation,
                "share": "group" if self.share else None}

    def emit(self, builder):
        type = "tensor<?x?xf32>"
        weights = ", ".join(builder.argument(name, type) for name in self.names())
        return builder.op(f"sparse_attn.score.hash {weights}{spelled(self.attributes())} "
                          f": {type}, {type}")

    def expression(self):
        given = [f"{name}={value}" for name, value in words(self.attributes()).items()]
        return f"hash({', '.join(self.names() + given)})"

    def operands(self, rng, shape):
        widths = [D, *self.layers]
        size = sum((a + 1) * b for a, b in zip(widths, widths[1:]))
        return {name: rng.normal(size=(one_or(rng, shape.H), size)).astype(np.float32)
                for name in self.names()}

    def score(self, operands):
        return sel.hash_bits(*(operands[name] for name in self.names()), self.layers,
                             self.activation or "silu", self.share)


#===--- Selections and draws ----------------------------------------------===#


@dataclass(repr=False)
class Selection(Mask):
    """An op that chooses from candidates, by `score` if it has one."""

    name: str
    candidates: Mask
    attributes: dict = field(default_factory=dict)
    score: Score = None

    @property
    def children(self):
        return (self.candidates,)

    def emit(self, builder):
        values = [builder.emit(x) for x in (self.score, self.candidates) if x]
        return builder.op(f"sparse_attn.{self.name} {', '.join(values)}"
                          f"{spelled(self.attributes)}",
                          sampled=self.name.startswith("sample."))

    def expression(self):
        given = [x.expression() for x in (self.score, self.candidates) if x]
        given += [f"{name}={value}" for name, value in words(self.attributes).items()]
        return f"{self.name}({', '.join(given)})"

    def operands(self, rng, shape):
        result = super().operands(rng, shape)
        return {**result, **(self.score.operands(rng, shape) if self.score else {})}

    def mask(self, setting, operands):
        candidates = lambda s: self.candidates.mask(s, operands)
        score = [self.score.score(operands)] if self.score else []
        function = getattr(sel, self.name.replace(".", "_"))
        given = {name: v for name, v in self.attributes.items() if v is not None}
        return function(*score, candidates, **given)(setting)


class Selecting:
    """What a Generator makes of scores and draws; `rng` and helpers are its own."""

    SELECTIONS = "top_k top_p threshold random_keys sample_uniform".split()
    SAMPLED = ("sample_uniform",)

    def score(self):
        share = self.choice([False, False, True])
        kind = self.choice(["dot", "pages", "hash"])
        if kind == "hash":
            layers = self.choice([(32,), (5, 32), (6, 4, 64)])
            activation = self.choice([None, "relu", "silu", "gelu", "tanh"])
            return Hash(share=share, tag=self.tag(), layers=layers, activation=activation)
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

    def random_keys(self):
        return Selection("random_keys", self.candidates(), self.draws())

    def sample_uniform(self):
        return Selection("sample.uniform", self.candidates(), self.draws())
