# ===- _devices.py - where plans run -----------------------------------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""The processor, or a GPU, whose streams and memory are torch's."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from . import _abi
from ._abi import Status, invalid


class Device:
    """`cpu`, `cuda` or `cuda:NUMBER`, as text or as a torch.device."""

    def __init__(self, name: Any):
        kind, _, number = str(name).partition(":")
        if kind not in ("cpu", "cuda") or (number and not number.isdecimal()):
            raise invalid(f"unknown device '{name}'; there are cpu, cuda and cuda:NUMBER")
        self.is_gpu = kind == "cuda"
        self.number = int(number or 0)

    def describe(self) -> _abi.DLDevice:
        """As the runtime takes it."""
        return _abi.DLDevice(_abi.CUDA if self.is_gpu else _abi.CPU, self.number)

    def stream(self) -> int:
        """The CUstream that torch uses now; without torch the default one."""
        torch = sys.modules.get("torch")
        if not self.is_gpu or torch is None:
            return 0
        return torch.cuda.current_stream(self.number).cuda_stream

    def allocate(self, size: int) -> Any:
        """A workspace: a view of it holds address and size. On a GPU it is memory of
        torch, which reuses it in the order of its stream."""
        if not self.is_gpu:
            try:
                return np.empty(size, np.uint8)
            except MemoryError as error:
                raise _abi.Error(Status.OUT_OF_MEMORY, str(error)) from None
        torch = sys.modules.get("torch")
        if torch is None:
            raise invalid("without torch a run on a GPU needs workspace=, memory of that GPU")
        return torch.empty(size, dtype=torch.uint8, device=f"cuda:{self.number}")


def address_of(workspace: Any) -> int:
    """Of what Device.allocate returned."""
    return workspace.ctypes.data if isinstance(workspace, np.ndarray) else workspace.data_ptr()
