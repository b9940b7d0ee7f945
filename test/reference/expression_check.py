#===- expression_check.py - mask expressions against the NumPy reference --===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===-----------------------------------------------------------------------===#
"""Random masks as text for sparse-attn-compile --pattern: the kernel that it builds
has to keep exactly the pairs that the NumPy reference keeps.

    expression_check.py [--seed S] [--cases N]
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

import numpy_reference as ref
from kernels import Kernel
from random_expressions import Generator


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=80)
    options = parser.parse_args()
    failed = 0
    cases = {}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        modules = []
        for index in range(options.cases):
            rng = np.random.default_rng([options.seed, index])
            generator = Generator(rng, heads=4, expressible=True, selecting=index % 2 == 0)
            kernel = Kernel(f"e{index}", generator.any_mask(int(rng.integers(0, 4))))
            inputs = kernel.inputs(rng, generator.shape())
            text = kernel.mask.expression()
            done = subprocess.run(["sparse-attn-compile", "--emit=mlir", "--head-dim=8",
                                   f"--name={kernel.name}", f"--pattern={text}"],
                                  capture_output=True, text=True)
            if done.returncode:
                failed += 1
                print(f"{text}\n{done.stderr}")
                continue
            modules.append(done.stdout)
            cases[kernel.name] = (kernel, inputs)
            (folder / kernel.name).mkdir()
            for argument, array in inputs.items():
                np.save(folder / kernel.name / f"{argument}.npy", array)
        file = folder / "kernels.mlir"
        file.write_text("\n".join(modules))
        done = subprocess.run(["sparse-attn-eval", file, folder], capture_output=True, text=True)
        if done.returncode:
            print(done.stderr)
            sys.exit(1)
        for kernel, inputs in cases.values():
            got = np.load(folder / kernel.name / "mask0.npy")
            wanted = kernel.membership(inputs)
            at = ref.find_difference(got, wanted)
            if at is not None:
                failed += 1
                print(f"{kernel.mask}: {at} differs")
    print(f"{options.cases} expressions, {failed} failed (seed {options.seed})")
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
