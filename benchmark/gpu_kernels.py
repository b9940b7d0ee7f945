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
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))


def read(name):
    with open(os.path.join(HERE, "configs", name), encoding="utf-8") as file:
        return json.load(file)


def configuration():
    """gpu.json, with the patterns of peers.json that it names."""
    config = read("gpu.json")
    known = read("peers.json")["patterns"]
    config["patterns"] = {
        name: known[name] if own is None else own for name, own in config["patterns"].items()
    }
    return config


def library_name(kernel):
    return "{pattern}_{dtype}_{head_dim}".format(**kernel)


def list_kernels(config):
    """Every kernel that a check or a figure names, once."""
    kernels = {}
    for group in config["check"] + config["bench"]:
        for pattern in group["patterns"]:
            for dtype in group["dtypes"]:
                for head_dim in group["head_dims"]:
                    kernel = {"pattern": pattern, "dtype": dtype, "head_dim": head_dim}
                    kernels[library_name(kernel)] = kernel
    return kernels


def command_of(tool, kernel, config, out, targets):
    pattern = config["patterns"][kernel["pattern"]]
    expression = pattern["expression"].format(**pattern.get("parameters", {}))
    return [
        tool,
        f"--pattern={expression}",
        f"--head-dim={kernel['head_dim']}",
        f"--dtype={kernel['dtype']}",
        f"--target={targets}",
        "--unions=whole",
        f"--name={library_name(kernel)}",
        f"-o={out}",
        *pattern.get("flags", []),
    ]


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
