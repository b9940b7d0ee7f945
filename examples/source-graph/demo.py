#!/usr/bin/env python3
# ===- demo.py - attention over this repository's own sources ---------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Compiles graph-aligned attention ahead of time and runs it on the sources of
this repository: a token sees its own file and those within two #include edges, a
window of its neighbours, and a summary token. Checks the result against the
reference and compares with the same kernel run dense.

Every number that this prints is measured in this run.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import zlib

import numpy as np

import corpus as corpora

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LAYOUT = ("offsets", "chunk_node", "indptr", "indices")
PATTERN = (
    "causal & (graph_hop(offsets, chunk_node, indptr, indices, max_hops = 2)"
    " | global(positions = [0]) | window(127, 0))"
)
HEADS, HEAD_DIM = 8, 64
# Hashed n-grams: a table of vectors that stands for a learned embedding.
GRAMS, BUCKETS, MODEL_DIM = 3, 4096, 256


class Progress:
    """Numbered steps, each with the time that it took."""

    def __init__(self, steps):
        self.steps, self.number, self.start = steps, 0, 0

    def begin(self, what):
        self.number += 1
        self.start = time.perf_counter()
        print(f"[{self.number}/{self.steps}] {what}", flush=True)

    def end(self, *lines):
        for line in lines:
            print(f"      {line}")
        print(f"      ({time.perf_counter() - self.start:.1f} s)", flush=True)


# ===--- Input --------------------------------------------------------------===#


def embed(tokens, seed):
    """A vector for each token: the sum of the vectors of the n-grams that end there."""
    rng = np.random.default_rng(seed)
    table = rng.standard_normal((BUCKETS, MODEL_DIM), dtype=np.float32)
    result = np.zeros((len(tokens), MODEL_DIM), dtype=np.float32)
    for n in range(1, GRAMS + 1):
        grams = ["\0".join(tokens[max(0, i - n + 1) : i + 1]) for i in range(len(tokens))]
        buckets = [zlib.crc32(f"{n} {gram}".encode()) % BUCKETS for gram in grams]
        result += table[buckets]
    return result / np.sqrt(np.float32(GRAMS))


def project(embedding, seed):
    """Q, K and V [1, heads, tokens, head dim]: one random projection each."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name in "qkv":
        weight = rng.standard_normal((MODEL_DIM, HEADS * HEAD_DIM), dtype=np.float32)
        flat = embedding @ (weight / np.sqrt(np.float32(MODEL_DIM)))
        split = flat.reshape(len(embedding), HEADS, HEAD_DIM).transpose(1, 0, 2)
        tensors[name] = np.ascontiguousarray(split[None])
    return tensors


def write_inputs(corpus, folder, seed):
    arrays = project(embed(corpus.tokens, seed), seed + 1)
    arrays["offsets"] = np.array([corpus.offsets], dtype=np.int32)
    arrays["chunk_node"] = np.array([corpus.chunk_node], dtype=np.int32)
    arrays["indptr"] = np.array(corpus.indptr, dtype=np.int32)
    arrays["indices"] = np.array(corpus.indices, dtype=np.int32)
    files = {}
    for name, array in arrays.items():
        files[name] = os.path.join(folder, name + ".npy")
        np.save(files[name], array)
    return files


# ===--- Tools --------------------------------------------------------------===#


def find_tool(name, folder):
    path = os.path.join(folder, name) if folder else shutil.which(name)
    built = os.path.join(ROOT, "build", "bin", name)
    for candidate in (path, built):
        if candidate and os.path.isfile(candidate):
            return candidate
    sys.exit(f"demo: there is no {name}; build it with ./dev build, or name its folder with --bin")


def call(command):
    """Runs a tool and returns what it prints; its errors go to the screen."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        # A check that fails is reported on the output.
        sys.stderr.write(done.stdout)
        sys.exit(f"demo: {os.path.basename(command[0])} failed with status {done.returncode}")
    return done.stdout


class Tools:
    def __init__(self, bin_folder, out):
        self.compile_tool = find_tool("sparse-attn-compile", bin_folder)
        self.run_tool = find_tool("sparse-attn-run", bin_folder)
        self.out = out

    def compile(self, name, pattern):
        """Compiles ahead of time and returns the library's path and the seconds."""
        start = time.perf_counter()
        call([self.compile_tool, "--pattern", pattern, "--head-dim", str(HEAD_DIM),
              "--name", name, "-o", self.out])  # fmt: skip
        return os.path.join(self.out, f"lib{name}.so"), time.perf_counter() - start

    def explain(self, name, pattern, tokens, files, kind):
        """Text, or the path of the file that was written."""
        command = [self.compile_tool, "--pattern", pattern, "--head-dim", str(HEAD_DIM),
                   "--name", name, f"--explain={kind}", "--explain-shape",
                   f"1,{HEADS},{HEADS},{tokens},{tokens}"]  # fmt: skip
        for operand in LAYOUT:
            command += ["--operand", f"{operand}={files[operand]}"]
        if kind == "text":
            return call(command)
        path = os.path.join(self.out, f"{name}.{kind}")
        call(command + ["-o", path])
        return path

    def run(self, library, files, layout, repeat, check=None):
        """The report of sparse-attn-run; `check` rows are compared with the reference."""
        command = [self.run_tool, library, "--json", "--tiles", f"--repeat={repeat}"]
        if check:
            command.append(f"--check={check}")
        for name in "qkv":
            command += [f"-{name}", files[name]]
        for name in layout:
            command += ["--operand", f"{name}={files[name]}"]
        return json.loads(call(command))


# ===--- Report -------------------------------------------------------------===#


def describe_corpus(corpus):
    hub, count = corpus.most_included()
    return (
        f"{len(corpus.tokens):,} tokens in {len(corpus.chunk_node):,} chunks"
        f" of {len(corpus.files):,} files",
        f"{len(corpus.indices):,} #include edges; most included: {hub} (by {count})",
    )


def describe_check(report):
    check = report["check"]
    return (
        f"agrees with the float64 reference in {check['rows']:,} of {check['all_rows']:,} rows:",
        f"|O - ref| / |ref| = {check['out_error']:.2g} (bound {check['out_bound']:.0e}),"
        f" max |LSE - ref| = {check['lse_error']:.2g} (bound {check['lse_bound']:.0e})",
    )


def print_summary(reports):
    """One line for each kernel, and the factor over the dense one."""
    dense = reports["dense"]["run"]["median"]
    print(f"{'':10}{'time':>12}{'factor':>9}{'kept tiles':>13}{'- full':>10}"
          f"{'- partial':>11}{'skipped':>10}{'plan time':>12}{'plan bytes':>13}")  # fmt: skip
    for name, report in reports.items():
        tiles, plan = report["tiles"], report["plan"]
        seconds = report["run"]["median"]
        print(
            f"{name:10}{seconds * 1e3:>9,.1f} ms{dense / seconds:>8.2f}x"
            f"{tiles['full'] + tiles['partial']:>13,}{tiles['full']:>10,}"
            f"{tiles['partial']:>11,}{tiles['skipped']:>10,}"
            f"{plan['seconds'] * 1e3:>9.2f} ms{plan['bytes']:>13,}"
        )


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", type=int, default=16384, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=3, help="of the order of files and of Q, K, V")
    parser.add_argument("--repeat", type=int, default=3, help="timed runs (default: %(default)s)")
    parser.add_argument("--check", type=int, default=512, metavar="ROWS",
                        help="rows compared with the reference (default: %(default)s)")  # fmt: skip
    parser.add_argument("--source", default=ROOT, help="the sources (default: this repository)")
    parser.add_argument("--bin", help="folder of the tools (default: PATH, then build/bin)")
    parser.add_argument("--out", default=os.path.join(ROOT, "out", "demo"),
                        help="folder for what is written (default: out/demo)")  # fmt: skip
    options = parser.parse_args()
    if options.tokens < 2 or options.repeat < 1 or options.check < 1:
        parser.error("--tokens must be at least 2, --repeat and --check at least 1")
    return options


def main():
    options = parse_arguments()
    os.makedirs(options.out, exist_ok=True)
    tools = Tools(options.bin, options.out)
    progress = Progress(6)

    progress.begin("Read the sources of this repository")
    corpus = corpora.build(options.source, options.tokens, options.seed)
    if not corpus.chunk_node:
        sys.exit(f"demo: there are no sources in '{options.source}'")
    tokens = len(corpus.tokens)
    progress.end(*describe_corpus(corpus))

    progress.begin(f"Embed token n-grams and project to Q, K, V: {HEADS} heads, D = {HEAD_DIM}")
    files = write_inputs(corpus, options.out, options.seed)
    progress.end()

    progress.begin("Compile ahead of time")
    sparse, sparse_seconds = tools.compile("sources", PATTERN)
    dense, dense_seconds = tools.compile("dense", "all")
    causal, causal_seconds = tools.compile("causal", "causal")
    progress.end(
        f"sources: {PATTERN}",
        f"{sparse_seconds:.2f} s; also dense ('all', {dense_seconds:.2f} s)"
        f" and 'causal' ({causal_seconds:.2f} s)",
    )

    progress.begin("Explain the plan")
    print()
    print(tools.explain("sources", PATTERN, tokens, files, "text"))
    pictures = [tools.explain("sources", PATTERN, tokens, files, kind) for kind in ("svg", "html")]
    progress.end("the same as a picture and as a page: " + ", ".join(map(relative, pictures)))

    progress.begin("Run and check against the reference")
    reports = {"sources": tools.run(sparse, files, LAYOUT, options.repeat, options.check)}
    progress.end(
        f"level {reports['sources']['level']}, workspace"
        f" {reports['sources']['workspace_bytes'] / 2**20:,.1f} MiB",
        *describe_check(reports["sources"]),
    )

    progress.begin("Run the same shapes causal and dense")
    rows = min(options.check, 64)
    reports["causal"] = tools.run(causal, files, (), options.repeat, rows)
    reports["dense"] = tools.run(dense, files, (), options.repeat, rows)
    progress.end(*(f"{name} {line}" for name in ("causal", "dense")
                   for line in describe_check(reports[name])[1:]))

    print(f"\nmedian of {options.repeat} runs, {HEADS} heads, {tokens:,} tokens")
    print_summary(reports)


def relative(path):
    shorter = os.path.relpath(path)
    return path if shorter.startswith("..") else shorter


if __name__ == "__main__":
    main()
