# ===- tables.py - the comparison as text -----------------------------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Turns the figures of benchmark/peers.py into a table. Times are medians, with the
span of the repetitions as +-; ratios are the peer's median over ours."""

COLUMNS = [
    ("case", 36),
    ("ours", 17),
    ("plan", 9),
    ("of ceiling", 10),
    ("pair/dense", 10),
    ("flex", 17),
    ("its mask", 9),
    ("ratio", 7),
    ("w. mask", 7),
    ("sdpa", 17),
    ("ratio", 7),
    ("error", 8),
]

LEGEND = """\
of ceiling   of the read bandwidth (R) for 64 rows and fewer, else of the FMA ceiling,
             counting kept pairs alone
pair/dense   our time for each pair of the visited tiles, over that of dense
its mask     create_block_mask under torch.compile, after its first call
ratio        the peer's time over ours; w. mask: both with mask or plan building
error        largest relative difference of an output from ours (2-norm)"""


def format_seconds(seconds):
    for unit, scale in (("s", 1), ("ms", 1e3), ("us", 1e6)):
        if seconds * scale >= 1 or unit == "us":
            return f"{seconds * scale:.3g} {unit}"
    return ""


def format_time(entry):
    """Median and half the span of the repetitions."""
    if not entry:
        return "-"
    if "seconds" not in entry:
        reason = entry.get("skipped", "-")
        return reason if reason.startswith(">") and len(reason) < 17 else reason.split(" (")[0][:17]
    spread = (entry["seconds_max"] - entry["seconds_min"]) / 2 / entry["seconds"]
    return f"{format_seconds(entry['seconds'])} +-{spread:.0%}"


def format_ratio(value):
    return "-" if value is None else f"{value:.2f}"


def make_row(figure):
    if "failed" in figure:
        return [figure["name"], figure["failed"]]
    entries, ratios = figure["implementations"], figure["ratios"]
    flex, sdpa = entries.get("flex", {}), entries.get("sdpa", {})
    read = ratios.get("of_read")
    errors = [e["relative_error"] for e in entries.values() if "relative_error" in e]
    return [
        figure["name"],
        format_time(entries["ours"]),
        format_seconds(entries["ours"]["mask_seconds"]),
        f"{read:.1%} R" if read else f"{ratios['of_fma']:.1%}",
        format_ratio(ratios.get("pair_over_dense")),
        format_time(flex),
        format_seconds(flex["mask_seconds"]) if flex.get("mask_seconds") else "-",
        format_ratio(ratios.get("flex")),
        format_ratio(ratios.get("flex_with_mask")),
        format_time(sdpa),
        format_ratio(ratios.get("sdpa")),
        f"{max(errors):.1e}" if errors else "-",
    ]


def describe_load(figures):
    """Other work on the machine shows here: a quiet one is below 1 or so."""
    loads = [figure["load"] for figure in figures]
    return f"{min(loads):.1f} to {max(loads):.1f}"


def render(report):
    machine = report["machine"]
    lines = [
        f"{machine['processor']}, {machine['cores']} cores, commit {machine['commit']}, "
        f"torch {machine['torch']}, load {describe_load(report['cases'])} before the cases"
    ]
    head = [name.ljust(width) if i == 0 else name.rjust(width)
            for i, (name, width) in enumerate(COLUMNS)]
    lines.append(" ".join(head))
    for figure in report["cases"]:
        row = make_row(figure)
        cells = [cell.ljust(width) if i == 0 else cell.rjust(width)
                 for i, (cell, (_, width)) in enumerate(zip(row, COLUMNS))]
        lines.append(" ".join(cells).rstrip())
    lines += ["", LEGEND]
    notes = sorted(
        {
            f"{name}: {entry['note']}"
            for figure in report["cases"]
            for name, entry in figure.get("implementations", {}).items()
            if "note" in entry
        }
    )
    if notes:
        lines += ["", "in favour of peers:"] + ["  " + note for note in notes]
    reasons = [
        f"{figure['name']}: {name}: {entry['skipped']}"
        for figure in report["cases"]
        for name, entry in figure.get("implementations", {}).items()
        if "skipped" in entry
    ]
    if reasons:
        lines += ["", "left out:"] + ["  " + reason for reason in reasons]
    return "\n".join(lines)
