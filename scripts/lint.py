#!/usr/bin/env python3
# ===- lint.py - the house rules that a program can check -------------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Checks the rules of the house and prints `file:line: [rule] what to do`.

Each rule is one function below; its docstring is its entry in --list. A rule
over single files takes a File and yields (line, message); a rule over the
whole tree takes all files and yields (file, line, message).
"""
import argparse
import os
import re
import subprocess
import sys
from functools import cached_property

# Where violations are kept on purpose.
SEEDED = "test/Tools/lint/"

# What each room may include, besides itself. Arrows point one way:
# dialect <- Analysis <- Transforms <- Target <- Conversion <- Package
# <- Pipelines <- tools. Target is below Conversion because it holds the facts
# of a processor that the lowering asks for. The mask expressions and the oracle
# see the dialect alone. Explain compiles a kernel to look at its plan, so it sees
# everything but the tools. Session runs a library through the C interface. Support
# (files, arrays) knows nothing of ours and serves everybody. The Emulator executes LLVM
# IR and depends on LLVM alone: tests, tools and Session use it.
LAYERS = ["dialect", "Analysis", "Transforms", "Target", "Conversion", "Package", "Pipelines"]
ALLOWED = {layer: set(LAYERS[: LAYERS.index(layer)]) for layer in LAYERS}
ALLOWED["Explain"] = {*LAYERS, "Reference"}
ALLOWED["Expression"] = {"dialect"}
ALLOWED["Reference"] = {"dialect"}
ALLOWED["Session"] = {"Emulator"}
for allowed in ALLOWED.values():
    allowed.add("Support")
ALLOWED["Support"] = set()
ALLOWED["Emulator"] = set()

MAX_LINES = 600
MAX_README_LINES = 150


class File:
    def __init__(self, root, path):
        self.path = path
        self.name = os.path.basename(path)
        self.suffix = os.path.splitext(path)[1]
        self.full_path = os.path.join(root, path)

    @cached_property
    def raw(self):
        with open(self.full_path, "rb") as stream:
            return stream.read()

    @cached_property
    def lines(self):
        return self.raw.decode("utf-8", errors="replace").splitlines()

    @property
    def is_text(self):
        return b"\0" not in self.raw

    def under(self, *folders):
        return self.path.startswith(tuple(folder + "/" for folder in folders))

    def search(self, pattern, flags=0):
        """Yields (line number, match) for every match of `pattern`."""
        regex = re.compile(pattern, flags)
        for number, line in enumerate(self.lines, 1):
            for match in regex.finditer(line):
                yield number, match


# ===--- Rules over one file ------------------------------------------------===#


def banner(file):
    """A source file starts with the banner: its name, its purpose, the licence."""
    code = file.suffix in (".c", ".cpp", ".h", ".td", ".py") or file.path in ("dev", ".ci/run")
    if not code or file.under("scripts/templates"):
        return
    head = file.lines[:3]
    name = re.escape(file.name)
    if not any(re.match(rf"(//|/\*|#) ?===- {name} - \S", line) for line in head):
        yield 1, f"start the file with '===- {file.name} - its purpose ---===' in a comment"
    top = "\n".join(file.lines[:10])
    if "Part of the sparse-attn project" not in top:
        yield 1, "add 'Part of the sparse-attn project, under the Apache License v2.0 ...'"
    if "SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception" not in top:
        yield 1, "add 'SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception'"


def length(file):
    """A file has at most 600 lines, the README at most 150; pictures may have more."""
    if file.name == "LICENSE" or file.suffix == ".svg":
        return
    limit = MAX_README_LINES if file.path == "README.md" else MAX_LINES
    if len(file.lines) > limit:
        yield limit + 1, f"{len(file.lines)} lines are more than {limit}; split the file"


def whitespace(file):
    """No tab, no trailing blank, no carriage return, one newline at the end."""
    if file.name == "LICENSE":
        return
    for number, line in enumerate(file.lines, 1):
        if "\t" in line:
            yield number, "a tab; use spaces"
        if line != line.rstrip():
            yield number, "trailing whitespace; run ./dev fmt on code, or remove it"
    if b"\r" in file.raw:
        yield 1, "carriage returns; use Unix line ends"
    if file.raw and not file.raw.endswith(b"\n"):
        yield len(file.lines), "no newline at the end of the file"
    if file.raw.endswith(b"\n\n"):
        yield len(file.lines), "blank lines at the end of the file"


def directive_colon(file):
    """A directive of lit or FileCheck has its colon; without it it is ignored."""
    if not file.under("test"):
        return
    directive = r"^\s*(?://|#|;)\s*(RUN|REQUIRES|UNSUPPORTED|XFAIL|CHECK(?:-[A-Z]+)*)(?=\s|$)"
    for number, match in file.search(directive):
        yield number, f"'{match[1]}' without a colon is a comment; write '{match[1]}:'"


def machine_path(file):
    """No path of one machine: home folders and the like."""
    for number, match in file.search(r"(?<![\w.\-])/(?:home|root|work|Users)/\w[\w./-]*"):
        yield number, f"'{match[0]}' exists on one machine only; use a relative path"


def todo(file):
    """A note on work to do is TODO(owner, #issue): text."""
    if file.path == "scripts/lint.py" or file.under("scripts/templates"):
        return
    for number, match in file.search(r"\b(?:TODO|FIXME|XXX|HACK)\b(?!\(\w[\w-]*, #\d+\): \S)"):
        yield number, f"write {match[0]} as 'TODO(owner, #12): text'"


def include_direction(file):
    """Includes follow dialect <- Analysis <- ... <- tools, and only downwards."""
    room = room_of(file.path)
    if file.suffix not in (".c", ".cpp", ".h", ".td", ".inc") or room is None:
        return
    for number, match in file.search(r'^\s*(?:#\s*)?include\s+[<"]([^>"]+)[>"]'):
        header = match[1]
        if header == "benchmark/benchmark.h":  # Google Benchmark's, which has our folder's name
            continue
        target = room_of_header(header)
        if room in ("runtime", "examples"):
            foreign = target not in (None, "runtime") or header.startswith(("llvm", "mlir"))
            if foreign:
                yield number, f"{room}/ ships without the compiler: it cannot include '{header}'"
        elif target in ("tools", "test", "benchmark", "examples"):
            yield number, f"{target}/ is no library: nothing includes '{header}'"
        elif target not in (None, room, "runtime") and room in ALLOWED:
            if target not in ALLOWED and target != "tools":
                yield number, f"'{target}' is no known layer; add it to scripts/lint.py"
            elif target not in ALLOWED[room]:
                yield number, f"{room} cannot include '{header}': {target} is above it"


def known_layer(file):
    """A folder of lib/ has a place in the order of layers."""
    match = re.match(r"(?:lib|include/sparse_attn)/(\w+)/", file.path)
    if match and match[1] not in ALLOWED:
        yield 1, f"'{match[1]}' has no place among the layers; add it to scripts/lint.py"


def room_of(path):
    """The layer, or the top-level folder, that a file belongs to."""
    parts = path.split("/")
    if parts[0] == "lib" and len(parts) > 2:
        return parts[1]
    if parts[:2] == ["include", "sparse_attn"] and len(parts) > 3:
        return parts[2]
    rooms = ("dialect", "runtime", "examples", "tools", "test", "benchmark")
    return parts[0] if parts[0] in rooms else None


def room_of_header(header):
    """The room that a header as spelled in an include belongs to, if ours."""
    parts = header.split("/")
    if parts[0] == "sparse_attn":
        return parts[1] if len(parts) > 2 else "runtime"
    if header == "benchmark/benchmark.h":  # Google's
        return None
    if parts[0] in ("lib", "include", "dialect", "runtime", "tools", "test", "benchmark"):
        return room_of(header) or parts[0]
    return None


# ===--- Rules over the tree ------------------------------------------------===#


def constraint(files):
    """A labelled constraint of a .td has a verifier comment and a test."""
    code, tests = set(), set()
    for file in files:
        if file.suffix in (".cpp", ".h", ".c") and file.under("dialect", "runtime"):
            code.update(match[0] for _, match in file.search(r"\b[a-z]\w*?_c\d+\b"))
        if file.suffix == ".td":  # what ODS checks is said beside the constraint
            for _, comment in file.search(r"//.*"):
                code.update(re.findall(r"\b[a-z]\w*?_c\d+\b", comment[0]))
        if file.under("test"):
            named = r"(?:@|\b(?:TEST|TEST_F|TEST_P)\(\w+, *)([a-z]\w*?_c\d+)(?!\d)"
            tests.update(match[1] for _, match in file.search(named))
    defined = {}
    for file in files:
        if file.suffix != ".td":
            continue
        for number, match in file.search(r"^(?:(?!//).)*?\(([a-z]\w*_c\d+)\)"):
            label = match[1]
            if label in defined:
                yield file, number, f"({label}) is already the label of {defined[label]}"
                continue
            defined[label] = f"{file.path}:{number}"
            if label not in code:
                yield file, number, f"({label}) is not named in a comment of a verifier"
            if label not in tests:
                yield file, number, f"({label}) has no test: name a function @{label}"


FILE_RULES = [
    banner,
    length,
    whitespace,
    directive_colon,
    machine_path,
    todo,
    include_direction,
    known_layer,
]
TREE_RULES = [constraint]


def list_paths(root):
    """Every file that git knows or would add; without git, every file."""
    if os.path.exists(os.path.join(root, ".git")):
        command = ["git", "-C", root, "ls-files", "-co", "--exclude-standard"]
        paths = subprocess.run(command, check=True, capture_output=True, text=True)
        return sorted(set(paths.stdout.splitlines()))
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [f for f in folders if not f.startswith((".", "build"))]
        found += [os.path.relpath(os.path.join(folder, name), root) for name in names]
    return sorted(found)


def lint(root, only):
    """Prints every violation and returns their number."""
    files = [File(root, path) for path in list_paths(root)]
    files = [f for f in files if os.path.isfile(f.full_path) and f.is_text]
    files = [f for f in files if not f.path.startswith(SEEDED)]
    violations = []
    for file in files:
        if only and file.path not in only:
            continue
        for rule in FILE_RULES:
            violations += [(file.path, line, rule, text) for line, text in rule(file)]
    for rule in TREE_RULES:
        violations += [
            (file.path, line, rule, text)
            for file, line, text in rule(files)
            if not only or file.path in only
        ]
    for path, line, rule, text in violations:
        name = rule.__name__.replace("_", "-")
        print(f"{path}:{line}: [{name}] {text}")
    return len(violations)


def main():
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser = argparse.ArgumentParser(description="Checks the rules of the house.")
    parser.add_argument("--root", default=here, help="the tree to check (default: this one)")
    parser.add_argument("--list", action="store_true", help="print the rules and stop")
    parser.add_argument("files", nargs="*", help="check these alone (default: all)")
    options = parser.parse_args()
    if options.list:
        for rule in FILE_RULES + TREE_RULES:
            print(f"{rule.__name__.replace('_', '-'):18} {rule.__doc__}")
        return 0
    only = {os.path.relpath(os.path.abspath(f), options.root) for f in options.files}
    count = lint(options.root, only)
    if count:
        print(f"lint: {count} violation{'s' if count > 1 else ''}", file=sys.stderr)
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
