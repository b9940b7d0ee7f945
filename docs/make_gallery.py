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
    decided_by_run: bool = False  # drawn by a run on random Q and K, not by the plan
    file: str = ""  # an expression or MLIR


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

def weights(*shape):
    """Random weights, always the same."""
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


CHOICES = [
    Picture("top_k", "top_k(dot, causal, k = 6)", "the 6 keys that score best"),
    Picture("pages", "top_k(pages, causal, k = 2, block_k = 4)",
            "the 2 best pages of 4 keys, by a bound on each page (Quest)"),
    Picture("hash", "top_k(hash(wq, wk, layers = [32]), causal, fraction = 0.2)",
            "a fifth of the keys, by learned signatures of 32 bits (HashAttention)",
            operands={"wq": weights(1, 65 * 32), "wk": weights(1, 65 * 32)},
            caption="here the same random network for queries and keys"),
    Picture("antidiagonal", "top_p(antidiagonal(4), causal, p = 0.6, block_q = 8, block_k = 4)",
            "blocks that hold 60 % of the mass, by their antidiagonals (XAttention)"),
    Picture("channels", "threshold(channels(labels, count = 16), causal, t = 1)",
            "keys that score 1 or more over the 16 heaviest channels (Double Sparsity)",
            operands={"labels": i32(np.arange(0, 64, 4))}, caption="`labels` is every fourth"),
    Picture("cluster", "cluster(causal, buckets = 4, rounds = 2, seed = 7)",
            "keys in a bucket of the query in one of 2 rounds (Reformer)"),
    Picture("random_keys", "random_keys(causal, count = 6, seed = 7)",
            "6 random keys, as they are"),
    Picture("uniform", "sample.uniform(causal, rate = 0.2, seed = 7)",
            "a random fifth, each with 5 times its weight"),
    Picture("lsh", "sample.lsh(causal, tables = 16, bits = 3, seed = 7)",
            "keys of which 2 of 16 hash tables agree with the query's (MagicPIG)"),
    Picture("adaptive", "sink(4) | sample.adaptive(causal - sink(4), sink(4), base_rate = 0.1, "
            "epsilon = 0.4, delta = 0.4, seed = 7)",
            "as many draws as keep the denominator within 40 %, in three rows of five "
            "(vAttention)"),
]  # fmt: skip
for choice in CHOICES:
    choice.decided_by_run = True

GROUPS = [
    ("Masks of the position",
     "Closed forms: known at compile time, no table at any length. Only a region of\n"
     "`custom` that is not affine in the positions waits for the plan.",
     POSITIONAL),
    ("Masks of the layout", "They read operands: known when a plan is made.", LAYOUT),
    ("The algebra", "Masks combine to masks.", ALGEBRA),
    ("Masks that Q and K decide, and draws",
     "Known when a row is computed: the pictures are of runs on random Q and K, by\n"
     "`sparse-attn-run --explain-picture`. They take from candidates; what else a row\n"
     "attends to is united with them. [recipes.md](recipes.md) has those that people know.",
     CHOICES),
]  # fmt: skip

# The kernels of docs/recipes.md, on one head of 512 queries and keys.
HASH = {"wq": weights(1, 64 * 128 + 128 + 128 * 128 + 128 + 128 * 32 + 32)}
HASH["wk"] = HASH["wq"]
RECIPES = []
for path in sorted(glob.glob(os.path.join(os.path.dirname(DOCS), "examples", "recipes", "*.*"))):
    recipe, kind = os.path.splitext(os.path.basename(path))
    RECIPES.append(Picture(
        f"recipe-{recipe}", "", "", shape="1,1,1,512,512", decided_by_run=True,
        operands=HASH if "hash" in recipe else {}, file=path))  # fmt: skip


PAGE = """# Every mask in a picture

Queries go down, keys to the right; what is kept is blue. [semantics.md](semantics.md)
says what each mask means, [expressions.md](expressions.md) how to write one. Each
picture is what `sparse-attn-compile --explain=svg` draws of the compiled kernel, for
32 queries and 32 keys where nothing else is said; `docs/make_gallery.py` draws them
again. Those of named recipes are on [their own page](recipes.md).

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


def save_operands(picture, folder):
    """The options that name the operands of a picture."""
    options = []
    for name, array in picture.operands.items():
        path = os.path.join(folder, f"{picture.name}-{name}.npy")
        np.save(path, array)
        options += ["--operand", f"{name}={path}"]
    return options


def draw_run(tool, picture, folder):
    """The pairs that a run on random Q and K keeps."""
    path = os.path.join(folder, "pairs.svg")
    name = picture.name.removeprefix("recipe-").replace("-", "_")
    expression = read(picture.file) if picture.file else picture.expression
    source = ["--pattern", expression, "--head-dim", "64", "--name", name]
    if picture.file.endswith(".mlir"):
        source = [picture.file]
    subprocess.run([tool, *source, "-o", folder], check=True)
    runner = os.path.join(os.path.dirname(tool), "sparse-attn-run")
    subprocess.run(
        [runner, os.path.join(folder, f"lib{name}.so"), "--random", picture.shape,
         "--explain-picture", path, *save_operands(picture, folder)],
        check=True, stdout=subprocess.DEVNULL)  # fmt: skip
    return read(path)


def draw(tool, picture, folder):
    """The SVG of a picture, as text."""
    if picture.decided_by_run:
        return draw_run(tool, picture, folder)
    command = [tool, "--explain=svg", "--explain-shape", picture.shape,
               f"--explain-head={picture.head}"]  # fmt: skip
    if picture.body:
        path = os.path.join(folder, "custom.mlir")
        write_custom(path, picture.body)
        command.append(path)
    else:
        command += ["--pattern", picture.expression, "--head-dim", "64", "--name", picture.name]
    command += save_operands(picture, folder)
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
    return text


def make_files(tool):
    """Every file of the gallery: path below docs/ and contents."""
    files = {"masks.md": write_page()}
    with tempfile.TemporaryDirectory() as folder:
        masks = [picture for group in GROUPS for picture in group[2]]
        for picture in [HERO] + masks + RECIPES:
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
