# ===- gpu_bench.py - GPU kernels, their ceilings and their peers ------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Times the libraries of gpu_kernels.py by CUDA events, with ratios in the same run:

    python3 benchmark/gpu_bench.py --libraries build/gpu

* to the rate of a matrix product of PyTorch and to the bandwidth of a copy, both measured;
* to scaled_dot_product_attention (dense and causal) and to FlexAttention under
  torch.compile with the same mask, whose block mask is made beforehand, on the same tensors;
* of each pattern's time for a visited tile to that of the dense kernel.

Kernels, ceilings and peers take turns. Rows of benchmark/results/gpu/<device>.json are
medians with quartiles; <device>.txt is their table.
"""
import argparse
import json
import math
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "python")]

import torch  # noqa: E402
from torch.nn.attention.flex_attention import create_block_mask, flex_attention  # noqa: E402
from torch.nn.functional import scaled_dot_product_attention  # noqa: E402

import gpu_kernels  # noqa: E402
import patterns  # noqa: E402
import sparse_attn  # noqa: E402

TYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
WARMUPS = 3


def milliseconds(function):
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    function()
    end.record()
    end.synchronize()
    return start.elapsed_time(end)


def take_turns(functions, repeats):
    """Times in milliseconds of each, by name; they take turns."""
    times = {name: [] for name in functions}
    for turn in range(WARMUPS + repeats):
        for name, function in functions.items():
            time = milliseconds(function)
            if turn >= WARMUPS:
                times[name].append(time)
    return times


def summarize(times):
    low, median, high = statistics.quantiles(times, n=4)
    return {"median": median, "low": low, "high": high}


def make_ceilings(dtype):
    """A matrix product and a copy; with the operations and bytes of each."""
    size, elements = 8192, 2**28
    a, b = (torch.randn(size, size, device="cuda").to(dtype) for _ in range(2))
    source = torch.randint(0, 255, (elements,), dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    functions = {"matmul": lambda: a @ b, "copy": lambda: target.copy_(source)}
    return functions, {"matmul": 2 * size**3, "copy": 2 * elements}


def make_peers(pattern, mask, shape, q, k, v):
    """Functions by name; what a peer cannot do is left out and said."""
    grouped = shape.heads != shape.kv_heads
    peers = {}
    if pattern in ("dense", "causal") and (pattern == "dense" or shape.queries == shape.keys):
        peers["sdpa"] = lambda: scaled_dot_product_attention(
            q, k, v, is_causal=pattern == "causal", enable_gqa=grouped
        )
    try:
        compiled = torch.compile(flex_attention, dynamic=False)
        block_mask = None
        if mask.keep is not None:
            offset = shape.keys - shape.queries
            with torch.device("cuda"):
                keep = mask.keep(torch)
            block_mask = create_block_mask(
                lambda b, h, i, j: keep(b, h, i + offset, j),
                None, shape.heads if mask.per_head else None, shape.queries, shape.keys,
                device="cuda", _compile=True,
            )
        flex = lambda: compiled(q, k, v, block_mask=block_mask, enable_gqa=grouped)  # noqa: E731
        flex()
        peers["flex"] = flex
    except Exception as error:  # a peer's failure of any kind is a fact of the table
        print(f"  FlexAttention: {type(error).__name__}: {str(error).splitlines()[0]}")
    return peers


def run_case(group, kernel, shape, arguments, pattern):
    name = gpu_kernels.library_name(kernel)
    library = sparse_attn.load(os.path.join(arguments.libraries, f"lib{name}.so"))
    dtype, head_dim = TYPES[kernel["dtype"]], kernel["head_dim"]
    q = torch.randn(shape.batch, shape.heads, shape.queries, head_dim, device="cuda").to(dtype)
    k, v = (
        torch.randn(shape.batch, shape.kv_heads, shape.keys, head_dim, device="cuda").to(dtype)
        for _ in range(2)
    )
    mask = patterns.make_mask(pattern, shape)
    plan = library[name].plan(*shape, device="cuda:0", **mask.operands)
    functions, work = make_ceilings(dtype)
    functions["ours"] = lambda: plan.run(q, k, v)
    functions.update(make_peers(kernel["pattern"], mask, shape, q, k, v))
    out = plan.run(q, k, v)[0].double()
    row = {"group": group["name"], **kernel, "shape": list(shape), "times": {}}
    for peer in ("sdpa", "flex"):
        if peer in functions:
            other = functions[peer]().double()
            row[f"difference_{peer}"] = ((out - other).norm() / other.norm()).item()
    times = take_turns(functions, arguments.repeats)
    row["times"] = {name: summarize(each) for name, each in times.items()}
    grid, tiles = plan.grid(), plan.tiles()
    visited = tiles.full + tiles.partial
    row["tiles"] = {"full": tiles.full, "partial": tiles.partial, "all": tiles.all}
    row["tile"] = [grid.tile_rows, grid.tile_keys]
    ours = row["times"]["ours"]["median"] / 1e3
    operations = gpu_kernels.count_operations(kernel["pattern"], head_dim, shape)
    if operations is None:
        operations = 4 * head_dim * visited * grid.tile_rows * grid.tile_keys
    row["tflops"] = operations / ours / 1e12
    row["of_matmul"] = row["tflops"] / (
        work["matmul"] / row["times"]["matmul"]["median"] / 1e9
    )
    read = (k.nbytes + v.nbytes) / ours / 1e9
    row["of_copy"] = read / (work["copy"] / row["times"]["copy"]["median"] / 1e6)
    row["ns_per_tile"] = ours * 1e9 / visited if visited else math.nan
    return row


def print_table(rows, facts, file):
    print(", ".join(f"{key} {value}" for key, value in facts.items()), file=file)
    dense = {
        (row["dtype"], row["head_dim"], row["shape"][3]): row["ns_per_tile"]
        for row in rows
        if row["pattern"] == "dense"
    }
    header = "group     kernel                        ms     +-   TFLOP/s  matmul   copy   tile  sdpa  flex"
    print(header, file=file)
    for row in rows:
        times = row["times"]
        ours = times["ours"]
        spread = (ours["high"] - ours["low"]) / ours["median"]
        base = dense.get((row["dtype"], row["head_dim"], row["shape"][3]), math.nan)
        ratios = [
            f"{times[peer]['median'] / ours['median']:5.2f}" if peer in times else "    -"
            for peer in ("sdpa", "flex")
        ]
        print(
            f"{row['group']:9} {gpu_kernels.library_name(row):24} {ours['median']:8.3f} "
            f"{spread:5.1%} {row['tflops']:8.1f}  {row['of_matmul']:6.1%} {row['of_copy']:6.1%} "
            f"{row['ns_per_tile'] / base:6.2f} {' '.join(ratios)}",
            file=file,
        )


def facts_of_run():
    commit = subprocess.run(
        ["git", "-C", HERE, "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    properties = torch.cuda.get_device_properties(0)
    return {
        "device": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "commit": commit or "unknown",
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = os.path.dirname(HERE)
    parser.add_argument("--libraries", default=os.path.join(root, "build", "gpu"))
    parser.add_argument("--out", default=os.path.join(HERE, "results", "gpu"))
    parser.add_argument("--select", default="", help="libraries whose name contains this")
    parser.add_argument("--repeats", type=int, default=30)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("gpu_bench: error: PyTorch finds no GPU", file=sys.stderr)
        return 1
    config, rows = gpu_kernels.configuration(), []
    for group, kernel, sizes in gpu_kernels.list_cases(config["bench"], arguments.select):
        print(f"{group['name']} {gpu_kernels.library_name(kernel)} {sizes}", flush=True)
        pattern = config["patterns"][kernel["pattern"]]
        rows.append(run_case(group, kernel, patterns.Shape(*sizes), arguments, pattern))
    facts = facts_of_run()
    print_table(rows, facts, sys.stdout)
    os.makedirs(arguments.out, exist_ok=True)
    path = os.path.join(arguments.out, facts["device"].replace(" ", "-"))
    with open(path + ".json", "w", encoding="utf-8") as file:
        json.dump({"facts": facts, "rows": rows}, file, indent=1)
    with open(path + ".txt", "w", encoding="utf-8") as file:
        print_table(rows, facts, file)
    print(f"written to {path}.json and .txt")
    return 0


if __name__ == "__main__":
    sys.exit(main())
