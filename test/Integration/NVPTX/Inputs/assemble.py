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

PATTERNS = ("causal", "window(1023, 0) | sink(4)")
HEAD_DIMS = "64,80,128,192,256"
DTYPES = "bf16,f16,f32"


def assemble(target: str, pattern: str, modifiers: str, head_dim: int, dtype: str,
             folder: str) -> str:
    """What ptxas -v says of the attend kernel, in a line."""
    ptx = os.path.join(folder, "kernel.ptx")
    subprocess.run(
        ["sparse-attn-compile", "--pattern", pattern, "--head-dim", str(head_dim),
         "--dtype", dtype, "--target", target, "--emit=asm", "-o", ptx]
        + (["--modifiers", modifiers] if modifiers else []),
        check=True)
    done = subprocess.run(
        ["ptxas", "-v", f"-arch={target}", ptx, "-o", os.path.join(folder, "kernel.cubin")],
        capture_output=True, text=True, check=True)
    text = done.stdout + done.stderr
    stacks = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores", text)
    if not stacks or any(number != "0" for stack in stacks for number in stack):
        sys.exit(f"{pattern}, D {head_dim}, {dtype}: spills\n{text}")
    if "warning" in text or re.search(r"C75\d\d", text):
        sys.exit(f"{pattern}, D {head_dim}, {dtype}: ptxas warns\n{text}")
    return ", ".join(re.findall(r"Used (\d+) registers", text))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", default="sm_80", help="GPU (default: %(default)s)")
    parser.add_argument("--head-dims", default=HEAD_DIMS, help="(default: %(default)s)")
    parser.add_argument("--dtypes", default=DTYPES, help="(default: %(default)s)")
    parser.add_argument("--pattern", action="append", help=f"(default: {PATTERNS})")
    parser.add_argument("--modifiers", help="of scores (default: none)")
    args = parser.parse_args()
    head_dims = [int(dim) for dim in args.head_dims.split(",")]
    count = 0
    with tempfile.TemporaryDirectory() as folder:
        for pattern, head_dim, dtype in itertools.product(
                args.pattern or PATTERNS, head_dims, args.dtypes.split(",")):
            registers = assemble(args.target, pattern, args.modifiers, head_dim, dtype, folder)
            print(f"{pattern}, D {head_dim}, {dtype}: {registers} registers")
            count += 1
    print(f"{count} kernels, none spills")


if __name__ == "__main__":
    main()
