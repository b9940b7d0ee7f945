# ===- compile-file.py - check one file of a changed tree --------------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""compile-file.py TREE BUILD COMPILER FILE SIBLING [GENERATOR INPUT OUTPUT]

Checks the syntax of TREE/FILE with the flags that BUILD uses for SIBLING, and
with those that follow COMPILER after a semicolon. First,
if given, mlir-tblgen runs with GENERATOR and writes OUTPUT from INPUT; both are
paths in TREE.
"""
import json
import os
import shlex
import subprocess
import sys

tree, build, compiler, file, sibling, *generated = sys.argv[1:]
with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as stream:
    commands = json.load(stream)
entry = next(c for c in commands if c["file"].endswith("/" + sibling))
words = shlex.split(entry["command"])
flags = [w for w in words if w.startswith(("-I", "-D", "-std", "-f"))]
system = [w for pair in zip(words, words[1:]) if pair[0] == "-isystem" for w in pair]

if generated:
    generator, source, output = generated
    includes = ["-I" + path for path in [tree] + [p for p in system if p != "-isystem"]]
    command = ["mlir-tblgen", *shlex.split(generator), *includes, source, "-o", output]
    subprocess.run(command, cwd=tree, check=True)
# The changed tree comes first; what did not change is taken from the build tree.
changed = ["-I" + tree, "-I" + os.path.join(tree, "include")]
command = [*compiler.split(";"), "-fsyntax-only", *changed, *flags, *system, file]
subprocess.run(command, cwd=tree, check=True)
