#===- recipes.py - the recipes of examples/recipes over dense attention ---===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===-----------------------------------------------------------------------===#
"""Every recipe of docs/recipes.md, from its file, over the same kernel dense.

    ./dev bench --recipes [--filter WORD ...] [--threads 1 2] [--dtypes f32 bf16]
                          [--repetitions N] [--out FOLDER]

One token is decoded with a cache of 32k keys, what a run decides included and states made
before, as a decode loop keeps them. Recipes that a plan knows also take 8k rows at once.
Dense and sparse runs alternate on the same random tensors, and a ratio is that of their
medians. FOLDER/recipes.json keeps rows of other filters and is shown by FOLDER/recipes.txt.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

import numpy as np

import run as runner
from selections import D, HEADS, ROOT, as_bf16, compile_kernel, median_of, sparse_attn, torch

RECIPES = ROOT / "examples" / "recipes"
# In the order of docs/recipes.md; those that a plan knows also prefill.
NAMES = ("streaming-llm", "hash-attention", "magicpig", "magicpig-75", "vattention",
         "vattention-hash", "quest", "bigbird", "reformer", "hierarchical")
PLANNED = ("streaming-llm", "bigbird", "hierarchical")
DECODE_KEYS, PREFILL_ROWS = 32768, 8192
HASH_LAYERS = (128, 128, 32)


def compile_recipe(name, dtype, folder):
    file = RECIPES / f"{name}.pattern"
    library = f"{name}_{dtype}".replace("-", "_")
    if file.exists():
        # States of MagicPIG's hashes need the mean of the keys from the caller.
        text = file.read_text().replace("tables = ", "mean = mean, tables = ")
        return compile_kernel(text, dtype, folder, library)
    # A kernel in MLIR has D and the type of its tensors written in it.
    text = (RECIPES / f"{name}.mlir").read_text().replace("x64xf32", f"x{D}x{dtype}")
    source = pathlib.Path(folder) / "recipe.mlir"
    source.write_text(text)
    subprocess.run(["sparse-attn-compile", source, "--name", library, "-o", folder], check=True,
                   capture_output=True)
    made = sparse_attn.load(f"{folder}/lib{library}.so")
    return made[made.names[0]]


def make_weights(kernel, rng):
    """Random networks for a score that has them, and the mean of the keys."""
    widths = (D, *HASH_LAYERS)
    size = sum(a * b + b for a, b in zip(widths, widths[1:]))
    weights = {name: (rng.standard_normal((HEADS, size)) / np.sqrt(D)).astype(np.float32)
               for name in ("wq", "wk")}
    weights["mean"] = np.zeros((1, HEADS, D), np.float32)
    names = {tensor.name for tensor in kernel.inputs}
    return {name: weight for name, weight in weights.items() if name in names}


def make_states(kernel, keys, threads, tensors):
    """The states of all keys, or None where the kernel keeps none."""
    try:
        states = kernel.states(1, HEADS, HEADS, keys)
    except sparse_attn.Error as error:
        if "keeps nothing beside K" not in str(error):
            raise
        return None
    states.extend(keys, threads=threads, **tensors)
    return states


def measure(name, rows, keys, dtype, threads, repetitions, folder):
    rng = np.random.default_rng(0)
    tensors = {key: rng.standard_normal((1, HEADS, n, D), dtype=np.float32)
               for key, n in (("q", rows), ("k", keys), ("v", keys))}
    if dtype == "bf16":
        tensors = {key: torch.from_numpy(as_bf16(x)).view(torch.bfloat16)
                   for key, x in tensors.items()}
    recipe = compile_recipe(name, dtype, folder)
    # BigBird's rows see both sides.
    mask = "all" if name == "bigbird" else "causal"
    dense = compile_kernel(mask, dtype, folder, f"dense_{mask}_{dtype}")
    weights = make_weights(recipe, rng)
    states = None
    if rows == 1:
        known = {key: x for key, x in tensors.items() if key != "q"}
        states = make_states(recipe, keys, threads, known | weights)
    sizes = (1, HEADS, HEADS, rows, keys)
    plans = recipe.plan(*sizes, threads=threads), dense.plan(*sizes, threads=threads)
    like = np.empty_like if dtype == "f32" else torch.empty_like
    out = [like(tensors["q"]) for _ in plans]
    calls = (lambda: plans[0].run(**tensors, **weights, states=states, out=out[0]),
             lambda: plans[1].run(**tensors, out=out[1]))
    times = [], []
    for repetition in range(repetitions + 1):
        for call, own in zip(calls, times):
            own += median_of(call, 1) if repetition else (call(), [])[1]
    ours, theirs = (statistics.median(own) * 1e3 for own in times)
    return {"recipe": name, "rows": rows, "keys": keys, "dtype": dtype, "threads": threads,
            "ms": ours, "dense_ms": theirs, "ratio": ours / theirs,
            "low": min(times[0]) * 1e3 / theirs, "high": max(times[0]) * 1e3 / theirs}


def key_of(row):
    return tuple(row[key] for key in ("recipe", "rows", "keys", "dtype", "threads"))


def order_of(row):
    return row["rows"], NAMES.index(row["recipe"]), row["dtype"] != "f32", row["threads"]


def describe(row):
    what = f"decode {row['keys'] // 1024}k" if row["rows"] == 1 else f"prefill {row['rows'] // 1024}k"
    return (f"{row['recipe']:16}{what:12}{row['dtype']:6}{row['threads']:2}{row['dense_ms']:10.2f}ms"
            f"{row['ms']:10.2f}ms{row['ratio']:8.3f}  {row['low']:.3f}-{row['high']:.3f}")


HEADER = (f"{'recipe':16}{'':12}{'type':6}{'t':>2}{'dense':>12}{'recipe':>12}{'ratio':>8}  spread")


def write_results(folder, rows):
    """Puts `rows` into the files of `folder`, in place of older ones of the same cases."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "recipes.json"
    kept = json.loads(file.read_text())["rows"] if file.exists() else []
    facts = runner.machine()
    new = {key_of(row) for row in rows}
    rows = sorted([row for row in kept if key_of(row) not in new] +
                  [row | {"commit": facts["commit"]} for row in rows], key=order_of)
    setting = {"processor": facts["processor"], "cores": facts["cores"], "heads": HEADS,
               "head_dim": D}
    lines = ",\n".join(map(json.dumps, rows))
    file.write_text(json.dumps(setting)[:-1] + f', "rows": [\n{lines}\n]}}\n')
    commits = ", ".join(sorted({row["commit"] for row in rows}))
    title = (f"{facts['processor']}, {facts['cores']} cores; H = Hkv = {HEADS}, D {D}; commit "
             f"{commits}; ./dev bench --recipes")
    (folder / "recipes.txt").write_text("\n".join([title, HEADER, *map(describe, rows)]) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--filter", nargs="*", default=[], help="names of recipes")
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--dtypes", nargs="*", default=["f32", "bf16"] if torch else ["f32"],
                        help="f32 and bf16, which needs torch")
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--out", type=pathlib.Path, help="where to write the results")
    options = parser.parse_args()
    unknown = set(options.filter) - set(NAMES)
    if unknown:
        sys.exit(f"recipes.py: no recipe {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    rows = []
    print(HEADER)
    with tempfile.TemporaryDirectory() as folder:
        for name in options.filter or NAMES:
            shapes = [(1, DECODE_KEYS)] + [(PREFILL_ROWS, PREFILL_ROWS)] * (name in PLANNED)
            for shape in shapes:
                for dtype in options.dtypes:
                    for threads in options.threads:
                        rows.append(measure(name, *shape, dtype, threads, options.repetitions,
                                            folder))
                        print(describe(rows[-1]), flush=True)
    if options.out:
        write_results(options.out, rows)


if __name__ == "__main__":
    main()
