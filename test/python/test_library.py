# ===- test_library.py - loading libraries and looking into them ------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""What a library, a kernel and a plan tell about themselves; files that are none."""
import gc
import os
import re
import shutil
import unittest
import weakref

import numpy as np
from support import ROOT, SCRATCH, TestCase, compile_kernel, draw_qkv, positions

import sparse_attn
from sparse_attn import Status


class Facts(TestCase):
    def test_abi_version(self):
        header = os.path.join(ROOT, "runtime", "include", "sparse_attn", "runtime.h")
        with open(header, encoding="utf-8") as file:
            version = re.search(r"#define SPARSE_ATTN_ABI_VERSION (\d+)", file.read())[1]
        self.assertEqual(
            sparse_attn.ABI_VERSION, int(version),
            "runtime.h has changed: see whether _abi.py still says the same, then raise "
            "ABI_VERSION",
        )

    def test_library(self):
        library = compile_kernel("causal & segments(offsets)").library
        self.assertEqual(library.names, ["kernel"])
        self.assertEqual(list(library), ["kernel"])
        self.assertIn("kernel", library)
        self.assertNotIn("other", library)
        self.assertEqual(library.manifest["abi"], sparse_attn.ABI_VERSION)
        self.assertIs(library["kernel"], library["kernel"])
        with self.fails(Status.NOT_FOUND, "no kernel 'other'; the library holds 'kernel'"):
            library["other"]

    def test_inputs(self):
        kernel = compile_kernel("causal & segments(offsets)")
        self.assertEqual([tensor.name for tensor in kernel.inputs], ["q", "k", "v", "offsets"])
        self.assertEqual(kernel.inputs[1], ("k", "f32", ("B", "Hkv", "N", 32), False))
        self.assertEqual(kernel.inputs[3], ("offsets", "i32", ("B or 1", "any"), True))
        self.assertEqual([tensor.name for tensor in kernel.outputs], ["out", "lse"])
        self.assertIn(kernel.level, ("avx2", "avx512"))

    def test_tiles(self):
        kernel = compile_kernel("window(100, 0) & segments(offsets)")
        plan = kernel.plan(2, 3, 3, 500, 700, offsets=[[0, 300, 700]])
        grid = plan.grid()
        self.assertEqual((grid.batch, grid.heads, grid.queries, grid.keys), (2, 3, 500, 700))
        self.assertTrue(grid.plan_time)
        p, j = positions(500, 700)
        keep = (j <= p) & (p - j <= 100) & ((p < 300) == (j < 300))
        tiles = plan.tile_map(b=1, h=2)
        self.assertEqual(tiles.shape, (grid.row_tiles, grid.key_tiles))
        for row in range(grid.row_tiles):
            for column in range(grid.key_tiles):
                tile = keep[row * grid.tile_rows :, column * grid.tile_keys :]
                tile = tile[: grid.tile_rows, : grid.tile_keys]
                kind = 0 if not tile.any() else 1 if tile.all() else 2
                self.assertIn(tiles[row, column], {kind, 2}, f"tile {row}, {column}")
        counts = plan.tiles()
        self.assertEqual(counts.all, 6 * tiles.size)
        self.assertEqual(counts.visited, 6 * np.count_nonzero(tiles))
        self.assertGreater(plan.bytes, 0)

    def test_tiles_by_head(self):
        plan = compile_kernel("per_head([causal, all], table=[0, 1])").plan(1, 2, 1, 256, 256)
        both = [np.count_nonzero(plan.tile_map(h=h)) for h in (0, 1)]
        self.assertLess(both[0], both[1])
        self.assertEqual(plan.tiles().visited, sum(both))

    def test_outside_of_the_grid(self):
        plan = compile_kernel("causal").plan(1, 2, 1, 64, 64)
        with self.fails(Status.INVALID_ARGUMENT, "h is 2, expected 0 to 1"):
            plan.tile_map(h=2)


class Lifetime(TestCase):
    def test_plan_keeps_its_library(self):
        plan = compile_kernel("causal").plan(1, 1, 1, 40, 40)
        path = plan.kernel.library.path
        plan = sparse_attn.load(path)["kernel"].plan(1, 1, 1, 40, 40)
        gc.collect()
        plan.run(*draw_qkv(1, 1, 1, 40, 40))

    def test_plans_are_freed(self):
        plan = compile_kernel("causal").plan(1, 1, 1, 40, 40)
        alive = weakref.ref(plan)
        del plan
        self.assertIsNone(alive())

    def test_file_written_again(self):
        """A library at the path of one that is loaded is another library."""
        path = os.path.join(SCRATCH, "libagain.so")
        shutil.copy(compile_kernel("causal").library.path, path)
        first = sparse_attn.load(path)["kernel"].plan(1, 1, 1, 256, 256)
        os.remove(path)
        shutil.copy(compile_kernel("all").library.path, path)
        second = sparse_attn.load(path)["kernel"].plan(1, 1, 1, 256, 256)
        self.assertLess(first.tiles().visited, first.tiles().all)
        self.assertEqual(second.tiles().visited, second.tiles().all)


class Files(TestCase):
    def test_no_library(self):
        cases = [
            (os.path.join(SCRATCH, "none.so"), "cannot open '.*none.so': No such file"),
            (os.path.abspath(__file__), "is not a 64-bit shared library"),
            (SCRATCH, "cannot open .*: Is a directory"),
        ]
        for path, message in cases:
            with self.subTest(path), self.fails(Status.LOAD_FAILED, message):
                sparse_attn.load(path)

    def test_truncated(self):
        with open(compile_kernel("causal").library.path, "rb") as file:
            data = file.read()
        path = os.path.join(SCRATCH, "libshort.so")
        for size in (10, 64, 200, len(data) // 2):
            with open(path, "wb") as file:
                file.write(data[:size])
            with self.subTest(size), self.fails(Status.LOAD_FAILED, "truncated|is not a 64-bit"):
                sparse_attn.load(path)

    def test_other_library(self):
        with open("/proc/self/maps", encoding="utf-8") as maps:
            name = next(line.split()[-1] for line in maps if "libc.so" in line)
        with self.fails(Status.LOAD_FAILED, "has no function 'sparse_attn_"):
            sparse_attn.load(name)


if __name__ == "__main__":
    unittest.main(verbosity=2)
