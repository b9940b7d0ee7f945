#===- numpy_selections.py - scores, selections and draws, in NumPy --------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===-----------------------------------------------------------------------===#
"""Sections 4 to 6 of docs/semantics.md in NumPy, beside numpy_reference.py.

A score is a function (setting, block_q, block_k) -> float64 array

    [B, H, M, N]             `per` is "key": a number for every pair
    [B, H, M, key units]     "block": for every row and block of keys
    [B, H, tiles, key units] "tile": for every tile of rows and block of keys

of which selections make the scores of their units.
"""

import math

import numpy as np

from numpy_reference import Sampled, philox4x32_10

#===--- Scores (section 4) ------------------------------------------------===#


def units(count, block):
    return -(-count // block)


class Score:
    def __init__(self, per, function, share=False):
        self.per, self.function, self.share = per, function, share

    def __call__(self, s, block_q, block_k):
        with np.errstate(all="ignore"):
            values = self.function(s, block_q, block_k)
            if self.share and values.size:
                group = s.H // s.k.shape[1]
                sums = values.reshape(s.B, -1, group, *values.shape[2:]).sum(axis=2)
                values = np.repeat(sums, group, axis=1)
        return values


def keys_of_heads(s, keys):
    """[B, H, ...] from [B, Hkv, ...]."""
    return keys[:, np.arange(s.H) // (s.H // keys.shape[1])]


def dot(share=False):
    def function(s, block_q, block_k):
        return s.scale * np.einsum("bhmd,bhnd->bhmn", s.q, keys_of_heads(s, s.k))

    return Score("key", function, share)


def pages(share=False):
    def function(s, block_q, block_k):
        result = np.zeros((s.B, s.H, s.M, units(s.N, block_k)))
        k = keys_of_heads(s, s.k)
        for b in range(s.B):
            for u in range(units(int(s.n[b]), block_k)):
                page = k[b, :, u * block_k:min((u + 1) * block_k, s.n[b])]
                low, high = page.min(axis=1)[:, None], page.max(axis=1)[:, None]
                result[b, :, :, u] = np.maximum(s.q[b] * low, s.q[b] * high).sum(axis=-1)
        return result

    return Score("block", function, share)


ERF = np.vectorize(math.erf, otypes=[np.float64])
ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu": lambda x: x * (1 + ERF(x / np.sqrt(2))) / 2,
    "tanh": np.tanh,
}


def network(x, weights, layers, activation):
    """x [B, H, rows, D] through the dense layers of each head."""
    weights = np.broadcast_to(np.asarray(weights, np.float64), (x.shape[1], weights.shape[1]))
    at = 0
    for index, width in enumerate(layers):
        size = x.shape[-1] * width
        matrix = weights[:, at:at + size].reshape(-1, x.shape[-1], width)
        offset = weights[:, at + size:at + size + width]
        x = np.einsum("bhri,hio->bhro", x, matrix) + offset[None, :, None]
        if index + 1 < len(layers):
            x = ACTIVATIONS[activation](x)
        at += size + width
    return x


def hash_bits(query_weights, key_weights, layers, activation="silu", share=False):
    def function(s, block_q, block_k):
        sign = lambda x, w: np.where(network(x, w, layers, activation) < 0, -1, 1)
        return np.einsum("bhmc,bhnc->bhmn", sign(s.q, query_weights),
                         sign(keys_of_heads(s, s.k), key_weights)).astype(np.float64)

    return Score("key", function, share)


#===--- Selections (section 5) --------------------------------------------===#


def candidate_pairs(candidates, s):
    return np.broadcast_to(candidates(s), s.shape) & s.key_exists & s.row_exists


def select(score, candidates, block_q, block_k, pick):
    """`pick(scores, count)` gives the indices of those taken among the candidate units,
    which are in ascending order, of `count` units that there are."""

    def mask(s):
        pairs = candidate_pairs(candidates, s)
        values = score(s, block_q, block_k)
        chosen = np.zeros(s.shape, bool)
        starts = np.arange(0, s.keys, block_k)
        for b in range(s.B):
            for h in range(s.H):
                for tile, first in enumerate(range(0, s.M, block_q)):
                    rows = slice(first, first + block_q)
                    in_unit = pairs[b, h, rows]
                    if not in_unit.any():
                        continue
                    # Pairs of each key unit that are candidates, and whether any is.
                    per_row = np.logical_or.reduceat(in_unit, starts, axis=1)
                    if score.per == "tile":
                        best = values[b, h, tile]
                    else:
                        at = in_unit if score.per == "key" else per_row
                        best = np.where(at, values[b, h, rows], np.nan)
                        best = np.fmax.reduce(best, axis=0)
                        if score.per == "key":
                            best = np.fmax.reduceat(best, starts)
                    index = np.flatnonzero(per_row.any(axis=0))
                    taken = index[pick(best[index], units(int(s.n[b]), block_k))]
                    chosen[b, h, rows] = np.isin(np.arange(s.keys) // block_k, taken)
        return chosen & pairs

    return mask


def ranking(scores):
    """Best first; a NaN after every number, equal ones in order."""
    return np.lexsort((np.arange(len(scores)), -scores, np.isnan(scores)))


def top_k(score, candidates, k=None, fraction=None, block_q=1, block_k=1):
    def pick(scores, count):
        return ranking(scores)[:int(np.floor(fraction * count)) if k is None else k]

    return select(score, candidates, block_q, block_k, pick)


def top_p(score, candidates, p, block_q=1, block_k=1):
    def pick(scores, count):
        order = ranking(scores)
        ranked = scores[order]
        mass = np.where(ranked == ranked[0], 1, np.exp(ranked - ranked[0]))
        mass = np.where(np.isnan(ranked), 0, mass)
        before = np.concatenate([[0], np.cumsum(mass)[:-1]])
        kept = before <= p * np.cumsum(mass)[-1]
        last = ranked[kept][-1]
        return order[kept | (ranked == last)]

    return select(score, candidates, block_q, block_k, pick)


def threshold(score, candidates, t, block_q=1, block_k=1):
    return select(score, candidates, block_q, block_k,
                  lambda scores, count: np.flatnonzero(scores >= t))


#===--- Draws (section 6) -------------------------------------------------===#

RANDOM_KEYS, UNIFORM = 1, 2


def mix(x):
    x = x ^ x >> np.uint32(16)
    x = x * np.uint32(0x7FEB352D)
    x = x ^ x >> np.uint32(15)
    x = x * np.uint32(0x846CA68B)
    return x ^ x >> np.uint32(16)


def permutation(seed, plane, row, stream, size):
    """The whole permutation of [0, size): entry d is draw number d."""
    key = (seed % 2**32, (seed >> 32) % 2**32)
    counters = [(plane, row % 2**32, draw, stream) for draw in (0, 1)]
    keys = philox4x32_10(counters, key).reshape(-1).astype(np.uint32)
    bits = max(size - 1, 0).bit_length()
    low_bits = np.uint32(bits // 2)
    high_mask, low_mask = np.uint32(2**(bits - bits // 2) - 1), np.uint32(2**(bits // 2) - 1)

    def step(x):
        high, low = x >> low_bits, x & low_mask
        for even, odd in keys.reshape(4, 2):
            high = high ^ mix(low ^ even) & high_mask
            low = low ^ mix(high ^ odd) & low_mask
        return high << low_bits | low

    with np.errstate(over="ignore"):
        result = step(np.arange(size, dtype=np.uint32))
        while (outside := result >= size).any():
            result[outside] = step(result[outside])
    return result


def each_row(s, candidates):
    """(b, h, i, counter's plane and row, candidate keys) of every row."""
    pairs = candidate_pairs(candidates, s)
    for b, h, i in np.ndindex(s.B, s.H, s.M):
        yield b, h, i, b * s.H + h, int(s.p[b, 0, i, 0]), np.flatnonzero(pairs[b, h, i])


def draw_uniform(candidates, seed, stream, count, rate):
    def mask(s):
        result = Sampled(np.zeros(s.shape), np.zeros(s.shape, bool))
        for b, h, i, plane, row, keys in each_row(s, candidates):
            size = len(keys)
            draws = min(count, size) if rate is None else int(np.floor(rate * size))
            taken = permutation(seed, plane, row, stream, size)[:draws]
            result.probability[b, h, i, keys] = draws / max(size, 1)
            result.drawn[b, h, i, keys[taken]] = True
        return result

    return mask


def random_keys(candidates, seed, count=None, rate=None):
    drawn = draw_uniform(candidates, seed, RANDOM_KEYS, count, rate)
    return lambda s: drawn(s).drawn


def sample_uniform(candidates, seed, count=None, rate=None):
    return draw_uniform(candidates, seed, UNIFORM, count, rate)
