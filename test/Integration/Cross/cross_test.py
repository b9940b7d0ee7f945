#===- cross_test.py - kernels for another architecture, emulated ----------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===-----------------------------------------------------------------------===#
"""Compiles kernels for another architecture and compares what they compute under an
emulator with the NumPy reference.

    cross_test.py --target aarch64 --level neon --emulator COMMAND

Every kernel runs on several shapes (prefill, decode, short and tall queries), with one
thread and with two, which must give equal bits. V is the identity where the keys fit,
so that a pair is kept exactly if its weight is not 0. NaN and errors have their own
tests below.
"""

import argparse
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile
import unittest

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "property"), str(HERE.parents[1] / "reference")]

from emulated import EmulatedLibrary
from kernels import (Alibi, Bias, CustomScore, HopDecay, Kernel, RelativeBias, Softcap)
from masks import BlockMask, Combined, GraphHop, Pattern, Segments, Shape
from property_test import find_difference

CAUSAL = Pattern("causal")
NEAR = Combined("union", [Pattern("window", {"left": 60, "right": 0}),
                          Pattern("sink", {"size": 4})])
BAND = Combined("intersect", [CAUSAL, NEAR])
PACKED = Combined("intersect", [CAUSAL, Segments("")])
DECAY = CustomScore("""      %d = arith.subi %p, %j : index
      %w = arith.index_cast %d : index to i64
      %f = arith.sitofp %w : i64 to f32
      %c = arith.constant 0.01 : f32
      %e = arith.mulf %f, %c : f32
      %r = arith.subf %s, %e : f32""", lambda s, b, h, p, j: s - 0.01 * (p - j))

KERNELS = [
    Kernel("dense", Pattern("all"), D=64, Dv=256),
    Kernel("causal", CAUSAL, D=128, Dv=64),
    Kernel("band", BAND, D=64, Dv=256),
    Kernel("odd", BAND, D=33, Dv=13),
    Kernel("dilated", Pattern("dilated", {"left": 90, "right": 9, "rate": 3}), D=16, Dv=256),
    Kernel("lengths", BAND, D=40, Dv=24, kv_len=True, q_len=True, q_offset=True),
    Kernel("packed", PACKED, D=64, Dv=256),
    Kernel("graph", Combined("union", [GraphHop("", max_hops=2), NEAR]), D=32, Dv=256),
    Kernel("blocks", BlockMask("", 16, 24, bits=True), D=20, Dv=256),
    Kernel("drawn", Pattern("random_blocks", {"block": 32, "count": 2, "seed": 7}), D=16,
           Dv=256),
    Kernel("modified", CAUSAL, D=64, Dv=64, sinks=True,
           modifiers=[Softcap(2.0), Alibi(""), Bias("", holes=True), RelativeBias(""), DECAY]),
    Kernel("hops", Pattern("all"), D=24, Dv=32, modifiers=[HopDecay("", 1, 1.5)]),
    Kernel("half", BAND, D=72, Dv=40, dtype="f16", out="f16"),
    Kernel("brain", BAND, D=72, Dv=40, dtype="bf16", out="bf16"),
    Kernel("packed_half", PACKED, D=64, Dv=21, dtype="f16", out="f32"),
    Kernel("packed_brain", PACKED, D=33, Dv=64, dtype="bf16", out="bf16"),
    Kernel("merged", NEAR, D=64, Dv=64, pool=32, pool_mask=CAUSAL),
]
SHAPES = [Shape(2, 4, 2, 150, 200), Shape(1, 8, 2, 1, 300), Shape(1, 4, 1, 7, 260),
          Shape(2, 2, 2, 200, 70)]
OPTIONS = None


def compile_library(folder, name, *arguments):
    subprocess.run(["sparse-attn-compile", f"--target={OPTIONS.target}", "--name", name, "-o",
                    folder, *arguments], check=True)
    return folder / f"lib{name}.so"


def emulate(path, **environment):
    return EmulatedLibrary(path, shlex.split(OPTIONS.emulator), {**os.environ, **environment})


class CrossTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.scratch.name)
        source = cls.folder / "kernels.mlir"
        source.write_text("".join(kernel.mlir() for kernel in KERNELS))
        cls.path = compile_library(cls.folder, "kernels", source)
        cls.library = emulate(cls.path)

    @classmethod
    def tearDownClass(cls):
        cls.library.close()
        cls.scratch.cleanup()

    def draw(self, kernel, shape, seed=0):
        inputs = kernel.inputs(np.random.default_rng(seed), shape)
        if shape.N <= kernel.Dv:
            inputs["v"] = np.zeros_like(inputs["v"])
            inputs["v"][:, :, np.arange(shape.N), np.arange(shape.N)] = 1
        return inputs

    def check(self, library, kernel, inputs):
        one = library.run(kernel.name, inputs, kernel.Dv, threads=1)
        self.assertEqual(library.level, OPTIONS.level)
        self.assertIsNone(find_difference(kernel, inputs, one, kernel.reference(inputs)))
        two = library.run(kernel.name, inputs, kernel.Dv, threads=2)
        for a, b in zip(one, two):
            self.assertEqual(a.tobytes(), b.tobytes(), "two threads give other bits")

    def test_kernels(self):
        for kernel in KERNELS:
            for seed, shape in enumerate(SHAPES):
                with self.subTest(kernel=kernel.name, shape=shape):
                    self.check(self.library, kernel, self.draw(kernel, shape, seed))

    def test_no_keys(self):
        kernel = KERNELS[0]
        inputs = self.draw(kernel, Shape(1, 2, 1, 5, 0))
        out, lse = self.library.run(kernel.name, inputs, kernel.Dv)
        self.assertTrue((out == 0).all() and np.isneginf(lse).all())

    def test_nan_reaches_those_that_attend(self):
        for name in ("causal", "band", "packed", "blocks"):
            kernel = next(k for k in KERNELS if k.name == name)
            for poisoned, value in (("k", np.nan), ("v", np.nan), ("v", np.inf)):
                with self.subTest(kernel=name, poisoned=poisoned, value=value):
                    inputs = kernel.inputs(np.random.default_rng(5), SHAPES[0])
                    inputs[poisoned][0, 1, 90] = value
                    self.check(self.library, kernel, inputs)

    def test_fewer_threads_than_workers(self):
        library = emulate(self.path, OMP_THREAD_LIMIT="1")
        self.addCleanup(library.close)
        self.check(library, KERNELS[2], self.draw(KERNELS[2], SHAPES[0]))

    def test_errors(self):
        library = emulate(self.path, SPARSE_ATTN_LEVEL="avx2")
        self.addCleanup(library.close)
        with self.assertRaisesRegex(RuntimeError, "asks for 'avx2', but the library holds "
                                                  f"{OPTIONS.level}"):
            library.run("dense", self.draw(KERNELS[0], SHAPES[0]), 256)
        subprocess.run(["sparse-attn-compile", "--pattern=all", "--head-dim=8", "--name=host",
                        "-o", self.folder], check=True)
        done = subprocess.run([*shlex.split(OPTIONS.emulator), self.folder / "libhost.so"],
                              input="", capture_output=True, text=True)
        self.assertRegex(done.stdout, "was compiled for x86-64, and this is AArch64; compile")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", default="aarch64")
    parser.add_argument("--level", default="neon")
    parser.add_argument("--emulator", default="")
    parser.add_argument("--skip", help="print this and say that the test is skipped")
    OPTIONS, rest = parser.parse_known_args()
    if OPTIONS.skip:
        print(f"skipped: {OPTIONS.skip}")
        sys.exit(77)
    unittest.main(argv=[sys.argv[0], *rest])
