#===- cross_check.py - the C++ reference against the NumPy one ------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===-----------------------------------------------------------------------===#
"""Compares lib/Reference (through sparse-attn-eval) with numpy_reference: every
pattern on a table of shapes, then random kernels. Membership has to be equal for
every pair, and so has what is drawn; O and LSE, both float64, agree to rounding.

    cross_check.py [--seed S] [--cases N]
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

import numpy_reference as ref
from kernels import Bias, Kernel
from masks import Combined, Pattern, Shape
from random_expressions import Generator
from reals import encode
from selections import Selection

# M < N, M = N, M > N, decode, grouped heads, nothing at all.
SHAPES = [Shape(2, 4, 2, 7, 33), Shape(1, 2, 2, 40, 40), Shape(1, 4, 1, 45, 20),
          Shape(3, 2, 1, 1, 29), Shape(1, 2, 2, 6, 0), Shape(1, 2, 1, 0, 5),
          Shape(0, 2, 1, 3, 4), Shape(2, 1, 1, 5, 1)]

TOLERANCE = 1e-10


class Case:
    def __init__(self, kernel, inputs):
        self.kernel, self.inputs = kernel, inputs

    def describe(self):
        q, k = self.inputs["q"].shape, self.inputs["k"].shape
        extra = {n: x.tolist() for n, x in self.inputs.items() if n not in "qkv"}
        return f"{self.kernel.mlir()}q {q}, k {k}, {extra}"


def leaf_cases(rng, names, shapes, selecting=False):
    """Every mask called so on every shape, plain and with each of the lengths."""
    for name in names:
        for index, shape in enumerate(shapes):
            generator = Generator(rng, keys=max(shape.N, 8), heads=shape.H, selecting=selecting)
            kernel = Kernel(f"{name}_{index}", getattr(generator, name)())
            kernel.kv_len, kernel.q_len = index % 2 == 1, index % 3 == 1
            kernel.q_offset = index % 4 == 2
            yield Case(kernel, kernel.inputs(rng, shape))


def score_cases(rng):
    """Every score often enough that each of its parameters shows."""
    for kind in Generator.SCORES:
        for index, shape in enumerate(SHAPES[:4] * 4):
            generator = Generator(rng, heads=shape.H, selecting=True)
            mask = Selection("top_k", Pattern("causal" if index % 2 else "all"),
                             {"k": 1 + index % 5, **generator.units()}, generator.score(kind))
            kernel = Kernel(f"{kind}_{index}", mask)
            yield Case(kernel, kernel.inputs(rng, shape))


def random_cases(rng, count):
    for index in range(count):
        generator = Generator(rng, heads=generator_heads(rng), selecting=index % 3 == 0)
        kernel = generator.kernel(f"random_{index}", depth=int(rng.integers(1, 4)),
                                  modifiers=int(rng.integers(0, 3)), pool=index % 4 == 0,
                                  split=index % 8 in (0, 1), dtypes=("f32", "f16"))
        yield Case(kernel, kernel.inputs(rng, generator.shape()))


def generator_heads(rng):
    return int(rng.choice([1, 2, 4, 6, 8]))


def special_cases(rng):
    """NaN and inf: in keys and values that rows see or do not, and in a bias."""
    shape = Shape(1, 2, 1, 12, 20)
    window = Combined("intersect", [Pattern("causal"), Pattern("window", {"left": 3})])
    for index, (tensor, value) in enumerate([("k", np.nan), ("v", np.nan), ("v", np.inf),
                                             ("v", -np.inf), ("q", np.nan)]):
        kernel = Kernel(f"special_{index}", window, sinks=index == 1)
        inputs = kernel.inputs(rng, shape)
        inputs[tensor][0, 0, 9] = value
        yield Case(kernel, inputs)
    kernel = Kernel("special_bias", Pattern("all"), modifiers=[Bias("1")])
    inputs = kernel.inputs(rng, shape)
    inputs["bias1"] = np.zeros((1, 1, 12, 20), np.float32)
    inputs["bias1"][0, 0, 3] = -np.inf # a row without a key
    inputs["v"][0, 0, 5] = np.nan
    inputs["bias1"][..., 5] = -np.inf # a key without a row
    yield Case(kernel, inputs)


def compare(case, folder):
    """What differs, None where nothing does."""
    read = lambda name: np.load(folder / case.kernel.name / f"{name}.npy")
    for index, part in enumerate(case.kernel.parts()):
        wanted = ref.membership(lambda s: part.mask.mask(s, case.inputs),
                                case.kernel.setting(case.inputs, part.block))
        got = read(f"mask{index}")
        if got.shape != wanted.shape:
            return f"mask{index}: shape {got.shape}, wanted {wanted.shape}"
        at = ref.find_difference(got, wanted)
        if at is not None:
            return f"mask{index} at (b, h, i, j) = {at}: {got[at]}, wanted {wanted[at]}"
    for index, wanted in enumerate(case.kernel.reference(case.inputs)):
        got = read(f"result{index}")
        if got.shape != wanted.shape:
            return f"result{index}: shape {got.shape}, wanted {wanted.shape}"
        close = np.isclose(got, wanted, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
        if not close.all():
            at = tuple(int(x) for x in np.argwhere(~close)[0])
            return f"result{index} at {at}: {got[at]}, wanted {wanted[at]}"
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=300)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    cases = [*leaf_cases(rng, Generator.LEAVES, SHAPES),
             *leaf_cases(rng, Generator.SELECTIONS, SHAPES * 3, selecting=True), *score_cases(rng),
             *random_cases(rng, options.cases), *special_cases(rng)]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for case in cases:
            (folder / case.kernel.name).mkdir()
            for argument, array in case.inputs.items():
                if argument in "qkv":
                    array = encode(array, case.kernel.dtype)
                np.save(folder / case.kernel.name / f"{argument}.npy", array)
        file = folder / "kernels.mlir"
        file.write_text("".join(case.kernel.mlir() for case in cases))
        done = subprocess.run(["sparse-attn-eval", file, folder], capture_output=True, text=True)
        if done.returncode:
            print(done.stderr)
            for case in cases:
                if f"@{case.kernel.name}:" in done.stderr:
                    print(case.describe())
            sys.exit(1)
        failed = 0
        for case in cases:
            difference = compare(case, folder)
            if difference:
                failed += 1
                print(f"{case.kernel.name}: {difference}\n{case.describe()}\n")
    print(f"{len(cases)} cases, {failed} failed (seed {options.seed})")
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
