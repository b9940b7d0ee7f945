#===- kernels.py - whole kernels of one or two attentions -----------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===-----------------------------------------------------------------------===#
"""A kernel as tests write it: its IR, random inputs, and what it computes."""

from dataclasses import dataclass, field

import numpy as np

import numpy_reference as ref
from masks import GRAPH_TYPES, Builder, Mask, graph_arguments, graph_operands, graph_values
from masks import one_or

#===--- Score modifiers ---------------------------------------------------===#


class Modifier:
    def operands(self, rng, shape):
        return {}


@dataclass
class Softcap(Modifier):
    cap: float

    def emit(self, builder):
        return builder.op(f"sparse_attn.softcap cap = {self.cap:e}")

    def modifier(self, operands):
        return ref.softcap(self.cap)


@dataclass
class Alibi(Modifier):
    tag: str

    def emit(self, builder):
        slopes = builder.argument(f"slopes{self.tag}", "tensor<?xf32>")
        return builder.op(f"sparse_attn.alibi {slopes} : tensor<?xf32>")

    def operands(self, rng, shape):
        return {f"slopes{self.tag}": rng.random(shape.H, np.float32) / 8}

    def modifier(self, operands):
        return ref.alibi(operands[f"slopes{self.tag}"])


@dataclass
class Bias(Modifier):
    """With `holes`, some pairs are excluded by a bias of -inf; with `one_key`, all
    keys of a row have one bias."""

    tag: str
    holes: bool = False
    one_key: bool = False

    def emit(self, builder):
        type = f"tensor<?x?x?x{1 if self.one_key else '?'}xf32>"
        bias = builder.argument(f"bias{self.tag}", type)
        return builder.op(f"sparse_attn.bias {bias} : {type}")

    def operands(self, rng, shape):
        size = [one_or(rng, x) for x in (shape.B, shape.H, shape.M)]
        size.append(1 if self.one_key else shape.N)
        bias = rng.normal(size=size).astype(np.float32)
        if self.holes:
            bias[rng.random(size) < 0.3] = -np.inf
        return {f"bias{self.tag}": bias}

    def modifier(self, operands):
        return ref.bias(operands[f"bias{self.tag}"])


@dataclass
class RelativeBias(Modifier):
    tag: str

    def emit(self, builder):
        table = builder.argument(f"table{self.tag}", "tensor<?x?xf32>")
        return builder.op(f"sparse_attn.relative_bias {table} : tensor<?x?xf32>")

    def operands(self, rng, shape):
        size = (one_or(rng, shape.H), 2 * int(rng.integers(0, 9)) + 1)
        return {f"table{self.tag}": rng.normal(size=size).astype(np.float32)}

    def modifier(self, operands):
        return ref.relative_bias(operands[f"table{self.tag}"])


@dataclass
class HopDecay(Modifier):
    tag: str
    max_hops: int
    temperature: float
    directed: bool = False

    def emit(self, builder):
        directed = " directed = true" if self.directed else ""
        return builder.op(f"sparse_attn.hop_decay {graph_arguments(builder, self.tag)} "
                          f"max_hops = {self.max_hops} temperature = {self.temperature:e}"
                          f"{directed} : {GRAPH_TYPES}")

    def operands(self, rng, shape):
        return graph_operands(rng, shape, self.tag)

    def modifier(self, operands):
        return ref.hop_decay(*graph_values(operands, self.tag), self.max_hops,
                             self.temperature, self.directed)


@dataclass
class CustomScore(Modifier):
    """`body` computes %r from the region's arguments; `function` is the same."""

    body: str
    function: object

    def emit(self, builder):
        return builder.op("sparse_attn.custom_score {\n    ^bb0(%s: f32, %b: index, "
                          f"%h: index, %p: index, %j: index):\n{self.body}\n"
                          "      sparse_attn.yield %r : f32\n  }")

    def modifier(self, operands):
        return ref.custom_score(self.function)


#===--- Kernels -----------------------------------------------------------===#


@dataclass
class Kernel:
    """One attention over `mask`. With `pool`, a second one over the block means
    of K and V under `pool_mask` and with `pool_modifiers`, and their merge."""

    name: str
    mask: Mask
    D: int = 8
    Dv: int = 8
    modifiers: list = field(default_factory=list)
    kv_len: bool = False
    q_len: bool = False
    q_offset: bool = False
    sinks: bool = False
    scale: float = None
    pool: int = 0
    pool_mask: Mask = None
    pool_modifiers: list = field(default_factory=list)

    def heads(self):
        """The H that the masks are written for, None where any will do."""
        masks = [self.mask] + ([self.pool_mask] if self.pool else [])
        return next((m.heads() for m in masks if m.heads()), None)

    def mlir(self):
        builder = Builder()
        q_type, v_type = f"tensor<?x?x?x{self.D}xf32>", f"tensor<?x?x?x{self.Dv}xf32>"
        lse_type = "tensor<?x?x?xf32>"
        q, k = builder.argument("q", q_type), builder.argument("k", q_type)
        v = builder.argument("v", v_type)
        clauses = ""
        for name in ("kv_len", "q_len", "q_offset"):
            if getattr(self, name):
                clauses += f" {name}({builder.argument(name, 'tensor<?xi32>')} : tensor<?xi32>)"
        if self.sinks:
            clauses += f" sinks({builder.argument('sinks', 'tensor<?xf32>')} : tensor<?xf32>)"

        def attend(mask, modifiers, key, value, key_type, value_type):
            kept = builder.emit(mask)
            changes = ", ".join(builder.emit(m) for m in modifiers)
            changes = f" modifiers({changes})" if changes else ""
            scale = f" scale = {self.scale:e}" if self.scale is not None else ""
            return builder.op(
                f"sparse_attn.attention {q}, {key}, {value} mask({kept}){clauses}{changes}"
                f"{scale} : {q_type}, {key_type}, {value_type} -> {v_type}, {lse_type}", 2)

        state = attend(self.mask, self.modifiers, k, v, q_type, v_type)
        if self.pool:
            types = [f"!sparse_attn.pooled<{t}, {self.pool}>" for t in (q_type, v_type)]
            pooled = [builder.op(f"sparse_attn.pool {x} : {t} -> {p}")
                      for x, t, p in zip((k, v), (q_type, v_type), types)]
            far = attend(self.pool_mask, self.pool_modifiers, *pooled, *types)
            state = builder.op(f"sparse_attn.merge {state}#0, {far}#0 lse {state}#1, {far}#1 : "
                               f"{v_type}, {lse_type}", 2)
        body = "\n".join(f"  {line}" for line in builder.lines)
        return (f"func.func @{self.name}({', '.join(builder.arguments)}) -> "
                f"({v_type}, {lse_type}) {{\n{body}\n"
                f"  return {state}#0, {state}#1 : {v_type}, {lse_type}\n}}\n")

    def layout(self, rng, shape):
        """The operands of masks, modifiers and lengths."""
        result = self.mask.operands(rng, shape)
        if self.pool:
            result.update(self.pool_mask.operands(rng, shape))
        for modifier in {id(m): m for m in self.modifiers + self.pool_modifiers}.values():
            result.update(modifier.operands(rng, shape))
        if self.kv_len:
            result["kv_len"] = rng.integers(0, shape.N + 1, shape.B).astype(np.int32)
        if self.q_len:
            result["q_len"] = rng.integers(0, shape.M + 1, shape.B).astype(np.int32)
        if self.q_offset:
            result["q_offset"] = rng.integers(-3, shape.N + 4, shape.B).astype(np.int32)
        if self.sinks:
            result["sinks"] = rng.normal(size=shape.H).astype(np.float32)
        return result

    def inputs(self, rng, shape):
        """Every argument of the kernel by name."""
        draw = lambda *size: rng.normal(size=size).astype(np.float32)
        return {
            "q": draw(shape.B, shape.H, shape.M, self.D),
            "k": draw(shape.B, shape.Hkv, shape.N, self.D),
            "v": draw(shape.B, shape.Hkv, shape.N, self.Dv),
            **self.layout(rng, shape),
        }

    def setting(self, inputs, block=0):
        """The sizes and positions that `inputs` stand for."""
        B, H, M, _ = inputs["q"].shape
        return ref.Setting(B, H, M, inputs["k"].shape[2], inputs.get("kv_len"),
                           inputs.get("q_len"), inputs.get("q_offset"), block)

    def membership(self, inputs):
        return ref.membership(lambda s: self.mask.mask(s, inputs), self.setting(inputs))

    def reference(self, inputs):
        """(O, LSE)."""

        def attend(mask, modifiers, k, v, block):
            return ref.attention(inputs["q"], k, v, lambda s: mask.mask(s, inputs),
                                 self.setting(inputs, block), self.scale, inputs.get("sinks"),
                                 [m.modifier(inputs) for m in modifiers])

        state = attend(self.mask, self.modifiers, inputs["k"], inputs["v"], 0)
        if not self.pool:
            return state
        k, v = (ref.pool(inputs[x], self.pool, inputs.get("kv_len")) for x in "kv")
        return ref.merge([state, attend(self.pool_mask, self.pool_modifiers, k, v, self.pool)])
