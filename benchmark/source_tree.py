#!/usr/bin/env python3
# ===- source_tree.py - files of a source tree, and what they include -------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Writes benchmark/configs/source-tree.json: the documents and the graph that the
benchmark attends over. The file is kept, so that figures of different commits
have the same work in them.

One line for each C, C++, ODS or Python file that git knows: its path, its bytes
and the lines (from 0) of the files that it includes or imports.
"""
import json
import os
import re
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OUT = os.path.join(ROOT, "benchmark", "configs", "source-tree.json")
SUFFIXES = (".c", ".cpp", ".h", ".td", ".py")
INCLUDE = re.compile(r'^\s*(?:#\s*)?include\s+["<]([^">]+)[">]', re.MULTILINE)
IMPORT = re.compile(r"^\s*(?:from\s+\.?(\w+)\s+)?import\s+(\w+)", re.MULTILINE)


def find_file(paths, by_path, name):
    """The file that an include spelled `name` means, if it is one of ours."""
    for path in (name, "include/" + name, "runtime/include/" + name):
        if path in by_path:
            return by_path[path]
    ends = [i for i, path in enumerate(paths) if path.endswith("/" + name)]
    return ends[0] if len(ends) == 1 else None


def find_edges(paths, by_path, path, text):
    if path.endswith(".py"):
        names = [(a or b) + ".py" for a, b in IMPORT.findall(text)]
    else:
        names = INCLUDE.findall(text)
    found = {find_file(paths, by_path, name) for name in names}
    return sorted(found - {None, by_path[path]})


def main():
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.splitlines()
    paths = sorted(path for path in listed if path.endswith(SUFFIXES))
    by_path = {path: i for i, path in enumerate(paths)}
    lines = []
    for path in paths:
        with open(os.path.join(ROOT, path), "rb") as file:
            data = file.read()
        edges = find_edges(paths, by_path, path, data.decode("utf-8", errors="replace"))
        lines.append(json.dumps([path, len(data), edges]))
    with open(OUT, "w", encoding="utf-8") as file:
        file.write("[\n" + ",\n".join(lines) + "\n]\n")
    print(f"{len(lines)} files in {os.path.relpath(OUT, ROOT)}")


if __name__ == "__main__":
    main()
