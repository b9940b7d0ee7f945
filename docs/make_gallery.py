#!/usr/bin/env python3
# ===- make_gallery.py - the pictures of docs/masks.md ----------------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Writes docs/masks.md and docs/images/: every mask drawn by --explain.

The table below says what is drawn. With --check nothing is written; the program
fails where what is there differs from what it would write.
"""
import argparse
import glob
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field

import numpy as np

DOCS = os.path.dirname(os.path.abspath(__file__))
BUILT = os.path.join(os.path.dirname(DOCS), "build", "bin", "sparse-attn-compile")


@dataclass
class Picture:
    name: str
    expression: str
    meaning: str
    shape: str = "1,1,1,32,32"
    operands: dict = field(default_factory=dict)
    head: int = 0
    body: str = ""  # of a custom mask, which no expression says
    caption: str = ""  # what the operands are


def i32(*values):
    return np.array(values, dtype=np.int32)


GRAPH = {
    "offsets": i32([0, 6, 13, 20, 26, 32]),
    "chunk_node": i32([0, 1, 2, 3, 4]),
    "indptr": i32(0, 1, 2, 3, 4, 4),
    "indices": i32(1, 2, 3, 4),
}

CUSTOM = """
  ^bb0(%b: index, %h: index, %p: index, %j: index):
    %three = arith.constant 3 : index
    %sum = arith.addi %p, %j : index
    %rest = arith.remui %sum, %three : index
    %zero = arith.constant 0 : index
    %kept = arith.cmpi eq, %rest, %zero : index
    sparse_attn.yield %kept : i1
"""

POSITIONAL = [
    Picture("causal", "causal", "keys at or before the query"),
    Picture("window", "window(6, 2)", "keys at most 6 before and 2 after the query"),
    Picture("dilated", "dilated(12, 12, 3)", "every third key of a window"),
    Picture("sink", "causal & sink(3)", "the first 3 keys"),
    Picture("global", "global([0, 9, 22])", "pairs with a global query or key"),
    Picture("strided", "causal & strided(5)", "keys at a multiple of 5 from the query"),
    Picture("fixed", "causal & fixed(8, 2)", "the last 2 keys of every 8"),
    Picture("block_diagonal", "block_diagonal(8)", "keys of the query's block of 8"),
    Picture("dilated_segment", "dilated_segment(16, 3)",
            "every third pair of a segment, shifted by head (LongNet); head 1 is shown",
            shape="1,3,3,32,32", head=1),
    Picture("neighborhood", "neighborhood([6, 6], [1, 1])",
            "neighbours on a 6 x 6 grid, windows shifted inside it (NATTEN)",
            shape="1,1,1,36,36"),
    Picture("custom", "custom", "whatever a region says; here (p + j) mod 3 = 0",
            body=CUSTOM),
]  # fmt: skip

LAYOUT = [
    Picture("prefix", "causal | prefix(length)", "the first `length` keys, beside causal ones",
            operands={"length": i32(10)}, caption="`length` is `[10]`"),
    Picture("segments", "causal & segments(offsets)", "keys of the query's document",
            operands={"offsets": i32([0, 5, 16, 24, 32])},
            caption="`offsets` is `[[0, 5, 16, 24, 32]]`"),
    Picture("random_blocks", "random_blocks(4, 2, 7)",
            "2 random blocks of 4 keys for each block of queries, seed 7 (BigBird)"),
    Picture("block_mask", "block_mask(indptr, indices, rows = 8, columns = 8)",
            "the blocks that block-sparse rows list",
            operands={"indptr": i32([[0, 1, 3, 5, 8]]),
                      "indices": i32([[0, 0, 1, 1, 2, 0, 2, 3]])},
            caption="`indptr` is `[[[0, 1, 3, 5, 8]]]`, `indices` `[[[0, 0, 1, 1, 2, 0, 2, 3]]]`"),
    Picture("graph_hop",
            "graph_hop(offsets, chunk_node, indptr, indices, max_hops = 1)",
            "keys whose node is at most one edge away",
            operands=GRAPH, caption="here: five chunks on a path of five nodes"),
]  # fmt: skip

ALGEBRA = [
    Picture("union", "window(3, 3) | sink(2)", "`|`: pairs that either keeps"),
    Picture("intersect", "causal & window(8, 8)", "`&`: pairs that both keep"),
    Picture("difference", "causal - window(8, 0)", "`-`: pairs of the first that the second "
            "leaves out"),
    Picture("complement", "~block_diagonal(8)", "`~`: pairs that it leaves out"),
]  # fmt: skip

HERO = Picture("hero", "causal & (window(255, 0) | sink(64) | block_diagonal(512))", "",
               shape="1,8,8,2048,2048")  # fmt: skip

GROUPS = [
    ("Masks of the position",
     "Closed forms: known at compile time, no table at any length. Only a region of\n"
     "`custom` that is not affine in the positions waits for the plan.",
     POSITIONAL),
    ("Masks of the layout", "They read operands: known when a plan is made.", LAYOUT),
    ("The algebra", "Masks combine to masks.", ALGEBRA),
]  # fmt: skip

# What depends on Q and K, or is drawn: no picture of a kernel, the expression alone.
CHOICES = [
    ("top_k(dot, causal, k = 64)", "the 64 keys that score best"),
    ("top_k(pages, causal, k = 32, block_k = 16)",
     "the 32 best pages of 16 keys, by a bound on each page (Quest)"),
    ("top_k(hash(wq, wk, layers = [128, 128, 32]), causal, fraction = 0.1)",
     "a tenth of the keys, by learned signatures of 32 bits (HashAttention)"),
    ("top_p(antidiagonal(16), causal, p = 0.9, block_q = 128, block_k = 128)",
     "blocks that hold 90 % of the mass, by their antidiagonals (XAttention)"),
    ("threshold(channels(labels, count = 16), causal, t = 1.5)",
     "keys that score 1.5 or more over the 16 heaviest channels (Double Sparsity)"),
    ("cluster(causal, buckets = 64, rounds = 4, seed = 7)",
     "keys in a bucket of the query in one of 4 rounds (Reformer)"),
    ("random_keys(causal, count = 64, seed = 7)", "64 random keys, as they are"),
    ("sample.uniform(causal, rate = 0.05, seed = 7)",
     "a random twentieth, each with 20 times its weight"),
    ("sample.lsh(causal, tables = 150, bits = 10, seed = 7)",
     "keys of which 2 of 150 hash tables agree with the query's (MagicPIG)"),
    ("sample.adaptive(causal - sink(128), sink(128), base_rate = 0.1, epsilon = 0.25, "
     "delta = 0.25, seed = 7)",
     "as many draws as keep the denominator within 25 %, in three rows of four (vAttention)"),
]  # fmt: skip

PAGE = """# Every mask in a picture

Queries go down, keys to the right; what is kept is blue. [semantics.md](semantics.md)
says what each mask means, [expressions.md](expressions.md) how to write one. Each
picture is what `sparse-attn-compile --explain=svg` draws of the compiled kernel, for
32 queries and 32 keys where nothing else is said; `docs/make_gallery.py` draws them
again.

A larger shape shows the plan beside the mask: which tiles of 64 queries and 128 keys
a run visits, and which of them it need not look into.

```bash
mkdir -p out
sparse-attn-compile --pattern 'HERO' \\
  --head-dim 64 --explain=svg --explain-shape HERO_SHAPE -o out/mask.svg
```

![a mask beside its plan](images/hero.svg)
"""


def find_tool():
    return BUILT if os.path.isfile(BUILT) else "sparse-attn-compile"


def write_custom(path, body):
    tensor = "tensor<?x?x?x64xf32>"
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(
            f"func.func @custom(%q: {tensor}, %k: {tensor}, %v: {tensor}) -> {tensor} {{\n"
            f"  %m = sparse_attn.custom {{{body}  }}\n"
            f"  %o, %lse = sparse_attn.attention %q, %k, %v mask(%m)\n"
            f"    : {tensor}, {tensor}, {tensor} -> {tensor}, tensor<?x?x?xf32>\n"
            f"  return %o : {tensor}\n}}\n"
        )


def draw(tool, picture, folder):
    """The SVG of a picture, as text."""
    command = [tool, "--explain=svg", "--explain-shape", picture.shape,
               f"--explain-head={picture.head}"]  # fmt: skip
    if picture.body:
        path = os.path.join(folder, "custom.mlir")
        write_custom(path, picture.body)
        command.append(path)
    else:
        command += ["--pattern", picture.expression, "--head-dim", "64", "--name", picture.name]
    for name, array in picture.operands.items():
        path = os.path.join(folder, f"{picture.name}-{name}.npy")
        np.save(path, array)
        command += ["--operand", f"{name}={path}"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def describe(picture):
    """A cell of the table: the picture over its expression and meaning."""
    text = f"![{picture.name}](images/{picture.name}.svg)<br>"
    # A bar would end the cell, also in code.
    code = picture.expression.replace("|", "\\|")
    text += f"`{code}`<br>{picture.meaning}".replace("`|`", "`\\|`")
    return text + (f"<br>{picture.caption}" if picture.caption else "")


def write_page():
    text = PAGE.replace("HERO_SHAPE", HERO.shape).replace("HERO", HERO.expression)
    for title, meaning, pictures in GROUPS:
        text += f"\n## {title}\n\n{meaning}\n\n| | |\n|---|---|\n"
        for i in range(0, len(pictures), 2):
            cells = [describe(picture) for picture in pictures[i : i + 2]]
            text += "| " + " | ".join(cells + [""] * (2 - len(cells))) + " |\n"
    text += (
        "\n## Masks that Q and K decide, and draws\n\n"
        "Known when a row is computed, so there is no picture of theirs. They take from\n"
        "candidates; what else a row attends to is united with them.\n\n"
        "| mask | keeps |\n|---|---|\n"
    )
    for expression, meaning in CHOICES:
        text += f"| `{expression}` | {meaning} |\n"
    return text


def make_files(tool):
    """Every file of the gallery: path below docs/ and contents."""
    files = {"masks.md": write_page()}
    with tempfile.TemporaryDirectory() as folder:
        for picture in [HERO] + [picture for group in GROUPS for picture in group[2]]:
            files[f"images/{picture.name}.svg"] = draw(tool, picture, folder)
    return files


def is_same(old, new):
    """Whether only the bytes of a plan differ, which follow the compiler's padding."""
    plan = re.compile(r"plan of [\d.,]+ \w+")
    return plan.sub("", old) == plan.sub("", new)


def read(path):
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as stream:
        return stream.read()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    parser.add_argument("--tool", default=find_tool(), help="the sparse-attn-compile to use")
    options = parser.parse_args()
    files = make_files(options.tool)
    if options.check:
        stale = [path for path in sorted(files)
                 if not is_same(read(os.path.join(DOCS, path)) or "", files[path])]  # fmt: skip
        known = {os.path.basename(path) for path in files}
        stale += [path for path in glob.glob(os.path.join(DOCS, "images", "*.svg"))
                  if os.path.basename(path) not in known]  # fmt: skip
        if stale:
            sys.exit(f"run docs/make_gallery.py: it would change {', '.join(stale)}")
        return
    os.makedirs(os.path.join(DOCS, "images"), exist_ok=True)
    for path, text in files.items():
        with open(os.path.join(DOCS, path), "w", encoding="utf-8") as stream:
            stream.write(text)
    print(f"{len(files)} files in {DOCS}; the largest has {max(map(len, files.values()))} bytes")


if __name__ == "__main__":
    main()
