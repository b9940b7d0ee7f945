# ===- test_run.py - plans and runs from Python -----------------------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Tensors of every kind of memory layout, operands, threads, results, mistakes."""
import threading
import unittest

import numpy as np
from support import TestCase, attend, compile_kernel, draw, draw_qkv, needs_torch, positions, torch

from sparse_attn import Status

SHAPE = (2, 6, 2, 200, 300)


def causal(queries, keys):
    p, j = positions(queries, keys)
    return j <= p


class OnlyDLPack:
    """An array of some other package."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)


class Layout(TestCase):
    def setUp(self):
        self.plan = compile_kernel("causal").plan(*SHAPE)
        self.inputs = draw_qkv(*SHAPE)
        self.expected = attend(*self.inputs, causal(200, 300))

    def test_contiguous_with_groups(self):
        self.check(self.plan.run(*self.inputs), self.expected)

    def test_heads_beside_each_other(self):
        """[B, M, H, D] in memory, as projections leave it."""
        inputs = [np.ascontiguousarray(x.swapaxes(1, 2)).swapaxes(1, 2) for x in self.inputs]
        self.assertFalse(inputs[0].flags.c_contiguous)
        out = np.empty((2, 200, 6, 32), np.float32).swapaxes(1, 2)
        self.check(self.plan.run(*inputs, out=out), self.expected)

    def test_slice_of_a_cache(self):
        cache = np.full((2, 2, 1024, 64), np.nan, np.float32)
        keys = cache[:, :, 100:400, 16:48]
        keys[...] = self.inputs[1]
        self.check(self.plan.run(self.inputs[0], keys, self.inputs[2]), self.expected)

    def test_negative_strides(self):
        inputs = [x[:, ::-1, ::-1].copy()[:, ::-1, ::-1] for x in self.inputs]
        self.check(self.plan.run(*inputs), self.expected)

    def test_one_batch_entry_for_all(self):
        k, v = (np.broadcast_to(x[:1], x.shape) for x in self.inputs[1:])
        expected = attend(self.inputs[0], k, v, causal(200, 300))
        self.check(self.plan.run(self.inputs[0], k, v), expected)

    def test_read_only_inputs(self):
        for x in self.inputs:
            x.flags.writeable = False
        self.check(self.plan.run(*self.inputs), self.expected)

    def test_dlpack(self):
        inputs = [OnlyDLPack(x) for x in self.inputs]
        self.check(self.plan.run(*inputs), self.expected)

    def test_by_name(self):
        q, k, v = self.inputs
        result = self.plan.run(q, v=v, k=k)
        self.check(result, self.expected)
        np.testing.assert_array_equal(result.out, result[0])
        np.testing.assert_array_equal(result.lse, result[1])

    def test_given_results(self):
        out, lse = np.empty((2, 6, 200, 32), np.float32), np.empty((2, 6, 200), np.float32)
        result = self.plan.run(*self.inputs, out=out, lse=lse)
        self.assertIs(result.out, out)
        self.assertIs(result.lse, lse)
        self.check((out, lse), self.expected)
        only_lse = self.plan.run(*self.inputs, lse=lse)
        self.assertIs(only_lse.lse, lse)
        np.testing.assert_array_equal(only_lse.out, out)

    def test_workspace(self):
        size = self.plan.workspace_bytes()
        self.assertGreater(size, 0)
        for workspace in (bytearray(size), np.empty(size // 4 + 1, np.float32)):
            self.check(self.plan.run(*self.inputs, workspace=workspace), self.expected)
        with self.fails(Status.WORKSPACE_TOO_SMALL, f"has 100 bytes, expected at least {size}"):
            self.plan.run(*self.inputs, workspace=bytearray(100))
        with self.fails(Status.INVALID_ARGUMENT, "'workspace' is read-only"):
            self.plan.run(*self.inputs, workspace=memoryview(bytes(size)))


class Shapes(TestCase):
    def test_decode(self):
        inputs = draw_qkv(1, 8, 2, 1, 500)
        result = compile_kernel("causal").plan(1, 8, 2, 1, 500).run(*inputs)
        self.check(result, attend(*inputs, np.array(True)))

    def test_no_queries(self):
        plan = compile_kernel("causal").plan(1, 8, 2, 0, 500)
        result = plan.run(*draw_qkv(1, 8, 2, 0, 500))
        self.assertEqual(result.out.shape, (1, 8, 0, 32))

    def test_no_keys(self):
        plan = compile_kernel("causal").plan(1, 8, 2, 5, 0)
        result = plan.run(*draw_qkv(1, 8, 2, 5, 0))
        self.assertFalse(result.out.any())
        self.assertTrue(np.isneginf(result.lse).all())

    def test_value_dim(self):
        kernel = compile_kernel("causal", value_dim=48)
        q, k, _ = draw_qkv(1, 2, 2, 70, 70)
        v = draw(1, 2, 70, 48, seed=5)
        result = kernel.plan(1, 2, 2, 70, 70).run(q, k, v)
        self.assertEqual(result.out.shape, (1, 2, 70, 48))
        self.check(result, attend(q, k, v, causal(70, 70)))


class HalfPrecision(TestCase):
    def check_close(self, out, inputs, bound):
        expected, _ = attend(*inputs, causal(200, 300))
        error = np.linalg.norm(out - expected) / np.linalg.norm(expected)
        self.assertLessEqual(error, bound)

    def test_f16(self):
        inputs = [x.astype(np.float16) for x in draw_qkv(*SHAPE)]
        result = compile_kernel("causal", dtype="f16").plan(*SHAPE).run(*inputs)
        self.assertEqual(result.out.dtype, np.float16)
        self.assertEqual(result.lse.dtype, np.float32)
        self.check_close(result.out.astype(np.float64), inputs, 1e-3)

    def test_f32_out_of_16_bits(self):
        inputs = [x.astype(np.float16) for x in draw_qkv(*SHAPE)]
        kernel = compile_kernel("causal", dtype="f16", out_dtype="f32")
        self.assertEqual(kernel.outputs[0].dtype, "f32")
        result = kernel.plan(*SHAPE).run(*inputs)
        self.assertEqual(result.out.dtype, np.float32)
        # Nothing is rounded: the f32 kernel gives the same bits.
        single = compile_kernel("causal").plan(*SHAPE).run(*(x.astype(np.float32) for x in inputs))
        self.assertEqual(result.out.tobytes(), single.out.tobytes())

    def test_f32_out_of_bf16(self):
        kernel = compile_kernel("causal", dtype="bf16", out_dtype="f32")
        self.assertEqual([t.dtype for t in kernel.inputs], ["bf16"] * 3)
        self.assertEqual([t.dtype for t in kernel.outputs], ["f32", "f32"])

    def test_no_bf16_in_numpy(self):
        kernel = compile_kernel("causal", dtype="bf16")
        with self.fails(Status.INVALID_ARGUMENT, "'q' has dtype float32, expected bfloat16"):
            out = np.empty((2, 6, 200, 32), np.float16)
            kernel.plan(*SHAPE).run(*draw_qkv(*SHAPE), out=out)
        with self.fails(Status.INVALID_ARGUMENT, "NumPy has no bfloat16 for 'out'"):
            kernel.plan(*SHAPE).run(*draw_qkv(*SHAPE))

    @needs_torch
    def test_bf16(self):
        inputs = [torch.from_numpy(x).bfloat16() for x in draw_qkv(*SHAPE)]
        result = compile_kernel("causal", dtype="bf16").plan(*SHAPE).run(*inputs)
        self.assertEqual(result.out.dtype, torch.bfloat16)
        rounded = [x.float().numpy() for x in inputs]
        self.check_close(result.out.double().numpy(), rounded, 4e-3)


class Operands(TestCase):
    def test_layout_operand(self):
        kernel = compile_kernel("causal & segments(offsets)")
        inputs = draw_qkv(1, 2, 1, 300, 300)
        owner = np.repeat([0, 1, 2], [100, 50, 150])
        expected = attend(*inputs, causal(300, 300) & (owner[:, None] == owner))
        offsets = [[0, 100, 150, 300]]
        strided = np.array([[0, 9, 100, 9, 150, 9, 300]], np.int32)[:, ::2].copy()
        for given in (offsets, np.array(offsets, np.int32), strided):
            plan = kernel.plan(1, 2, 1, 300, 300, offsets=given)
            self.check(plan.run(*inputs), expected)

    def test_operand_is_copied(self):
        """A plan does not look at the caller's array again."""
        kernel = compile_kernel("segments(offsets)")
        inputs = draw_qkv(1, 1, 1, 64, 64)
        offsets = np.array([[0, 20, 64]], np.int32)
        plan = kernel.plan(1, 1, 1, 64, 64, offsets=offsets)
        before = plan.run(*inputs).out
        offsets[:] = 0
        np.testing.assert_array_equal(plan.run(*inputs).out, before)

    def test_lengths(self):
        kernel = compile_kernel("all", kv_len=True)
        inputs = draw_qkv(2, 2, 2, 10, 90)
        expected = attend(*inputs, np.arange(90) < np.array([70, 30]).reshape(2, 1, 1, 1))
        self.check(kernel.plan(2, 2, 2, 10, 90, kv_len=[70, 30]).run(*inputs), expected)

    def test_bias_at_run(self):
        kernel = compile_kernel("causal", modifiers="bias(bias)")
        self.assertFalse(next(t for t in kernel.inputs if t.name == "bias").layout)
        plan = kernel.plan(2, 4, 2, 100, 130)
        inputs = draw_qkv(2, 4, 2, 100, 130)
        whole = draw(2, 4, 100, 130, seed=7)
        for bias in (whole, whole[:1, :, :1], np.broadcast_to(whole[:, :1], whole.shape)):
            expected = attend(*inputs, causal(100, 130), bias)
            self.check(plan.run(*inputs, bias=bias), expected)
            self.check(plan.run(*inputs, bias), expected)


class Threads(TestCase):
    def test_any_number_gives_the_same_bits(self):
        kernel = compile_kernel("causal")
        inputs = draw_qkv(*SHAPE)
        results = [kernel.plan(*SHAPE, threads=n).run(*inputs).out for n in (1, 2, 3)]
        results.append(kernel.plan(*SHAPE).run(*inputs, threads=2).out)
        for result in results[1:]:
            np.testing.assert_array_equal(result, results[0])

    def test_one_plan_in_many_threads(self):
        plan = compile_kernel("causal").plan(*SHAPE, threads=1)
        inputs = draw_qkv(*SHAPE)
        expected = plan.run(*inputs).out
        failures = []

        def work():
            for _ in range(3):
                if not np.array_equal(plan.run(*inputs).out, expected):
                    failures.append("differs")

        workers = [threading.Thread(target=work) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        self.assertEqual(failures, [])

    def test_last_error_belongs_to_its_thread(self):
        kernel = compile_kernel("causal")
        messages = {}
        together = threading.Barrier(2)

        def work(dim):
            for _ in range(20):
                together.wait()
                try:
                    kernel.plan(1, 4, 1, 9, 9).run(*draw_qkv(1, 4, 1, 9, 9, dim))
                except Exception as error:
                    messages.setdefault(dim, set()).add(str(error))

        workers = [threading.Thread(target=work, args=(dim,)) for dim in (16, 48)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        for dim in (16, 48):
            (message,) = messages[dim]
            self.assertIn(f"has size {dim} on axis 3, but the kernel was compiled for 32", message)


class Mistakes(TestCase):
    def setUp(self):
        self.kernel = compile_kernel("causal")
        self.plan = self.kernel.plan(1, 4, 2, 50, 60)
        self.inputs = draw_qkv(1, 4, 2, 50, 60)

    def test_inputs(self):
        q, k, v = self.inputs
        cases = [
            ((q, k), {}, r"run\(\) takes 'v', f32 \[B, Hkv, N, 32\]"),
            ((q, k, v, v), {}, r"run\(\) takes 3 inputs \(q, k, v\), got 4"),
            ((q, k, v), {"q": q}, "'q' is given twice"),
            ((q, k, v), {"mask": q}, r"run\(\) knows no 'mask'; it has q, k, v, out, lse"),
            ((q, k, v.astype(np.float64)), {}, "'v' has dtype float64, expected float32"),
            ((q, k, v.astype(">f4")), {}, r"'v' has big-endian elements; pass value.astype\('<f4'"),
            ((q, k, v.astype(object)), {}, "'v' has elements of type '.O'"),
            ((q, k, v[0]), {}, "'v' has rank 3, expected 4"),
            ((q, k, v[:, :, :50]), {}, "'v' has size 50 on axis 2, expected N = 60"),
            ((q, k, v[..., ::-1]), {}, "'v' has stride -1 on its last axis, expected 1"),
            ((q, k, "v"), {}, "'v' is a str, expected a NumPy array"),
            ((q, k, None), {}, "'v' is a NoneType, expected a NumPy array"),
        ]
        for inputs, named, message in cases:
            with self.subTest(message), self.fails(Status.INVALID_ARGUMENT, message):
                self.plan.run(*inputs, **named)

    def test_strides_between_elements(self):
        records = np.zeros((1, 2, 60), dtype=[("row", np.float32, 32), ("flag", np.uint8)])
        with self.fails(Status.INVALID_ARGUMENT, "'k' has strides that are no whole elements"):
            self.plan.run(self.inputs[0], records["row"], self.inputs[2])

    def test_results(self):
        cases = [
            (np.empty((1, 4, 50, 31), np.float32), "'out' has size 31 on axis 3"),
            (np.empty((1, 4, 50, 32), np.float64), "'out' has dtype float64"),
            (np.broadcast_to(np.float32(0), (1, 4, 50, 32)), "'out' is read-only"),
        ]
        for out, message in cases:
            with self.subTest(message), self.fails(Status.INVALID_ARGUMENT, message):
                self.plan.run(*self.inputs, out=out)

    def test_shapes(self):
        with self.fails(Status.INVALID_ARGUMENT, "H = 4 is not a multiple of Hkv = 3"):
            self.kernel.plan(1, 4, 3, 50, 60)
        with self.assertRaises(TypeError):
            self.kernel.plan(1, 4, 2, 50.5, 60)
        with self.fails(Status.INVALID_ARGUMENT, "threads"):
            self.kernel.plan(1, 4, 2, 50, 60, threads=-1)

    def test_operands(self):
        kernel = compile_kernel("segments(offsets)")
        shape = (1, 1, 1, 64, 64)
        cases = [
            ({}, r"plan\(\) takes 'offsets', i32 \[B or 1, any\]"),
            ({"offset": [[0, 64]]}, r"plan\(\) knows no 'offset'; it has offsets"),
            ({"offsets": [[0, 2**40]]}, "'offsets' has values that are no i32"),
            ({"offsets": [[0, 1.5]]}, "'offsets' has values that are no i32"),
            ({"offsets": [[0, "x"]]}, "'offsets' cannot be made of a list"),
            ({"offsets": np.array([[0, 64]])}, "'offsets' has dtype int64, expected int32"),
            ({"offsets": [0, 64]}, "'offsets' has rank 1, expected 2"),
            ({"offsets": [[0, 70, 64]]}, "offsets"),
        ]
        for operands, message in cases:
            with self.subTest(message), self.fails(Status.INVALID_ARGUMENT, message):
                kernel.plan(*shape, **operands)


@needs_torch
class Torch(TestCase):
    def setUp(self):
        self.plan = compile_kernel("causal").plan(*SHAPE)
        self.arrays = draw_qkv(*SHAPE)
        self.tensors = [torch.from_numpy(x) for x in self.arrays]
        self.expected = attend(*self.arrays, causal(200, 300))

    def test_results_are_tensors(self):
        result = self.plan.run(*self.tensors)
        self.assertIsInstance(result.out, torch.Tensor)
        self.assertEqual(result.lse.dtype, torch.float32)
        self.check(result, self.expected)

    def test_strides(self):
        inputs = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in self.tensors]
        out = torch.empty(2, 200, 6, 32).transpose(1, 2)
        address = out.data_ptr()
        result = self.plan.run(*inputs, out=out)
        self.assertIs(result.out, out)
        self.assertEqual(out.data_ptr(), address)
        self.check(result, self.expected)

    def test_expanded(self):
        k, v = (x[:1].expand(*x.shape) for x in self.tensors[1:])
        expected = attend(self.arrays[0], k.numpy(), v.numpy(), causal(200, 300))
        self.check(self.plan.run(self.tensors[0], k, v), expected)

    def test_mixed(self):
        result = self.plan.run(self.arrays[0], self.tensors[1], self.arrays[2])
        self.check(result, self.expected)

    def test_operands(self):
        kernel = compile_kernel("segments(offsets)")
        offsets = torch.tensor([[0, 20, 64]], dtype=torch.int32)
        inputs = draw_qkv(1, 1, 1, 64, 64)
        plan = kernel.plan(1, 1, 1, 64, 64, offsets=offsets)
        owner = np.repeat([0, 1], [20, 44])
        self.check(plan.run(*map(torch.from_numpy, inputs)),
                   attend(*inputs, owner[:, None] == owner))

    def test_gradients(self):
        self.tensors[0].requires_grad_()
        with self.fails(Status.INVALID_ARGUMENT, "'q' requires grad, but kernels have no backward"):
            self.plan.run(*self.tensors)
        with torch.no_grad():
            self.check(self.plan.run(*self.tensors), self.expected)

    def test_sign_to_be_changed(self):
        q = torch._neg_view(self.tensors[0])
        for _ in range(2):
            with self.fails(Status.INVALID_ARGUMENT, "pass value.resolve_neg"):
                self.plan.run(q, *self.tensors[1:])
            self.check(self.plan.run(*self.tensors), self.expected)

    def test_wrong_type(self):
        with self.fails(Status.INVALID_ARGUMENT, "'q' has dtype bfloat16, expected float32"):
            self.plan.run(self.tensors[0].bfloat16(), *self.tensors[1:])


@needs_torch
class RepeatedRuns(TestCase):
    """A second run on tensors like those of the first takes a shorter way."""

    def setUp(self):
        self.plan = compile_kernel("causal").plan(*SHAPE)
        self.first = draw_qkv(*SHAPE)
        self.kept = self.plan.run(*map(torch.from_numpy, self.first))

    def check_run(self, *inputs):
        expected = attend(*(x.numpy() for x in inputs), causal(200, 300))
        self.check(self.plan.run(*inputs), expected)

    def test_other_values(self):
        before = self.kept.out.clone()
        for scale in (-1, 0.5):
            self.check_run(*(scale * torch.from_numpy(x) for x in self.first))
        self.assertTrue(torch.equal(self.kept.out, before))  # results are new tensors
        self.check(self.kept, attend(*self.first, causal(200, 300)))

    def test_other_strides(self):
        inputs = [torch.from_numpy(x) for x in self.first]
        moved = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in inputs]
        for one in (moved, inputs, [inputs[0], *moved[1:]], moved):
            self.check_run(*one)

    def test_views(self):
        """The address is that of the first element, not of the memory behind it."""
        whole = [torch.from_numpy(np.concatenate([x, x], axis=1)) for x in self.first]
        for part in (0, 1):
            self.check_run(*(x[:, part * x.shape[1] // 2 :][:, : x.shape[1] // 2] for x in whole))

    def test_mixed(self):
        inputs = [torch.from_numpy(x) for x in self.first]
        for _ in range(2):
            self.check_run(*inputs)
            self.assertIsInstance(self.plan.run(*self.first).out, np.ndarray)

    def test_mistakes(self):
        q, k, v = (torch.from_numpy(x) for x in self.first)
        cases = [
            ((q, k), r"run\(\) takes 'v'"),
            ((q, k, v, v), r"run\(\) takes 3 inputs"),
            ((q.bfloat16(), k, v), "'q' has dtype bfloat16"),
            ((q, k[:, :, :200], v), "'k' has size 200 on axis 2"),
            ((q.clone().requires_grad_(), k, v), "'q' requires grad"),
            ((q, k, v.to("meta")), "'v'"),
        ]
        for inputs, message in cases:
            with self.subTest(message), self.fails(Status.INVALID_ARGUMENT, message):
                self.plan.run(*inputs)
            self.check_run(q, k, v)

    def test_bias(self):
        plan = compile_kernel("causal", modifiers="bias(bias)").plan(2, 4, 2, 100, 130)
        inputs = draw_qkv(2, 4, 2, 100, 130)
        for seed in (1, 2):
            bias = draw(2, 4, 100, 130, seed=seed)
            result = plan.run(*map(torch.from_numpy, (*inputs, bias)))
            self.check(result, attend(*inputs, causal(100, 130), bias))


if __name__ == "__main__":
    unittest.main(verbosity=2)
