# ===- test_states.py - what is kept of keys beside the KV cache ------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""A run with states is the run without, bit for bit; what states refuse."""
import os
import unittest

import numpy as np
from support import ROOT, SCRATCH, TestCase, compile_kernel, draw, draw_qkv

from sparse_attn import Error, Status, compile

LAYERS = "layers = [16, 32]"
PARAMETERS = 32 * 16 + 16 + 16 * 32 + 32
KERNELS = {
    f"top_k(hash(wq, wk, {LAYERS}), causal, k = 20)": {
        "wq": draw(4, PARAMETERS, seed=4),
        "wk": draw(4, PARAMETERS, seed=5),
    },
    "top_k(pages, causal, k = 4, block_k = 16)": {},
    "sink(2) | sample.lsh(causal - sink(2), mean = mean, tables = 12, bits = 3, seed = 9)": {
        "mean": draw(1, 2, 32, seed=6)
    },
}


class Decoding(TestCase):
    def each(self):
        for pattern, weights in KERNELS.items():
            yield compile_kernel(pattern), weights, draw_qkv(2, 4, 2, 1, 300)
        # Means of blocks of K and V, merged with the tokens of a window.
        pools = compile(os.path.join(ROOT, "examples/recipes/hierarchical.mlir"), cache=SCRATCH)
        yield pools["hierarchical"], {}, draw_qkv(2, 4, 2, 1, 300, dim=64)

    def decode(self, kernel, weights, tensors, length, states=None):
        q, k, v = tensors
        k, v = k[:, :, :length], v[:, :, :length]
        plan = kernel.plan(2, 4, 2, 1, length)
        out, lse = plan.run(q=q, k=k, v=v, **weights, states=states)
        return out.tobytes() + lse.tobytes()

    def test_token_by_token(self):
        for kernel, weights, (q, k, v) in self.each():
            states = kernel.states(2, 4, 2, 300)
            for length in (200, 201, 202, 300):
                states.extend(length, k=k, v=v, **weights)
                self.assertEqual(
                    self.decode(kernel, weights, (q, k, v), length, states),
                    self.decode(kernel, weights, (q, k, v), length),
                )

    def test_rollback(self):
        for kernel, weights, (q, k, v) in self.each():
            other = np.concatenate([k[:, :, :150], -k[:, :, 150:]], axis=2)
            states = kernel.states(2, 4, 2, 300)
            states.extend(300, k=other, v=v, **weights)
            for b in range(2):
                states.rollback(150, b)
                self.assertEqual(states.length(b), 150)
            states.extend([250, 250], k=k, v=v, **weights)
            self.assertEqual(
                self.decode(kernel, weights, (q, k, v), 250, states),
                self.decode(kernel, weights, (q, k, v), 250),
            )

    def test_cache_moves(self):
        for kernel, weights, (q, k, v) in self.each():
            other = k + 1
            states = kernel.states(2, 4, 2, 300)
            for length in (100, 150, 151):
                states.extend(length, k=other, v=v, **weights)
            for b in range(2):
                states.rollback(100, b)
            other[:, :, 100:] = 0  # what the states kept of these keys is gone
            moved = np.concatenate([other[:, :, :100], k[:, :, 100:]], axis=2)
            for length in (199, 200, 250):
                states.extend(length, k=moved, v=v, **weights)
            self.assertEqual(
                self.decode(kernel, weights, (q, moved, v), 250, states),
                self.decode(kernel, weights, (q, moved, v), 250),
            )
            with self.assertRaises(Error):
                states.extend(251, k=moved[:, :, :250], v=v, **weights)

    def test_files(self):
        for number, (kernel, weights, (q, k, v)) in enumerate(self.each()):
            states = kernel.states(2, 4, 2, 300)
            states.extend(300, k=k, v=v, **weights)
            path = os.path.join(SCRATCH, f"states{number}")
            states.save(path)
            loaded = kernel.load_states(path, 2)
            self.assertEqual(loaded.length(1), 300)
            self.assertEqual(loaded.bytes_per_key, states.bytes_per_key)
            self.assertEqual(
                self.decode(kernel, weights, (q, k, v), 300, loaded),
                self.decode(kernel, weights, (q, k, v), 300),
            )
            with open(path, "r+b") as file:
                file.truncate(os.path.getsize(path) - 1)
            with self.assertRaises(Exception) as caught:
                kernel.load_states(path, 2)
            self.assertEqual(caught.exception.status, Status.LOAD_FAILED)


class Refused(TestCase):
    def test_mistakes(self):
        pattern, weights = next(iter(KERNELS.items()))
        kernel = compile_kernel(pattern)
        q, k, v = draw_qkv(2, 4, 2, 1, 64)
        states = kernel.states(2, 4, 2, 64)
        self.assertEqual(states.bytes_per_key, 4 * 4)
        with self.fails(Status.INVALID_ARGUMENT, "a length for each of 2 batch entries, got 3"):
            states.extend([1, 2, 3], k=k, v=v, **weights)
        with self.fails(Status.INVALID_ARGUMENT, r"extend\(\) knows no .weights."):
            states.extend(4, k=k, v=v, weights=q)
        states.extend(60, k=k, v=v, **weights)
        with self.assertRaises(Exception):
            kernel.plan(2, 4, 2, 1, 64).run(q=q, k=k, v=v, **weights, states=states)
        self.assertIn("60, 60 keys", repr(states))


if __name__ == "__main__":
    unittest.main()
