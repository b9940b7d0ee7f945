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
from masks import GRAPH_TYPES, Builder, Combined, Mask, graph_arguments, graph_operands
from masks import graph_values, one_or
from reals import BOUNDS, round_to

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
class Part:
    """One attention of a kernel: `block` tokens are a key, 0 for each on its own; its O
    is of type `out`."""

    mask: Mask
    modifiers: list
    block: int
    out: str


@dataclass
class Kernel:
    """Attention over `mask`. With `split`, two attentions, over the pairs of `mask`
    inside and outside of it, and their merge. With `pool`, one more over the block
    means of K and V under `pool_mask` and with `pool_modifiers`, and their merge.

    Q, K and V are of type `dtype`, O of `out`, and what is merged of the types in
    `states`, taken in turn. `nested` merges a split before the pool joins. `tile` is the
    size of tiles, rows and keys, where the compiler does not choose it."""

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
    split: Mask = None
    pool: int = 0
    pool_mask: Mask = None
    pool_modifiers: list = field(default_factory=list)
    dtype: str = "f32"
    out: str = "f32"
    states: tuple = ("f32",)
    nested: bool = False
    tile: tuple = None

    def heads(self):
        """The H that the masks are written for, None where any will do."""
        masks = [self.mask, self.split, self.pool_mask]
        return next((m.heads() for m in masks if m and m.heads()), None)

    def bound(self):
        """Of |O - ref| / |ref|."""
        return max(BOUNDS[self.dtype], BOUNDS[self.out])

    def parts(self):
        masks = [self.mask]
        if self.split:
            masks = [Combined(kind, [self.mask, self.split])
                     for kind in ("intersect", "difference")]
        parts = [Part(mask, self.modifiers, 0, self.out) for mask in masks]
        if self.pool:
            parts.append(Part(self.pool_mask, self.pool_modifiers, self.pool, self.out))
        for index, part in enumerate(parts):
            if len(parts) > 1:
                part.out = self.states[index % len(self.states)]
        return parts

    def mlir(self):
        builder = Builder()
        of_type = lambda width, dtype: f"tensor<?x?x?x{width}x{dtype}>"
        q_type, v_type = of_type(self.D, self.dtype), of_type(self.Dv, self.dtype)
        out_type = of_type(self.Dv, self.out)
        lse_type = "tensor<?x?x?xf32>"
        q, k = builder.argument("q", q_type), builder.argument("k", q_type)
        v = builder.argument("v", v_type)
        clauses = ""
        for name in ("kv_len", "q_len", "q_offset"):
            if getattr(self, name):
                clauses += f" {name}({builder.argument(name, 'tensor<?xi32>')} : tensor<?xi32>)"
        if self.sinks:
            clauses += f" sinks({builder.argument('sinks', 'tensor<?xf32>')} : tensor<?xf32>)"

        def attend(part):
            key, value, key_type, value_type = k, v, q_type, v_type
            if part.block:
                key_type, value_type = (f"!sparse_attn.pooled<{t}, {part.block}>"
                                        for t in (q_type, v_type))
                key, value = (builder.op(f"sparse_attn.pool {x} : {t} -> {p}") for x, t, p in
                              ((k, q_type, key_type), (v, v_type, value_type)))
            kept = builder.emit(part.mask)
            if kept in builder.sampled:
                kept += " : !sparse_attn.mask<sampled>"
            changes = ", ".join(builder.emit(m) for m in part.modifiers)
            changes = f" modifiers({changes})" if changes else ""
            scale = f" scale = {self.scale:e}" if self.scale is not None else ""
            return builder.op(
                f"sparse_attn.attention {q}, {key}, {value} mask({kept}){clauses}{changes}"
                f"{scale} : {q_type}, {key_type}, {value_type} -> "
                f"{of_type(self.Dv, part.out)}, {lse_type}", 2)

        def merge(states, out):
            outs = ", ".join(f"{name}#0" for name, _ in states)
            lses = ", ".join(f"{name}#1" for name, _ in states)
            types = ", ".join(of_type(self.Dv, dtype) for _, dtype in states)
            return builder.op(f"sparse_attn.merge {outs} lse {lses} : ({types}), {lse_type} -> "
                              f"{of_type(self.Dv, out)}", 2), out

        states = [(attend(part), part.out) for part in self.parts()]
        if self.nested and len(states) > 2:
            states = [merge(states[:2], self.states[-1]), *states[2:]]
        state = merge(states, self.out)[0] if len(states) > 1 else states[0][0]
        body = "\n".join(f"  {line}" for line in builder.lines)
        tile = (f" attributes {{block_plan.tile = array<i64: {self.tile[0]}, {self.tile[1]}>}}"
                if self.tile else "")
        return (f"func.func @{self.name}({', '.join(builder.arguments)}) -> "
                f"({out_type}, {lse_type}){tile} {{\n{body}\n"
                f"  return {state}#0, {state}#1 : {out_type}, {lse_type}\n}}\n")

    def layout(self, rng, shape):
        """The operands of masks, modifiers and lengths."""
        result = {}
        for mask in (self.mask, self.split, self.pool_mask):
            result.update(mask.operands(rng, shape) if mask else {})
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
        """Every argument of the kernel by name; Q, K and V as f32 that `dtype` holds."""
        draw = lambda *size: round_to(rng.normal(size=size), self.dtype).astype(np.float32)
        return {
            "q": draw(shape.B, shape.H, shape.M, self.D),
            "k": draw(shape.B, shape.Hkv, shape.N, self.D),
            "v": draw(shape.B, shape.Hkv, shape.N, self.Dv),
            **self.layout(rng, shape),
        }

    def setting(self, inputs, block=0):
        """The sizes and positions that `inputs` stand for."""
        B, H, M, D = inputs["q"].shape
        setting = ref.Setting(B, H, M, inputs["k"].shape[2], inputs.get("kv_len"),
                              inputs.get("q_len"), inputs.get("q_offset"), block)
        setting.q, setting.k, setting.v = (inputs[x].astype(np.float64) for x in "qkv")
        setting.scale = 1 / np.sqrt(D) if self.scale is None else self.scale
        setting.modifiers = [m.modifier(inputs) for m in self.modifiers]
        return setting

    def membership(self, inputs):
        return ref.membership(lambda s: self.mask.mask(s, inputs), self.setting(inputs))

    def reference(self, inputs):
        """(O, LSE). A split changes nothing: it is not computed."""

        def attend(mask, modifiers, k, v, block):
            return ref.attention(inputs["q"], k, v, lambda s: mask.mask(s, inputs),
                                 self.setting(inputs, block), self.scale, inputs.get("sinks"),
                                 [m.modifier(inputs) for m in modifiers])

        state = attend(self.mask, self.modifiers, inputs["k"], inputs["v"], 0)
        if not self.pool:
            return state
        k, v = (round_to(ref.pool(inputs[x], self.pool, inputs.get("kv_len")), self.dtype)
                for x in "kv")
        return ref.merge([state, attend(self.pool_mask, self.pool_modifiers, k, v, self.pool)])
