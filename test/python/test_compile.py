# ===- test_compile.py - the compiler from Python ---------------------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Finding the compiler, what it refuses, and the cache of libraries."""
import os
import pathlib
import tempfile
import unittest
from unittest import mock

from support import ROOT, SCRATCH, TestCase

import sparse_attn
from sparse_attn import Status


def list_libraries(cache):
    return {path: path.stat().st_mtime_ns for path in pathlib.Path(cache).glob("*/*.so")}


class Cache(TestCase):
    def setUp(self):
        self.cache = tempfile.mkdtemp(dir=SCRATCH)

    def test_by_content(self):
        sparse_attn.compile("causal", head_dim=16, cache=self.cache)
        before = list_libraries(self.cache)
        self.assertEqual(len(before), 1)
        sparse_attn.compile("causal", head_dim=16, cache=self.cache)
        self.assertEqual(list_libraries(self.cache), before)
        for options in ({"head_dim": 32}, {"head_dim": 16, "scale": 0.5},
                        {"head_dim": 16, "level": "avx2"}, {"head_dim": 16, "name": "other"}):
            count = len(list_libraries(self.cache))
            library = sparse_attn.compile("causal", cache=self.cache, **options)
            self.assertEqual(len(list_libraries(self.cache)), count + 1, options)
        self.assertEqual(library.names, ["other"])

    def test_from_the_environment(self):
        with mock.patch.dict(os.environ, SPARSE_ATTN_CACHE=self.cache):
            library = sparse_attn.compile("causal", head_dim=16)
        self.assertTrue(library.path.startswith(self.cache))

    def test_file(self):
        path = pathlib.Path(ROOT, "examples", "c-program", "pattern.mlir")
        library = sparse_attn.compile(path, name="packed", cache=self.cache)
        self.assertEqual(library.names, ["packed"])
        again = sparse_attn.compile(str(path), name="packed", cache=self.cache)
        self.assertEqual(again.path, library.path)

    def test_options_reach_the_compiler(self):
        library = sparse_attn.compile(
            "causal", head_dim=16, value_dim=8, kv_len=True, q_len=True, q_offset=True,
            sinks=True, modifiers="softcap(30.0), alibi(slopes)", cache=self.cache,
        )
        names = [tensor.name for tensor in library["kernel"].inputs]
        self.assertEqual(set(names),
                         {"q", "k", "v", "kv_len", "q_len", "q_offset", "sinks", "slopes"})
        self.assertEqual(library.manifest["kernels"][0]["value_dim"], 8)

    def test_no_place(self):
        file = os.path.join(self.cache, "file")
        open(file, "w").close()
        with self.fails(Status.INVALID_ARGUMENT, "cannot write to the cache folder"):
            sparse_attn.compile("causal", head_dim=16, cache=file)


class Mistakes(TestCase):
    def test_refused(self):
        cache = tempfile.mkdtemp(dir=SCRATCH)
        with self.assertRaisesRegex(sparse_attn.CompileError, "unknown mask 'windw'; did you"):
            sparse_attn.compile("causal & windw(3)", head_dim=16, cache=cache)
        with self.assertRaisesRegex(sparse_attn.CompileError, "head-dim"):
            sparse_attn.compile("causal", cache=cache)
        # Nothing half-made stays behind.
        self.assertEqual(os.listdir(cache), [])

    def test_file(self):
        with self.fails(Status.NOT_FOUND, "cannot open 'none.mlir'"):
            sparse_attn.compile("none.mlir")
        path = os.path.join(ROOT, "examples", "c-program", "pattern.mlir")
        with self.fails(Status.INVALID_ARGUMENT, "--head-dim goes with a mask expression"):
            sparse_attn.compile(path, head_dim=16)


class Finding(TestCase):
    def test_named(self):
        with mock.patch.dict(os.environ, SPARSE_ATTN_COMPILE="sparse-attn-none"):
            with self.fails(Status.NOT_FOUND, "names no program: 'sparse-attn-none'"):
                sparse_attn.compile("causal", head_dim=16)

    def test_in_path(self):
        with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
            tool = os.path.join(folder, "sparse-attn-compile")
            with open(tool, "w", encoding="utf-8") as file:
                file.write("#!/bin/sh\necho from the path >&2\nexit 1\n")
            os.chmod(tool, 0o755)
            path = folder + os.pathsep + os.environ["PATH"]
            with mock.patch.dict(os.environ, PATH=path):
                os.environ.pop("SPARSE_ATTN_COMPILE", None)
                with self.assertRaisesRegex(sparse_attn.CompileError, "^from the path$"):
                    sparse_attn.compile("causal", head_dim=16, cache=folder)


if __name__ == "__main__":
    unittest.main(verbosity=2)
