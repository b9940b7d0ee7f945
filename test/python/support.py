# ===- support.py - what the tests of the Python package share --------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""The package under test, kernels in a cache of this process, and a dense oracle."""
import atexit
import functools
import os
import shutil
import sys
import tempfile
import unittest

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "python"))

import sparse_attn  # noqa: E402

SCRATCH = tempfile.mkdtemp(prefix="sparse-attn-test-")
atexit.register(shutil.rmtree, SCRATCH, ignore_errors=True)

try:
    import torch
except ImportError:
    torch = None

needs_torch = unittest.skipIf(torch is None, "torch is not installed")


@functools.lru_cache(maxsize=None)
def compile_kernel(pattern, **options):
    """The kernel of an expression, D = 32 unless told."""
    options.setdefault("head_dim", 32)
    library = sparse_attn.compile(pattern, name="kernel", cache=SCRATCH, **options)
    return library["kernel"]


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def draw_qkv(batch, heads, kv_heads, queries, keys, dim=32):
    return (
        draw(batch, heads, queries, dim, seed=1),
        draw(batch, kv_heads, keys, dim, seed=2),
        draw(batch, kv_heads, keys, dim, seed=3),
    )


def attend(q, k, v, keep, bias=None):
    """O and LSE in float64; `keep` is a boolean array that broadcasts to the scores."""
    group = q.shape[1] // k.shape[1]
    k, v = (np.repeat(x.astype(np.float64), group, axis=1) for x in (k, v))
    scores = q.astype(np.float64) @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    if bias is not None:
        scores = scores + bias
    weights = np.where(np.broadcast_to(keep, scores.shape), np.exp(scores), 0)
    total = weights.sum(axis=-1)
    with np.errstate(divide="ignore"):
        lse = np.log(total)
    return weights @ v / np.where(total == 0, 1, total)[..., None], lse


def positions(queries, keys):
    """p and j, rows aligned to the end of the keys."""
    return (np.arange(queries) + keys - queries)[:, None], np.arange(keys)[None]


class TestCase(unittest.TestCase):
    def check(self, result, expected):
        """The bounds of docs/semantics.md, section 9."""
        out, lse = (np.asarray(x) for x in result)
        error = np.linalg.norm(out - expected[0]) / max(np.linalg.norm(expected[0]), 1e-30)
        self.assertLessEqual(error, 2e-6)
        empty = np.isneginf(expected[1])
        np.testing.assert_array_equal(np.isneginf(lse), empty)
        np.testing.assert_allclose(lse[~empty], expected[1][~empty], atol=2e-5, rtol=0)

    def fails(self, status, pattern):
        """An Error with this status whose text matches."""
        return _Failure(self, status, pattern)


class _Failure:
    def __init__(self, test, status, pattern):
        self.test, self.status = test, status
        self.context = test.assertRaisesRegex(sparse_attn.Error, pattern)

    def __enter__(self):
        self.context.__enter__()

    def __exit__(self, *details):
        result = self.context.__exit__(*details)
        self.test.assertEqual(self.context.exception.status, self.status)
        return result
