#===- numpy_reference.py - the second reference, in NumPy -----------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===-----------------------------------------------------------------------===#
"""docs/semantics.md in NumPy: dense, float64, independent of the C++ oracle.

A mask is a function of a `Setting` that gives a boolean array which broadcasts
to [B, H, M, N], or a `Sampled` one; what selects and draws is in
numpy_selections.py. A score modifier is a function (score, setting) -> score.
Patterns are written for whole arrays at once, so that they share no structure
with code that walks pairs.
"""

import functools

import numpy as np


class Setting:
    """Sizes and positions (section 1).

    `p` is [B, 1, M, 1], `j` is [B, 1, 1, N] and `h` is [1, H, 1, 1]; `n` and `m`
    are the real lengths per batch entry. With `block`, key t stands for tokens
    [block * t, block * (t + 1)) and has the position of the last real one.
    """

    #: Q, K, V, the scale and the modifiers, for masks that depend on them.
    q = k = v = scale = None
    modifiers = ()
    #: Where rounding may decide otherwise, for those who ask (numpy_selections.py).
    doubts, exact = None, False

    def __init__(self, B, H, M, N, kv_len=None, q_len=None, q_offset=None, block=0):
        self.B, self.H, self.M, self.N, self.block = B, H, M, N, block
        self.n = np.full(B, N) if kv_len is None else np.asarray(kv_len, np.int64)
        self.m = np.full(B, M) if q_len is None else np.asarray(q_len, np.int64)
        shift = self.n - self.m if q_offset is None else np.asarray(q_offset, np.int64)
        self.i = np.arange(M).reshape(1, 1, M, 1)
        self.p = self.i + shift.reshape(B, 1, 1, 1)
        self.h = np.arange(H).reshape(1, H, 1, 1)
        self.b = np.arange(B).reshape(B, 1, 1, 1)
        per_batch_n = self.n.reshape(B, 1, 1, 1)
        if block:
            self.keys = -(-N // block)
            self.t = np.arange(self.keys).reshape(1, 1, 1, -1)
            self.j = np.minimum((self.t + 1) * block, per_batch_n) - 1
            self.key_exists = self.t * block < per_batch_n
        else:
            self.keys = N
            self.t = np.arange(N).reshape(1, 1, 1, -1)
            self.j = np.broadcast_to(self.t, (B, 1, 1, N))
            self.key_exists = self.j < per_batch_n
        self.row_exists = self.i < self.m.reshape(B, 1, 1, 1)
        self.shift = shift

    @property
    def shape(self):
        return (self.B, self.H, self.M, self.keys)

    def per_batch(self, operand):
        """An operand [b, ...] where an axis of size 1 stands for all of B."""
        operand = np.asarray(operand)
        return np.broadcast_to(operand, (self.B,) + operand.shape[1:])


#===--- Algebra and closed forms (sections 2 and 3) -----------------------===#


def everything(s):
    return np.ones((1, 1, 1, 1), bool)


def nothing(s):
    return np.zeros((1, 1, 1, 1), bool)


class Sampled:
    """What draws give: the inclusion probability of every pair, drawn or not, and
    which pairs this run has drawn."""

    def __init__(self, probability, drawn):
        self.probability, self.drawn = probability, drawn


def probability_of(kept):
    return kept.probability if isinstance(kept, Sampled) else kept.astype(np.float64)


def drawn_of(kept):
    return kept.drawn if isinstance(kept, Sampled) else kept


def combine(masks, setting, on_booleans, on_probabilities):
    """Deterministic masks combine as booleans; draws are independent of each other."""
    parts = [mask(setting) for mask in masks]
    drawn = functools.reduce(on_booleans, map(drawn_of, parts))
    if not any(isinstance(part, Sampled) for part in parts):
        return drawn
    return Sampled(functools.reduce(on_probabilities, map(probability_of, parts)), drawn)


def union(*masks):
    return lambda s: combine(masks, s, np.logical_or, lambda a, b: 1 - (1 - a) * (1 - b))


def intersect(*masks):
    return lambda s: combine(masks, s, np.logical_and, np.multiply)


def difference(a, b):
    return lambda s: combine((a, b), s, lambda x, y: x & ~y, lambda x, y: x * (1 - y))


def complement(a):
    return lambda s: ~a(s)


def per_head(masks, table):
    def pick(s, parts):
        result = np.zeros(s.shape, parts[0].dtype)
        for head in range(s.H):
            result[:, head] = np.broadcast_to(parts[table[head]], s.shape)[:, head]
        return result

    def mask(s):
        parts = [m(s) for m in masks]
        drawn = pick(s, [drawn_of(part) for part in parts])
        if not any(isinstance(part, Sampled) for part in parts):
            return drawn
        return Sampled(pick(s, [probability_of(part) for part in parts]), drawn)

    return mask


def causal(s):
    return s.j <= s.p


def window(left=None, right=None):
    """`None` is unbounded."""

    def mask(s):
        kept = everything(s)
        if left is not None:
            kept = kept & (s.j >= s.p - left)
        if right is not None:
            kept = kept & (s.j <= s.p + right)
        return kept

    return mask


def dilated(left, right, rate):
    return lambda s: window(left, right)(s) & (np.mod(s.p - s.j, rate) == 0)


def sink(size):
    return lambda s: s.j < size


def prefix(length):
    return lambda s: s.j < s.per_batch(length).reshape(s.B, 1, 1, 1)


def global_(positions=None, stride=None, index=None):
    def is_global(s, x):
        found = np.zeros_like(x, bool)
        if positions is not None:
            found |= np.isin(x, list(positions))
        if stride is not None:
            found |= np.mod(x, stride) == 0
        if index is not None:
            rows = s.per_batch(index)
            for b in range(s.B):
                found[b] |= np.isin(x[b], rows[b][rows[b] >= 0])
        return found

    return lambda s: is_global(s, s.p) | is_global(s, np.ascontiguousarray(s.j))


def strided(stride):
    return lambda s: np.mod(s.p - s.j, stride) == 0


def fixed(stride, columns):
    return lambda s: np.mod(s.j, stride) >= stride - columns


def block_diagonal(size):
    return lambda s: s.p // size == s.j // size


def dilated_segment(segment, rate, offset=None):
    def mask(s):
        remainder = s.h % rate if offset is None else offset
        chosen = lambda x: np.mod(np.mod(x, segment), rate) == remainder
        return (s.p // segment == s.j // segment) & chosen(s.p) & chosen(s.j)

    return mask


def neighborhood(grid, radius, dilation=None):
    """NATTEN: tokens of one residue modulo the dilation form a line; on it the
    window of 2r + 1 is shifted inside (and cut where the line is shorter)."""
    dilation = dilation or [1] * len(grid)
    tokens = int(np.prod(grid))

    def axis_table(length, r, d):
        table = np.zeros((length, length), bool)
        for residue in range(min(d, length)):
            line = np.arange(residue, length, d)
            for at in range(len(line)):
                start = max(0, min(at - r, len(line) - (2 * r + 1)))
                table[line[at], line[start:start + 2 * r + 1]] = True
        return table

    def mask(s):
        table = np.ones((1, 1), bool)
        for length, r, d in zip(grid, radius, dilation):
            table = np.kron(table, axis_table(length, r, d))
        inside = (s.p >= 0) & (s.p < tokens) & (s.j < tokens)
        return inside & table[np.clip(s.p, 0, tokens - 1), np.clip(s.j, 0, tokens - 1)]

    return mask


def custom(function):
    """`function(b, h, p, j)` of integer arrays that broadcast."""
    return lambda s: function(s.b, s.h, s.p, s.j)


#===--- Layout patterns (section 3) ---------------------------------------===#


def owner(s, offsets, x):
    """The interval [offsets[c], offsets[c + 1]) that holds x, -1 where none."""
    result = np.full(np.broadcast_shapes(x.shape, (s.B, 1, 1, 1)), -1)
    bounds = s.per_batch(offsets)
    x = np.broadcast_to(x, result.shape)
    for b in range(s.B):
        for c in range(bounds.shape[1] - 1):
            result[b][(bounds[b, c] <= x[b]) & (x[b] < bounds[b, c + 1])] = c
    return result


def segments(offsets):
    def mask(s):
        rows, keys = owner(s, offsets, s.p), owner(s, offsets, s.j)
        return (rows == keys) & (rows >= 0)

    return mask


def node_distances(indptr, indices, directed):
    """Hops between all nodes, inf where there is no path (Floyd-Warshall)."""
    nodes = len(indptr) - 1
    distance = np.full((nodes, nodes), np.inf)
    np.fill_diagonal(distance, 0)
    for u in range(nodes):
        for v in indices[indptr[u]:indptr[u + 1]]:
            distance[u, v] = min(distance[u, v], 1)
            if not directed:
                distance[v, u] = min(distance[v, u], 1)
    for via in range(nodes):
        distance = np.minimum(distance, distance[:, via:via + 1] + distance[via:via + 1])
    return distance


def token_distances(s, offsets, chunk_node, indptr, indices, directed):
    """Hops between the tokens of every pair: [B, 1, M, N]."""
    between = node_distances(indptr, indices, directed)
    rows, keys = owner(s, offsets, s.p), owner(s, offsets, s.j)
    nodes = s.per_batch(chunk_node)
    result = np.full((s.B, 1, s.M, s.keys), np.inf)
    for b in range(s.B):
        row, key = rows[b, 0, :, 0], keys[b, 0, 0, :]
        if len(between) and nodes.shape[1]:
            hops = between[nodes[b][np.maximum(row, 0)]][:, nodes[b][np.maximum(key, 0)]]
            known = (row[:, None] >= 0) & (key[None] >= 0)
            result[b, 0] = np.where(known, hops, np.inf)
        result[b, 0][np.broadcast_to(s.p[b, 0] == s.j[b, 0], result[b, 0].shape)] = 0
    return result


def graph_hop(offsets, chunk_node, indptr, indices, max_hops=None, directed=False):
    def mask(s):
        distance = token_distances(s, offsets, chunk_node, indptr, indices, directed)
        return np.isfinite(distance) if max_hops is None else distance <= max_hops

    return mask


def block_mask(indptr, indices, rows, columns, bits=None):
    """Block row p / rows lists the block columns that are kept. bits[b, t] is the
    bit mask of listed block t, a bit per key, least significant bit first."""

    def mask(s):
        result = np.zeros((s.B, s.H, s.M, s.keys), bool)
        p, j = s.p[:, 0, :, 0], s.j[:, 0, 0, :]
        for b in range(s.B):
            for h in range(s.H):
                pick = lambda x: x[b if x.shape[0] > 1 else 0, h if x.shape[1] > 1 else 0]
                starts, columns_of = pick(indptr), pick(indices)
                for r in range(len(starts) - 1):
                    in_row = p[b] // rows == r
                    for t in range(starts[r], starts[r + 1]):
                        kept = in_row[:, None] & (j[b] // columns == columns_of[t])[None]
                        if bits is not None:
                            block = bits[b if bits.shape[0] > 1 else 0, t]
                            dense = np.unpackbits(block, axis=1, bitorder="little").astype(bool)
                            kept = kept & dense[np.mod(p[b], rows)][:, j[b] % columns]
                        result[b, h] |= kept
        return result

    return mask


def listed(indices, probability=None, block_q=1, share_group=False, group=1):
    """`indices` [b, g, lists, k]; `group` query heads share a list with share_group."""

    def mask(s):
        chance = np.zeros(s.shape)
        for b, h, i in np.ndindex(s.B, s.H, s.M):
            head = h // group if share_group else h
            at = (b if len(indices) > 1 else 0, head if indices.shape[1] > 1 else 0, i // block_q)
            weights = np.ones(indices.shape[3]) if probability is None else probability[
                tuple(x % size for x, size in zip(at, probability.shape))]
            for j, weight in zip(indices[at], weights):
                if 0 <= j < s.n[b] and chance[b, h, i, j] == 0:
                    chance[b, h, i, j] = weight
        return chance > 0 if probability is None else Sampled(chance, chance > 0)

    return mask


#===--- Drawn blocks (sections 3 and 6) -----------------------------------===#


def philox4x32_10(counter, key):
    """Four words per counter; `counter` is [..., 4] and `key` is (low, high)."""
    words = [np.asarray(counter)[..., w].astype(np.uint64) for w in range(4)]
    low, high = np.uint64(key[0]), np.uint64(key[1])
    mask = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)
    for _ in range(10):
        a = words[0] * np.uint64(0xD2511F53)
        b = words[2] * np.uint64(0xCD9E8D57)
        words = [(b >> half) ^ words[1] ^ low, b & mask,
                 (a >> half) ^ words[3] ^ high, a & mask]
        low = (low + np.uint64(0x9E3779B9)) & mask
        high = (high + np.uint64(0xBB67AE85)) & mask
    return np.stack(words, axis=-1)


def drawn_blocks(total, count, seed, plane, query_block):
    """`count` distinct blocks of `total` by Floyd's algorithm: draw i takes word 0
    of counter (plane, query block, i, 0), scaled to [0, total - count + i]; a block
    that is already there stands for the largest one that may be drawn."""
    if total <= count:
        return set(range(total))
    counters = [(plane, query_block % 2**32, i, 0) for i in range(count)]
    words = philox4x32_10(counters, (seed % 2**32, (seed >> 32) % 2**32))[:, 0]
    chosen = set()
    for i, word in enumerate(words):
        last = total - count + i
        block = int(word) * (last + 1) >> 32
        chosen.add(last if block in chosen else block)
    return chosen


def random_blocks(block, count, seed):
    def mask(s):
        result = np.zeros(s.shape, bool)
        for b in range(s.B):
            total = -(-int(s.n[b]) // block)
            row_blocks, key_blocks = s.p[b, 0, :, 0] // block, s.j[b, 0, 0, :] // block
            for h in range(s.H):
                for row_block in np.unique(row_blocks):
                    drawn = drawn_blocks(total, count, seed, b * s.H + h, int(row_block))
                    result[b, h, row_blocks == row_block] = np.isin(key_blocks, list(drawn))
        return result

    return mask


#===--- Score modifiers (section 7) ---------------------------------------===#


def softcap(cap):
    return lambda score, s: cap * np.tanh(score / cap)


def alibi(slopes):
    slopes = np.asarray(slopes, np.float64)
    return lambda score, s: score - slopes.reshape(1, -1, 1, 1) * np.abs(s.p - s.j)


def bias(tensor):
    """Keys count tokens: a pooled key reads the bias of its last token."""

    def modify(score, s):
        dense = np.asarray(tensor, np.float64)
        dense = np.broadcast_to(dense, (s.B, s.H, s.M, s.N))
        at = np.broadcast_to(np.clip(s.j, 0, None), score.shape)
        return score + np.take_along_axis(dense, at, axis=3)

    return modify


def relative_bias(table):
    """table[h, distance]: column p - j + R of 2 R + 1, distances cut to [-R, R]."""

    def modify(score, s):
        dense = np.asarray(table, np.float64)
        reach = dense.shape[1] // 2
        column = np.clip(s.p - s.j, -reach, reach) + reach
        heads = s.h if dense.shape[0] > 1 else np.zeros_like(s.h)
        return score + dense[heads, column]

    return modify


def hop_decay(offsets, chunk_node, indptr, indices, max_hops, temperature, directed=False):
    distances = lambda s: token_distances(s, offsets, chunk_node, indptr, indices, directed)

    def modify(score, s):
        return score - np.maximum(0, distances(s) - max_hops) / temperature

    modify.excludes = lambda s: np.isinf(distances(s))
    return modify


def custom_score(function):
    """`function(score, b, h, p, j)`."""
    return lambda score, s: function(score, s.b, s.h, s.p, s.j)


#===--- Attention and its states (sections 1 and 8) -----------------------===#


def membership(mask, setting):
    """The inclusion probability of every pair that is drawn, [B, H, M, N]."""
    kept = mask(setting)
    if isinstance(kept, Sampled):
        kept = np.where(kept.drawn, kept.probability, 0)
    kept = np.broadcast_to(kept, setting.shape)
    return np.where(setting.key_exists & setting.row_exists, kept, 0).astype(np.float64)


def find_difference(got, wanted):
    """Where inclusion probabilities differ: what is kept has to be the same, and
    probabilities agree to rounding. None where nothing differs."""
    close = ((got == 0) == (wanted == 0)) & np.isclose(got, wanted, rtol=1e-9, atol=0)
    return None if close.all() else tuple(int(x) for x in np.argwhere(~close)[0])


def attention_score(q, k, setting, scale=None, modifiers=()):
    """Scores after the modifiers; -inf where one of them takes the pair out, whatever
    the others make of its score."""
    q, k = np.asarray(q, np.float64), np.asarray(k, np.float64)
    group = q.shape[1] // k.shape[1] if k.shape[1] else 1
    heads = np.arange(q.shape[1]) // max(group, 1)
    scale = 1 / np.sqrt(q.shape[3]) if scale is None else scale
    score = scale * np.einsum("bhmd,bhnd->bhmn", q, k[:, heads])
    for modifier in modifiers:
        score = np.broadcast_to(modifier(score, setting), score.shape)
    for modifier in modifiers:
        if hasattr(modifier, "excludes"):
            score = np.where(modifier.excludes(setting), -np.inf, score)
    return score


def attention(q, k, v, mask, setting, scale=None, sinks=None, modifiers=()):
    """(O, LSE) in float64. `mask` may also give inclusion probabilities."""
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    H, group = q.shape[1], q.shape[1] // k.shape[1] if k.shape[1] else 1
    heads = np.arange(H) // max(group, 1)
    probability = membership(mask, setting)
    with np.errstate(all="ignore"):
        score = attention_score(q, k, setting, scale, modifiers)
        # log(pi) joins the exponent: exp(s) / pi = exp(s - log pi).
        exponent = np.where(probability > 0, score - np.log(probability), -np.inf)
        sink = np.full(H, -np.inf) if sinks is None else np.asarray(sinks, np.float64)
        sink = np.where(setting.row_exists[..., 0], sink.reshape(1, H, 1), -np.inf)
        top = np.maximum(np.max(exponent, axis=-1, initial=-np.inf), sink)
        base = np.where(np.isneginf(top), 0, top)
        weight = np.exp(exponent - base[..., None])
        total = weight.sum(axis=-1) + np.exp(sink - base)
        # exp(inf) makes the denominator infinite.
        lse = np.where(np.isposinf(top), np.inf, base + np.log(total))
        weight = weight / np.where(total == 0, 1, total)[..., None]
        values = v[:, heads]
        finite = np.isfinite(values)
        out = np.einsum("bhmn,bhnd->bhmd", weight, np.where(finite, values, 0))
        # A NaN or inf reaches only the rows that attend to its key: 0 * NaN
        # must not happen elsewhere.
        for b, h, j in np.argwhere(~finite.all(axis=-1)):
            rows = weight[b, h, :, j] != 0
            bad = np.where(finite[b, h, j], 0, values[b, h, j])
            out[b, h, rows] += weight[b, h, rows, j, None] * bad
    return out, lse


def merge(states):
    """One state of states [(O, LSE), ...] over disjoint keys."""
    outs = np.stack([np.asarray(o, np.float64) for o, _ in states])
    lses = np.stack([np.asarray(l, np.float64) for _, l in states])
    with np.errstate(all="ignore"):
        top = lses.max(axis=0)
        base = np.where(np.isneginf(top), 0, top)
        lse = base + np.log(np.exp(lses - base).sum(axis=0))
        share = np.where(np.isneginf(lses), 0, np.exp(lses - np.where(np.isneginf(lse), 0, lse)))
        parts = np.where((share == 0)[..., None], 0, share[..., None] * outs)
    return parts.sum(axis=0), lse


def pool(x, block, length=None):
    """Means of blocks of real tokens: [B, Hkv, ceil(N / block), D]."""
    x = np.asarray(x, np.float64)
    B, H, N, D = x.shape
    count = -(-N // block)
    length = np.full(B, N) if length is None else np.asarray(length)
    result = np.zeros((B, H, count, D))
    for b in range(B):
        for t in range(count):
            tokens = x[b, :, t * block:min((t + 1) * block, length[b])]
            if tokens.shape[1]:
                result[b, :, t] = tokens.mean(axis=1)
    return result
