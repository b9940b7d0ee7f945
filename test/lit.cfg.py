# ===- lit.cfg.py - how lit runs the tests ----------------------------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
import os
import shutil

import lit.formats
from lit.llvm import llvm_config
from lit.llvm.subst import FindTool, ToolSubst

config.name = "sparse-attn"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["Inputs"]
config.test_source_root = os.path.dirname(__file__)

# Substitutions: the tools are found in the build tree alone, never in PATH.
bin_dir = os.path.join(config.binary_root, "bin")
llvm_config.add_tool_substitutions(
    [
        ToolSubst(name, command=FindTool(name), unresolved="ignore")
        for name in (
            "sparse-attn-opt",
            "sparse-attn-compile",
            "sparse-attn-run",
            "sparse-attn-lsp-server",
            "sparse-attn-reduce",
        )
    ],
    [bin_dir],
)
llvm_config.add_tool_substitutions(
    ["FileCheck", "not", "split-file", "count", "mlir-opt", "llvm-readobj", "llvm-nm"],
    [config.llvm_tools_dir],
)
config.substitutions += [
    ("%python", config.python),
    ("%cc", config.c_compiler),
    ("%cxx", config.cxx_compiler),
    ("%cmake", config.cmake),
    ("%source_root", config.source_root),
    ("%binary_root", config.binary_root),
    ("%runtime_include", os.path.join(config.source_root, "runtime", "include")),
]

# What differs from one user to the next stays out of the tests.
llvm_config.with_environment("PATH", [bin_dir, config.llvm_tools_dir], append_path=True)
llvm_config.with_environment("PYTHONDONTWRITEBYTECODE", "1")
# OpenMP's threads wait without burning the cores that other tests use.
llvm_config.with_environment("OMP_WAIT_POLICY", "passive")
for name in ("SPARSE_ATTN_LEVEL", "OMP_NUM_THREADS"):
    config.environment.pop(name, None)

# Instruction levels of this machine: REQUIRES: avx512
with open("/proc/cpuinfo", encoding="ascii", errors="replace") as info:
    flags = next((line for line in info if line.startswith("flags")), "").split()
config.available_features.update(
    level
    for level, flag in (
        ("avx2", "avx2"), ("avx512", "avx512f"), ("avx512_bf16", "avx512_bf16"))
    if flag in flags
)

# NVIDIA's assembler, from ./dev setup or its toolkit: REQUIRES: ptxas
assembler_dir = os.path.join(config.source_root, ".cache", "ptxas")
llvm_config.with_environment("PATH", assembler_dir, append_path=True)
if shutil.which("ptxas", path=config.environment["PATH"]):
    config.available_features.add("ptxas")

# Architectures whose runtime this build has: REQUIRES: cross-aarch64
runtime_dir = os.path.join(config.binary_root, "runtime")
config.available_features.update(
    f"cross-{name}"
    for name in ("aarch64", "x86_64")
    if os.path.exists(os.path.join(runtime_dir, f"{name}-linux-gnu", "libsparse_attn_runtime.a"))
)
