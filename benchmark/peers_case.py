# ===- peers_case.py - one case of the comparison, in a process of its own --===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Runs one case: our kernel and its peers on the same tensors.

Reads the case as JSON from stdin and writes JSON lines to stdout: a {"step": ...}
before everything that may take long, so that benchmark/peers.py can stop it, and
at the end a {"result": ...}. The implementations take turns, so that what disturbs
the machine disturbs all of them.
"""
import json
import os
import resource
import statistics
import sys
import time

# The number of threads is decided before torch and OpenMP start.
CASE = json.load(sys.stdin)
os.environ["OMP_NUM_THREADS"] = str(CASE["threads"])
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "python")]

import torch  # noqa: E402
from torch.nn.attention.flex_attention import (  # noqa: E402
    create_block_mask,
    flex_attention,
    noop_mask,
)
from torch.nn.functional import scaled_dot_product_attention  # noqa: E402

import patterns  # noqa: E402
import sparse_attn  # noqa: E402

# The channel to the parent: whatever else prints goes to stderr.
REPORT = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)
TYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
SHORT = 0.03  # seconds: shorter calls are timed several at a time


class Skip(Exception):
    """An implementation that cannot take part, and why."""


def report(**line):
    print(json.dumps(line), file=REPORT, flush=True)


def seconds_of(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


# ===--- Implementations ----------------------------------------------------===#


class Ours:
    """`plan` is what others call building the mask."""

    def __init__(self, mask, q, k, v):
        pattern, shape = CASE["pattern"], patterns.Shape(*CASE["shape"])
        start = time.perf_counter()
        library = sparse_attn.compile(
            patterns.make_expression(pattern),
            head_dim=CASE["head_dim"],
            dtype=CASE["dtype"],
            name="kernel",
            cache=CASE["cache"],
        )
        self.compile_seconds = time.perf_counter() - start
        self.kernel, self.shape, self.operands = library["kernel"], shape, mask.operands
        self.inputs = (q, k, v)
        self.prepare()

    def prepare(self):
        self.plan = self.kernel.plan(*self.shape, threads=CASE["threads"], **self.operands)

    def run(self):
        return self.plan.run(*self.inputs)


class Flex:
    """FlexAttention under torch.compile, mask building compiled, too."""

    def __init__(self, mask, q, k, v):
        shape = patterns.Shape(*CASE["shape"])
        self.inputs, self.shape, self.mask = (q, k, v), shape, mask
        self.gqa = shape.heads != shape.kv_heads
        self.block_mask, self.note = None, None
        self.attention = torch.compile(flex_attention, dynamic=False)
        keep, shift = mask.keep and mask.keep(torch), shape.keys - shape.queries
        if keep is not None:
            self.keep = lambda b, h, i, j: keep(b, h, i + shift, j)
        elif shape.queries > 128:
            # Without a block mask all keys are one block, which is slower.
            self.keep, self.note = noop_mask, "dense with a mask of full blocks"
        else:
            return
        # The C++ that torch 2.13 writes for one query does not compile when a
        # predicate is all comparisons; through a float it does.
        if shape.queries == 1:
            plain = self.keep
            self.keep = lambda b, h, i, j: torch.where(plain(b, h, i, j), 1.0, 0.0) > 0
            self.note = "predicate through torch.where, or its C++ would not compile"
        self.build = torch.compile(create_block_mask, dynamic=False)
        report(step="flex", what="compile mask building")
        self.build_mask()

    def prepare(self):
        """Dense needs none for each layout."""
        if self.mask.keep is not None:
            self.build_mask()

    def build_mask(self):
        batch = heads = None
        if self.mask.per_head:
            batch, heads = self.shape.batch, self.shape.heads
        self.block_mask = self.build(
            self.keep, batch, heads, self.shape.queries, self.shape.keys, device="cpu"
        )

    def run(self):
        q, k, v = self.inputs
        return self.attention(q, k, v, block_mask=self.block_mask, enable_gqa=self.gqa)


class Sdpa:
    """scaled_dot_product_attention: dense, causal, or with a boolean mask."""

    def __init__(self, mask, q, k, v):
        shape = patterns.Shape(*CASE["shape"])
        self.inputs, self.shape, self.mask = (q, k, v), shape, mask
        self.gqa, self.note, self.folded = shape.heads != shape.kv_heads, None, None
        if shape.queries == 1 and self.gqa and not mask.per_head:
            # One row for each head of a group, so that keys are read once.
            group = shape.heads // shape.kv_heads
            self.folded = q.view(shape.batch, shape.kv_heads, group, -1)
            self.note = "the heads of a group as rows"
        self.causal = CASE["pattern"]["mask"] == "causal" and shape.queries == shape.keys
        self.dense = None
        self.needs_mask = mask.keep is not None and not self.causal
        if self.needs_mask:
            planes = shape.batch * shape.heads if mask.per_head else 1
            # The mask, and what torch makes of it: an addend for every score.
            gib = planes * shape.queries * shape.keys * 5 / 2**30
            if gib > CASE["limits"]["mask_gib"]:
                raise Skip(f"its boolean mask takes {gib:.0f} GiB with torch's copy of it")
            self.prepare()

    def prepare(self):
        """The mask in slices of rows: whole, its intermediate results would not fit."""
        if not self.needs_mask:
            return
        shape, keep = self.shape, self.mask.keep(torch)
        shift, j = shape.keys - shape.queries, torch.arange(shape.keys)
        batch, heads = (shape.batch, shape.heads) if self.mask.per_head else (1, 1)
        self.dense = torch.empty(batch, heads, shape.queries, shape.keys, dtype=torch.bool)
        for b in range(batch):
            for h in range(heads):
                for first in range(0, shape.queries, 1024):
                    p = torch.arange(first, min(first + 1024, shape.queries)) + shift
                    kept = keep(torch.tensor(b), torch.tensor(h), p[:, None], j)
                    self.dense[b, h, first : first + 1024] = kept

    def run(self):
        q, k, v = self.inputs
        if self.folded is not None:
            out = scaled_dot_product_attention(self.folded, k, v, attn_mask=self.dense)
            return out.view(q.shape)
        return scaled_dot_product_attention(
            q, k, v, attn_mask=self.dense, is_causal=self.causal, enable_gqa=self.gqa
        )


IMPLEMENTATIONS = {"ours": Ours, "flex": Flex, "sdpa": Sdpa}


# ===--- Measuring ----------------------------------------------------------===#


def start(name, mask, tensors, results):
    """Prepares an implementation and runs it once; None where it cannot take part."""
    entry = results[name] = {}
    try:
        report(step=name, what="start")
        first = time.perf_counter()
        made = IMPLEMENTATIONS[name](mask, *tensors)
        report(step=name, what="first run")
        out = made.run()
        entry["start_seconds"] = time.perf_counter() - first
        if getattr(made, "note", None):
            entry["note"] = made.note
        return made, out
    except Skip as reason:
        entry["skipped"] = str(reason)
    except sparse_attn.Error:
        raise
    except Exception as error:  # a peer that fails is a result
        text = str(error).strip().splitlines()
        message = f"{type(error).__name__}: {text[0] if text else ''}"
        entry["skipped"] = f"failed: {message[:300]}"
    return None, None


def relative_error(out, ours, lse):
    """2-norm of the difference over ours, in the rows that attend to something."""
    rows = torch.isfinite(lse)
    if not rows.any():
        return 0.0
    # Slices of heads, so that float64 copies stay small.
    difference = norm = 0.0
    for b in range(out.shape[0]):
        for h in range(out.shape[1]):
            kept = rows[b, h]
            mine, theirs = ours[b, h][kept].double(), out[b, h][kept].double()
            difference += float(((mine - theirs) ** 2).sum())
            norm += float((mine**2).sum())
    return (difference / norm) ** 0.5


def time_calls(made, name, estimate):
    """Seconds of one call of `run`: of the second of two, or of many in a row."""
    report(step=name, what="repetition")
    time.sleep(0.002)  # the others' threads stop spinning
    calls = 1
    if estimate < SHORT:
        made.run()
        calls = max(1, min(100, int(SHORT / max(estimate, 1e-6))))
    total = seconds_of(lambda: [made.run() for _ in range(calls)] and None)
    return total / calls


def repeat(running, results):
    """Interleaved repetitions of building and running, within the time there is."""
    limits = CASE["limits"]
    estimates, builds = {}, {}
    for name, made in running.items():
        report(step=name, what="second run")
        estimates[name] = seconds_of(made.run)
        report(step=name, what="mask")
        builds[name] = seconds_of(made.prepare)
        results[name]["mask_times"] = [builds[name]]
        results[name]["times"] = []
    cost = sum(max(estimates[n], 2 * SHORT * (estimates[n] < SHORT)) for n in running)
    count = int(limits["seconds_of_repetitions"] / max(cost, 1e-3))
    count = max(1 if cost > limits["seconds_of_repetitions"] else 3,
                min(limits["repetitions"], count))
    for _ in range(count):
        for name, made in running.items():
            results[name]["times"].append(time_calls(made, name, estimates[name]))
    # Building is timed apart: it must not warm or cool what runs.
    budget = limits["seconds_of_repetitions"] / 2
    for name, made in running.items():
        more = int(budget / len(running) / max(builds[name], 1e-4))
        for _ in range(max(0, min(limits["repetitions"] - 1, more))):
            report(step=name, what="mask")
            results[name]["mask_times"].append(seconds_of(made.prepare))


def summarize(entry):
    for key, name in (("times", "seconds"), ("mask_times", "mask_seconds")):
        values = entry.pop(key, None)
        if values:
            entry[name] = statistics.median(values)
            entry[name + "_min"], entry[name + "_max"] = min(values), max(values)
            entry[name.replace("seconds", "repetitions")] = len(values)


def describe_work(ours, tensors, lse, mask):
    """Pairs and bytes: what the mask keeps, and what the kernel visits."""
    shape, dim = ours.shape, CASE["head_dim"]
    tiles, grid = ours.plan.tiles(), ours.plan.grid()
    if mask.keep is None:
        kept = shape.batch * shape.heads * shape.queries * shape.keys
    else:
        # Where every score is 0, LSE is the logarithm of the number of keys.
        report(step="ours", what="count")
        q, k, v = tensors
        zeros = ours.plan.run(torch.zeros_like(q), k, v).lse
        kept = int(torch.exp(zeros.double()).round().sum())
    # Keys that any row of a group reads, once for each key/value head.
    group = shape.heads // shape.kv_heads
    columns = 0
    for b in range(shape.batch if shape.queries <= 64 else 0):
        for head in range(shape.kv_heads):
            any_row = sum(
                ours.plan.tile_map(b, head * group + h).any(axis=0).astype(int)
                for h in range(group)
            )
            columns += int((any_row > 0).sum())
    item = tensors[1].element_size()
    rows = grid.queries / grid.row_tiles if grid.row_tiles else 0
    return {
        "kept_pairs": kept,
        "visited_pairs": tiles.visited * rows * grid.tile_keys,
        "kept_flops": 4 * dim * kept,
        "visited_share": tiles.visited / tiles.all,
        "full_tiles": tiles.full,
        "partial_tiles": tiles.partial,
        "read_bytes": columns * grid.tile_keys * 2 * dim * item if columns else None,
        "plan_bytes": ours.plan.bytes,
        "workspace_bytes": ours.plan.workspace_bytes(),
        "level": ours.kernel.level,
    }


def main():
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = int(pages * 0.85)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    torch.set_num_threads(CASE["threads"])
    torch.set_grad_enabled(False)  # for all of it: torch.compile starts anew on a change
    torch.manual_seed(1)
    shape = patterns.Shape(*CASE["shape"])
    mask = patterns.make_mask(CASE["pattern"], shape)
    dtype, dim = TYPES[CASE["dtype"]], CASE["head_dim"]
    sizes = [(shape.heads, shape.queries), (shape.kv_heads, shape.keys)]
    q, k, v = (torch.randn(shape.batch, *sizes[i], dim).to(dtype) for i in (0, 1, 1))

    results, running, outputs = {}, {}, {}
    for name in IMPLEMENTATIONS:
        if name in CASE["excluded"]:
            continue
        made, out = start(name, mask, (q, k, v), results)
        if made is not None:
            running[name], outputs[name] = made, out
    ours, lse = outputs.pop("ours")
    for name, out in outputs.items():
        results[name]["relative_error"] = relative_error(out, ours, lse)
    del outputs, ours
    work = describe_work(running["ours"], (q, k, v), lse, mask)
    results["ours"]["compile_seconds"] = running["ours"].compile_seconds
    repeat(running, results)
    for entry in results.values():
        summarize(entry)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    report(result={"work": work, "implementations": results, "peak_bytes": peak})


if __name__ == "__main__":
    main()
