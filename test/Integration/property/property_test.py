#===- property_test.py - compiled kernels against the NumPy reference -----===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===-----------------------------------------------------------------------===#
"""Random masks x shapes x head groups x offsets x modifiers x types x tiles x splits into
merged parts, compiled and run.

    property_test.py --shard I --shards S [--kernels K] [--cases C] [--seed X]
                     [--only KERNEL] [--target ARCHITECTURE --emulator COMMAND]

Shard I compiles K random kernels, several to a library, and runs each on C random
inputs. V is the identity where N <= Dv, so that a row of O is the row of attention
weights: a pair that is kept has a weight, one that is not has exactly none. O and
LSE are compared within the bounds of docs/semantics.md, section 9. Some cases run
again with one thread and with states (equal bits), at a lower instruction level, with
strides, or with a NaN or inf in one key or value, which only rows that attend to it may
notice.
With --target, kernels are compiled for another architecture and run under COMMAND.

A failure prints the kernel, the inputs that are small, and the command to repeat it.
"""

import os
import sys

import numpy as np

from random_kernels import parse_options, run_shard
from emulated import EmulatedLibrary
from masks import Shape
from random_expressions import Generator
from reals import DTYPES

LSE_BOUND = 2e-5
#: What rounds to 0.
SMALLEST = {"f32": 0, "f16": 2.0**-24, "bf16": 0}
LEVELS = [name for name, flag in (("avx2", " avx2 "), ("avx512", " avx512f "),
                                  ("avx512_bf16", " avx512_bf16 "))
          if flag in open("/proc/cpuinfo", encoding="ascii", errors="replace").read()]


def make_kernel(seed, index):
    """Kernel `index` of a seed, with the generator that made it."""
    rng = np.random.default_rng([seed, index])
    heads = int(rng.choice([1, 2, 4, 8]))
    # Beyond a tile of 64 x 128 in some, small in others.
    longest = int(rng.choice([24, 90, 256], p=[0.3, 0.3, 0.4]))
    generator = Generator(rng, keys=longest, heads=heads, compiled=True)
    D = int(rng.choice([8, 16, 20, 64, 33, 128, rng.integers(8, 257)]))
    Dv = int(rng.choice([256, 64, 24, 100, 13], p=[0.6, 0.1, 0.1, 0.1, 0.1]))
    # Most random trees keep nothing: take the first that keeps something, and now
    # and then any.
    while True:
        kernel = generator.kernel(f"k{index}", depth=int(rng.integers(0, 4)),
                                  modifiers=int(rng.choice([0, 0, 1, 2])), D=D, Dv=Dv,
                                  pool=bool(rng.random() < 0.125),
                                  split=bool(rng.random() < 0.125), dtypes=DTYPES)
        trial = kernel.membership(kernel.inputs(rng, Shape(1, heads, 1, longest, longest)))
        if 0.01 < trial.mean() < 0.99 or rng.random() < 0.1:
            return kernel, generator, longest


def make_inputs(kernel, generator, longest, seed, index, case):
    generator.rng = np.random.default_rng([seed, index, case])
    shape = generator.shape(longest)
    inputs = kernel.inputs(generator.rng, shape)
    if shape.N <= kernel.Dv:
        inputs["v"] = np.zeros_like(inputs["v"])
        inputs["v"][:, :, np.arange(shape.N), np.arange(shape.N)] = 1
    return inputs


def with_strides(inputs):
    """The same values as [B, tokens, heads, D] in memory, with rows further apart."""
    result = dict(inputs)
    for name in "qkv":
        source = inputs[name]
        batch, heads, tokens, width = source.shape
        memory = np.full((batch, tokens, heads, width + 3), np.nan, np.float32)
        memory[..., :width] = source.transpose(0, 2, 1, 3)
        result[name] = memory[..., :width].transpose(0, 2, 1, 3)
    return result


def with_poison(inputs, rng):
    """NaN or inf in one key or value: only rows that attend to it may notice."""
    result = dict(inputs)
    name = str(rng.choice(["k", "v"]))
    result[name] = inputs[name].copy()
    at = tuple(int(rng.integers(0, size)) for size in inputs[name].shape[:3])
    result[name][at] = np.nan if name == "k" else rng.choice([np.nan, np.inf, -np.inf])
    return result


def find_difference(kernel, inputs, got, wanted, bound=None):
    """What is wrong with (O, LSE), None where nothing is. `bound` is of |O - ref| / |ref|."""
    out, lse = got
    wanted_out, wanted_lse = wanted
    bad, wanted_bad = ~np.isfinite(out), ~np.isfinite(wanted_out)
    if (bad != wanted_bad).any():
        at = first(bad != wanted_bad)
        return f"O holds {out[at]} at {at}, wanted {wanted_out[at]}"
    bad, wanted_bad = np.isnan(lse), np.isnan(wanted_lse)
    if (bad != wanted_bad).any():
        at = first(bad != wanted_bad)
        return f"LSE holds {lse[at]} at {at}, wanted {wanted_lse[at]}"
    out, wanted_out, lse, wanted_lse = (np.where(np.isnan(x) | np.isposinf(x), 0, x) for x in
                                        (out, wanted_out, lse, wanted_lse))
    out, wanted_out = np.where(np.isneginf(out), 0, out), np.where(np.isneginf(wanted_out), 0,
                                                                   wanted_out)
    if inputs["k"].shape[2] <= kernel.Dv:
        states = kernel.states if kernel.split or kernel.pool else ()
        smallest = max(SMALLEST[dtype] for dtype in (kernel.out, *states))
        wrong = np.where(out != 0, wanted_out == 0, np.abs(wanted_out) > smallest)
        if wrong.any():
            at = first(wrong)
            verb = "is kept" if out[at] != 0 else "is not kept"
            return f"pair (b, h, i, j) = {at} {verb}"
    norm = np.linalg.norm(wanted_out)
    error = np.linalg.norm(out - wanted_out) / (norm or 1)
    if not error <= (bound or kernel.bound()):
        return f"|O - ref| / |ref| = {error:.3g}, most at {worst(out - wanted_out)}"
    if (np.isneginf(lse) != np.isneginf(wanted_lse)).any():
        return f"LSE is -inf or not at {first(np.isneginf(lse) != np.isneginf(wanted_lse))}"
    kept = ~np.isneginf(wanted_lse)
    errors = np.abs(np.where(kept, lse, 0) - np.where(kept, wanted_lse, 0))
    if not (errors <= LSE_BOUND).all():
        return f"|LSE - ref| = {errors.max():.3g} at {worst(errors)}"
    return None


def first(wrong):
    return tuple(int(x) for x in np.argwhere(wrong)[0])


def worst(errors):
    return tuple(int(x) for x in np.unravel_index(np.argmax(np.abs(errors)), errors.shape))


def lower_levels(kernel):
    """Those below the one that runs by default: bf16 alone has a level of its own."""
    held = [x for x in LEVELS if x != "avx512_bf16" or kernel.dtype == "bf16"]
    return held[:-1]


def run_at_lower_level(run, kernel, inputs, rng):
    """One of the lower levels, and what it computes."""
    level = str(rng.choice(lower_levels(kernel)))
    os.environ["SPARSE_ATTN_LEVEL"] = level
    try:
        return level, run(inputs)
    finally:
        del os.environ["SPARSE_ATTN_LEVEL"]


def are_same_bits(got, wanted):
    return all(a.tobytes() == b.tobytes() for a, b in zip(got, wanted))


def check_states(library, kernel, inputs, rng, wanted):
    """Runs with states that grew in steps, and were rolled back over keys that are others
    now; kernels that keep none are left out."""
    states = library.states(kernel.name, inputs)
    if states is None:
        return None
    batch, _, keys, _ = inputs["k"].shape
    lengths = inputs.get("kv_len", np.full(batch, keys))
    accepted = rng.integers(0, lengths + 1)
    longest = rng.integers(accepted, keys + 1)
    drafted = dict(inputs)
    for name in "kv":
        drafted[name] = inputs[name].copy()
        for b in range(batch):
            drafted[name][b, :, accepted[b]:] += 1
    states.extend(drafted, rng.integers(0, longest + 1))
    states.extend(drafted, longest)
    for b in range(batch):
        states.rollback(b, accepted[b])
    states.extend(inputs, rng.integers(accepted, lengths + 1))
    states.extend(inputs, lengths)
    got = library.run(kernel.name, inputs, kernel.Dv, 0, kernel.out, states)
    return None if are_same_bits(got, wanted) else "states give other bits"


def check_case(library, kernel, inputs, case, rng):
    """Runs one case in two ways."""
    run = lambda values, threads=0: library.run(kernel.name, values, kernel.Dv, threads,
                                                kernel.out)
    wanted = kernel.reference(inputs)
    got = run(inputs)
    difference = find_difference(kernel, inputs, got, wanted)
    if difference:
        return difference
    kind = case % 4
    if kind == 0:
        alone = run(inputs, threads=1)
        if not are_same_bits(got, alone):
            return "one thread gives other bits"
        if not isinstance(library, EmulatedLibrary):
            return check_states(library, kernel, inputs, rng, got)
    elif isinstance(library, EmulatedLibrary) and kind != 3:
        return None
    elif kind == 1 and lower_levels(kernel):
        level, low = run_at_lower_level(run, kernel, inputs, rng)
        difference = find_difference(kernel, inputs, low, wanted)
        return difference and f"at level {level}: {difference}"
    elif kind == 2:
        strided = run(with_strides(inputs))
        difference = find_difference(kernel, inputs, strided, wanted)
        return difference and f"with strides: {difference}"
    elif inputs["k"].size:
        poisoned = with_poison(inputs, rng)
        got = run(poisoned)
        difference = find_difference(kernel, poisoned, got, kernel.reference(poisoned))
        return difference and f"with a NaN or inf: {difference}"
    return None


def main():
    options = parse_options(kernels=64)
    check = lambda library, kernel, generator, inputs, case: check_case(library, kernel, inputs,
                                                                        case, generator.rng)
    # Plans for few tokens never choose to split a union, so some libraries ask for it.
    counts = run_shard(options, make_kernel, make_inputs, check, unions=("split", "choose"))
    print(f"{counts.cases} cases, {counts.failures} kernels failed, {counts.compiling:.1f} s of "
          f"compilation (seed {options.seed})")
    sys.exit(counts.failures != 0)


if __name__ == "__main__":
    main()
