# ===- ceilings.py - what the machine can do at most ------------------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""The ceiling that bounds a case, measured around each of its repetitions: what disturbs
the machine then lowers both."""
import ctypes
import os

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PATH = os.path.join(ROOT, "build", "lib", "libsparse-attn-ceilings.so")
SECONDS = 0.1  # of one measurement


def bytes_beyond_caches(path=PATH):
    """What no cache of this machine holds."""
    function = ctypes.CDLL(path).sparse_attn_bytes_beyond_caches
    function.restype = ctypes.c_size_t
    return function()


class Ceiling:
    """`name` is fma, bf16_dot (FLOP/s) or read (bytes/s)."""

    def __init__(self, name, threads, path=PATH):
        self.function = ctypes.CDLL(path).sparse_attn_measure_ceiling
        self.function.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_double]
        self.function.restype = ctypes.c_double
        self.name, self.threads = name, threads

    def measure(self):
        return self.function(self.name.encode(), self.threads, SECONDS)

    def around(self, timed):
        """(what `timed` returns, the higher of the ceilings right before and after)"""
        before = self.measure()
        result = timed()
        return result, max(before, self.measure())


def choose(case, path=PATH):
    """The ceiling of a case: one query reads its keys once, more compute with them."""
    if case["shape"][3] == 1:
        return Ceiling("read", case["threads"], path)
    ceiling = Ceiling("bf16_dot" if case["dtype"] == "bf16" else "fma", case["threads"], path)
    # bf16 is multiplied as f32 where there is no instruction for it.
    return ceiling if ceiling.measure() else Ceiling("fma", case["threads"], path)
