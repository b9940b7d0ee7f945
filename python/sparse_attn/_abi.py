# ===- _abi.py - runtime.h in ctypes ----------------------------------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""The structures and functions of runtime.h, and its statuses as exceptions."""

from __future__ import annotations

import ctypes
import enum
import os
import struct
from ctypes import POINTER, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint32, c_void_p
from typing import Any, Callable, Optional

#: SPARSE_ATTN_ABI_VERSION that this package was written for.
ABI_VERSION = 11


class Status(enum.IntEnum):
    """sparse_attn_status."""

    OK = 0
    INVALID_ARGUMENT = 1
    ABI_MISMATCH = 2
    LOAD_FAILED = 3
    UNSUPPORTED_CPU = 4
    OUT_OF_MEMORY = 5
    OVERFLOW = 6
    WORKSPACE_TOO_SMALL = 7
    NOT_FOUND = 8
    SAVE_FAILED = 9
    NO_GPU = 10
    GPU_FAILED = 11


class Error(Exception):
    """A call that failed: `status` says how, and the text what to do about it."""

    def __init__(self, status: Status, message: str):
        super().__init__(message)
        self.status = status


def invalid(message: str) -> Error:
    """A mistake that is found before the runtime is called."""
    return Error(Status.INVALID_ARGUMENT, message)


# ===--- Structures ---------------------------------------------------------===#


class DLDevice(ctypes.Structure):
    _fields_ = [("device_type", c_int), ("device_id", c_int32)]


class DLDataType(ctypes.Structure):
    _fields_ = [
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
    ]


class DLTensor(ctypes.Structure):
    _fields_ = [
        ("data", c_void_p),
        ("device", DLDevice),
        ("ndim", c_int32),
        ("dtype", DLDataType),
        ("shape", POINTER(c_int64)),
        ("strides", POINTER(c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class CTensorInfo(ctypes.Structure):
    _fields_ = [
        ("name", c_char_p),
        ("layout", c_int),
        ("dtype", DLDataType),
        ("rank", c_int),
        ("dims", c_int64 * 4),
    ]


class CShape(ctypes.Structure):
    _fields_ = [
        (name, c_int64) for name in ("batch", "heads", "kv_heads", "queries", "keys")
    ]


class COptions(ctypes.Structure):
    _fields_ = [
        ("threads", c_int),
        ("executor", c_void_p),
        ("states", c_void_p),
        ("device", DLDevice),
        ("stream", c_void_p),
        ("driver", c_void_p),
    ]


class CGrid(ctypes.Structure):
    _fields_ = [
        (name, c_int64)
        for name in (
            "batch", "heads", "queries", "keys", "tile_rows", "tile_keys", "row_tiles",
            "key_tiles", "step", "class_row_tiles", "class_key_tiles",
        )
    ] + [("plan_time", c_int), ("number", c_int)]


Visit = ctypes.CFUNCTYPE(None, c_void_p, c_int64, c_int64, c_int)
Tensors = POINTER(POINTER(DLTensor))

# DLDataTypeCode.
INT, UINT, FLOAT, BFLOAT, BOOL = 0, 1, 2, 4, 6
CPU, CUDA = 1, 2  # kDLCPU, kDLCUDA

# ===--- Functions ----------------------------------------------------------===#

# Result and arguments of every function of runtime.h that is called.
_SIGNATURES: dict = {
    "sparse_attn_last_error": (c_char_p, []),
    "sparse_attn_abi_version": (c_uint32, []),
    "sparse_attn_library_open": (c_int, [c_char_p, POINTER(c_void_p)]),
    "sparse_attn_library_close": (None, [c_void_p]),
    "sparse_attn_library_manifest": (c_char_p, [c_void_p]),
    "sparse_attn_kernel_count": (c_size_t, [c_void_p]),
    "sparse_attn_kernel_at": (c_void_p, [c_void_p, c_size_t]),
    "sparse_attn_kernel_find": (c_int, [c_void_p, c_char_p, POINTER(c_void_p)]),
    "sparse_attn_kernel_name": (c_char_p, [c_void_p]),
    "sparse_attn_kernel_level": (c_char_p, [c_void_p]),
    "sparse_attn_kernel_input_count": (c_size_t, [c_void_p]),
    "sparse_attn_kernel_output_count": (c_size_t, [c_void_p]),
    "sparse_attn_kernel_input_info": (c_int, [c_void_p, c_size_t, POINTER(CTensorInfo)]),
    "sparse_attn_kernel_output_info": (c_int, [c_void_p, c_size_t, POINTER(CTensorInfo)]),
    "sparse_attn_plan_create": (
        c_int,
        [c_void_p, POINTER(CShape), Tensors, c_size_t, POINTER(COptions), POINTER(c_void_p)],
    ),
    "sparse_attn_plan_destroy": (None, [c_void_p]),
    "sparse_attn_plan_bytes": (c_size_t, [c_void_p]),
    "sparse_attn_workspace_size": (c_int, [c_void_p, POINTER(COptions), POINTER(c_size_t)]),
    "sparse_attn_run": (
        c_int,
        [c_void_p, Tensors, c_size_t, Tensors, c_size_t, c_void_p, c_size_t, POINTER(COptions)],
    ),
    "sparse_attn_states_create": (c_int, [c_void_p, POINTER(CShape), POINTER(c_void_p)]),
    "sparse_attn_states_destroy": (None, [c_void_p]),
    "sparse_attn_states_bytes": (c_size_t, [c_void_p]),
    "sparse_attn_states_bytes_per_key": (ctypes.c_double, [c_void_p]),
    "sparse_attn_states_length": (c_int64, [c_void_p, c_int64]),
    "sparse_attn_states_extend": (
        c_int,
        [c_void_p, Tensors, c_size_t, POINTER(c_int64), POINTER(COptions)],
    ),
    "sparse_attn_states_rollback": (c_int, [c_void_p, c_int64, c_int64]),
    "sparse_attn_states_save": (c_int, [c_void_p, c_char_p]),
    "sparse_attn_states_load": (c_int, [c_void_p, c_char_p, POINTER(c_void_p)]),
    "sparse_attn_plan_attention_count": (c_size_t, [c_void_p]),
    "sparse_attn_plan_grid": (c_int, [c_void_p, c_size_t, POINTER(CGrid)]),
    "sparse_attn_plan_visit": (
        c_int,
        [c_void_p, c_size_t, c_int64, c_int64, c_int64, Visit, c_void_p],
    ),
}


class Runtime:
    """The runtime inside one library; `call` turns a status into an Error."""

    def __init__(self, path: str):
        check_elf(path)
        try:
            self._dll = ctypes.CDLL(path)
        except OSError as error:
            raise Error(Status.LOAD_FAILED, f"cannot load '{path}': {error}") from None
        for name, (result, arguments) in _SIGNATURES.items():
            try:
                function = getattr(self._dll, name)
            except AttributeError:
                raise Error(
                    Status.LOAD_FAILED,
                    f"'{path}' is not a sparse-attn library: it has no function '{name}'",
                ) from None
            function.restype, function.argtypes = result, arguments
        found = self._dll.sparse_attn_abi_version()
        if found != ABI_VERSION:
            raise Error(
                Status.ABI_MISMATCH,
                f"'{path}' has interface version {found}, this package version {ABI_VERSION}; "
                "compile it again, or install the package of the same release",
            )

    def __getattr__(self, name: str) -> Callable:
        """A function of runtime.h, named without `sparse_attn_`."""
        return getattr(self._dll, "sparse_attn_" + name)

    def call(self, name: str, *arguments) -> None:
        """Calls a function that returns a status."""
        status = getattr(self, name)(*arguments)
        if status:
            raise self.error(Status(status))

    def error(self, status: Status) -> Error:
        """The runtime's last message in this thread."""
        return Error(status, os.fsdecode(self._dll.sparse_attn_last_error()))


def check_elf(path: str) -> None:
    """Refuses what dlopen would only notice by a bus error: a truncated file.

    The runtime checks more, but it is inside the file that is to be loaded.
    """
    try:
        with open(path, "rb") as file:
            header = file.read(64)
            size = file.seek(0, os.SEEK_END)
            if len(header) < 64 or header[:6] != b"\x7fELF\x02\x01":
                raise Error(Status.LOAD_FAILED, f"'{path}' is not a 64-bit shared library")
            table, entry, count = _field(header, "<Q", 32), *struct.unpack_from("<HH", header, 54)
            file.seek(table)
            segments = file.read(entry * count)
            if len(segments) == entry * count and entry >= 56:
                ends = (
                    sum(struct.unpack_from("<Q16xQ", segments, at + 8))
                    for at in range(0, len(segments), entry)
                    if _field(segments, "<I", at)
                )
                if max(ends, default=0) <= size:
                    return
    except OSError as error:
        message = f"cannot open '{path}': {error.strerror}"
        raise Error(Status.LOAD_FAILED, message) from None
    raise Error(Status.LOAD_FAILED, f"'{path}' is truncated: its headers name bytes past its end")


def _field(data: bytes, format: str, at: int) -> int:
    return struct.unpack_from(format, data, at)[0]


def options(threads: Optional[int], states: Any = None, device: Any = None) -> COptions:
    """`device` is a _devices.Device, whose stream is the one of this moment."""
    result = COptions(threads or 0, None, states)
    if device is not None:
        result.device, result.stream = device.describe(), device.stream()
    return result
