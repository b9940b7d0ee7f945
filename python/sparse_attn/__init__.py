# ===- __init__.py - sparse attention kernels from Python -------------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Runs the libraries that sparse-attn-compile writes, on NumPy and torch tensors.

    import sparse_attn

    library = sparse_attn.load("out/liblongctx.so")
    plan = library["longctx"].plan(batch=1, heads=8, kv_heads=2, queries=4096, keys=4096)
    out, lse = plan.run(q, k, v)

A thin layer over runtime.h: tensors are passed as they lie in memory, never
copied, and every mistake that the runtime finds is raised as sparse_attn.Error
with its message. `sparse_attn.compile` calls the compiler first.
"""

from ._abi import ABI_VERSION, Error, Status
from ._compile import CompileError, compile
from ._library import Grid, Kernel, Library, Plan, TensorInfo, TileCounts, load
from ._states import States

__all__ = [
    "ABI_VERSION",
    "CompileError",
    "Error",
    "Grid",
    "Kernel",
    "Library",
    "Plan",
    "States",
    "Status",
    "TensorInfo",
    "TileCounts",
    "compile",
    "load",
]
__version__ = "0.1.0"
