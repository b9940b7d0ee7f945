# ===- peers_case.py - one case of the comparison, in a process of its own --===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Runs one case: our kernel and its peers on the same tensors.

Reads the case as JSON from stdin and writes JSON lines to stdout: a {"step": ...}
before everything that may take long, so that benchmark/peers.py can stop it; a
{"result": ...}; and at last, as it may take all the memory there is, {"eager_mask":
...}: what FlexAttention's mask costs when it is built as its documentation shows. The
implementations take turns, so that what disturbs the machine disturbs all of them.
"""
import gc
import json
import os
import re
import resource
import statistics
import sys
import time
from functools import partial

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

import ceilings  # noqa: E402
import patterns  # noqa: E402
import sparse_attn  # noqa: E402

# The channel to the parent: whatever else prints goes to stderr.
REPORT = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)
TYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
SHORT = 0.03  # seconds: shorter calls are timed several at a time
LONG = 3.0  # seconds: nothing is cold after the first call of this length


class Skip(Exception):
    """An implementation that cannot take part, and why."""


def report(**line):
    print(json.dumps(line), file=REPORT, flush=True)


def seconds_of(function, *arguments):
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


class Inputs:
    """q, k and v; for few queries several copies of k and v that take turns, so that
    they come from memory, as they do when other layers run in between."""

    def __init__(self, q, k, v):
        self.sets, self.turn = [(q, k, v)], 0
        read = k.nbytes + v.nbytes
        if q.shape[2] <= 64:
            copies = min(16, -(-ceilings.bytes_beyond_caches() // read))
            self.sets += [(q, k.clone(), v.clone()) for _ in range(copies - 1)]

    def first(self):
        return self.sets[0]

    def next(self):
        self.turn = (self.turn + 1) % len(self.sets)
        return self.sets[self.turn]


# ===--- Implementations ----------------------------------------------------===#

# Each has `run` and `build`: what a new layout costs before it can run, the plan or
# the mask.


class Ours:
    """The plan is what others call the mask. It keeps the workspace, as an application
    does; outputs are new tensors in each call, as those of the peers."""

    def __init__(self, mask, inputs):
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
        self.inputs = inputs
        self.plan = self.build()

    def build(self):
        return self.kernel.plan(*self.shape, threads=CASE["threads"], **self.operands)

    def run(self):
        return self.plan.run(*self.inputs.next())


class Flex:
    """FlexAttention under torch.compile, mask building compiled, too."""

    def __init__(self, mask, inputs):
        shape = patterns.Shape(*CASE["shape"])
        self.inputs, self.shape, self.mask = inputs, shape, mask
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
        self.compiled = torch.compile(create_block_mask, dynamic=False)
        report(step="flex", what="compile mask building")
        self.block_mask = self.build_mask(self.compiled)

    def build(self):
        """Dense needs none for each layout."""
        return self.mask.keep and self.build_mask(self.compiled)

    def build_mask(self, create):
        batch = heads = None
        if self.mask.per_head:
            batch, heads = self.shape.batch, self.shape.heads
        return create(self.keep, batch, heads, self.shape.queries, self.shape.keys, device="cpu")

    def run(self):
        q, k, v = self.inputs.next()
        return self.attention(q, k, v, block_mask=self.block_mask, enable_gqa=self.gqa)


class Sdpa:
    """scaled_dot_product_attention: dense, causal, or with a boolean mask."""

    def __init__(self, mask, inputs):
        shape = patterns.Shape(*CASE["shape"])
        self.inputs, self.shape, self.mask = inputs, shape, mask
        self.gqa, self.note = shape.heads != shape.kv_heads, None
        # One row for each head of a group, so that keys are read once.
        self.folded = shape.queries == 1 and self.gqa and not mask.per_head
        if self.folded:
            self.note = "the heads of a group as rows"
        self.causal = CASE["pattern"]["mask"] == "causal" and shape.queries == shape.keys
        self.needs_mask = mask.keep is not None and not self.causal
        if self.needs_mask:
            planes = shape.batch * shape.heads if mask.per_head else 1
            # The mask, and what torch makes of it: an addend for every score.
            gib = planes * shape.queries * shape.keys * (1 + q_item_bytes(inputs)) / 2**30
            if gib > CASE["limits"]["mask_gib"]:
                raise Skip(f"its boolean mask takes {gib:.0f} GiB with torch's copy of it")
        start = time.perf_counter()
        self.table = self.build()
        self.build_seconds = time.perf_counter() - start

    def build(self):
        """The mask in slices of rows: whole, its intermediate results would not fit."""
        if not self.needs_mask:
            return None
        shape, keep = self.shape, self.mask.keep(torch)
        shift, j = shape.keys - shape.queries, torch.arange(shape.keys)
        batch, heads = (shape.batch, shape.heads) if self.mask.per_head else (1, 1)
        table = torch.empty(batch, heads, shape.queries, shape.keys, dtype=torch.bool)
        for b in range(batch):
            for h in range(heads):
                for first in range(0, shape.queries, 1024):
                    p = torch.arange(first, min(first + 1024, shape.queries)) + shift
                    kept = keep(torch.tensor(b), torch.tensor(h), p[:, None], j)
                    table[b, h, first : first + 1024] = kept
        return table

    def run(self):
        q, k, v = self.inputs.next()
        if self.folded:
            rows = q.view(self.shape.batch, self.shape.kv_heads, -1, q.shape[-1])
            return scaled_dot_product_attention(rows, k, v, attn_mask=self.table).view(q.shape)
        return scaled_dot_product_attention(
            q, k, v, attn_mask=self.table, is_causal=self.causal, enable_gqa=self.gqa
        )


def q_item_bytes(inputs):
    return inputs.first()[0].element_size()


IMPLEMENTATIONS = {"ours": Ours, "flex": Flex, "sdpa": Sdpa}


# ===--- Measuring ----------------------------------------------------------===#


def describe_error(error):
    text = str(error).strip().splitlines() or [""]
    asked = re.search(r"you tried to allocate (\d+) bytes", str(error))
    if asked:
        return f"out of memory: asks for {int(asked[1]) / 2**30:.0f} GiB at once"
    return f"failed: {type(error).__name__}: {text[0]}"[:300]


def start(name, mask, inputs, results):
    """Prepares an implementation and runs it once; None where it cannot take part."""
    entry = results[name] = {}
    try:
        report(step=name, what="start")
        first = time.perf_counter()
        made = IMPLEMENTATIONS[name](mask, inputs)
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
        entry["skipped"] = describe_error(error)
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
    time.sleep(0.005)  # the others' threads stop spinning
    calls = 1
    if estimate < SHORT:
        made.run()
        calls = max(1, min(200, int(SHORT / max(estimate, 1e-6))))

    def call():
        # Results go back to the allocator at once, as in an application.
        for _ in range(calls):
            made.run()

    return seconds_of(call) / calls


def record(entry, timed, ceiling):
    """A repetition of `timed()` seconds, and what the ceiling would do meanwhile."""
    if ceiling is None:
        entry.setdefault("times", []).append(timed())
        return
    seconds, rate = ceiling.around(timed)
    for key, value in (("times", seconds), ("ceiling_rates", rate),
                       ("ceiling_amounts", rate * seconds)):
        entry.setdefault(key, []).append(value)


def count_repetitions(estimate, share, most):
    """As many as `share` seconds allow; fewer than three only where they are long."""
    cost = estimate + SHORT if estimate >= SHORT else 2 * SHORT
    least = 3 if estimate < 1 else 2 if estimate < LONG else 0
    return max(least, min(most, int(share / cost)))


def repeat(running, results, ceiling):
    """Interleaved repetitions of running, then of building, within the time there is;
    ours beside the ceiling of the moment.

    Every implementation has the same time, so that a slow peer costs the others no
    repetitions; it takes part in rounds that are spread over all of them.
    """
    limits = CASE["limits"]
    share = limits["seconds_of_repetitions"] / len(running)
    beside = {"ours": ceiling}
    estimates, counts = {}, {}
    for name, made in running.items():
        report(step=name, what="second run")
        second = {}
        record(second, partial(seconds_of, made.run), beside.get(name))
        estimates[name] = second["times"][0]
        if estimates[name] >= LONG:  # a repetition itself
            results[name].update(second)
        counts[name] = count_repetitions(estimates[name], share, limits["repetitions"])
    rounds = max(counts.values())
    for turn in range(rounds):
        for name, made in running.items():
            count = counts[name]
            if (turn + 1) * count // rounds > turn * count // rounds:
                timed = partial(time_calls, made, name, estimates[name])
                record(results[name], timed, beside.get(name))
    # Building is timed apart: it must not warm or cool what runs.
    for name, made in running.items():
        # The first call of a slow one is as good as any: nothing was compiled for it.
        first = getattr(made, "build_seconds", 0)
        slow = first > share / 2
        results[name]["mask_times"] = [first] if slow else time_builds(name, made.build, share / 2)


def time_builds(name, build, share, what="mask"):
    report(step=name, what=what)
    times = [seconds_of(build)]
    count = min(CASE["limits"]["repetitions"] - 1, int(share / max(times[0], 1e-5)))
    for _ in range(count):
        report(step=name, what=what)
        times.append(seconds_of(build))
    return times


def time_eager_mask(flex):
    """create_block_mask by default: eager, every pair of the mask in memory."""
    entry = {}
    # Some of its intermediate results have 64 bits for each pair. Trying takes half a
    # minute and nearly all of the memory before it fails.
    table = 8 * flex.shape.queries * flex.shape.keys
    if table > resource.getrlimit(resource.RLIMIT_AS)[0]:
        reason = f"out of memory: wants tables of {table / 2**30:.0f} GiB (not tried)"
        return {"eager_mask_skipped": reason}
    try:
        times = time_builds("flex", lambda: flex.build_mask(create_block_mask),
                            CASE["limits"]["seconds_of_repetitions"] / 8, "eager mask")
        entry["eager_mask_times"] = times
        summarize(entry)
    except Exception as error:  # a result, too
        entry["eager_mask_skipped"] = describe_error(error)
    return entry


def summarize(entry):
    for key, name in (
        ("times", "seconds"),
        ("mask_times", "mask_seconds"),
        ("eager_mask_times", "eager_mask_seconds"),
        ("ceiling_rates", "ceiling_rate"),
        ("ceiling_amounts", "ceiling_amount"),
    ):
        values = entry.pop(key, None)
        if values:
            entry[name] = statistics.median(values)
            entry[name + "_min"], entry[name + "_max"] = min(values), max(values)
            if "seconds" in name:
                entry[name.replace("seconds", "repetitions")] = len(values)


def count_needed_keys(mask, shape):
    """Keys that some row of a key/value head's group keeps, over all of these heads."""
    if mask.keep is None:
        return shape.batch * shape.kv_heads * shape.keys
    keep, group = mask.keep(torch), shape.heads // shape.kv_heads
    p = torch.arange(shape.queries)[:, None] + shape.keys - shape.queries
    j, count = torch.arange(shape.keys), 0
    for b in range(shape.batch):
        for head in range(shape.kv_heads):
            heads = range(head * group, (head + 1) * group if mask.per_head else head * group + 1)
            any_row = torch.zeros(shape.keys, dtype=torch.bool)
            for h in heads:
                any_row |= keep(torch.tensor(b), torch.tensor(h), p, j).any(0)
            count += int(any_row.sum())
    return count


def describe_work(ours, inputs, mask):
    """Pairs and bytes: what the mask keeps, and what the kernel visits."""
    shape, dim = ours.shape, CASE["head_dim"]
    tiles, grid = ours.plan.tiles(), ours.plan.grid()
    q, k, v = inputs.first()
    if mask.keep is None:
        kept = shape.batch * shape.heads * shape.queries * shape.keys
    else:
        # Where every score is 0, LSE is the logarithm of the number of keys.
        report(step="ours", what="count")
        zeros = ours.plan.run(torch.zeros_like(q), k, v).lse
        kept = int(torch.exp(zeros.double()).round().sum())
    rows = grid.queries / grid.row_tiles if grid.row_tiles else 0
    needed = count_needed_keys(mask, shape) if shape.queries <= 64 else None
    return {
        "kept_pairs": kept,
        "visited_pairs": tiles.visited * rows * grid.tile_keys,
        "kept_flops": 4 * dim * kept,
        "visited_share": tiles.visited / tiles.all,
        "full_tiles": tiles.full,
        "partial_tiles": tiles.partial,
        "read_bytes": needed and needed * 2 * dim * k.element_size(),
        "plan_bytes": ours.plan.bytes,
        "workspace_bytes": ours.plan.workspace_bytes(),
        "level": ours.kernel.level,
    }


def make_inputs(shape):
    torch.manual_seed(1)
    dtype, dim = TYPES[CASE["dtype"]], CASE["head_dim"]
    sizes = [(shape.heads, shape.queries), (shape.kv_heads, shape.keys)]
    return Inputs(*(torch.randn(shape.batch, *sizes[i], dim).to(dtype) for i in (0, 1, 1)))


def measure(mask, inputs):
    """The result of the case, and FlexAttention if it can go on."""
    results, running, outputs = {}, {}, {}
    for name in IMPLEMENTATIONS:
        if name in CASE["excluded"]:
            continue
        made, out = start(name, mask, inputs, results)
        if made is not None:
            running[name], outputs[name] = made, out
    ours, lse = outputs.pop("ours")
    for name, out in outputs.items():
        results[name]["relative_error"] = relative_error(out, ours, lse)
    del outputs, ours, out, lse
    work = describe_work(running["ours"], inputs, mask)
    results["ours"]["compile_seconds"] = running["ours"].compile_seconds
    gc.collect()
    gc.disable()
    ceiling = ceilings.choose(CASE)
    results["ours"]["ceiling"] = ceiling.name
    repeat(running, results, ceiling)
    for entry in results.values():
        summarize(entry)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    result = {"work": work, "implementations": results, "peak_bytes": peak,
              "copies": len(inputs.sets)}
    return result, running.get("flex")


def main():
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = int(pages * 0.85)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    torch.set_num_threads(CASE["threads"])
    torch.set_grad_enabled(False)  # for all of it: torch.compile starts anew on a change
    shape = patterns.Shape(*CASE["shape"])
    mask = patterns.make_mask(CASE["pattern"], shape)
    inputs = make_inputs(shape)
    if CASE.get("warm"):
        entries = {}
        start("flex", mask, inputs, entries)
        report(result=entries["flex"])
        return
    result, flex = measure(mask, inputs)
    report(result=result)
    if flex is not None and mask.keep is not None:
        report(eager_mask=time_eager_mask(flex))


if __name__ == "__main__":
    main()
