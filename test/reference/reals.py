#===- reals.py - f16 and bf16 in NumPy ------------------------------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===-----------------------------------------------------------------------===#
"""Numbers of 16 bits as tests hold them: f32 arrays whose values the type has.

NumPy has no bf16, so its memory is that of u16.
"""

import numpy as np

DTYPES = ("f32", "f16", "bf16")
#: DLPack's type code and bits.
CODES = {"f32": (2, 32), "f16": (2, 16), "bf16": (4, 16)}
#: |O - ref| / |ref| of docs/semantics.md, section 9.
BOUNDS = {"f32": 2e-6, "f16": 1e-3, "bf16": 4e-3}
#: Mantissa bits, exponent of the smallest normal number.
FORMATS = {"f32": (23, -126), "f16": (10, -14), "bf16": (7, -126)}


def round_to(x, dtype):
    """`x` (any floats) rounded to nearest even, once, as float64."""
    x = np.asarray(x, np.float64)
    bits, smallest = FORMATS[dtype]
    exponent = np.maximum(np.frexp(np.where(np.isfinite(x), x, 1))[1] - 1, smallest)
    unit = np.ldexp(1.0, exponent - bits)
    return np.where(np.isfinite(x), np.rint(x / unit) * unit, x)


def encode(array, dtype):
    """An f32 array of such values as memory of `dtype`, its axes in the same order."""
    if dtype == "f32":
        return array
    if dtype == "f16":
        return array.astype(np.float16)
    return (array.view(np.uint32) >> 16).astype(np.uint16)


def decode(memory, dtype):
    if dtype != "bf16":
        return memory.astype(np.float32)
    return (memory.astype(np.uint32) << 16).view(np.float32)
