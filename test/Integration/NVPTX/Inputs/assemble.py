# ===- assemble.py - what ptxas says of a table of kernels ------------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Compiles kernels to PTX and assembles them; a spill or a warning is an error."""

import argparse
import itertools
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

PATTERNS = ("causal", "window(1023, 0) | sink(4)")
HEAD_DIMS = "64,80,128,192,256"
DTYPES = "bf16,f16,f32"


def assemble(args: argparse.Namespace, pattern: str, head_dim: int, dtype: str,
             path: str) -> str:
    """What ptxas -v says of the attend kernel, in a line. Files are `path` with an ending."""
    target, modifiers, ptx = args.target, args.modifiers, path + ".ptx"
    subprocess.run(
        ["sparse-attn-compile", "--pattern", pattern, "--head-dim", str(head_dim),
         "--dtype", dtype, "--target", target, "--emit=asm", "-o", ptx]
        + (["--modifiers", modifiers] if modifiers else []),
        check=True)
    done = subprocess.run(
        ["ptxas", "-v", f"-arch={target}", ptx, "-o", path + ".cubin"],
        capture_output=True, text=True, check=True)
    text = done.stdout + done.stderr
    stacks = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores", text)
    if not stacks or any(number != "0" for stack in stacks for number in stack):
        sys.exit(f"{pattern}, D {head_dim}, {dtype}: spills\n{text}")
    if "warning" in text or re.search(r"C75\d\d", text):
        sys.exit(f"{pattern}, D {head_dim}, {dtype}: ptxas warns\n{text}")
    registers = ", ".join(re.findall(r"Used (\d+) registers", text))
    return f"{pattern}, D {head_dim}, {dtype}: {registers} registers"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", default="sm_80", help="GPU (default: %(default)s)")
    parser.add_argument("--head-dims", default=HEAD_DIMS, help="(default: %(default)s)")
    parser.add_argument("--dtypes", default=DTYPES, help="(default: %(default)s)")
    parser.add_argument("--pattern", action="append", help=f"(default: {PATTERNS})")
    parser.add_argument("--modifiers", help="of scores (default: none)")
    args = parser.parse_args()
    head_dims = [int(dim) for dim in args.head_dims.split(",")]
    kernels = list(itertools.product(args.pattern or PATTERNS, head_dims,
                                     args.dtypes.split(",")))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        paths = [os.path.join(folder, str(number)) for number in range(len(kernels))]
        for line in pool.map(lambda kernel, path: assemble(args, *kernel, path), kernels, paths):
            print(line)
    print(f"{len(kernels)} kernels, none spills")


if __name__ == "__main__":
    main()
