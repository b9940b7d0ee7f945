# ===- gpu_kernels.py - the libraries that gpu-check and gpu-bench take ------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Compiles the kernels of benchmark/configs/gpu.json for GPUs.

    python3 benchmark/gpu_kernels.py --out build/gpu

The folder is what a machine with a GPU needs, beside this checkout, Python and PyTorch:
nothing of the compiler.
"""
import argparse
import itertools
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import patterns  # noqa: E402


def read(name):
    with open(os.path.join(HERE, "configs", name), encoding="utf-8") as file:
        return json.load(file)


def configuration():
    """gpu.json, whose patterns are those of peers.json and its own."""
    config = read("gpu.json")
    return {**config, "patterns": {**read("peers.json")["patterns"], **config["patterns"]}}


def library_name(kernel):
    return "{pattern}_{dtype}_{head_dim}".format(**kernel)


def list_cases(groups, select=""):
    """(group, kernel, sizes) of every case whose library's name contains `select`."""
    for group in groups:
        for pattern, dtype, head_dim in itertools.product(
            group["patterns"], group["dtypes"], group["head_dims"]
        ):
            kernel = {"pattern": pattern, "dtype": dtype, "head_dim": head_dim}
            if select in library_name(kernel):
                for sizes in group["shapes"]:
                    yield group, kernel, sizes


def list_kernels(config):
    """Every kernel that a check or a figure names, once, by the name of its library."""
    cases = list_cases(config["check"] + config["bench"])
    return {library_name(kernel): kernel for _, kernel, _ in cases}


def command_of(tool, kernel, config, out, targets):
    return [
        tool,
        f"--pattern={patterns.make_expression(config['patterns'][kernel['pattern']])}",
        f"--head-dim={kernel['head_dim']}",
        f"--dtype={kernel['dtype']}",
        f"--target={targets}",
        "--unions=whole",
        f"--name={library_name(kernel)}",
        f"-o={out}",
    ]


def count_operations(pattern, head_dim, shape):
    """As the field counts: all pairs, or half of the square; None: by the tile."""
    pairs = {
        "dense": shape.queries * shape.keys,
        "causal": shape.queries * (2 * shape.keys - shape.queries + 1) / 2,
    }.get(pattern)
    return pairs and 4 * head_dim * shape.batch * shape.heads * pairs


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = os.path.dirname(HERE)
    parser.add_argument("--out", default=os.path.join(root, "build", "gpu"))
    parser.add_argument(
        "--tool", default=os.path.join(root, "build", "bin", "sparse-attn-compile")
    )
    parser.add_argument("--targets", default="cpu,sm_80,sm_90a")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    config = configuration()
    kernels = list_kernels(config)
    os.makedirs(arguments.out, exist_ok=True)

    def compile(name):
        command = command_of(
            arguments.tool, kernels[name], config, arguments.out, arguments.targets
        )
        done = subprocess.run(command, capture_output=True, text=True)
        return name, done.returncode, done.stderr

    failed = 0
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for number, (name, status, text) in enumerate(pool.map(compile, kernels), 1):
            print(f"[{number}/{len(kernels)}] {name}", file=sys.stderr)
            if status:
                failed += 1
                print(text, file=sys.stderr)
    print(f"{len(kernels) - failed} libraries are in {arguments.out}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
