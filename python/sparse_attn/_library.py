# ===- _library.py - libraries, kernels, plans ------------------------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""What a caller holds: a Library has Kernels, a Kernel makes Plans, a Plan runs."""

from __future__ import annotations

import atexit
import collections
import ctypes
import functools
import json
import keyword
import operator
import os
import shutil
import tempfile
import threading
import weakref
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from . import _abi, _tensors
from ._devices import Device, address_of
from ._abi import Runtime, Status, invalid
from ._states import States

# ===--- Libraries ----------------------------------------------------------===#


def load(path: Union[str, os.PathLike]) -> "Library":
    """Loads a shared library that sparse-attn-compile wrote."""
    return Library(path)


# dlopen knows a library by its path, even when the file has been replaced.
_loaded: Dict[str, Any] = {}
_loaded_lock = threading.Lock()


def _path_for_dlopen(path: str) -> str:
    """`path`, or a copy of the file if this process has loaded another one there."""
    path = os.path.realpath(path)
    try:
        facts = os.stat(path)
    except OSError:
        return path  # the loader says why
    identity = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns)
    with _loaded_lock:
        if _loaded.setdefault(path, identity) == identity:
            return path
        name = f"{path}#{identity}"
        if name not in _loaded:
            folder = tempfile.mkdtemp(prefix="sparse-attn-")
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            _loaded[name] = shutil.copy2(path, folder)
        return _loaded[name]


class Library:
    """A loaded library: `library["name"]` is a kernel of it.

    `manifest` is the object that docs/manifest.md describes.
    """

    def __init__(self, path: Union[str, os.PathLike]):
        self.path = os.fspath(path)
        file = _path_for_dlopen(self.path)
        self._runtime = Runtime(file)
        handle = ctypes.c_void_p()
        self._runtime.call("library_open", os.fsencode(file), ctypes.byref(handle))
        self._handle = handle
        weakref.finalize(self, self._runtime.library_close, handle)
        self.manifest: Dict[str, Any] = json.loads(self._runtime.library_manifest(handle))
        self._kernels: Dict[str, Kernel] = {}

    @property
    def names(self) -> List[str]:
        """The names of its kernels, in order."""
        return [kernel["name"] for kernel in self.manifest["kernels"]]

    def __getitem__(self, name: str) -> "Kernel":
        if name not in self._kernels:
            found = ctypes.c_void_p()
            self._runtime.call(
                "kernel_find", self._handle, os.fsencode(name), ctypes.byref(found)
            )
            self._kernels[name] = Kernel(self, name, found)
        return self._kernels[name]

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"<sparse_attn.Library {self.manifest['name']}: {', '.join(self.names)}>"


# ===--- Kernels ------------------------------------------------------------===#


class TensorInfo(NamedTuple):
    """What a tensor of a kernel has to be."""

    name: str
    dtype: str  #: f32, bf16, i32, ...
    shape: Tuple[Union[int, str], ...]  #: sizes; "B", "H", "M", "B or 1", "any", ...
    layout: bool  #: whether `Kernel.plan` takes it, instead of `Plan.run`


class Kernel:
    """One kernel of a library."""

    def __init__(self, library: Library, name: str, handle: ctypes.c_void_p):
        self.library = library
        self.name = name
        self._runtime = library._runtime
        self._handle = handle
        self.manifest: Dict[str, Any] = next(
            kernel for kernel in library.manifest["kernels"] if kernel["name"] == name
        )
        #: Inputs and outputs in the order of the kernel's arguments and results.
        self.inputs: Tuple[TensorInfo, ...] = self._read_tensors("input")
        self.outputs: Tuple[TensorInfo, ...] = self._read_tensors("output")
        names = [tensor.name for tensor in self.outputs]
        plain = all(name.isidentifier() and not keyword.iskeyword(name) for name in names)
        self._results = collections.namedtuple("Outputs", names, rename=not plain)

    def _read_tensors(self, kind: str) -> Tuple[TensorInfo, ...]:
        described = self.manifest[kind + "s"]
        tensors = []
        types = []
        for index in range(getattr(self._runtime, f"kernel_{kind}_count")(self._handle)):
            info = _abi.CTensorInfo()
            self._runtime.call(f"kernel_{kind}_info", self._handle, index, ctypes.byref(info))
            types.append((info.dtype.code, info.dtype.bits))
            tensors.append(
                TensorInfo(
                    os.fsdecode(info.name),
                    _tensors.type_name(*types[-1]),
                    tuple(described[index]["shape"]),
                    bool(info.layout),
                )
            )
        setattr(self, f"_{kind}_types", types)
        return tuple(tensors)

    @property
    def level(self) -> str:
        """The instruction level that runs here, e.g. "avx512"."""
        level = self._runtime.kernel_level(self._handle)
        if level is None:
            raise self._runtime.error(Status.UNSUPPORTED_CPU)
        return os.fsdecode(level)

    def plan(
        self,
        batch: int,
        heads: int,
        kv_heads: int,
        queries: int,
        keys: int,
        *,
        threads: int = 0,
        device: Any = "cpu",
        **operands: Any,
    ) -> "Plan":
        """Builds a plan for a shape and the values of the layout operands.

        Operands are given by name, as arrays or as (nested) lists; they are read
        now and not kept. `threads` holds for the plan's runs, too; 0 is OpenMP's
        default. With `device="cuda:0"` runs are on that GPU, in torch's current
        stream; the library must have been compiled for it.
        """
        shape = (batch, heads, kv_heads, queries, keys)
        return Plan(self, shape, threads, Device(device), operands)

    def states(self, batch: int, heads: int, kv_heads: int, capacity: int) -> States:
        """States of no keys yet, with room for `capacity` in every batch entry."""
        return States.create(self, batch, heads, kv_heads, capacity)

    def load_states(self, path: Union[str, os.PathLike], batch: int) -> States:
        """What States.save wrote, for the same number of batch entries."""
        return States.load(self, path, batch)

    def _views(self, layout: bool, given: Dict[str, Any]) -> List[_tensors.View]:
        """Views of the inputs of one kind, in order."""
        views = []
        for tensor, dtype in zip(self.inputs, self._input_types):
            if tensor.layout != layout:
                continue
            if tensor.name not in given:
                raise invalid(f"kernel '{self.name}': {self._missing(tensor)}")
            value = given[tensor.name]
            if isinstance(value, (list, tuple, int, float)):
                value = _tensors.from_sequence(tensor.name, value, dtype)
            views.append(_tensors.make_view(tensor.name, value))
        return views

    def _missing(self, tensor: TensorInfo) -> str:
        shape = ", ".join(str(size) for size in tensor.shape)
        place = "plan" if tensor.layout else "run"
        return f"{place}() takes '{tensor.name}', {tensor.dtype} [{shape}]"

    def _check_names(self, given: Sequence[str], known: Sequence[str], call: str) -> None:
        for name in given:
            if name not in known:
                others = ", ".join(known) or "none"
                raise invalid(f"kernel '{self.name}': {call}() knows no '{name}'; it has {others}")

    def __repr__(self) -> str:
        inputs = ", ".join(tensor.name for tensor in self.inputs)
        return f"<sparse_attn.Kernel {self.name}({inputs})>"


# ===--- Plans --------------------------------------------------------------===#


class Grid(NamedTuple):
    """The sizes of one attention of a plan.

    The rows of a tile, and its keys, are `step` apart. Key tile t holds the keys from
    t // class_key_tiles + step * (t % class_key_tiles * tile_keys) on, and query tile
    t its rows in the same way.
    """

    batch: int
    heads: int
    queries: int
    keys: int
    tile_rows: int
    tile_keys: int
    row_tiles: int
    key_tiles: int
    step: int
    class_row_tiles: int  #: tiles of rows that are alike modulo step
    class_key_tiles: int
    plan_time: bool  #: whether the tiles are kept in the plan
    number: int  #: among the attentions of the manifest


class TileCounts(NamedTuple):
    """How many tiles of an attention a run visits."""

    all: int
    full: int
    partial: int

    @property
    def visited(self) -> int:
        return self.full + self.partial


class Plan:
    """A kernel for one shape and one layout; runs any number of times, from many
    threads at once."""

    def __init__(
        self,
        kernel: Kernel,
        shape: Sequence[int],
        threads: int,
        device: Device,
        operands: Dict[str, Any],
    ):
        self.kernel = kernel
        self.shape = tuple(operator.index(size) for size in shape)
        self.threads = operator.index(threads)
        self._device = device
        self._runtime = kernel._runtime
        names = [tensor.name for tensor in kernel.inputs if tensor.layout]
        kernel._check_names(list(operands), names, "plan")
        views = kernel._views(True, operands)
        handle = ctypes.c_void_p()
        self._runtime.call(
            "plan_create",
            kernel._handle,
            ctypes.byref(_abi.CShape(*self.shape)),
            _tensors.pointers(views),
            len(views),
            ctypes.byref(_abi.options(self.threads, None, device)),
            ctypes.byref(handle),
        )
        self._handle = handle
        weakref.finalize(self, self._runtime.plan_destroy, handle)
        self._local = threading.local()
        self._run_names = [tensor.name for tensor in kernel.inputs if not tensor.layout]
        self._out_names = [tensor.name for tensor in kernel.outputs]

    @property
    def bytes(self) -> int:
        """Bytes that the plan holds, its tables included."""
        return self._runtime.plan_bytes(self._handle)

    def workspace_bytes(self, threads: Optional[int] = None) -> int:
        """Bytes of workspace that a run needs."""
        size = ctypes.c_size_t()
        options = _abi.options(self.threads if threads is None else threads)
        self._runtime.call(
            "workspace_size", self._handle, ctypes.byref(options), ctypes.byref(size)
        )
        return size.value

    # ===--- Running --------------------------------------------------------===#

    def run(
        self,
        *inputs: Any,
        threads: Optional[int] = None,
        workspace: Any = None,
        states: Optional[States] = None,
        **named: Any,
    ) -> Any:
        """Computes the kernel's outputs: `out, lse = plan.run(q, k, v, bias=bias)`.

        Inputs go by position, in the order of `kernel.inputs` without layout
        operands, or by name. Results are new arrays in the framework of the
        inputs, or those given by name (`out=`, `lse=`); they come as a tuple that
        knows their names. `workspace` is any writable buffer of at least
        `workspace_bytes()`; without one the plan keeps one for each thread that
        calls it. `states` of the keys spare a run making them. The call releases the
        interpreter's lock.
        """
        repeats = not named and threads is None and workspace is None and states is None
        if repeats:
            again = getattr(self._local, "again", None)
            results = again and again.run(inputs)
            if results is not None:
                return results
        kernel = self.kernel
        kernel._check_names(list(named), self._run_names + self._out_names, "run")
        if len(inputs) > len(self._run_names):
            raise invalid(
                f"kernel '{kernel.name}': run() takes {len(self._run_names)} inputs "
                f"({', '.join(self._run_names)}), got {len(inputs)}"
            )
        given = dict(zip(self._run_names, inputs))
        for name in given:
            if name in named:
                raise invalid(f"kernel '{kernel.name}': '{name}' is given twice")
        given.update(named)
        views = kernel._views(False, given)
        values = [given[name] for name in self._run_names]
        results = [self._result(index, given, values) for index in range(len(kernel.outputs))]
        out_views = [
            _tensors.make_view(name, value, writable=True)
            for name, value in zip(self._out_names, results)
        ]
        options = _abi.options(
            self.threads if threads is None else operator.index(threads),
            states and states._handle,
            self._device,
        )
        address, size, owner = self._workspace(workspace, options)
        self._runtime.call(
            "run",
            self._handle,
            _tensors.pointers(views),
            len(views),
            _tensors.pointers(out_views),
            len(out_views),
            address,
            size,
            ctypes.byref(options),
        )
        if repeats:
            self._local.again = RepeatedRun.make(self, inputs, views, results, owner)
        return kernel._results(*results)

    def _result(self, index: int, given: Dict[str, Any], values: Sequence[Any]) -> Any:
        """The output that the caller gave, or a new one."""
        tensor = self.kernel.outputs[index]
        if given.get(tensor.name) is not None:
            return given[tensor.name]
        sizes = dict(zip(("B", "H", "Hkv", "M", "N"), self.shape))
        try:
            shape = [sizes[axis] if isinstance(axis, str) else axis for axis in tensor.shape]
        except KeyError:
            raise invalid(
                f"kernel '{self.kernel.name}': the shape of '{tensor.name}' is not known "
                f"beforehand; pass an array to write to as {tensor.name}="
            ) from None
        return _tensors.allocate(tensor.name, shape, self.kernel._output_types[index], values)

    def _workspace(self, given: Any, options: _abi.COptions) -> Tuple[Optional[int], int, Any]:
        """Address, size and owner of the memory for one run."""
        if given is not None:
            if isinstance(given, (bytearray, memoryview)):
                given = np.frombuffer(given, np.uint8)
            view = _tensors.make_view("workspace", given, writable=True)
            tensor = view.tensor
            size = tensor.dtype.bits // 8
            for axis in range(tensor.ndim):
                size *= tensor.shape[axis]
            return (tensor.data or 0) + tensor.byte_offset, size, view
        needed = ctypes.c_size_t()
        self._runtime.call(
            "workspace_size", self._handle, ctypes.byref(options), ctypes.byref(needed)
        )
        # On a GPU another stream may still use the last one.
        kept = None if self._device.is_gpu else getattr(self._local, "workspace", None)
        if kept is None or kept.nbytes < needed.value:
            kept = self._local.workspace = self._device.allocate(needed.value)
        return address_of(kept), kept.nbytes, kept

    # ===--- Looking into it ------------------------------------------------===#

    def grid(self, attention: int = 0) -> Grid:
        """The sizes of attention `attention`; a kernel may merge several."""
        grid = _abi.CGrid()
        self._runtime.call("plan_grid", self._handle, attention, ctypes.byref(grid))
        values = [getattr(grid, name) for name, _ in grid._fields_]
        return Grid(*values[:-2], bool(values[-2]), values[-1])

    def tile_map(self, b: int = 0, h: int = 0, attention: int = 0) -> np.ndarray:
        """Every tile of one (b, h): 0 empty, 1 full, 2 partial; one row for each
        query tile. What `matplotlib.pyplot.imshow` takes."""
        grid = self.grid(attention)
        tiles = np.zeros((grid.row_tiles, grid.key_tiles), np.uint8)
        for row_tile in range(grid.row_tiles):
            for first, count, kind in self._runs(attention, b, h, row_tile):
                tiles[row_tile, first : first + count] = kind
        return tiles

    def tiles(self, attention: int = 0) -> TileCounts:
        """Counts the tiles of all batch entries and heads."""
        grid = self.grid(attention)
        # Heads that share a mask share its tiles.
        heads = grid.heads if self.kernel.manifest["attentions"][attention]["per_head"] else 1
        counts = [0, 0, 0]
        for b in range(grid.batch):
            for h in range(min(heads, grid.heads)):
                for row_tile in range(grid.row_tiles):
                    for _, count, kind in self._runs(attention, b, h, row_tile):
                        counts[kind] += count
        share = grid.heads if heads == 1 else 1
        return TileCounts(
            grid.batch * grid.heads * grid.row_tiles * grid.key_tiles,
            counts[1] * share,
            counts[2] * share,
        )

    def _runs(self, attention: int, b: int, h: int, row_tile: int) -> List[tuple]:
        """(first tile, tiles, kind) of every run of one query tile."""
        runs: List[tuple] = []
        visit = _abi.Visit(functools.partial(_append_run, runs))
        self._runtime.call("plan_visit", self._handle, attention, b, h, row_tile, visit, None)
        return runs

    def __repr__(self) -> str:
        names = ("B", "H", "Hkv", "M", "N")
        sizes = ", ".join(f"{name}={size}" for name, size in zip(names, self.shape))
        return f"<sparse_attn.Plan of {self.kernel.name}: {sizes}, {self.bytes} bytes>"


class RepeatedRun:
    """The last run of a plan in one thread, to be repeated on torch tensors that
    differ in their addresses alone: what decoding does for every token."""

    @classmethod
    def make(cls, plan, inputs, views, results, workspace) -> Optional["RepeatedRun"]:
        values = (*inputs, *results)
        if len(inputs) != len(plan._run_names) or not all(map(_tensors.torch_of, values)):
            return None
        return cls(plan, inputs, views, results, workspace)

    def __init__(self, plan, inputs, views, results, workspace):
        like = _tensors.TorchLike
        self.inputs = [like(value, view) for value, view in zip(inputs, views)]
        torch = _tensors.torch_of(results[0])
        self.empty = torch.empty
        self.shapes = [(tuple(value.shape), value.dtype, value.device) for value in results]
        self.outputs = [
            like(value, _tensors.make_view(name, value))
            for name, value in zip(plan._out_names, results)
        ]
        self.results = plan.kernel._results
        # The runtime's function; the plan outlives it, as it is kept by the plan.
        self.function = plan._runtime.run
        self.device = plan._device
        self.workspace, self.options = workspace, _abi.options(plan.threads, None, plan._device)
        self.arguments = (
            plan._handle,
            _tensors.pointers(self.inputs),
            len(self.inputs),
            _tensors.pointers(self.outputs),
            len(self.outputs),
        )
        self.room = (address_of(workspace), workspace.nbytes, ctypes.byref(self.options))

    def run(self, inputs: Sequence[Any]) -> Any:
        """The results, or None where only the general way finds out."""
        if len(inputs) != len(self.inputs):
            return None
        for like, value in zip(self.inputs, inputs):
            if not like.take(value):
                return None
        results = []
        for like, (shape, dtype, device) in zip(self.outputs, self.shapes):
            result = self.empty(shape, dtype=dtype, device=device)
            like.tensor.data = result.data_ptr()
            results.append(result)
        room = self.room
        if self.device.is_gpu:
            # Another stream may still use the last one.
            workspace = self.device.allocate(self.workspace.nbytes)
            self.options.stream = self.device.stream()
            room = (address_of(workspace), *room[1:])
        # A failure is told with the tensors' names by the general way.
        if self.function(*self.arguments, *room):
            return None
        return self.results._make(results)


def _append_run(runs: List[tuple], _context: Any, first: int, count: int, kind: int) -> None:
    runs.append((first, count, kind))
