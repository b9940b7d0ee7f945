# ===- _tensors.py - tensors of other packages as DLTensor, without a copy --===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Views of arrays: NumPy's array interface, or DLPack for everything else.

torch is never imported here: a caller that has torch tensors has done that.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any, Sequence

import numpy as np

from . import _abi
from ._abi import BFLOAT, BOOL, DLTensor, FLOAT, INT, UINT, invalid

_KINDS = {"f": FLOAT, "i": INT, "u": UINT, "b": BOOL}
_NUMPY_TYPES = {
    (FLOAT, 16): "float16",
    (FLOAT, 32): "float32",
    (FLOAT, 64): "float64",
    (INT, 8): "int8",
    (INT, 32): "int32",
    (INT, 64): "int64",
    (UINT, 8): "uint8",
}
_PREFIXES = {FLOAT: "f", BFLOAT: "bf", INT: "i", UINT: "u"}


def type_name(code: int, bits: int) -> str:
    """As in the manifest: f32, bf16, i32, ..."""
    return f"{_PREFIXES.get(code, '?')}{bits}"


def torch_of(value: Any):
    """The module torch if `value` is one of its tensors, else None."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and isinstance(value, torch.Tensor) else None


# ===--- Views --------------------------------------------------------------===#


class View:
    """A DLTensor that shares the memory of `value`, which it keeps alive."""

    def __init__(self, tensor: DLTensor, *owners: Any):
        self.tensor = tensor
        self.owners = owners


def make_view(name: str, value: Any, writable: bool = False) -> View:
    """Views `value`; the runtime checks shape, type, strides and device."""
    interface = getattr(value, "__array_interface__", None)
    if interface is not None:
        return _view_array(name, value, interface, writable)
    if hasattr(value, "__dlpack__"):
        return _view_dlpack(name, value)
    raise invalid(
        f"'{name}' is a {type(value).__name__}, expected a NumPy array, a torch tensor or "
        "another object with __dlpack__"
    )


def _view_array(name: str, value: Any, interface: dict, writable: bool) -> View:
    address, readonly = interface["data"]
    if writable and readonly:
        raise invalid(f"'{name}' is read-only; pass an array that may be written")
    code, bits = _array_type(name, value, interface["typestr"])
    shape = interface["shape"]
    tensor = DLTensor(address, (_abi.CPU, 0), len(shape), (code, bits, 1))
    sizes = (ctypes.c_int64 * len(shape))(*shape)
    tensor.shape = sizes
    byte_strides = interface.get("strides")
    if byte_strides is not None:
        item = bits // 8
        # The stride of an axis of size 1 is never used, and may be anything.
        if any(step % item for step, size in zip(byte_strides, shape) if size > 1):
            raise invalid(f"'{name}' has strides that are no whole elements; pass a copy")
        tensor.strides = (ctypes.c_int64 * len(shape))(*(step // item for step in byte_strides))
    return View(tensor, value)


def _array_type(name: str, value: Any, text: str) -> tuple:
    """DLPack's code and bits of an array interface's type."""
    kind, item = text[1], text[2:]
    if text[0] == ">" and item != "1":
        raise invalid(f"'{name}' has big-endian elements; pass value.astype('<{text[1:]}')")
    if kind in _KINDS:
        return _KINDS[kind], 8 * int(item)
    # NumPy has no bfloat16; the package ml_dtypes adds one, seen as two raw bytes.
    if getattr(getattr(value, "dtype", None), "name", "") == "bfloat16":
        return BFLOAT, 16
    raise invalid(f"'{name}' has elements of type '{text}', which no kernel takes")


_python = ctypes.pythonapi
_python.PyCapsule_GetPointer.restype = ctypes.c_void_p
_python.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]


def _view_dlpack(name: str, value: Any) -> View:
    torch = torch_of(value)
    if torch is not None and value.requires_grad:
        if torch.is_grad_enabled():
            raise invalid(
                f"'{name}' requires grad, but kernels have no backward pass; run under "
                "torch.no_grad() or pass its detach()"
            )
        value = value.detach()
    if torch is not None and value.is_neg():
        raise invalid(f"'{name}' is a view with its sign to be changed; pass value.resolve_neg()")
    try:
        # A kernel is started in torch's stream, so that it waits by itself (-1).
        on_gpu = torch is not None and value.is_cuda
        capsule = value.__dlpack__(stream=-1) if on_gpu else value.__dlpack__()
        # The capsule is not consumed: its owner frees it with the view.
        pointer = _python.PyCapsule_GetPointer(capsule, b"dltensor")
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise invalid(f"'{name}' cannot be shared through DLPack: {error}") from None
    return View(DLTensor.from_address(pointer), capsule, value)


class TorchLike:
    """Recognises torch tensors that differ from one that was viewed in their address
    alone, for a call that is repeated: that is cheaper than DLPack."""

    def __init__(self, value: Any, view: View):
        self.type = type(value)
        self.shape, self.strides = tuple(value.shape), value.stride()
        self.dtype, self.device, self.layout = value.dtype, value.device, value.layout
        # Of our own: DLPack's goes with its capsule.
        source, rank = view.tensor, view.tensor.ndim
        self.tensor = DLTensor(0, source.device, rank, source.dtype)
        self.sizes = (ctypes.c_int64 * rank)(*self.shape)
        self.steps = (ctypes.c_int64 * rank)(*self.strides)
        self.tensor.shape, self.tensor.strides = self.sizes, self.steps

    def take(self, value: Any) -> bool:
        """Points at `value` if it is alike; without gradients, signs to apply, ..."""
        if (
            type(value) is not self.type
            or value.shape != self.shape
            or value.stride() != self.strides
            or value.dtype is not self.dtype
            or value.device != self.device
            or value.layout is not self.layout
            or value.requires_grad
            or value.is_neg()
        ):
            return False
        self.tensor.data = value.data_ptr()
        return True


def from_sequence(name: str, value: Any, dtype: tuple) -> np.ndarray:
    """Lists and numbers as an array of the type that the kernel takes."""
    array = np.asarray(value)
    if dtype not in _NUMPY_TYPES or array.dtype.kind not in "iufb":
        raise invalid(f"'{name}' cannot be made of a list; pass an array of {type_name(*dtype)}")
    converted = array.astype(_NUMPY_TYPES[dtype])
    if dtype[0] != FLOAT and not np.array_equal(converted, array):
        raise invalid(f"'{name}' has values that are no {type_name(*dtype)}")
    return converted


def pointers(views: Sequence[View]) -> Any:
    """The C array of pointers that runtime.h takes."""
    return (ctypes.POINTER(DLTensor) * len(views))(*(ctypes.pointer(v.tensor) for v in views))


# ===--- Results ------------------------------------------------------------===#


def allocate(name: str, shape: Sequence[int], dtype: tuple, inputs: Sequence[Any]) -> Any:
    """An uninitialised result in the framework of the inputs."""
    code, bits = dtype
    for value in inputs:
        torch = torch_of(value)
        if torch is not None:
            text = "bfloat16" if code == BFLOAT else _NUMPY_TYPES[dtype]
            dtype = getattr(torch, text)
            return torch.empty(tuple(shape), dtype=dtype, device=value.device)
    if code != BFLOAT:
        return np.empty(shape, _NUMPY_TYPES[dtype])
    for value in inputs:
        if getattr(getattr(value, "dtype", None), "name", "") == "bfloat16":
            return np.empty(shape, value.dtype)
    raise invalid(f"NumPy has no bfloat16 for '{name}'; pass an array to write to as {name}=")
