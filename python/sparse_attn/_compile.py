# ===- _compile.py - calls sparse-attn-compile and keeps what it wrote ------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Compiles masks to libraries, kept by content in a cache folder."""

from __future__ import annotations

import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile
from typing import List, Optional, Sequence, Union

from ._abi import Error, Status
from ._library import Library, load


class CompileError(Error):
    """The compiler refused; the text is what it printed."""


def compile(
    pattern: Union[str, os.PathLike],
    *,
    head_dim: Optional[int] = None,
    value_dim: Optional[int] = None,
    dtype: Optional[str] = None,
    out_dtype: Optional[str] = None,
    name: str = "kernel",
    modifiers: Optional[str] = None,
    scale: Optional[float] = None,
    kv_len: bool = False,
    q_len: bool = False,
    q_offset: bool = False,
    sinks: bool = False,
    level: Optional[str] = None,
    arguments: Sequence[str] = (),
    cache: Union[str, os.PathLike, None] = None,
) -> Library:
    """Compiles a mask and loads the library.

    `pattern` is a mask expression, which wants `head_dim` and makes one kernel
    called `name`, or the path of a `.mlir` file with any kernels, which takes none
    of the options that describe one. The options are those of sparse-attn-compile;
    `arguments` are passed on to it.

    The tool is found by the environment variable SPARSE_ATTN_COMPILE, in PATH, or
    in the build folder of the source tree that this package is in. Libraries are
    kept in `cache` (by default SPARSE_ATTN_CACHE, else sparse-attn in the user's
    cache folder) under the content of everything that goes into them.
    """
    tool = find_compiler()
    flags = {
        "--head-dim": head_dim,
        "--value-dim": value_dim,
        "--dtype": dtype,
        "--out-dtype": out_dtype,
        "--modifiers": modifiers,
        "--scale": scale,
        "--kv-len": kv_len,
        "--q-len": q_len,
        "--q-offset": q_offset,
        "--sinks": sinks,
    }
    options: List[str] = []
    for flag, value in flags.items():
        if value is True:
            options.append(flag)
        elif value is not None and value is not False:
            options.append(f"{flag}={value}")
    is_file = not isinstance(pattern, str) or pattern.endswith(".mlir")
    if is_file:
        source = _read(os.fspath(pattern))
        if options:
            raise Error(
                Status.INVALID_ARGUMENT,
                f"{options[0].split('=')[0]} goes with a mask expression; a .mlir file says so "
                "itself",
            )
    else:
        source = os.fsencode(pattern)
        options.append(f"--pattern={pattern}")
    options.append(f"--name={name}")
    if level is not None:
        options.append(f"--level={level}")
    options += arguments

    folder = _cache_folder(cache) / _digest(tool, source, options)
    library = folder / f"lib{name}.so"
    if not library.exists():
        _compile_into(folder, [tool, *([os.fspath(pattern)] if is_file else []), *options])
    return load(library)


def find_compiler() -> str:
    """The path of sparse-attn-compile."""
    named = os.environ.get("SPARSE_ATTN_COMPILE")
    if named:
        found = shutil.which(named)
        if found is None:
            raise Error(Status.NOT_FOUND, f"SPARSE_ATTN_COMPILE names no program: '{named}'")
        return found
    found = shutil.which("sparse-attn-compile")
    if found is not None:
        return found
    built = pathlib.Path(__file__).resolve().parents[2] / "build/bin/sparse-attn-compile"
    if built.exists():
        return str(built)
    raise Error(
        Status.NOT_FOUND,
        "sparse-attn-compile is not in PATH; name it with the environment variable "
        "SPARSE_ATTN_COMPILE",
    )


def _read(path: str) -> bytes:
    try:
        return pathlib.Path(path).read_bytes()
    except OSError as error:
        message = f"cannot open '{path}': {error.strerror}"
        raise Error(Status.NOT_FOUND, message) from None


def _cache_folder(given: Union[str, os.PathLike, None]) -> pathlib.Path:
    folder = given or os.environ.get("SPARSE_ATTN_CACHE")
    if folder:
        return pathlib.Path(folder)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return pathlib.Path(base) / "sparse-attn"


def _digest(tool: str, source: bytes, options: Sequence[str]) -> str:
    """Names a library by the compiler, the runtime that goes in, source and options."""
    binary = pathlib.Path(tool).resolve()
    digest = hashlib.sha256()
    parts = [binary]
    # Where the compiler looks for the runtime's archive.
    parts += sorted(binary.parent.parent.glob("runtime/libsparse_attn_runtime.a"))
    parts += sorted(binary.parent.parent.glob("lib*/**/libsparse_attn_runtime.a"))
    for part in parts:
        facts = part.stat()
        digest.update(f"{part} {facts.st_size} {facts.st_mtime_ns}\0".encode())
    digest.update(source + b"\0" + "\0".join(options).encode())
    return digest.hexdigest()[:32]


def _compile_into(folder: pathlib.Path, command: List[str]) -> None:
    """Runs the compiler; `folder` appears complete or not at all."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.mkdtemp(prefix=".making-", dir=folder.parent)
    except OSError as error:
        raise Error(
            Status.INVALID_ARGUMENT,
            f"cannot write to the cache folder '{folder.parent}': {error.strerror}; name "
            "another one with SPARSE_ATTN_CACHE",
        ) from None
    try:
        result = subprocess.run(
            [*command, "-o", scratch], stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if result.returncode:
            text = (result.stderr or result.stdout).strip()
            raise CompileError(Status.INVALID_ARGUMENT, text)
        try:
            os.rename(scratch, folder)
        except OSError:
            if not folder.exists():  # else another process was faster
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
