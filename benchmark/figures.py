# ===- figures.py - ratios between what one run measured --------------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Adds `ratios` and `spreads` to the figures of benchmark/peers.py.

A time is a median with its smallest and largest repetition; its spread is half of
that span over the median. A ratio is between medians, and its spread is that of both,
taken as independent. What a ceiling would have done in a repetition of ours is found by
its rate right before and after, and counts like a time. Keys are the same in both
dictionaries:

  of_fma, of_bf16_dot, of_read   our share of the ceiling that bounds the case, counting
                                 kept pairs (or keys that some row needs) alone
  visited_of_ceiling             the same, counting every pair of the visited tiles
  pair_over_dense                our time for a visited pair over that of dense, each by
                                 its ceiling
  kept_pair_over_dense           our time for a kept pair over that of dense, likewise
  plan_over_forward              building our plan over one run
  flex, sdpa                     the peer's time over ours
  PEER_with_mask                 the same, its mask and our plan included
  flex_with_eager_mask           the same, its mask built without torch.compile
"""
import math

PEERS = ("flex", "sdpa")


def spread_of(entry, key="seconds"):
    """Half the span of the repetitions over the median; 0 for a single one."""
    if not entry.get(key):
        return 0.0
    return (entry[key + "_max"] - entry[key + "_min"]) / 2 / entry[key]


def combine(*spreads):
    return math.sqrt(sum(spread * spread for spread in spreads))


def add_ratios(figure):
    """The ratios inside one case."""
    entries, work = figure["implementations"], figure["work"]
    ours = entries["ours"]
    seconds, own = ours["seconds"], spread_of(ours)
    ratios, spreads = {}, {}
    figure["ratios"], figure["spreads"] = ratios, spreads

    def add(key, value, spread):
        ratios[key], spreads[key] = value, spread

    if ours["ceiling"] == "read":
        amounts = {"of_read": work["read_bytes"]}
    else:
        amounts = {f"of_{ours['ceiling']}": work["kept_flops"],
                   "visited_of_ceiling": 4 * figure["head_dim"] * work["visited_pairs"]}
    for key, amount in amounts.items():
        add(key, amount / ours["ceiling_amount"], spread_of(ours, "ceiling_amount"))
    add("plan_over_forward", ours["mask_seconds"] / seconds,
        combine(own, spread_of(ours, "mask_seconds")))
    for name in PEERS:
        entry = entries.get(name, {})
        if "seconds" not in entry:
            continue
        add(name, entry["seconds"] / seconds, combine(own, spread_of(entry)))
        for kind in ("mask", "eager_mask"):
            if entry.get(kind + "_seconds"):
                add(f"{name}_with_{kind}", *ratio_with_mask(entry, ours, kind + "_seconds"))


def ratio_with_mask(entry, ours, key):
    """(ratio, spread) with `key` counted for the peer and the plan for us."""

    def total(e, mask_key):
        span = (e["seconds_max"] - e["seconds_min"]) + (e[mask_key + "_max"] - e[mask_key + "_min"])
        whole = e["seconds"] + e[mask_key]
        return whole, span / 2 / whole

    theirs, their_spread = total(entry, key)
    mine, my_spread = total(ours, "mask_seconds")
    return theirs / mine, combine(their_spread, my_spread)


def add_dense_ratios(figures):
    """Time for a pair over that of dense: same group, size, head size and threads."""

    def key(figure):
        return figure["group"], figure["size"], figure["head_dim"], figure["threads"]

    done = [figure for figure in figures if "ratios" in figure]
    dense = {key(f): f for f in done if f["pattern_name"] == "dense"}
    for figure in done:
        base = dense.get(key(figure))
        if base is None:
            continue
        base_ours, ours = base["implementations"]["ours"], figure["implementations"]["ours"]
        spread = combine(*(spread_of(entry, "ceiling_amount") for entry in (ours, base_ours)))
        if figure is base:
            spread = 0.0
        for name, pairs in (("pair_over_dense", "visited_pairs"),
                            ("kept_pair_over_dense", "kept_pairs")):
            if figure["work"][pairs]:
                mine = ours["ceiling_amount"] / figure["work"][pairs]
                theirs = base_ours["ceiling_amount"] / base["work"][pairs]
                figure["ratios"][name], figure["spreads"][name] = mine / theirs, spread
