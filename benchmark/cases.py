# ===- cases.py - the cases of a comparison, and what they may cost ---------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Lists the cases of a configuration, selects some, and estimates how long they take.

A case is a group of the configuration with one shape, head size, number of threads
and pattern; its name has all of them. A selection names cases by shell patterns, the
most important first: where time is short, those at the end are left out.
"""
import fnmatch


class UnknownCases(Exception):
    """A selection or a filter that names no case."""


def list_cases(config):
    """Every case of the groups, in the order of the tables."""
    cases = []
    for group in config["groups"]:
        for size, shape in group["shapes"].items():
            for dim in group["head_dims"]:
                for threads in group["threads"]:
                    for pattern in group["patterns"]:
                        cases.append({
                            "name": f"{group['name']}/{size}/D{dim}/t{threads}/{pattern}",
                            "order": len(cases),
                            "group": group["name"],
                            "kind": group["kind"],
                            "size": size,
                            "pattern_name": pattern,
                            "pattern": config["patterns"][pattern],
                            "shape": shape,
                            "head_dim": dim,
                            "threads": threads,
                            "dtype": group["dtype"],
                        })
    return cases


def choose_cases(config, selection, words=""):
    """The cases of a selection whose names have all of the words, in its order."""
    cases = list_cases(config)
    if selection != "all":
        names = [case["name"] for case in cases]
        order = {}
        for pattern in config["selections"][selection]["cases"]:
            found = fnmatch.filter(names, pattern)
            if not found:
                raise UnknownCases(f"selection '{selection}': no case is called '{pattern}'")
            for name in found:
                order.setdefault(name, len(order))
        cases = sorted((c for c in cases if c["name"] in order), key=lambda c: order[c["name"]])
    cases = [case for case in cases if all(word in case["name"] for word in words.split())]
    if not cases:
        raise UnknownCases(f"no case of '{selection}' contains '{words}'; see --list")
    return cases


# ===--- Time ---------------------------------------------------------------===#

#: Seconds of a case beyond its runs: torch starts, its compiler finds its kernels.
START_SECONDS = 9
#: Attention of a thread in a second, roughly what peers reach in f32.
FLOPS_PER_SECOND = 80e9


def estimate_runs(case, limits):
    """Seconds that one run of every implementation takes; a guess, for planning.

    A dense run costs what it has pairs; a peer that takes a mask as a table visits all
    of them whatever it keeps.
    """
    batch, heads, _, queries, keys = case["shape"]
    dense = 4.0 * case["head_dim"] * batch * heads * queries * keys
    seconds = dense / (FLOPS_PER_SECOND * case["threads"])
    if case["pattern_name"] == "dense":
        return 2.5 * seconds
    fits = queries * keys * 5 / 2**30 <= limits["mask_gib"]
    return (1.6 if fits else 0.8) * seconds


def estimate_seconds(case, limits):
    """Seconds of a case: start, first and second runs, and the repetitions."""
    runs = estimate_runs(case, limits)
    wanted = min(limits["seconds_of_repetitions"], limits["repetitions"] * runs)
    return START_SECONDS + 2 * runs + 1.5 * max(wanted, min(runs, 5))


class Clock:
    """Compares what cases took with the estimates, and says what the rest will take.

    `known` has the seconds of cases of an earlier run, which are better estimates.
    """

    def __init__(self, limits, known=None):
        self.limits, self.known = limits, known or {}
        self.estimated, self.taken = 0.0, 0.0

    def estimate(self, case):
        if case["name"] in self.known:
            return self.known[case["name"]]
        # As slow or as fast, against the guess, as the cases before.
        correction = (self.taken + 20) / (self.estimated + 20)
        return correction * estimate_seconds(case, self.limits)

    def add(self, case, seconds):
        if case["name"] not in self.known:
            self.estimated += estimate_seconds(case, self.limits)
            self.taken += seconds
