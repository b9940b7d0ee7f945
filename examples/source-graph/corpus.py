# ===- corpus.py - this repository as tokens, chunks and a graph ------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Source files as one sequence of tokens:

  position 0     a summary token, in no chunk
  chunks         function-sized pieces of files, one after the other
  nodes          files; a chunk belongs to the file that it comes from
  edges          #include "..." lines (and include "..." of TableGen)
"""
import os
import random
import re
import subprocess
from dataclasses import dataclass, field

SUFFIXES = (".c", ".cmake", ".cpp", ".h", ".mlir", ".py", ".td", ".test", ".txt")
SLASH_COMMENTS = (".c", ".cpp", ".h", ".mlir", ".td")
TOKEN = re.compile(r'"(?:\\.|[^"\\\n])*"|[A-Za-z_]\w*|\d[\w.]*|\S')
INCLUDE = re.compile(r'^\s*#?\s*include\s+"([^"]+)"', re.MULTILINE)
# Where an include path may begin, besides the file's own folder.
INCLUDE_ROOTS = ("", "include", "runtime/include")
SUMMARY = "<summary>"
# A piece is cut where a line begins something new, from the first number of tokens
# on, and anywhere at the second.
LEAST_CHUNK, MOST_CHUNK = 32, 512


@dataclass
class Corpus:
    files: list = field(default_factory=list)  # node -> path
    tokens: list = field(default_factory=list)
    offsets: list = field(default_factory=list)  # chunk c is [offsets[c], offsets[c + 1])
    chunk_node: list = field(default_factory=list)
    indptr: list = field(default_factory=list)  # the graph, in compressed rows
    indices: list = field(default_factory=list)

    def most_included(self):
        """The file that most others include, and by how many."""
        counts = {}
        for node in self.indices:
            counts[node] = counts.get(node, 0) + 1
        node = max(sorted(counts), key=counts.get, default=None)
        return ("none", 0) if node is None else (self.files[node], counts[node])


def list_files(root):
    """The source files that git knows; where it knows none, those that are there."""
    command = ["git", "-C", root, "ls-files", "-z"]
    try:
        listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        paths = listed.split("\0")[:-1]
    except (OSError, subprocess.CalledProcessError):
        paths = []
    if not paths:
        for folder, folders, names in os.walk(root):
            folders[:] = [name for name in folders if not name.startswith((".", "build", "out"))]
            paths += [os.path.relpath(os.path.join(folder, name), root) for name in names]
    found = [path for path in paths if path.endswith(SUFFIXES)]
    return sorted(path for path in found if os.path.isfile(os.path.join(root, path)))


def read_texts(root, paths):
    texts = {}
    for path in paths:
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as stream:
            texts[path] = stream.read()
    return texts


def find_includes(path, text, known):
    """The files of the repository that `path` includes."""
    found = []
    for name in INCLUDE.findall(text):
        folders = (os.path.dirname(path),) + INCLUDE_ROOTS
        candidates = [os.path.normpath(os.path.join(folder, name)) for folder in folders]
        target = next((candidate for candidate in candidates if candidate in known), None)
        if target and target != path and target not in found:
            found.append(target)
    return found


def order_files(paths, includes, seed):
    """A mixed order in which a file comes after those that it includes, and files
    that include nothing come last: the crop is to be a graph."""
    shuffled = sorted(paths)
    random.Random(seed).shuffle(shuffled)
    shuffled.sort(key=lambda path: not includes[path])
    ordered, seen = [], set()

    def visit(path):
        if path in seen:
            return
        seen.add(path)
        for target in sorted(includes[path]):
            visit(target)
        ordered.append(path)

    for path in shuffled:
        visit(path)
    return ordered


def split_file(path, text):
    """The tokens of function-sized pieces."""
    if path.endswith(SLASH_COMMENTS):
        text = re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)
    chunks, chunk, blank = [], [], False
    for line in text.splitlines():
        if not line.strip():
            blank = True
            continue
        # A line at the margin after a blank one begins a function, a class, a test.
        starts = blank and not line[0].isspace() and line[0] not in "})"
        if (starts and len(chunk) >= LEAST_CHUNK) or len(chunk) >= MOST_CHUNK:
            chunks.append(chunk)
            chunk = []
        blank = False
        chunk = chunk + TOKEN.findall(line)
    if chunk:
        chunks.append(chunk)
    return chunks


def build(root, limit, seed):
    """The first `limit` tokens of the sources under `root`."""
    paths = list_files(root)
    texts = read_texts(root, paths)
    known = set(paths)
    includes = {path: find_includes(path, texts[path], known) for path in paths}
    corpus = Corpus(tokens=[SUMMARY], offsets=[1])
    nodes = {}
    for path in order_files(paths, includes, seed):
        for chunk in split_file(path, texts[path]):
            chunk = chunk[: limit - len(corpus.tokens)]
            if not chunk:
                break
            if path not in nodes:
                nodes[path] = len(corpus.files)
                corpus.files.append(path)
            corpus.tokens += chunk
            corpus.offsets.append(len(corpus.tokens))
            corpus.chunk_node.append(nodes[path])
        if len(corpus.tokens) == limit:
            break
    corpus.indptr = [0]
    for path in corpus.files:
        corpus.indices += [nodes[target] for target in includes[path] if target in nodes]
        corpus.indptr.append(len(corpus.indices))
    return corpus
