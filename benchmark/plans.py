# ===- plans.py - plan time and size of every pattern -----------------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Layout operands of a realistic size for every pattern, and their plans.

`patterns(tokens)` gives name, expression and operands; `measure` compiles each
(D = 64), builds its plan through sparse-attn-run and runs it once, so that plan
time stands beside the time of the forward pass that it serves.
"""
import json
import os

import numpy as np


def chunks(tokens, mean, random):
    """Offsets of consecutive pieces, `mean` tokens long on average."""
    ends = np.cumsum(random.integers(1, 2 * mean, size=2 * tokens // mean))
    return np.int32([0, *ends[ends < tokens], tokens])[None]


def graph(tokens, random):
    """Chunks of about 64 tokens, 16 to a node, each node linked to 3 others."""
    offsets = chunks(tokens, 64, random)
    count = offsets.shape[1] - 1
    node = np.arange(count, dtype=np.int32) // 16
    nodes = int(node[-1]) + 1
    edges = random.integers(0, nodes, size=(nodes, 3)).astype(np.int32)
    return {"offsets": offsets, "chunk_node": node[None],
            "indptr": np.arange(0, 3 * nodes + 1, 3, dtype=np.int32), "indices": edges.ravel()}


def blocks(tokens, size, kept, random):
    """A causal block list that keeps a share of the blocks before the diagonal."""
    count = -(-tokens // size)
    rows = [np.union1d(random.choice(i + 1, max(1, int(kept * (i + 1))), replace=False), [i])
            for i in range(count)]
    indptr = np.cumsum([0] + [len(row) for row in rows]).astype(np.int32)
    return {"indptr": indptr[None, None], "indices": np.concatenate(rows).astype(np.int32)[None, None]}


def patterns(tokens):
    random = np.random.default_rng(0)
    documents = {"offsets": chunks(tokens, 2048, random)}
    source = graph(tokens, random)
    graph_names = "offsets, chunk_node, indptr, indices"
    return [
        ("dense", "all", {}),
        ("causal", "causal", {}),
        ("window", "window(1023, 0)", {}),
        ("window + sink", "causal & (window(1023, 0) | sink(4))", {}),
        ("dilated", "dilated(4095, 0, 4)", {}),
        ("strided", "causal & strided(64)", {}),
        ("fixed", "causal & fixed(128, 8)", {}),
        ("block diagonal", "block_diagonal(1024)", {}),
        ("LongNet segments", "dilated_segment(2048, 4)", {}),
        ("global", "causal & (window(255, 0) | global(positions=[0, 1, 2, 3]))", {}),
        ("neighborhood", f"neighborhood([{tokens // 256}, 256], [6, 6])", {}),
        ("custom", None, {}),
        ("prefix", "causal | prefix(length)", {"length": np.int32([1024])}),
        ("documents", "causal & segments(offsets)", documents),
        ("graph", f"causal & (graph_hop({graph_names}, max_hops=1) | window(127, 0) | global([0]))",
         source),
        ("BigBird", "window(191, 191) | global(positions=[0, 1]) | random_blocks(64, 3, 7)", {}),
        ("block mask 10 %", "causal & block_mask(indptr, indices, rows=128, columns=128)",
         blocks(tokens, 128, 0.1, random)),
        ("global operand", "causal & (window(255, 0) | global(index))",
         {"index": random.choice(tokens, (1, 16), replace=False).astype(np.int32)}),
    ]


# A checkerboard of 256 x 256 squares below the diagonal: not affine, so planned.
CUSTOM = """!qkv = tensor<?x?x?x64xf32>
!state = tensor<?x?x?xf32>
func.func @plan_custom(%q: !qkv {sparse_attn.name = "q"}, %k: !qkv {sparse_attn.name = "k"},
                       %v: !qkv {sparse_attn.name = "v"}) -> (!qkv, !state) {
  %squares = sparse_attn.custom {
  ^bb0(%b: index, %h: index, %p: index, %j: index):
    %size = arith.constant 256 : index
    %two = arith.constant 2 : index
    %zero = arith.constant 0 : index
    %row = arith.floordivsi %p, %size : index
    %column = arith.floordivsi %j, %size : index
    %sum = arith.addi %row, %column : index
    %odd = arith.remui %sum, %two : index
    %keep = arith.cmpi eq, %odd, %zero : index
    sparse_attn.yield %keep : i1
  }
  %causal = sparse_attn.causal
  %m = sparse_attn.intersect %squares, %causal
  %o, %l = sparse_attn.attention %q, %k, %v mask(%m) : !qkv, !qkv, !qkv -> !qkv, !state
  return %o, %l : !qkv, !state
}
"""


def measure(run, bin_dir, out, tokens, threads, say):
    """One figure for each pattern: plan seconds and bytes, forward seconds."""
    figures = []
    for number, (name, expression, operands) in enumerate(patterns(tokens)):
        library = f"plan_{number}" if expression else "plan_custom"
        say(f"[plans] {name}")
        compile_command = [os.path.join(bin_dir, "sparse-attn-compile"), "--name", library, "-o", out]
        if expression:
            compile_command += ["--pattern", expression, "--head-dim", "64"]
        else:
            source = os.path.join(out, "plan_custom.mlir")
            with open(source, "w", encoding="utf-8") as file:
                file.write(CUSTOM)
            compile_command.append(source)
        run(compile_command)
        command = [os.path.join(bin_dir, "sparse-attn-run"), os.path.join(out, f"lib{library}.so"),
                   "--random", f"1,1,1,{tokens},{tokens}", "--threads", str(threads), "--tiles",
                   "--json"]
        for operand, array in operands.items():
            path = os.path.join(out, f"{operand}.npy")
            np.save(path, array)
            command += ["--operand", f"{operand}={path}"]
        result = json.loads(run(command))
        tiles = result["tiles"]
        kept = tiles["full"] + tiles["partial"]
        figures.append({
            "name": name, "tokens": tokens, "threads": threads,
            "plan_seconds": result["plan"]["seconds"], "plan_bytes": result["plan"]["bytes"],
            "run_seconds": result["run"]["median"], "kept_tiles": kept,
            "partial_tiles": tiles["partial"], "of_tiles": kept / (kept + tiles["skipped"]),
        })
    return figures


def print_table(figures):
    first = figures[0]
    print(f"plans at {first['tokens']} tokens, 1 head, D 64, {first['threads']} threads; forward: one run")
    print(f"{'pattern':18} {'plan':>10} {'bytes':>11} {'B/kept tile':>11} {'kept':>7} "
          f"{'partial':>8} {'forward':>11} {'plan/forward':>12}")
    for f in figures:
        partial = f["partial_tiles"] / max(1, f["kept_tiles"])
        print(f"{f['name']:18} {f['plan_seconds'] * 1e3:7.2f} ms {f['plan_bytes']:11d} "
              f"{f['plan_bytes'] / max(1, f['kept_tiles']):11.1f} {f['of_tiles']:7.2%} "
              f"{partial:8.1%} {f['run_seconds'] * 1e3:8.1f} ms "
              f"{f['plan_seconds'] / f['run_seconds']:12.2%}")
