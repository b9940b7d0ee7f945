#===- library.py - a compiled library from Python, by ctypes --------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===-----------------------------------------------------------------------===#
"""sparse_attn/runtime.h for tests: a library holds the runtime, so its .so is all
that is loaded."""

import ctypes

import numpy as np

from reals import CODES, decode, encode


class DataType(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class Device(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int32), ("id", ctypes.c_int32)]


class Tensor(ctypes.Structure):
    """DLTensor."""

    _fields_ = [("data", ctypes.c_void_p), ("device", Device), ("ndim", ctypes.c_int32),
                ("dtype", DataType), ("shape", ctypes.POINTER(ctypes.c_int64)),
                ("strides", ctypes.POINTER(ctypes.c_int64)), ("byte_offset", ctypes.c_uint64)]


class TensorInfo(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("layout", ctypes.c_int), ("dtype", DataType),
                ("rank", ctypes.c_int), ("dims", ctypes.c_int64 * 4)]


class ShapeStruct(ctypes.Structure):
    _fields_ = [(n, ctypes.c_int64) for n in ("batch", "heads", "kv_heads", "queries", "keys")]


class Options(ctypes.Structure):
    _fields_ = [
        ("threads", ctypes.c_int),
        ("executor", ctypes.c_void_p),
        ("states", ctypes.c_void_p),
        ("device", ctypes.c_int32 * 2),
        ("stream", ctypes.c_void_p),
        ("driver", ctypes.c_void_p),
    ]


TYPE_CODES = {"i": 0, "u": 1, "f": 2}


def make_tensor(array, dtype=None):
    """A DLTensor over `array`, which it keeps alive; with `dtype` over a copy of it in
    that type."""
    tensor = Tensor()
    array = encode(array, dtype) if dtype else array
    tensor.data = array.ctypes.data
    tensor.device = Device(1, 0)
    tensor.ndim = array.ndim
    code, bits = CODES[dtype] if dtype else (TYPE_CODES[array.dtype.kind], 8 * array.itemsize)
    tensor.dtype = DataType(code, bits, 1)
    strides = [s // array.itemsize for s in array.strides]
    tensor.shape = (ctypes.c_int64 * array.ndim)(*array.shape)
    tensor.strides = (ctypes.c_int64 * array.ndim)(*strides)
    tensor.array = array
    return tensor


def pointers(tensors):
    return (ctypes.POINTER(Tensor) * len(tensors))(*[ctypes.pointer(t) for t in tensors])


class Library:
    def __init__(self, path):
        self.handle = ctypes.CDLL(str(path))
        self.descriptor = ctypes.addressof(
            ctypes.c_char.in_dll(self.handle, "sparse_attn_library_descriptor"))
        self.handle.sparse_attn_last_error.restype = ctypes.c_char_p

    def call(self, name, *arguments):
        status = getattr(self.handle, f"sparse_attn_{name}")(*arguments)
        if status:
            raise RuntimeError(f"{name}: {self.handle.sparse_attn_last_error().decode()}")

    def kernel(self, name):
        kernel = ctypes.c_void_p()
        self.call("kernel_find", ctypes.c_void_p(self.descriptor), name.encode(),
                  ctypes.byref(kernel))
        return kernel

    def input_infos(self, kernel):
        self.handle.sparse_attn_kernel_input_count.restype = ctypes.c_size_t
        infos = []
        for index in range(self.handle.sparse_attn_kernel_input_count(kernel)):
            info = TensorInfo()
            self.call("kernel_input_info", kernel, ctypes.c_size_t(index), ctypes.byref(info))
            code = (info.dtype.code, info.dtype.bits)
            dtype = next((d for d, known in CODES.items() if known == code), None)
            infos.append((info.name.decode(), bool(info.layout), dtype))
        return infos

    def plan(self, name, inputs, threads=0):
        return Plan(self, name, inputs, threads)

    def states(self, name, inputs):
        """States of no keys yet, None where the kernel keeps none."""
        try:
            return States(self, name, inputs)
        except RuntimeError as error:
            if "without states" not in str(error):
                raise
            return None

    def run(self, name, inputs, value_dim, threads=0, out_dtype="f32", states=None):
        """(O, LSE) of the kernel called `name`."""
        return self.plan(name, inputs, threads).run(inputs, value_dim, threads, out_dtype,
                                                    states)


def get_shape(inputs):
    batch, heads, queries, _ = inputs["q"].shape
    _, kv_heads, keys, _ = inputs["k"].shape
    return ShapeStruct(batch, heads, kv_heads, queries, keys)


def make_inputs(infos, inputs):
    """The tensors that a run takes."""
    return [make_tensor(inputs[name], dtype) for name, is_layout, dtype in infos
            if not is_layout]


class States:
    """Room for the states of as many keys as `inputs` has."""

    def __init__(self, library, name, inputs):
        self.library, self.handle = library, ctypes.c_void_p()
        kernel, shape = library.kernel(name), get_shape(inputs)
        self.infos = library.input_infos(kernel)
        library.call("states_create", kernel, ctypes.byref(shape), ctypes.byref(self.handle))

    def __del__(self):
        self.library.handle.sparse_attn_states_destroy(self.handle)

    def extend(self, inputs, lengths):
        tensors = make_inputs(self.infos, inputs)
        self.library.call("states_extend", self.handle, pointers(tensors),
                          ctypes.c_size_t(len(tensors)),
                          (ctypes.c_int64 * len(lengths))(*map(int, lengths)), None)

    def rollback(self, b, length):
        self.library.call("states_rollback", self.handle, ctypes.c_int64(b),
                          ctypes.c_int64(int(length)))


class Plan:
    """A plan for the shape and the layout operands of `inputs`."""

    def __init__(self, library, name, inputs, threads=0):
        self.library, self.plan = library, ctypes.c_void_p()
        kernel = library.kernel(name)
        self.infos = library.input_infos(kernel)
        shape = get_shape(inputs)
        layout = [make_tensor(inputs[n]) for n, is_layout, _ in self.infos if is_layout]
        library.call("plan_create", kernel, ctypes.byref(shape), pointers(layout),
                     ctypes.c_size_t(len(layout)), ctypes.byref(Options(threads, None)),
                     ctypes.byref(self.plan))

    def __del__(self):
        self.library.handle.sparse_attn_plan_destroy(self.plan)

    def run(self, inputs, value_dim, threads=0, out_dtype="f32", states=None):
        options = Options(threads, None, states and states.handle)
        size = ctypes.c_size_t()
        self.library.call("workspace_size", self.plan, ctypes.byref(options),
                          ctypes.byref(size))
        workspace = ctypes.create_string_buffer(max(size.value, 1) + 64)
        start = -(-ctypes.addressof(workspace) // 64) * 64
        # What a kernel does not write stays NaN.
        out = encode(np.full(inputs["q"].shape[:3] + (value_dim,), np.nan, np.float32), out_dtype)
        lse = np.full(inputs["q"].shape[:3], np.nan, np.float32)
        tensors = make_inputs(self.infos, inputs)
        outputs = [make_tensor(out), make_tensor(lse)]
        outputs[0].dtype = DataType(*CODES[out_dtype], 1)
        self.library.call("run", self.plan, pointers(tensors), ctypes.c_size_t(len(tensors)),
                          pointers(outputs), ctypes.c_size_t(2), ctypes.c_void_p(start), size,
                          ctypes.byref(options))
        return decode(out, out_dtype), lse
