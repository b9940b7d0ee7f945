#===- selecting_test.py - masks that a run decides, at random -------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===-----------------------------------------------------------------------===#
"""property_test.py for selections, draws and lists inside the structural algebra.

    selecting_test.py --shard I --shards S [--kernels K] [--cases C] [--seed X]
                      [--only KERNEL]

Half of the kernels have scores that f32 holds exactly, of Q, K and weights that are
small multiples of a power of two: ties abound, and every pair has to be right. The
others have real inputs, where section 9 of docs/semantics.md lets rounding decide:
the reference says in which rows it may (numpy_selections.py), and these are compared
for nothing but their number. Sampled kernels are compared with weights 1 / pi of the
reference. Each case runs twice: with 1, 2 and 7 threads and with states (equal bits), at a
lower level, with strides, or with a NaN in one key or query.
"""

import math
import sys

import numpy as np

import property_test as base
from random_kernels import parse_options, run_shard
import numpy_reference as ref
import selections
from kernels import HopDecay
from masks import Shape
from property_test import DTYPES
from random_expressions import Generator
from selections import Selection

#: Rows that rounding may decide otherwise, of all rows of a run that has enough of them.
MOST_DOUBTS, ENOUGH_ROWS = 0.02, 5000


class ExactGenerator(Generator):
    """Scores that f32 holds exactly for inputs of few bits."""

    SCORES = "dot pages hash channels pq pooled gated antidiagonal".split()

    def score(self, kind=None):
        score = super().score(kind)
        if score.name == "hash":
            score.attributes.update(activation="relu")
        if score.name == "channels":
            score.attributes.update(count=self.choice([1, 4]), quantized=None)
        return score

    def units(self):
        return {"block_q": self.choice([None, None, 2, 4, 16]),
                "block_k": self.choice([None, None, 2, 8, 64])}


class RealGenerator(Generator):
    def units(self):
        return {"block_q": self.choice([None, None, 2, 5, 64]),
                "block_k": self.choice([None, None, 3, 8, 128])}


def sets_of(mask):
    """What `mask` holds that a run decides."""
    own = [mask] if isinstance(mask, (Selection, selections.Listed)) else []
    return own + [x for child in mask.children for x in sets_of(child)]


def is_sampled(part):
    return getattr(part, "sampled", False) or getattr(part, "name", "").startswith("sample.")


def is_compiled(kernel):
    """Whether --plan-blocks takes it: some rows choose together and none draws, and no
    modifier asks a plan. Where rows draw, each chooses for itself."""
    parts = [x for mask in (kernel.mask, kernel.split) if mask for x in sets_of(mask)]
    if any(map(is_sampled, parts)):
        for part in parts:
            if isinstance(part, selections.Listed):
                part.block_q = 1
            else:
                part.attributes.pop("block_q", None)
    rows = [x.block_q if isinstance(x, selections.Listed) else x.attributes.get("block_q")
            for x in parts]
    return (1 <= len(parts) <= 8 and math.lcm(*(x or 1 for x in rows)) <= 1024 and
            not any(isinstance(x, HopDecay) for x in kernel.modifiers))


def make_kernel(seed, index):
    rng = np.random.default_rng([seed, index])
    exact = index % 2 == 0
    heads = int(rng.choice([1, 2, 4, 8]))
    longest = int(rng.choice([24, 90, 200], p=[0.4, 0.3, 0.3]))
    kind = ExactGenerator if exact else RealGenerator
    generator = kind(rng, keys=longest, heads=heads, compiled=True, selecting=True)
    D = int(rng.choice([8, 16, 24, 64]))
    Dv = int(rng.choice([256, 64, 13], p=[0.8, 0.1, 0.1]))
    selections.D = D
    # Trees that hold something a run decides, and keep something.
    while True:
        kernel = generator.kernel(f"k{index}", depth=int(rng.integers(1, 4)),
                                  modifiers=int(rng.choice([0, 0, 0, 1])), D=D, Dv=Dv,
                                  split=bool(rng.random() < 0.1), dtypes=DTYPES)
        if not is_compiled(kernel) or not sets_of(kernel.mask):
            continue
        if exact:
            kernel.scale = 2.0 ** -int(rng.integers(1, 4))
        shape = Shape(1, heads, 1, min(longest, 24), longest)
        trial = kernel.membership(kernel.inputs(rng, shape))
        if 0.01 < (trial > 0).mean() < 0.99 or rng.random() < 0.05:
            return kernel, generator, longest


def make_inputs(kernel, generator, longest, seed, index, case):
    selections.D = kernel.D
    generator.rng = rng = np.random.default_rng([seed, index, case])
    shape = generator.shape(longest)
    inputs = kernel.inputs(rng, shape)
    if isinstance(generator, ExactGenerator):
        few = lambda x: rng.integers(-2, 3, x.shape).astype(np.float32) / 2
        weights = ("query", "key_", "centroids", "mean")
        for name in inputs:
            if name in "qk" or name.startswith(weights):
                inputs[name] = few(inputs[name])
    if shape.N <= kernel.Dv:
        inputs["v"] = np.zeros_like(inputs["v"])
        inputs["v"][:, :, np.arange(shape.N), np.arange(shape.N)] = 1
    return inputs


def with_poison(inputs, rng):
    """A NaN in one key or query: no number comes after it."""
    name = str(rng.choice(["k", "q"]))
    result = {**inputs, name: inputs[name].copy()}
    at = tuple(int(rng.integers(0, size)) for size in inputs[name].shape)
    result[name][at] = np.nan
    return result


def find_difference(kernel, inputs, got, wanted):
    """What is wrong with (O, LSE) in rows that are not in doubt, None where nothing is."""
    results, doubts = wanted
    got = [np.where(doubts.reshape(doubts.shape + (1,) * (w.ndim - 3)), w, g)
           for g, w in zip(got, results)]
    # Weights are rounded to 16 bits, and so is O: each by at most 2^-8 of bf16's 8 bits
    # (2^-11 of f16's 11), together 7.8e-3, where section 9 has 4e-3 of a whole tensor, over
    # which errors average out. Over a few numbers, each as likely as not, they do not.
    few = kernel.dtype != "f32" and np.count_nonzero(results[0]) < 64
    return base.find_difference(kernel, inputs, got, results, kernel.bound() * (1 + few))


class Checker:
    """Counts rows that are in doubt, over all cases."""

    def __init__(self):
        self.rows = self.doubts = 0

    def wanted(self, kernel, inputs, exact):
        """(O, LSE) and the rows in doubt."""
        setting = kernel.setting(inputs)
        setting.exact, setting.doubts = exact, np.zeros(setting.shape[:3], bool)
        kept = kernel.mask.mask(setting, inputs)
        if kernel.split:
            kernel.split.mask(setting, inputs)
        self.rows += setting.doubts.size
        self.doubts += int(setting.doubts.sum())
        return ref.attention(inputs["q"], inputs["k"], inputs["v"], lambda s: kept, setting,
                             kernel.scale, inputs.get("sinks"),
                             setting.modifiers), setting.doubts

    def check_case(self, library, kernel, inputs, case, rng, exact):
        run = lambda values, threads=0: library.run(kernel.name, values, kernel.Dv, threads,
                                                    kernel.out)
        wanted = self.wanted(kernel, inputs, exact)
        got = run(inputs)
        difference = find_difference(kernel, inputs, got, wanted)
        if difference:
            return difference
        kind = case % 4
        if kind == 0:
            for threads in (1, 2, 7):
                other = run(inputs, threads)
                if not base.are_same_bits(got, other):
                    return f"{threads} threads give other bits"
            return base.check_states(library, kernel, inputs, rng, got)
        elif kind == 1 and base.lower_levels(kernel):
            level, low = base.run_at_lower_level(run, kernel, inputs, rng)
            difference = find_difference(kernel, inputs, low, wanted)
            return difference and f"at level {level}: {difference}"
        elif kind == 2:
            got = run(base.with_strides(inputs))
            difference = find_difference(kernel, inputs, got, wanted)
            return difference and f"with strides: {difference}"
        elif inputs["k"].size and inputs["q"].size:
            poisoned = with_poison(inputs, rng)
            wanted = self.wanted(kernel, poisoned, exact)
            difference = find_difference(kernel, poisoned, run(poisoned), wanted)
            return difference and f"with a NaN: {difference}"
        return None


def main():
    options = parse_options(kernels=16)
    np.seterr(all="ignore")
    checker = Checker()
    check = lambda library, kernel, generator, inputs, case: checker.check_case(
        library, kernel, inputs, case, generator.rng, isinstance(generator, ExactGenerator))
    counts = run_shard(options, make_kernel, make_inputs, check, unions=("choose",))
    share = checker.doubts / max(checker.rows, 1)
    print(f"{counts.cases} cases, {counts.failures} kernels failed, {share:.2%} of "
          f"{checker.rows} rows in doubt (seed {options.seed})")
    sys.exit(counts.failures != 0 or (share > MOST_DOUBTS and checker.rows >= ENOUGH_ROWS))


if __name__ == "__main__":
    main()
