# ===- _states.py - what is kept of keys beside the KV cache ----------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Signatures, page bounds, codes, ...: made once for each key, read by every run."""

from __future__ import annotations

import ctypes
import operator
import os
import weakref
from typing import Any, Optional, Sequence, Union

from . import _abi, _tensors
from ._abi import invalid


class States:
    """The states of a kernel's keys, for a number of batch entries:

        states = kernel.states(batch=1, heads=8, kv_heads=8, capacity=131072)
        states.extend(n, k=k, v=v, wq=wq, wk=wk)     # keys up to n of the cache
        out, lse = plan.run(q, k, v, wq, wk, states=states)
    """

    def __init__(self, kernel, handle: ctypes.c_void_p, batch: Optional[int]):
        self.kernel = kernel
        self.batch = batch
        self._runtime = kernel._runtime
        self._handle = handle
        self._repeated: Optional[RepeatedExtension] = None
        weakref.finalize(self, self._runtime.states_destroy, handle)

    @classmethod
    def create(cls, kernel, batch: int, heads: int, kv_heads: int, capacity: int) -> "States":
        shape = _abi.CShape(*map(operator.index, (batch, heads, kv_heads, 0, capacity)))
        handle = ctypes.c_void_p()
        kernel._runtime.call(
            "states_create", kernel._handle, ctypes.byref(shape), ctypes.byref(handle)
        )
        return cls(kernel, handle, shape.batch)

    @classmethod
    def load(cls, kernel, path: Union[str, os.PathLike], batch: int) -> "States":
        handle = ctypes.c_void_p()
        kernel._runtime.call(
            "states_load", kernel._handle, os.fsencode(path), ctypes.byref(handle)
        )
        return cls(kernel, handle, operator.index(batch))

    @property
    def bytes(self) -> int:
        """Bytes that the states hold, for the whole capacity."""
        return self._runtime.states_bytes(self._handle)

    @property
    def bytes_per_key(self) -> float:
        """Bytes of one key of one batch entry, all heads together."""
        return self._runtime.states_bytes_per_key(self._handle)

    def length(self, b: int = 0) -> int:
        """Keys of batch entry `b` that have states."""
        return self._runtime.states_length(self._handle, b)

    def extend(
        self, lengths: Union[int, Sequence[int]], *, threads: int = 0, **inputs: Any
    ) -> None:
        """Makes the states of keys up to `lengths`, one for each batch entry or one for
        all. `inputs` are those of a run, by name, of which only keys, values and the
        weights that states are made of are needed."""
        repeated = self._repeated
        if repeated is not None and repeated.extend(lengths, threads, inputs):
            return
        names = [tensor.name for tensor in self.kernel.inputs if not tensor.layout]
        self.kernel._check_names(list(inputs), names, "extend")
        if not isinstance(lengths, (list, tuple)):
            lengths = [lengths] * self.batch
        if len(lengths) != self.batch:
            raise invalid(
                f"kernel '{self.kernel.name}': extend() takes a length for each of "
                f"{self.batch} batch entries, got {len(lengths)}"
            )
        views = [
            _tensors.make_view(name, inputs[name]) if inputs.get(name) is not None else None
            for name in names
        ]
        pointers = (ctypes.POINTER(_abi.DLTensor) * len(views))(
            *(ctypes.pointer(view.tensor) if view else None for view in views)
        )
        own = (ctypes.c_int64 * self.batch)(*map(operator.index, lengths))
        self._runtime.call(
            "states_extend",
            self._handle,
            pointers,
            len(views),
            own,
            ctypes.byref(_abi.options(threads)),
        )
        self._repeated = RepeatedExtension.make(self, threads, names, inputs, views)

    def rollback(self, length: int, b: int = 0) -> None:
        """Forgets the keys of batch entry `b` from `length` on."""
        self._runtime.call("states_rollback", self._handle, b, operator.index(length))

    def save(self, path: Union[str, os.PathLike]) -> None:
        """Writes the states to a file; weights are not in it."""
        self._runtime.call("states_save", self._handle, os.fsencode(path))

    def __repr__(self) -> str:
        lengths = ", ".join(str(self.length(b)) for b in range(self.batch))
        return f"<sparse_attn.States of {self.kernel.name}: {lengths} keys, {self.bytes} bytes>"


class RepeatedExtension:
    """The last extension, to be repeated with tensors at the same place: what decoding
    does for every token, whose key it writes into the cache that it has. It keeps no
    tensor alive."""

    @classmethod
    def make(cls, states, threads, names, inputs, views) -> Optional["RepeatedExtension"]:
        facts = {name: describe(inputs[name]) for name in inputs if inputs[name] is not None}
        return None if None in facts.values() else cls(states, threads, facts, names, inputs, views)

    def __init__(self, states, threads, facts, names, inputs, views):
        self.facts, self.threads = facts, threads
        self.lengths = (ctypes.c_int64 * states.batch)()
        self.options = _abi.options(threads)
        # Of our own: DLPack's goes with its capsule.
        self.views = [
            _tensors.TorchLike(inputs[name], view)
            if view and _tensors.torch_of(inputs[name])
            else view and _tensors.View(view.tensor)
            for name, view in zip(names, views)
        ]
        for name, view in zip(names, self.views):
            if isinstance(view, _tensors.TorchLike):
                view.take(inputs[name])
        pointers = (ctypes.POINTER(_abi.DLTensor) * len(views))(
            *(ctypes.pointer(view.tensor) if view else None for view in self.views)
        )
        self.function = states._runtime.states_extend
        self.arguments = (
            states._handle,
            pointers,
            len(views),
            self.lengths,
            ctypes.byref(self.options),
        )

    def extend(self, lengths, threads, inputs) -> bool:
        """Whether it has been done; else the general way does it, or tells why not."""
        if type(lengths) is not int or threads != self.threads or len(inputs) != len(self.facts):
            return False
        for name, value in inputs.items():
            facts = self.facts.get(name)
            if facts is None or facts != describe(value):
                return False
        for b in range(len(self.lengths)):
            self.lengths[b] = lengths
        return self.function(*self.arguments) == 0


def describe(value: Any) -> Optional[tuple]:
    """All that an extension reads of a tensor but its elements; None where only the
    general way finds out."""
    if _tensors.torch_of(value):
        if value.requires_grad or value.is_neg() or value.is_sparse:
            return None
        return value.data_ptr(), value.shape, value.stride(), value.dtype, value.device
    facts = getattr(value, "__array_interface__", None)
    if facts is None:
        return None
    return facts["data"], facts["shape"], facts["strides"], facts["typestr"]
