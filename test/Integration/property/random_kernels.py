#===- random_kernels.py - random kernels, compiled and run in shards ------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===-----------------------------------------------------------------------===#
"""What property_test.py and selecting_test.py share: options, libraries of several kernels,
and the report of a failure. A test brings three functions:

    make_kernel(seed, index) -> (kernel, generator, longest sequence)
    make_inputs(kernel, generator, longest, seed, index, case) -> arrays by name
    check(library, kernel, generator, inputs, case) -> what is wrong, or None
"""

import argparse
import pathlib
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "reference"))

from emulated import EmulatedLibrary
from library import Library

KERNELS_PER_LIBRARY = 16


@dataclass
class Counts:
    cases: int = 0
    failures: int = 0
    compiling: float = 0.0  # seconds


def parse_options(kernels):
    """`kernels` of a shard, unless the command line says so."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shard", type=int, default=0)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--kernels", type=int, default=kernels)
    parser.add_argument("--cases", type=int, default=8)
    parser.add_argument("--seed", type=int, default=2024)
    parser.add_argument("--only", type=int, help="this kernel alone")
    parser.add_argument("--unions", help="what becomes of unions, in all libraries")
    parser.add_argument("--target", default="cpu", help="compile for this architecture")
    parser.add_argument("--emulator", help="the command that runs Cross/runner.c")
    return parser.parse_args()


def compile_library(kernels, folder, name, unions, options):
    """Compiles kernels into one library; prints those that do not compile alone."""
    file = folder / f"{name}.mlir"
    file.write_text("".join(kernel.mlir() for kernel in kernels))
    done = subprocess.run(["sparse-attn-compile", file, "-o", folder, "--name", name,
                           f"--target={options.target}", f"--unions={unions}"],
                          capture_output=True, text=True)
    if done.returncode:
        print(done.stderr)
        print(file.read_text() if len(kernels) == 1 else "")
        return None
    path = folder / f"lib{name}.so"
    if options.emulator:
        return EmulatedLibrary(path, shlex.split(options.emulator))
    return Library(path)


def describe(kernel, inputs):
    lines = [kernel.mlir()]
    for name, array in inputs.items():
        lines.append(f"{name} {array.shape}" + (f" = {array.tolist()}"
                                                if array.size <= 64 and name not in "qkv" else ""))
    return "\n".join(lines)


def check_batch(library, batch, options, make_inputs, check, repeat, counts):
    """Runs the cases of some kernels; prints the first failure of each."""
    for index, (kernel, generator, longest) in batch.items():
        for case in range(options.cases):
            inputs = make_inputs(kernel, generator, longest, options.seed, index, case)
            counts.cases += 1
            try:
                difference = check(library, kernel, generator, inputs, case)
            except RuntimeError as error:
                difference = str(error)
            if difference:
                counts.failures += 1
                print(f"\nkernel {index}, case {case}: {difference}\n"
                      f"{describe(kernel, inputs)}\nrepeat with: {repeat} "
                      f"--seed {options.seed} --only {index}", flush=True)
                break


def run_shard(options, make_kernel, make_inputs, check, unions):
    """Runs the shard; libraries take `unions` in turn. Ends the program where one does not
    compile."""
    indices = [options.shard + options.shards * k for k in range(options.kernels)]
    if options.only is not None:
        indices = [options.only]
    print(f"seed {options.seed}, kernels {indices[0]} to {indices[-1]} in steps of "
          f"{options.shards}, {options.cases} cases each", flush=True)
    counts = Counts()
    with tempfile.TemporaryDirectory() as name:
        for number, start in enumerate(range(0, len(indices), KERNELS_PER_LIBRARY)):
            batch = {i: make_kernel(options.seed, i)
                     for i in indices[start:start + KERNELS_PER_LIBRARY]}
            begin = time.monotonic()
            own = options.unions or unions[number % len(unions)]
            library = compile_library([k for k, _, _ in batch.values()], pathlib.Path(name),
                                      f"p{number}", own, options)
            counts.compiling += time.monotonic() - begin
            if not library:
                sys.exit(1)
            repeat = f"{pathlib.Path(sys.argv[0]).name} --unions {own}"
            check_batch(library, batch, options, make_inputs, check, repeat, counts)
            if options.emulator:
                library.close()
    return counts
