#!/usr/bin/env python3
# ===- run.py - execute what a page claims ----------------------------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Executes the fenced blocks of a Markdown page.

  ```bash   runs, in a copy of the tree, with the built tools first in PATH;
            each block starts in the top folder, and blocks share the copy
  ```mlir   goes through sparse-attn-opt; a block without a function is wrapped
            in one, which supplies the values that the block leaves undefined
  ```text   is not executed

A comment on the line before a block says more about it:

  <!-- file: main.c -->         the block is written to that file of the copy
  <!-- output -->               the block is what the bash block before it prints;
                                `...` stands for any text, or for any lines
  <!-- no-test: the reason -->  the block is skipped

Without --copy, MLIR alone is checked.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys

FENCE = re.compile(r"^( *)```(\w*)\s*$")
DIRECTIVE = re.compile(r"^ *<!-- (no-test|output|file)(?:: (.*?))? -->\s*$")
TIMEOUT_SECONDS = 600


class Block:
    def __init__(self, language, line, directive, argument):
        self.language, self.line = language, line
        self.directive, self.argument = directive, argument
        self.lines = []

    @property
    def text(self):
        return "".join(line + "\n" for line in self.lines)


def read_blocks(page):
    """The fenced blocks of a page, each with the directive before it."""
    blocks, block, indent, directive = [], None, "", (None, None)
    with open(page, encoding="utf-8") as stream:
        for number, line in enumerate(stream.read().splitlines(), 1):
            fence = FENCE.match(line)
            if block is not None:
                if fence and not fence[2]:
                    blocks.append(block)
                    block = None
                else:
                    block.lines.append(line[len(indent) :] if line.startswith(indent) else line)
            elif fence:
                block, indent = Block(fence[2], number, *directive), fence[1]
                directive = (None, None)
            elif match := DIRECTIVE.match(line):
                directive = (match[1], match[2])
            elif line.strip():
                directive = (None, None)
    if block is not None:
        raise SystemExit(f"{page}:{block.line}: this block is never closed")
    return blocks


# ===--- Running ------------------------------------------------------------===#


def run_bash(text, folder):
    """Runs one block; returns its status and everything it printed."""
    process = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_SECONDS,
    )
    return process.returncode, process.stdout


def matches_output(expected, actual):
    """Whether `actual` is `expected`, in which `...` stands for any text."""
    pattern = ""
    for line in expected.rstrip("\n").split("\n"):
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pieces = (re.escape(piece) for piece in line.rstrip().split("..."))
            pattern += "[^\n]*?".join(pieces) + r"[ ]*\n"
    return re.fullmatch(pattern, actual.rstrip("\n") + "\n") is not None


UNDEFINED = re.compile(r":(\d+):(\d+): error: use of undeclared SSA value name")
VALUE = re.compile(r"%[\w.$-]+")
MISTYPED = re.compile(
    r"use of value '(%[\w.$-]+)' expects different type than prior uses: '(.*?)' vs '(.*?)'"
)


# Masks, scores and modifiers come from ops and from nowhere else.
MAKERS = {
    "!sparse_attn.mask": "sparse_attn.causal",
    "!sparse_attn.score": "sparse_attn.score.dot",
    "!sparse_attn.modifier": "sparse_attn.softcap cap = 30.0",
}


def wrap_in_function(text, supplied):
    """Makes a function of statements; `supplied` maps a value to its type."""
    arguments, statements = [], []
    for name, type_ in supplied.items():
        if type_ in MAKERS:
            statements.append(f"{name} = {MAKERS[type_]}\n")
        else:
            arguments.append(f"{name}: {type_}")
    body = "".join(statements) + text
    return f"func.func @example({', '.join(arguments)}) {{\n{body}return\n}}\n"


def check_mlir(text):
    """Sends a block through sparse-attn-opt; returns what is wrong, or None.

    A block of statements becomes the body of a function. The values that it leaves
    undefined get the types that the parser asks for, one message at a time.
    """
    is_module = "func.func" in text or "module" in text
    supplied = {}
    for _ in range(64):
        source = text if is_module else wrap_in_function(text, supplied)
        process = subprocess.run(
            ["sparse-attn-opt", "--verify-roundtrip", "-"],
            input=source,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if process.returncode == 0:
            return None
        message = process.stderr
        mistyped, undefined = MISTYPED.search(message), UNDEFINED.search(message)
        if mistyped and supplied.get(mistyped[1]) == "none":
            supplied[mistyped[1]] = mistyped[2]
        elif undefined and not is_module:
            line = source.split("\n")[int(undefined[1]) - 1]
            supplied[VALUE.match(line, int(undefined[2]) - 1)[0]] = "none"
        else:
            return f"{message}\nfrom:\n{source}"
    return f"no types were found for the undefined values\nfrom:\n{text}"


def run_page(page, name, copy):
    """Executes a page's blocks; returns the number of failures."""
    failures, executed, output = 0, 0, None

    def fail(block, message):
        nonlocal failures
        failures += 1
        print(f"{name}:{block.line}: {message}")

    for block in read_blocks(page):
        if block.directive == "no-test":
            if not block.argument:
                fail(block, "say why: <!-- no-test: the reason -->")
            continue
        if block.directive == "file":
            if copy:
                target = os.path.join(copy, block.argument)
                os.makedirs(os.path.dirname(target), exist_ok=True)
                with open(target, "w", encoding="utf-8") as stream:
                    stream.write(block.text)
        elif block.directive == "output":
            executed += 1
            if output is None:
                fail(block, "there is no bash block before this output")
            elif not matches_output(block.text, output):
                fail(block, f"expected\n{block.text}but the commands printed\n{output}")
        elif block.language == "bash" and copy:
            executed += 1
            status, output = run_bash(block.text, copy)
            if status:
                fail(block, f"exit status {status} from\n{block.text}which printed\n{output}")
        if block.language == "mlir":
            executed += 1
            if error := check_mlir(block.text):
                fail(block, error)
    print(f"{name}: {executed} blocks executed, {failures} failed")
    return failures


def make_copy(source, target):
    """Copies the files of the tree, without build trees, to `target`."""
    shutil.rmtree(target, ignore_errors=True)
    ignore = shutil.ignore_patterns(".git", ".cache", "build*", "out", "__pycache__")
    shutil.copytree(source, target, ignore=ignore, symlinks=True)


def main():
    parser = argparse.ArgumentParser(description="Executes the blocks of Markdown pages.")
    parser.add_argument("--source", required=True, help="the tree that holds the pages")
    parser.add_argument("--copy", help="where to copy the tree for commands to run in")
    parser.add_argument("pages", nargs="+", help="pages, relative to the tree")
    options = parser.parse_args()
    if options.copy:
        make_copy(options.source, options.copy)
    failures = 0
    for page in options.pages:
        failures += run_page(os.path.join(options.source, page), page, options.copy)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
