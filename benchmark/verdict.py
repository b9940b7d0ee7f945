# ===- verdict.py - which targets a run reaches -----------------------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Judges figures by the worst case of every target.

A target is reached where the median of its worst case reaches it, whatever the
spread; a case that ought to be there and is not is named beside the row, and a row
without any case is "not measured".
"""
from dataclasses import dataclass, field
from typing import Callable, List, Optional

SHARE, FACTOR, SECONDS = "share", "factor", "seconds"


@dataclass
class Sample:
    case: str
    value: float
    spread: float = 0.0


@dataclass
class Target:
    """One row: every sample has to be at least (or at most) the bound."""

    what: str
    bound: float
    at_least: bool
    unit: str
    samples: List[Sample] = field(default_factory=list)
    #: (case, reason) of those that could not be measured.
    missing: List[tuple] = field(default_factory=list)


def judge(target):
    """The row as a dictionary: worst case, and whether it reaches the bound."""
    row = {
        "what": target.what, "bound": target.bound, "unit": target.unit,
        "sense": "at least" if target.at_least else "at most",
        "cases": len(target.samples), "missing": target.missing,
        "reached": None, "worst": None, "spread": None, "case": None, "passing": 0,
    }
    if not target.samples:
        return row

    def reaches(value):
        return value >= target.bound if target.at_least else value <= target.bound

    pick = min if target.at_least else max
    worst = pick(target.samples, key=lambda sample: sample.value)
    row.update(
        reached=reaches(worst.value), worst=worst.value, spread=worst.spread, case=worst.case,
        passing=sum(reaches(sample.value) for sample in target.samples),
        # The other answer is as likely as not, given the spread.
        close=abs(worst.value - target.bound) <= worst.spread * worst.value,
    )
    return row


# ===--- Targets of the comparison with peers -------------------------------===#


@dataclass
class Rule:
    """A target over the figures of peers.py that `applies` chooses."""

    what: str
    bound: float
    at_least: bool
    unit: str
    ratio: str
    applies: Callable[[dict], bool]


def f32_dense(dim, threads):
    return lambda f: (f["kind"], f["dtype"], f["pattern_name"], f["head_dim"], f["threads"]) == (
        "prefill", "f32", "dense", dim, threads)


def of_kind(kind, dtype, pattern=None, masked=False):
    """Figures of a kind and type; `masked`: those for which a peer builds a mask."""
    return lambda f: (f["kind"], f["dtype"]) == (kind, dtype) and (
        pattern in (None, f["pattern_name"])) and not (masked and f["pattern_name"] == "dense")


def at_16k(irregular):
    """f32 prefill at 16k: periodic and graph patterns, or all the others."""
    return lambda f: (f["kind"], f["dtype"], f["size"]) == ("prefill", "f32", "16k") and (
        f["pattern_name"] != "dense") and irregular == ("class" in f["pattern"])


def decode_32k(pattern, dtype):
    return lambda f: of_kind("decode", dtype, pattern)(f) and f["size"].split("_")[0] == "32k"


def planned_64k(f):
    return (f["kind"], f["size"]) == ("prefill", "64k") and (
        f["pattern_name"] in ("source_graph", "documents"))


RULES = [
    *(Rule(f"f32 prefill, full tiles, D {dim}, {cores}: of FMA", bound, True, SHARE, "of_fma",
           f32_dense(dim, threads))
      for dim, bound in ((64, 0.87), (128, 0.90))
      for threads, cores in ((1, "one core"), (2, "two"))),
    Rule("bf16 prefill, full tiles, D 128: of bf16 dot", 0.85, True, SHARE, "of_bf16_dot",
         of_kind("prefill", "bf16", "dense")),
    Rule("time per visited pair at 16k over dense", 1.15, False, FACTOR, "pair_over_dense",
         at_16k(irregular=False)),
    Rule("the same, periodic and graph patterns", 1.35, False, FACTOR, "pair_over_dense",
         at_16k(irregular=True)),
    *(Rule(f"{dtype} decode, {pattern}, 32k keys: of read", 0.85, True, SHARE, "of_read",
           decode_32k(pattern, dtype))
      for dtype in ("f32", "bf16") for pattern in ("dense", "window")),
    *(Rule(f"FlexAttention{words}, {dtype} {kind}", bound, True, FACTOR, ratio,
           of_kind(kind, dtype, masked=ratio != "flex"))
      for words, bound, ratio in (
          ("", 2.0, "flex"),
          (" + mask (as by default)", 5.0, "flex_with_eager_mask"),
          (" + mask (compiled)", 5.0, "flex_with_mask"))
      for kind, dtype in (("prefill", "f32"), ("verify", "f32"), ("decode", "f32"),
                          ("prefill", "bf16"), ("decode", "bf16"))),
    *(Rule(f"dense SDPA, {dtype} {kind}", 1.2, True, FACTOR, "sdpa",
           of_kind(kind, dtype, "dense"))
      for kind, dtype in (("prefill", "f32"), ("decode", "f32"), ("prefill", "bf16"),
                          ("decode", "bf16"))),
    Rule("plan over forward, graph and documents, 64k", 0.02, False, SHARE, "plan_over_forward",
         planned_64k),
]

#: Which implementation a ratio needs, and where it says why it has no time.
NEEDS = {
    "flex": ("flex", "skipped"),
    "flex_with_mask": ("flex", "skipped"),
    "flex_with_eager_mask": ("flex", "eager_mask_skipped"),
    "sdpa": ("sdpa", "skipped"),
}


def reason_without(figure, ratio) -> Optional[str]:
    """Why a figure lacks a ratio."""
    if "failed" in figure:
        return figure["failed"]
    if ratio == "of_bf16_dot":
        return "there is no bf16 dot product here"
    name, key = NEEDS.get(ratio, ("ours", "skipped"))
    entry = figure["implementations"].get(name, {})
    return entry.get(key) or entry.get("skipped") or "not measured"


def judge_peers(report):
    """The rows of peers.py: of its figures, and of the cases that it left out."""
    rows = []
    for rule in RULES:
        target = Target(rule.what, rule.bound, rule.at_least, rule.unit)
        for figure in report["cases"]:
            if not rule.applies(figure):
                continue
            value = figure.get("ratios", {}).get(rule.ratio)
            if value is None:
                target.missing.append((figure["name"], reason_without(figure, rule.ratio)))
            else:
                spread = figure["spreads"][rule.ratio]
                target.samples.append(Sample(figure["name"], value, spread))
        for case in report.get("left_out", []):
            if rule.applies(case):
                target.missing.append((case["name"], case["reason"]))
        rows.append(judge(target))
    return rows


# ===--- As text ------------------------------------------------------------===#


def format_value(value, unit):
    if value is None:
        return "-"
    if unit == SHARE:
        return f"{value:.1%}"
    return f"{value:.2f} x" if unit == FACTOR else f"{value:.2f} s"


def format_answer(row):
    if row["reached"] is None:
        return "not measured"
    answer = "yes" if row["reached"] else "NO"
    return answer + (", within spread" if row["close"] and row["spread"] else "")


def render(rows, title):
    """The table, and below it what each row lacks."""
    wide = max(len(row["what"]) for row in rows)
    lines = [f"{title}: target, worst case (median, +- spread), reached or not",
             f"{'':{wide}} {'target':>16} {'worst':>17}  {'reached':19} {'cases':>7}  worst case"]
    shown = [row for row in rows if row["cases"] or row["missing"]]
    for row in shown:
        worst = format_value(row["worst"], row["unit"])
        if row["spread"]:
            worst += f" +-{row['spread']:.0%}"
        target = f"{row['sense']} {format_value(row['bound'], row['unit'])}"
        cases = f"{row['passing']}/{row['cases']}" if row["cases"] else "-"
        lines.append(f"{row['what']:{wide}} {target:>16} {worst:>17}  {format_answer(row):19} "
                     f"{cases:>7}  {row['case'] or ''}".rstrip())
    reached = [row for row in rows if row["reached"]]
    judged = [row for row in rows if row["reached"] is not None]
    lines.append(f"{len(reached)} of {len(judged)} reached, {len(rows) - len(judged)} not measured, "
                 f"{len(rows) - len(shown)} of them as no case of the selection is for them")
    lines += list_missing(rows)
    return "\n".join(lines)


def list_missing(rows):
    """Cases without a figure: what is alike is said once."""
    rows_of = {}
    for row in rows:
        for case, reason in row["missing"]:
            rows_of.setdefault((case, reason), []).append(row["what"])
    cases_of = {}
    for (case, reason), names in rows_of.items():
        cases_of.setdefault((reason, tuple(names)), []).append(case)
    return [f"  not judged: {', '.join(cases)}: {reason} ({'; '.join(names)})"
            for (reason, names), cases in cases_of.items()]
