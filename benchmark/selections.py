#===- selections.py - decoding and prefill with what a run decides --------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===-----------------------------------------------------------------------===#
"""Attention whose mask a run decides, selection included, over the same kernel dense.

    ./dev bench --selections [--filter WORD ...] [--threads 1 2] [--repetitions N]
                             [--json FILE]

Each case is one process's turn: dense and sparse runs alternate on the same random
tensors, and the ratio is that of their medians. States are made before, as a decode loop
keeps them; `append` is the time of one key more. Times are of calls from Python.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "python"))
os.environ["PATH"] = f"{ROOT / 'build' / 'bin'}{os.pathsep}{os.environ['PATH']}"

import sparse_attn

try:
    import torch
except ImportError:
    torch = None

D, HEADS = 128, 8
NEAR = "sink(128) | window(127, 0)"
HASH = "hash(wq, wk, layers = [128, 32])"


def beside(choice):
    """What `choice` adds to a sink and a window."""
    return f"{NEAR} | {choice.format(rest=f'causal - ({NEAR})')}"


def hash_weights(rng):
    size = D * 128 + 128 + 128 * 32 + 32
    return {name: (rng.standard_normal((HEADS, size)) / 11).astype(np.float32)
            for name in ("wq", "wk")}


def needle(rng, q, k):
    """A few keys of each head score far above the others, as needles in a haystack do."""
    for h in range(HEADS):
        at = rng.choice(k.shape[2], 32, replace=False)
        k[0, h, at] += 0.6 * q[0, h, 0]


TOP5 = f"top_k({HASH}, causal - ({NEAR}), fraction = 0.05)"
CASES = {
    # name: (expression, keys, rows, most of dense, weights, shaping)
    "hash 10 % 128k": (beside(f"top_k({HASH}, {{rest}}, fraction = 0.1)"), 131072, 1, 0.20,
                       hash_weights, None),
    "hash 10 % 32k": (beside(f"top_k({HASH}, {{rest}}, fraction = 0.1)"), 32768, 1, 0.25,
                      hash_weights, None),
    "pages 5 % 128k": ("top_k(pages, causal, fraction = 0.05, block_k = 16)", 131072, 1, 0.15,
                       None, None),
    "magicpig 128k": ("sink(4) | window(63, 0) | sample.lsh(causal - (sink(4) | window(63, 0)), "
                      "mean = mean, tables = 150, bits = 10, seed = 1)", 131072, 1, 0.35,
                      lambda rng: {"mean": np.zeros((1, HEADS, D), np.float32)}, None),
    "adaptive 128k": (f"{NEAR} | {TOP5} | sample.adaptive(causal - ({NEAR} | {TOP5}), beside = "
                      f"{NEAR} | {TOP5}, base_rate = 0.01, epsilon = 0.25, delta = 0.25, "
                      "seed = 1)", 131072, 1, 0.35, hash_weights, needle),
    "prefill blocks 10 % 16k": ("top_k(pooled, all, fraction = 0.1, block_q = 128, "
                                "block_k = 128)", 16384, 16384, 0.20, None, None),
    # A tenth of all keys is a fifth of what a causal row sees.
    "prefill causal blocks": ("causal & top_k(pooled, causal, fraction = 0.1, block_q = 128, "
                              "block_k = 128)", 16384, 16384, 0.20, None, None),
}


def at_lines(x):
    """A copy that begins at a cache line, as the tensors of PyTorch do and a KV cache
    should: NumPy's arrays begin 16 bytes after one, and each of their rows takes a line
    more. Large pages, as NumPy's."""
    line = 64
    room = np.empty(x.nbytes + line, np.uint8)
    begin = -room.ctypes.data % line
    copy = room[begin:begin + x.nbytes].view(x.dtype).reshape(x.shape)
    copy[...] = x
    return copy


def as_bf16(x):
    """Rounded to nearest even."""
    bits = x.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def compile_kernel(expression, dtype, folder, name):
    subprocess.run(["sparse-attn-compile", "--pattern", expression, "--head-dim", str(D), "--dtype",
                    dtype, "--name", name, "-o", folder], check=True, capture_output=True)
    return sparse_attn.load(f"{folder}/lib{name}.so")[name]


def median_of(call, repetitions):
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def measure(name, dtype, threads, repetitions, folder):
    expression, keys, rows, most, weights, shape = CASES[name]
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((1, HEADS, n, D), dtype=np.float32) for n in (rows, keys, keys))
    if shape:
        shape(rng, q, k)
    given = {key: at_lines(x) for key, x in weights(rng).items()} if weights else {}
    tensors = {"q": q, "k": k, "v": v}
    if dtype == "bf16":
        tensors = {key: torch.from_numpy(at_lines(as_bf16(x))).view(torch.bfloat16)
                   for key, x in tensors.items()}
        given = {key: torch.from_numpy(x) for key, x in given.items()}
    else:
        tensors = {key: at_lines(x) for key, x in tensors.items()}
    kernel = compile_kernel(expression, dtype, folder, "sparse")
    dense = compile_kernel("causal" if "causal" in name else "all", dtype, folder, "dense")
    sizes = (1, HEADS, HEADS, rows, keys)
    plan = kernel.plan(*sizes, threads=threads)
    plain = dense.plan(*sizes, threads=threads)
    states, append = None, None
    if rows == 1:
        states = kernel.states(1, HEADS, HEADS, keys)
        known = {key: x for key, x in tensors.items() if key != "q"} | given
        states.extend(keys - 1, threads=0, **known)
        append = []
        for _ in range(5 * repetitions):
            states.rollback(keys - 2)
            append += median_of(lambda: states.extend(keys - 1, threads=threads, **known), 1)
        states.extend(keys, threads=threads, **known)
    like = np.empty_like if dtype == "f32" else torch.empty_like
    out = {n: like(tensors["q"]) for n in ("sparse", "dense")}
    sparse = lambda: plan.run(**tensors, **given, states=states, out=out["sparse"])
    base = lambda: plain.run(**tensors, out=out["dense"])
    sparse(), base()
    ours, theirs = [], []
    for _ in range(repetitions):
        theirs += median_of(base, 1)
        ours += median_of(sparse, 1 if rows > 1 else 3)
    result = {"case": name, "dtype": dtype, "threads": threads, "most": most,
              "dense_ms": statistics.median(theirs) * 1e3, "ms": statistics.median(ours) * 1e3}
    result["ratio"] = result["ms"] / result["dense_ms"]
    result["low"], result["high"] = (f(ours) * 1e3 / result["dense_ms"] for f in (min, max))
    if append:
        result["append"] = statistics.median(append) / statistics.median(ours)
        result["bytes_per_key"] = states.bytes_per_key
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--filter", nargs="*", default=[], help="words of the names of cases")
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--dtypes", nargs="*", default=["f32", "bf16"] if torch else ["f32"],
                        help="f32 and bf16, which needs torch")
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--json", help="where to write the results")
    options = parser.parse_args()
    results = []
    print(f"{'case':26}{'':6}{'t':>2}{'dense':>10}{'sparse':>10}{'ratio':>8}  spread       "
          f"{'at most':>8}{'append':>9}{'B/key':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for name in CASES:
            if not all(word in name for word in options.filter):
                continue
            for dtype in options.dtypes:
                for threads in options.threads:
                    r = measure(name, dtype, threads, options.repetitions, folder)
                    results.append(r)
                    print(f"{name:26}{dtype:6}{threads:2}{r['dense_ms']:8.2f}ms{r['ms']:8.2f}ms"
                          f"{r['ratio']:8.3f}  {r['low']:.3f}-{r['high']:.3f}  {r['most']:8.2f}"
                          f"{r.get('append', 0):9.4f}{r.get('bytes_per_key', 0):8.0f}", flush=True)
    if options.json:
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True,
                                text=True).stdout.strip()
        pathlib.Path(options.json).write_text(json.dumps(
            {"machine": platform.processor() or platform.machine(), "commit": commit,
             "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
