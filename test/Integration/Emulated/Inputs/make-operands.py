#===- make-operands.py - layout operands of the tests beside this folder --===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===-----------------------------------------------------------------------===#
"""Lengths, documents and a block mask for B = 2, H = 4, M = 150, N = 300."""

import numpy as np

rng = np.random.default_rng(7)
np.save("kv_len.npy", np.array([300, 171], np.int32))
np.save("q_len.npy", np.array([150, 33], np.int32))
np.save("no_q_len.npy", np.array([0, 150], np.int32))
np.save("offsets.npy", np.array([[0, 40, 41, 170, 300], [0, 100, 100, 130, 171]], np.int32))
np.save("decreasing.npy", np.array([[0, 40, 41, 170, 300], [0, 100, 90, 130, 171]], np.int32))
# Of 1500 keys.
np.save("long_offsets.npy", np.array([[0, 40, 1450, 1500]], np.int32))
np.save("long_decreasing.npy", np.array([[0, 900, 890, 1500]], np.int32))

# A path of five nodes, in chunks of different lengths.
np.save("chunks.npy", np.array([[0, 30, 100, 101, 220, 300]], np.int32))
np.save("chunk_node.npy", np.array([[2, 0, 4, 1, 3]], np.int32))
np.save("wrong_node.npy", np.array([[2, 5, 4, 1, 3]], np.int32))
np.save("edges.npy", np.array([0, 1, 3, 5, 7, 8], np.int32))
np.save("neighbours.npy", np.array([1, 0, 2, 1, 3, 2, 4, 3], np.int32))
# Two parts without a way between them, in chunks that begin and end inside the sequence,
# where those of the second batch entry do elsewhere.
np.save("part_chunks.npy", np.array([[20, 30, 100, 101, 220, 260], [0, 9, 9, 20, 150, 170]], np.int32))
np.save("parted_edges.npy", np.array([0, 1, 3, 4, 5, 6], np.int32))
np.save("parted_neighbours.npy", np.array([1, 0, 2, 1, 4, 3], np.int32))
np.save("slopes.npy", np.linspace(0.001, 0.1, 4).astype(np.float32))
np.save("length.npy", np.array([25, 0], np.int32))

# Blocks of 16 queries x 16 keys, a third of them, with bits in half of those.
rows, columns = 10, 19
kept = rng.random((rows, columns)) < 1 / 3
indices = np.concatenate([np.flatnonzero(row) for row in kept])
indptr = np.concatenate([[0], np.cumsum(kept.sum(1))])
np.save("indptr.npy", indptr.astype(np.int32).reshape(1, 1, -1))
np.save("indices.npy", indices.astype(np.int32).reshape(1, 1, -1))
