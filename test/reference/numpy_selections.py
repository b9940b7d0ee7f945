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

A setting may ask where another rounding could decide otherwise (section 9): its `doubts`,
[B, H, M] booleans, are then set for rows whose choice hangs on numbers that are nearer
to a boundary than f32 rounds them. What is equal in float64 is not in doubt: it comes of
equal keys. With `exact`, scores are those that f32 has too, and decide whatever they are.
"""

import itertools
import math
from statistics import NormalDist

import numpy as np

from numpy_reference import Sampled, attention_score, philox4x32_10

#===--- Scores (section 4) ------------------------------------------------===#


def units(count, block):
    return -(-count // block)


class Score:
    """`slack`: how far rounding may move the score of a pair, where it moves by steps."""

    def __init__(self, per, function, share=False, slack=None):
        self.per, self.function, self.share, self.own_slack = per, function, share, slack

    def __call__(self, s, block_q, block_k):
        if min(s.B, s.M, s.N) == 0:
            return np.zeros((s.B, s.H, 0, 0))
        with np.errstate(all="ignore"):
            return self.shared(s, self.function(s, block_q, block_k))

    def shared(self, s, values):
        if not self.share:
            return values
        group = s.H // s.k.shape[1]
        sums = values.reshape(s.B, -1, group, *values.shape[2:]).sum(axis=2)
        return np.repeat(sums, group, axis=1)

    def slack(self, s):
        if s.doubts is None or s.exact or self.own_slack is None or min(s.B, s.M, s.N) == 0:
            return np.zeros(s.shape)
        with np.errstate(all="ignore"):
            return self.shared(s, self.own_slack(s))


#: More than f32 rounds a number by, as a share of the largest that it is compared with.
NEARLY = 1e-5


def near(a, b, size):
    """Whether a and b differ, but by no more than rounding."""
    gap = np.abs(a - b)
    return (gap > 0) & (gap <= NEARLY * size)


def doubt_keys(s, keys):
    """Rows that look at a key in doubt, `keys` [B, H or Hkv, N]."""
    doubtful = keys_of_heads(s, keys)[:, :, None] & s.key_exists
    s.doubts |= doubtful.any(axis=-1) & s.row_exists[..., 0]


def near_zero(x):
    """Which numbers of x are nearly 0, for what is typical along the last axis."""
    size = np.sqrt(np.square(x).mean(axis=-1, keepdims=True)) if x.size else x
    return near(x, 0, size)


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
    def project(s):
        return (network(s.q, query_weights, layers, activation),
                network(keys_of_heads(s, s.k), key_weights, layers, activation))

    def function(s, block_q, block_k):
        signs = (np.where(x < 0, -1, 1) for x in project(s))
        return np.einsum("bhmc,bhnc->bhmn", *signs).astype(np.float64)

    def slack(s):
        # A bit that turns moves the score by 2.
        query, key = (near_zero(x).astype(np.float64) for x in project(s))
        either = (query.sum(axis=-1)[..., None] + key.sum(axis=-1)[:, :, None] -
                  np.einsum("bhmc,bhnc->bhmn", query, key))
        return 2 * either

    return Score("key", function, share, slack)


def channels(table, count, quantized=False, share=False):
    def function(s, block_q, block_k):
        rows = np.broadcast_to(table, (s.H, count))[None, :, None]
        query = np.take_along_axis(s.q, np.broadcast_to(rows, (s.B, s.H, s.M, count)), axis=3)
        label = np.take_along_axis(keys_of_heads(s, s.k),
                                   np.broadcast_to(rows, (s.B, s.H, s.N, count)), axis=3)
        if quantized:
            low = label.min(axis=-1, keepdims=True)
            step = (label.max(axis=-1, keepdims=True) - low) / 15
            steps = np.where(step == 0, 0, (label - low) / np.where(step == 0, 1, step))
            label = low + step * np.rint(steps)
        return np.einsum("bhmc,bhnc->bhmn", query, label) / np.sqrt(count)

    return Score("key", function, share)


def pq(centroids, subvectors, codes, share=False):
    centroids = np.asarray(centroids, np.float64) # [Hkv, s, c, d]

    def function(s, block_q, block_k):
        pieces = s.k.reshape(*s.k.shape[:3], subvectors, centroids.shape[3])
        distance = ((pieces[:, :, :, :, None] - centroids[None, :, None])**2).sum(axis=-1)
        code = distance.argmin(axis=-1) # [B, Hkv, N, s]
        if s.doubts is not None and not s.exact and codes > 1:
            two = np.partition(distance, 1, axis=-1)
            doubt_keys(s, near(two[..., 0], two[..., 1], two[..., 1] +
                               np.square(pieces).sum(axis=-1)).any(axis=-1))
        kv, sub = np.ogrid[:centroids.shape[0], :subvectors]
        nearest = centroids[kv[None, :, None], sub[None, None], code]
        return np.einsum("bhmd,bhnd->bhmn", s.q,
                         keys_of_heads(s, nearest.reshape(s.k.shape)))

    return Score("key", function, share)


def soft_hash(projections, tables, bits, temperature, share=False):
    corners = np.array(list(itertools.product((-1, 1), repeat=bits)))

    def function(s, block_q, block_k):
        result = np.zeros((s.B, s.H, s.M, s.N))
        for w in np.asarray(projections, np.float64):
            product = s.k @ w
            if s.doubts is not None:
                doubt_keys(s, near_zero(product).any(axis=3))
            sign = np.where(product < 0, -1, 1)
            heat = np.tanh(s.q @ w) @ corners.T / np.sqrt(s.q.shape[-1]) / temperature
            heat = np.exp(heat - heat.max(axis=-1, keepdims=True))
            mass = heat / heat.sum(axis=-1, keepdims=True)
            in_bucket = (sign[..., None, :] == corners).all(axis=-1)
            result += np.einsum("bhmc,bhnc->bhmn", mass, keys_of_heads(s, in_bucket))
        return result * keys_of_heads(s, np.linalg.norm(s.v, axis=-1))[:, :, None]

    return Score("key", function, share)


def block_means(x, lengths, block):
    """[B, heads, blocks, D] of the rows below lengths[b]; 0 where there are none."""
    result = np.zeros((*x.shape[:2], units(x.shape[2], block), x.shape[3]))
    for b, length in enumerate(lengths):
        for u in range(units(int(length), block)):
            result[b, :, u] = x[b, :, u * block:min((u + 1) * block, length)].mean(axis=1)
    return result


def pooled(query_gate=None, key_gate=None, share=False):
    def function(s, block_q, block_k):
        query, key = block_means(s.q, s.m, block_q), block_means(s.k, s.n, block_k)
        if query_gate is not None:
            gate = np.broadcast_to(query_gate, (s.H, *query_gate.shape[1:]))
            query, key = query @ gate.astype(np.float64), key @ key_gate.astype(np.float64)
        return np.einsum("bhtd,bhud->bhtu", query, keys_of_heads(s, key))

    return Score("tile", function, share)


def antidiagonal(stride, share=False):
    def function(s, block_q, block_k):
        product = np.einsum("bhmd,bhnd->bhmn", s.q, keys_of_heads(s, s.k))
        at = np.arange(s.M)[:, None] % block_q + np.arange(s.N)[None] % block_k
        product = np.where((at % stride == stride - 1) & s.row_exists & s.key_exists, product, 0)
        product = np.add.reduceat(product, np.arange(0, s.M, block_q), axis=2)
        return np.add.reduceat(product, np.arange(0, s.N, block_k), axis=3)

    return Score("tile", function, share)


#===--- Selections (section 5) --------------------------------------------===#


def candidate_pairs(candidates, s):
    return np.broadcast_to(candidates(s), s.shape) & s.key_exists & s.row_exists


def select(score, candidates, block_q, block_k, pick):
    """`pick(scores, slack, count)` gives the indices of those taken among the candidate
    units, which are in ascending order, of `count` units that there are, and whether
    rounding, which moves scores by `slack` at most, may change them."""

    def mask(s):
        pairs = candidate_pairs(candidates, s)
        values, slack = score(s, block_q, block_k), score.slack(s)
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
                    # The largest of some numbers moves no further than one of them.
                    moves = np.where(in_unit, slack[b, h, rows], 0).max(axis=0)
                    moves = np.maximum.reduceat(moves, starts)
                    picked, unsure = pick(best[index], moves[index],
                                          units(int(s.n[b]), block_k))
                    taken = index[picked]
                    chosen[b, h, rows] = np.isin(np.arange(s.keys) // block_k, taken)
                    if s.doubts is not None:
                        # Rows of a unit choose together.
                        s.doubts[b, h, rows] |= (s.doubts[b, h, rows].any() or
                                                 unsure and not s.exact)
        return chosen & pairs

    return mask


def ranking(scores):
    """Best first; a NaN after every number, equal ones in order."""
    return np.lexsort((np.arange(len(scores)), -scores, np.isnan(scores)))


def largest(scores):
    return np.abs(scores[np.isfinite(scores)]).max(initial=0)


def top_k(score, candidates, k=None, fraction=None, block_q=1, block_k=1):
    def may_pass(low, high):
        return bool(low.size and high.size and low.min() <= high.max())

    def pick(scores, slack, count):
        order = ranking(scores)
        taken = int(np.floor(fraction * count)) if k is None else k
        ends = scores[order[taken - 1:taken + 1]]
        moves = slack[order] > 0
        low, high = (scores - slack)[order], (scores + slack)[order]
        return order[:taken], (
            taken > 0 and len(ends) == 2 and near(ends[0], ends[1], largest(scores)) or
            may_pass(low[:taken][moves[:taken]], high[taken:]) or
            may_pass(low[:taken], high[taken:][moves[taken:]]))

    return select(score, candidates, block_q, block_k, pick)


def top_p(score, candidates, p, block_q=1, block_k=1):
    def pick(scores, slack, count):
        order = ranking(scores)
        ranked = scores[order]
        mass = np.where(ranked == ranked[0], 1, np.exp(ranked - ranked[0]))
        mass = np.where(np.isnan(ranked), 0, mass)
        before = np.concatenate([[0], np.cumsum(mass)[:-1]])
        total = np.cumsum(mass)[-1]
        kept = before <= p * total
        last = ranked[kept][-1]
        kept |= ranked == last
        # Both ends, p = 0 and p = 1, are sure.
        unsure = 0 < p < 1 and (np.abs(before[1:] - p * total) <= NEARLY * total)[
            ranked[1:] != ranked[:-1]].any()
        after = ranked[~kept][:1]
        unsure = unsure or p < 1 and (slack.any() or
                                      near(after, last, largest(scores)).any())
        return order[kept], unsure

    return select(score, candidates, block_q, block_k, pick)


def threshold(score, candidates, t, block_q=1, block_k=1):
    return select(score, candidates, block_q, block_k,
                  lambda scores, slack, count: (
                      np.flatnonzero(scores >= t),
                      (near(scores, t, largest(scores)) |
                       (slack > 0) & (np.abs(scores - t) <= slack)).any()))


def bucket_of(products):
    """The index of the largest number of the last axis; -1 where there is none."""
    known = ~np.isnan(products)
    best = np.where(known, products, -np.inf).argmax(axis=-1)
    return np.where(known.any(axis=-1), best, -1)


def undecided(products):
    """Where the two largest numbers of the last axis are nearly the same."""
    if products.shape[-1] < 2:
        return np.zeros(products.shape[:-1], bool)
    two = np.partition(np.where(np.isnan(products), -np.inf, products), -2, axis=-1)[..., -2:]
    return near(two[..., 0], two[..., 1], np.abs(products).max(axis=-1, initial=0))


def cluster(candidates, buckets=None, rounds=1, seed=None, block_q=1, block_k=1,
            centroids=None):
    def share_bucket(s, block_q, block_k):
        if centroids is not None:
            w = np.asarray(centroids, np.float64)
            product = lambda x, w: np.einsum("bhrd,hcd->bhrc", x, w)[..., None, :]
            query = product(s.q, w[np.arange(s.H) // (s.H // w.shape[0])])
            key = product(s.k, w)
        else:
            r = directions(seed, rounds * buckets // 2, s.q.shape[-1], CLUSTER)
            r = r.reshape(rounds, buckets // 2, -1)
            product = lambda x: np.einsum("bhrd,kcd->bhrkc", x, r)
            both = lambda x: np.concatenate([product(x), -product(x)], axis=-1)
            query, key = both(s.q), both(s.k)
        if s.doubts is not None and not (s.exact and centroids is not None):
            s.doubts |= undecided(query).any(axis=-1)
            doubt_keys(s, undecided(key).any(axis=-1))
        key = keys_of_heads(s, bucket_of(key))[:, :, None]
        query = bucket_of(query)[:, :, :, None]
        return ((query == key) & (query >= 0)).any(axis=-1).astype(np.float64)

    score = Score("key", share_bucket)
    return threshold(score, candidates, 1, block_q, block_k)


#===--- Draws (section 6) -------------------------------------------------===#

RANDOM_KEYS, UNIFORM, ADAPTIVE_BASE, ADAPTIVE, LSH, CLUSTER = range(1, 7)


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
    bits = max(8, (size - 1).bit_length())
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


def directions(seed, count, width, stream):
    """[count, width]: counted bits and a uniform number between counts, as f32."""
    counters = [(r, d, 0, stream) for r in range(count) for d in range(width)]
    words = philox4x32_10(counters, (seed % 2**32, (seed >> 32) % 2**32))
    bits = np.unpackbits(words[:, :3].astype("<u4").view(np.uint8), axis=1)
    bits = bits.sum(axis=1).astype(np.int64)
    value = 2 * (bits * 2**32 + words[:, 3].astype(np.int64)) + 1 - 97 * 2**32
    return value.astype(np.float32).astype(np.float64).reshape(count, width) / 2**33


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


def match_probability(cosine, bits, tables, min_matches):
    """The sum of the binomial tail, of which all terms are positive."""
    a = (1 - np.arccos(np.clip(cosine, -1, 1)) / np.pi)**bits
    tail = range(min_matches, tables + 1)
    return sum(math.comb(tables, t) * a**t * (1 - a)**(tables - t) for t in tail)


def sample_lsh(candidates, seed, tables, bits, min_matches=2, center="keys",
               normalize="cosine", mean=None):
    def middle_of(s):
        if mean is not None:
            return s.per_batch(mean).astype(np.float64)
        result = np.zeros((s.B, s.k.shape[1], s.k.shape[3]))
        for b, n in enumerate(s.n):
            if n:
                result[b] = s.k[b, :, :n].mean(axis=1)
        return result

    def hashed(s):
        k, q = s.k, s.q
        if center != "none":
            middle = middle_of(s)
            k = k - middle[:, :, None]
            q = q - keys_of_heads(s, middle)[:, :, None] if center == "both" else q
        if normalize == "simple_lsh":
            norms = np.where(s.key_exists[:, 0], np.linalg.norm(k, axis=-1), 0)
            longest = np.fmax.reduce(norms, axis=-1, keepdims=True, initial=0)
            longest = np.where(longest > 0, longest, 1)
            last = np.sqrt(np.maximum(0, 1 - (norms / longest)**2))
            k = np.concatenate([k / longest[..., None], last[..., None]], axis=-1)
            q = np.concatenate([q, np.zeros((*q.shape[:3], 1))], axis=-1)
        return q, keys_of_heads(s, k)

    def mask(s):
        q, k = hashed(s)
        r = directions(seed, tables * bits, q.shape[-1], LSH)
        of_tables = lambda x: x.reshape(*x.shape[:3], tables, bits)
        signs = lambda x: of_tables(x @ r.T >= 0)
        bits_agree = signs(q)[:, :, :, None] == signs(k)[:, :, None]
        agree = bits_agree.all(axis=-1)
        with np.errstate(all="ignore"):
            q_length, k_length = (np.linalg.norm(x, axis=-1) for x in (q, k))
            length = q_length[..., None] * k_length[:, :, None]
            cosine = np.where(length == 0, 0, np.einsum("bhmd,bhnd->bhmn", q, k) / length)
            neither = (q_length[..., None] == 0) & (k_length[:, :, None] == 0)
            cosine = np.where(neither, 1, cosine)
        probability = match_probability(cosine, bits, tables, min_matches)
        # A NaN says nothing about how often a key is drawn: it is not.
        pairs = candidate_pairs(candidates, s) & (probability > 0)
        if s.doubts is not None:
            # A bit that rounding decides matters where the other bits leave open whether
            # enough tables agree.
            unsure = lambda x: of_tables(near_zero(x @ r.T))
            open_bits = unsure(q)[:, :, :, None] | unsure(k)[:, :, None]
            least = (bits_agree & ~open_bits).all(axis=-1).sum(axis=-1) >= min_matches
            most = (bits_agree | open_bits).all(axis=-1).sum(axis=-1) >= min_matches
            s.doubts |= (pairs & (least != most)).any(axis=-1) & s.row_exists[..., 0]
        return Sampled(np.where(pairs, probability, 0),
                       pairs & (agree.sum(axis=-1) >= min_matches))

    return mask


def sample_adaptive(candidates, beside, seed, epsilon, delta, base_count=None,
                    base_rate=None, tail="two_sided", finite_population=True):
    z = NormalDist().inv_cdf(1 - (delta if tail == "one_sided" else delta / 2))

    def budget(scores, others, base):
        n, m = len(scores), len(base)
        top = max(scores[base].max(), others.max(initial=-np.inf))
        e = np.exp(scores[base] - top)
        denominator = np.exp(others - top).sum() + n * e.mean()
        b0 = (z * e.std(ddof=1) * n / (epsilon * denominator))**2
        b = b0 * n / (n + b0) if finite_population else b0
        draws = int(np.clip(np.ceil(b), m, n)) if b < n else n
        # An error of scores is one of b, which is rounded up.
        unsure = m < n and np.isfinite(b) and any(
            int(np.clip(np.ceil(b * x), m, n)) != draws for x in (1 - NEARLY, 1 + NEARLY))
        return draws, unsure

    def mask(s):
        result = Sampled(np.zeros(s.shape), np.zeros(s.shape, bool))
        with np.errstate(all="ignore"):
            score = attention_score(s.q, s.k, s, s.scale, s.modifiers)
        heavy = candidate_pairs(beside, s)
        for b, h, i, plane, row, keys in each_row(s, candidates):
            draws = n = len(keys)
            if n >= 2:
                base = base_count if base_rate is None else int(np.floor(base_rate * n))
                first = permutation(seed, plane, row, ADAPTIVE_BASE, n)[:max(2, base)]
                others = heavy[b, h, i].copy()
                others[keys] = False
                with np.errstate(all="ignore"):
                    draws, unsure = budget(score[b, h, i, keys], score[b, h, i, others],
                                           first)
                if s.doubts is not None:
                    s.doubts[b, h, i] |= unsure
            taken = permutation(seed, plane, row, ADAPTIVE, n)[:draws]
            result.probability[b, h, i, keys] = draws / max(n, 1)
            result.drawn[b, h, i, keys[taken]] = True
        return result

    return mask
