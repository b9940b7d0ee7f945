# ===- compile-dialect.py - check one file of a changed dialect --------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""compile-dialect.py TREE BUILD COMPILER FILE

Generates the ops of TREE/dialect/SparseAttn and checks the syntax of FILE there,
with the flags that BUILD uses for the dialect.
"""
import json
import os
import shlex
import subprocess
import sys

tree, build, compiler, file = sys.argv[1:]
with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as stream:
    commands = json.load(stream)
entry = next(c for c in commands if c["file"].endswith("/PositionalPatterns.cpp"))
words = shlex.split(entry["command"])
flags = [w for w in words if w.startswith(("-I", "-D", "-std", "-f"))]
system = [w for pair in zip(words, words[1:]) if pair[0] == "-isystem" for w in pair]

folder = os.path.join(tree, "dialect", "SparseAttn")
includes = ["-I" + tree] + ["-I" + path for path in system if path != "-isystem"]
subprocess.run(
    ["mlir-tblgen", "-gen-op-decls", "-dialect=sparse_attn", "SparseAttn.td"]
    + includes
    + ["-o", "SparseAttnOps.h.inc"],
    cwd=folder,
    check=True,
)
# The changed tree comes first; what did not change is taken from the build tree.
subprocess.run(
    [compiler, "-fsyntax-only", "-I" + tree, *flags, *system, file], cwd=folder, check=True
)
