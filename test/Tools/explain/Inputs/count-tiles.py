#!/usr/bin/env python3
# ===- count-tiles.py - count tiles and pairs by hand -----------------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Prints what --explain has to say of a mask, from the mask written in NumPy: an
expression in p (positions, a column) and j (keys, a row)."""
import sys

import numpy as np

rows, keys, expression = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
p = np.arange(rows)[:, None] + (keys - rows)
j = np.arange(keys)[None, :]
mask = np.broadcast_to(eval(expression), (rows, keys))
full = partial = tiles = 0
for r in range(0, rows, 64):
    for k in range(0, keys, 128):
        tile = mask[r : r + 64, k : k + 128]
        tiles += 1
        # A tile that reaches over the last key is never full.
        if tile.all() and tile.shape[1] == 128:
            full += 1
        elif tile.any():
            partial += 1
print(f"visited {full + partial}")
print(f"full {full}")
print(f"partial {partial}")
print(f"skipped {tiles - full - partial}")
print(f"pairs {mask.sum()} of {mask.size}")
