# ===- gpu_predict.py - the speed of GPU kernels from their instructions -----===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Predicts the speed of the kernels for sm_90a. Nothing here is measured on a GPU.

    python3 benchmark/gpu_predict.py

The emulator counts what small cases execute. Two dense cases that differ in their key
tiles alone give the work of a full tile and of an item (a query tile: its search, Q and
its end); what a mask's case has more is its partial tiles'. So many of each as the mask
has at full size, at the rates of UNITS, give clocks of each unit of a multiprocessor, and

    fast   the busiest unit, as if all others were hidden behind it
    slow   matrix products and what they read, and the busiest other unit after them

are a bracket of the time. It knows no latencies, no stalls, no power limit and no memory
but the bytes that have to move; SASS may have more or fewer instructions than LLVM's IR.
benchmark/results/gpu-predicted has what it last said.
"""
import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path[:0] = [HERE, os.path.join(ROOT, "python")]

import gpu_kernels  # noqa: E402
import patterns  # noqa: E402
import sparse_attn  # noqa: E402
from patterns import Shape  # noqa: E402

WARNING = "PREDICTED FROM COUNTED INSTRUCTIONS. NOTHING IN THIS TABLE WAS MEASURED ON A GPU."

# Sources of the rates, all of compute capability 9.0.
WHITEPAPER = "NVIDIA H100 Tensor Core GPU Architecture: 989.4 TFLOP/s dense bf16, 132 SMs, 1830 MHz"
GUIDE = "CUDA C++ Programming Guide, throughput of native arithmetic instructions"
BANKS = "CUDA C++ Programming Guide: 32 banks of 4 bytes a clock"


@dataclass
class Unit:
    """Of a multiprocessor: what it gets from the counts, and does in a clock."""

    work: callable
    rate: float
    source: str


def threads(kind):
    """Results of an instruction of whole warps."""
    return lambda counts: 32 * counts["kinds"][kind]


UNITS = {
    "tensor": Unit(lambda counts: counts["matrix_multiply_adds"], 2048, WHITEPAPER),
    "special": Unit(threads("special_function"), 16, GUIDE),
    "fp32": Unit(threads("float"), 128, GUIDE),
    "integer": Unit(threads("integer"), 64, GUIDE),
    # One instruction rounds two weights, which the emulator counts one by one.
    "convert": Unit(lambda counts: 16 * counts["kinds"]["convert"], 64, GUIDE),
    "shuffle": Unit(threads("shuffle"), 32, GUIDE),
    "shared": Unit(
        lambda counts: 128 * counts["shared_wavefronts"]
        + counts["wgmma_shared_bytes"]
        + counts["bytes_copied_async"],
        128,
        BANKS,
    ),
    "issue": Unit(
        lambda counts: counts["instructions"] - counts["kinds"]["convert"] / 2,
        4,
        WHITEPAPER + "; 4 schedulers",
    ),
}
NAMES = list(UNITS)


@dataclass
class Device:
    multiprocessors: int
    hertz: float
    bytes_per_second: float


DEVICES = {
    "H100 SXM": Device(132, 1.83e9, 3.35e12),  # data sheet
    "H200": Device(132, 1.83e9, 4.8e12),  # data sheet; the same multiprocessors
}

TILE = 128  # rows and keys of a tile with D up to 128
BYTES = 2  # of bf16


@dataclass
class Case:
    """A row of the table: what is counted, and for which shape that is evaluated."""

    pattern: str
    head_dim: int
    counted: Shape
    full: Shape
    target: str


LONG = Shape(1, 16, 16, 16384, 16384)
ROW = Shape(1, 8, 8, TILE, 4 * TILE)  # as many query tiles as the emulator runs blocks at once
SQUARE = Shape(1, 1, 1, 8 * TILE, 8 * TILE)
CASES = [
    Case("dense", 128, ROW, LONG, "620 TFLOP/s"),
    Case("causal", 128, ROW, LONG, "580 TFLOP/s"),
    Case("dense", 64, ROW, LONG, "470 TFLOP/s"),
    Case("causal", 64, ROW, LONG, ""),
    Case("window", 128, ROW._replace(keys=10 * TILE), LONG, "tile 1.15"),
    Case("documents", 128, SQUARE, LONG, "tile 1.15"),
    Case("blocks_10", 128, SQUARE, LONG, "tile 1.15"),
    Case("dense", 128, ROW, Shape(8, 32, 8, 1, 32768), "copy 85 %"),
]


class Counter:
    """Compiles kernels, and asks the emulator and plans about them."""

    def __init__(self, tools, folder):
        self.tools, self.folder = tools, folder
        self.config = gpu_kernels.configuration()

    @staticmethod
    def kernel(pattern, head_dim):
        return {"pattern": pattern, "dtype": "bf16", "head_dim": head_dim}

    def library(self, kernel, *options):
        name = gpu_kernels.library_name(kernel)
        folder = os.path.join(self.folder, str(len(options)))
        path = os.path.join(folder, f"lib{name}.so")
        if not os.path.exists(path):
            targets = "cpu" if options else "cpu,sm_90a"
            compiler = os.path.join(self.tools, "sparse-attn-compile")
            command = gpu_kernels.command_of(compiler, kernel, self.config, folder, targets)
            command += options or ["--ptxas=none", "--emulation"]
            subprocess.run(command, check=True)
        return path

    def mask(self, kernel, shape):
        return patterns.make_mask(self.config["patterns"][kernel["pattern"]], shape)

    @functools.cache
    def count(self, pattern, head_dim, shape):
        """Clocks of each unit, and the tiles, as the emulator runs it."""
        kernel = self.kernel(pattern, head_dim)
        command = [os.path.join(self.tools, "sparse-attn-run"), self.library(kernel)]
        command += ["--device=emulated:sm_90a", "--statistics", "--tiles", "--json"]
        command.append("--random=" + ",".join(map(str, shape)))
        for name, array in self.mask(kernel, shape).operands.items():
            file = os.path.join(self.folder, f"{name}.npy")
            np.save(file, array)
            command.append(f"--operand={name}={file}")
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        report = json.loads(done.stdout)
        (counts,) = report["executed"].values()  # no shares, so nothing to combine
        clocks = np.array([unit.work(counts) / unit.rate for unit in UNITS.values()])
        return clocks, report["tiles"]["full"], report["tiles"]["partial"]

    def dense_work(self, head_dim):
        """Clocks of an item and of a full tile."""
        few, few_tiles, _ = self.count("dense", head_dim, ROW)
        many, many_tiles, _ = self.count("dense", head_dim, ROW._replace(keys=2 * ROW.keys))
        tile = (many - few) / (many_tiles - few_tiles)
        products = tile[NAMES.index("tensor")] * UNITS["tensor"].rate
        assert products == 2 * TILE * TILE * head_dim, "another tile than it is taken for"
        return (few - few_tiles * tile) / ROW.heads, tile

    @functools.cache
    def plan_tiles(self, pattern, head_dim, shape):
        """Full and partial tiles at full size, from a plan of the processor's kernels."""
        kernel = self.kernel(pattern, head_dim)
        name = gpu_kernels.library_name(kernel)
        library = sparse_attn.load(self.library(kernel, f"--tile={TILE}x{TILE}"))
        plan = library[name].plan(*shape, **self.mask(kernel, shape).operands)
        tiles = plan.tiles()
        return tiles.full, tiles.partial


def count_items(shape, sms):
    """Query tiles, cut into shares of the keys where they are fewer than blocks."""
    stacks = shape.heads if shape.queries >= TILE else shape.kv_heads
    items = shape.batch * stacks * -(-shape.queries // TILE)
    return items * max(1, -(-sms // items))


def count_bytes(case):
    """Q, K and V once, and O."""
    shape = case.full
    rows = 2 * shape.heads * shape.queries + 2 * shape.kv_heads * shape.keys
    return shape.batch * rows * case.head_dim * BYTES


def predict(case, counter, device):
    item, tile = counter.dense_work(case.head_dim)
    clocks, full, partial = counter.count(case.pattern, case.head_dim, case.counted)
    counted_items = case.counted.heads * case.counted.batch * -(-case.counted.queries // TILE)
    # What a mask takes above dense tiles: its partial ones', or else its items'.
    rest = clocks - full * tile - counted_items * item
    other = rest / partial if partial else np.zeros_like(tile)
    start = item if partial else item + rest / counted_items

    if case.full.queries < TILE:
        full, partial = -(-case.full.keys // TILE) * case.full.batch * case.full.kv_heads, 0
    else:
        full, partial = counter.plan_tiles(case.pattern, case.head_dim, case.full)
    items = count_items(case.full, device.multiprocessors)
    total = full * tile + partial * other + items * start
    seconds = total / device.multiprocessors / device.hertz
    memory = count_bytes(case) / device.bytes_per_second
    of_unit = dict(zip(NAMES, seconds))
    products = max(of_unit.pop("tensor"), of_unit.pop("shared"))
    times = {
        "fast": max(*seconds, memory),
        "slow": max(products + max(of_unit.values()), memory),
    }
    bound = "memory" if memory > max(seconds) else NAMES[int(np.argmax(seconds))]
    operations = gpu_kernels.count_operations(case.pattern, case.head_dim, case.full)
    return {
        **counter.kernel(case.pattern, case.head_dim),
        "shape": list(case.full),
        "target": case.target,
        "tiles": {"full": full, "partial": partial, "items": items},
        "clocks_of_tile": dict(zip(NAMES, tile.round(1).tolist())),
        "clocks_of_partial_tile": dict(zip(NAMES, other.round(1).tolist())) if partial else None,
        "milliseconds": {name: time * 1e3 for name, time in times.items()},
        "bound": bound,
        "tflops": {name: operations and operations / time / 1e12 for name, time in times.items()},
        "of_copy": {name: memory / time for name, time in times.items()},
        "ns_per_tile": {name: time * 1e9 / (full + partial) for name, time in times.items()},
    }


def print_rows(device, rows, file):
    base = {}
    print(f"\n{device}, bf16", file=file)
    print(
        "pattern      D  shape                    slow .. fast   TFLOP/s        tile"
        "         copy           bound    target",
        file=file,
    )
    for row in rows:
        if row["pattern"] == "dense":
            base.setdefault(row["head_dim"], row["ns_per_tile"])
        prefill = row["shape"][3] >= TILE

        def bracket(values, form, shown=True):
            return " .. ".join(form.format(values[name]) for name in ("slow", "fast")) if shown else "-"

        ratio = {
            name: time / base[row["head_dim"]][name] for name, time in row["ns_per_tile"].items()
        }
        line = (
            f"{row['pattern']:10} {row['head_dim']:3}  {'x'.join(map(str, row['shape'])):22} "
            f"{bracket(row['milliseconds'], '{:.3f}'):>15} ms  "
            f"{bracket(row['tflops'], '{:.0f}', prefill and bool(row['tflops']['fast'])):>10}  "
            f"{bracket(ratio, '{:.2f}', prefill):>12}  "
            f"{bracket(row['of_copy'], '{:.0%}', not prefill):>13}  {row['bound']:8} {row['target']}"
        )
        print(line.rstrip(), file=file)


def print_tiles(rows, file):
    print("\nclocks of a multiprocessor for a full tile of 128 x 128, by unit", file=file)
    print("  D  " + " ".join(f"{name:>8}" for name in NAMES), file=file)
    for head_dim, clocks in {row["head_dim"]: row["clocks_of_tile"] for row in rows}.items():
        print(f"{head_dim:3}  " + " ".join(f"{clocks[name]:8.0f}" for name in NAMES), file=file)
    print("\nwhat a partial tile takes", file=file)
    for row in rows:
        if row["clocks_of_partial_tile"]:
            clocks = row["clocks_of_partial_tile"].values()
            print(
                f"{row['head_dim']:3}  " + " ".join(f"{value:8.0f}" for value in clocks),
                f" {row['pattern']}",
                file=file,
            )


def print_table(result, file):
    print(WARNING, file=file)
    print(f"commit {result['commit']}; rates and their sources: gpu.json", file=file)
    for device, rows in result["devices"].items():
        print_rows(device, rows, file)
    print_tiles(next(iter(result["devices"].values())), file)


def format_json(result):
    """With a line for each row."""
    devices = ",\n".join(
        f"  {json.dumps(name)}: [\n" + ",\n".join(f"   {json.dumps(row)}" for row in rows) + "\n  ]"
        for name, rows in result["devices"].items()
    )
    head = json.dumps({**result, "devices": {}}, indent=1)
    return head.replace('"devices": {}', f'"devices": {{\n{devices}\n }}') + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tools", default=os.path.join(ROOT, "build", "bin"))
    parser.add_argument("--out", default=os.path.join(HERE, "results", "gpu-predicted"))
    parser.add_argument("--select", default="", help="cases such as dense_64")
    arguments = parser.parse_args()
    cases = [c for c in CASES if arguments.select in f"{c.pattern}_{c.head_dim}"]
    commit = subprocess.run(
        ["git", "-C", HERE, "describe", "--always", "--dirty"], capture_output=True, text=True
    ).stdout.strip()
    result = {
        "warning": WARNING,
        "commit": commit or "unknown",
        "rates_per_clock": {name: [unit.rate, unit.source] for name, unit in UNITS.items()},
        "rates_of_devices": {name: vars(device) for name, device in DEVICES.items()},
    }
    with tempfile.TemporaryDirectory() as folder:
        counter = Counter(arguments.tools, folder)
        result["devices"] = {
            name: [predict(case, counter, device) for case in cases]
            for name, device in DEVICES.items()
        }
    os.makedirs(arguments.out, exist_ok=True)
    with open(os.path.join(arguments.out, "gpu.json"), "w", encoding="utf-8") as file:
        file.write(format_json(result))
    with open(os.path.join(arguments.out, "gpu.txt"), "w", encoding="utf-8") as file:
        print_table(result, file)
    print_table(result, sys.stdout)


if __name__ == "__main__":
    main()
