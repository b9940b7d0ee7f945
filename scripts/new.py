#!/usr/bin/env python3
# ===- new.py - put the files of a new mask, pass or target in place ----------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""./dev new mask|pass|target NAME

Fills the templates of scripts/templates with NAME and puts them where the
recipes of CONTRIBUTING.md want them. What it writes compiles (a target once its level has a number); the notes marked
for you say what to replace.
"""
import argparse
import os
import re
import sys

TEMPLATES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "templates")

# kind -> files to create: template, path.
FILES = {
    "mask": [
        ("Op.cpp", "dialect/SparseAttn/@CAMEL@.cpp"),
        ("roundtrip.mlir", "test/Dialect/SparseAttn/@KEBAB@-roundtrip.mlir"),
        ("invalid.mlir", "test/Dialect/SparseAttn/@KEBAB@-invalid.mlir"),
    ],
    "pass": [
        ("Pass.cpp", "lib/Transforms/@CAMEL@.cpp"),
        ("test.mlir", "test/Transforms/@KEBAB@.mlir"),
    ],
    "target": [("Target.cpp", "lib/Target/CPU/@CAMEL@.cpp")],
}

# kind -> insertions: template or text, path, the line (a pattern) to put it before.
INSERTIONS = {
    "mask": [("Op.td", "dialect/SparseAttn/PositionalPatternOps.td", r"#endif\b")],
    "pass": [
        ("Pass.td", "include/sparse_attn/Transforms/Passes.td", r"#endif\b"),
        ("  @CAMEL@.cpp\n", "lib/Transforms/CMakeLists.txt", r"  LINK\b"),
    ],
    "target": [],
}

NEXT = {
    "mask": """\
Next:
  1. docs/semantics.md, section 3: the row that says what it means
  2. dialect/SparseAttn/PositionalPatternOps.td: parameters, picture, constraints
  3. dialect/SparseAttn/@CAMEL@.cpp: verify, evaluate, buildTileClass
  4. the two tests, one function for each constraint, and the independent
     reference in test/reference
No pass changes: the law test takes up every op that implements the interface.""",
    "pass": """\
Next:
  1. include/sparse_attn/Transforms/Passes.td: summary, description, options
  2. lib/Transforms/@CAMEL@.cpp: the helpers and what the pass does
  3. test/Transforms/@KEBAB@.mlir: one transformation for each function
  4. lib/Pipelines: where it runs""",
    "target": """\
Next:
  1. lib/Target/CPU/@CAMEL@.cpp: names, LLVM's backend, and the levels with the reason
     for each number; the build finds the file
  2. runtime/include/sparse_attn/abi.h: SA_LEVEL_@UPPER@, and runtime/src/level.c: how
     the processor is recognised
  3. cmake/SparseAttnCross.cmake and test/Integration/Cross/CMakeLists.txt: one line
     each, to compile the runtime and to run the tests under QEMU""",
}


def get_words(name):
    """The words of a name in any case style."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)
    if not words or not re.fullmatch(r"[A-Za-z][\w-]*", name):
        raise SystemExit(f"new: '{name}' is no name; write words like sliding-window")
    return [word.lower() for word in words]


def fill(text, words):
    """Replaces the @PLACES@ of a template."""
    camel = "".join(word.capitalize() for word in words)
    places = {
        "SNAKE": "_".join(words),
        "KEBAB": "-".join(words),
        "CAMEL": camel,
        "LOWER": camel[0].lower() + camel[1:],
        "UPPER": "".join(words).upper(),
        "TITLE": " ".join(words),
    }
    for place, value in places.items():
        text = text.replace(f"@{place}@", value)
    lines = []
    for line in text.split("\n"):
        dashes = 80 - len(line.replace("@FILL@", ""))
        lines.append(line.replace("@FILL@", "-" * max(dashes, 2)))
    return "\n".join(lines)


def read(path):
    with open(path, encoding="utf-8") as stream:
        return stream.read()


def insert_before(text, pattern, addition, path):
    """Puts `addition` before the last line that starts with `pattern`."""
    matches = list(re.finditer(rf"^{pattern}", text, re.MULTILINE))
    if not matches:
        raise SystemExit(f"new: {path} has no line '{pattern}' to insert before")
    place = matches[-1].start()
    return text[:place] + addition + text[place:]


def create(root, kind, name):
    """Computes every file first and writes only if all can be written."""
    words = get_words(name)
    folder = os.path.join(TEMPLATES, kind)
    written = {}
    for template, path in FILES[kind]:
        path = fill(path, words)
        if os.path.exists(os.path.join(root, path)):
            raise SystemExit(f"new: {path} exists; choose another name or remove it")
        written[path] = fill(read(os.path.join(folder, template)), words)
    for template, path, pattern in INSERTIONS[kind]:
        if template.endswith("\n"):
            addition = fill(template, words)
        else:
            addition = fill(read(os.path.join(folder, template)), words) + "\n"
        written[path] = insert_before(read(os.path.join(root, path)), pattern, addition, path)
    for path, text in written.items():
        target = os.path.join(root, path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "w", encoding="utf-8") as stream:
            stream.write(text)
        print(f"wrote {path}")
    print(fill(NEXT[kind], words))


def main():
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser = argparse.ArgumentParser(
        prog="./dev new", description="Puts the files of a new mask, pass or target in place."
    )
    parser.add_argument("--root", default=here, help="the tree to change (default: this one)")
    parser.add_argument("kind", choices=sorted(FILES))
    parser.add_argument("name", help="words in any style: sliding-window, sliding_window")
    options = parser.parse_args()
    create(options.root, options.kind, options.name)


if __name__ == "__main__":
    sys.exit(main())
