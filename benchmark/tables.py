# ===- tables.py - the comparison as text -----------------------------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Turns the figures of benchmark/peers.py into text: what we take, what peers take,
the verdict, and all that was left out with its reason. Times are medians, with half
the span of the repetitions as +-."""
import verdict

LEGEND = """\
of ceiling   share of the ceiling that bounds the case, measured around each repetition: F f32
             FMA and B the bf16 dot product, counting kept pairs alone; R the read bandwidth,
             counting the keys and values that the query keeps
visited      the same share counting every pair of the visited tiles
tiles        visited tiles of all
pair/dense   our time for each visited pair over that of dense; kept: for each kept pair
/fwd         building our plan over one run
others       cores that other processes kept busy meanwhile
x            the peer's time over ours: above 1 we are faster
mask         create_block_mask under torch.compile, after its first call; eager: without
             torch.compile, as its documentation calls it; x: both with mask or plan building
error        largest relative difference of an output from ours (2-norm)"""

OURS = [("ours", 36), ("time", 15), ("of ceiling", 16), ("visited", 9), ("tiles", 7),
        ("pair/dense", 12), ("kept", 12), ("plan", 9), ("/fwd", 7), ("others", 7)]
PEERS = [("peers", 36), ("flex", 15), ("x", 11), ("mask", 9), ("x", 11), ("eager", 15), ("x", 11),
         ("sdpa", 15), ("x", 11), ("error", 8)]


def format_seconds(seconds):
    for unit, scale in (("s", 1), ("ms", 1e3), ("us", 1e6)):
        if seconds * scale >= 1 or unit == "us":
            return f"{seconds * scale:.3g} {unit}"
    return ""


def format_time(entry, key="seconds", reason="skipped"):
    """Median and half the span of the repetitions, or why there is none."""
    if not entry:
        return "-"
    if not entry.get(key):
        # The whole reason is below the table.
        text = entry.get(reason) or entry.get("skipped") or "-"
        return text.split(" (")[0].split(":")[0][:15]
    spread = (entry[key + "_max"] - entry[key + "_min"]) / 2 / entry[key]
    return f"{format_seconds(entry[key])} +-{spread:.0%}"


def format_ratio(figure, key):
    value = figure["ratios"].get(key)
    return "-" if value is None else f"{value:.2f} +-{figure['spreads'][key]:.0%}"


LETTERS = {"fma": "F", "bf16_dot": "B", "read": "R"}


def name_ceiling(figure):
    """(key of its ratio, letter) of the ceiling that bounds a case."""
    name = figure["implementations"]["ours"]["ceiling"]
    return f"of_{name}", LETTERS[name]


def make_row_of_ours(figure):
    ours, ratios = figure["implementations"]["ours"], figure["ratios"]
    key, letter = name_ceiling(figure)
    others = figure.get("other_cores")
    visited = ratios.get("visited_of_ceiling")
    return [
        format_time(ours),
        f"{ratios[key]:.1%} +-{figure['spreads'][key]:.0%} {letter}",
        "-" if visited is None else f"{visited:.1%}",
        f"{figure['work']['visited_share']:.1%}",
        format_ratio(figure, "pair_over_dense"),
        format_ratio(figure, "kept_pair_over_dense"),
        format_seconds(ours["mask_seconds"]),
        f"{ratios['plan_over_forward']:.1%}",
        "-" if others is None else f"{others:.2f}",
    ]


def make_row_of_peers(figure):
    entries = figure["implementations"]
    flex, sdpa = entries.get("flex", {}), entries.get("sdpa", {})
    errors = [e["relative_error"] for e in entries.values() if "relative_error" in e]
    no_mask = figure["pattern_name"] == "dense"
    return [
        format_time(flex),
        format_ratio(figure, "flex"),
        format_seconds(flex["mask_seconds"]) if flex.get("mask_seconds") and not no_mask else "-",
        "-" if no_mask else format_ratio(figure, "flex_with_mask"),
        "-" if no_mask else format_time(flex, "eager_mask_seconds", "eager_mask_skipped"),
        format_ratio(figure, "flex_with_eager_mask"),
        format_time(sdpa),
        format_ratio(figure, "sdpa"),
        f"{max(errors):.1e}" if errors else "-",
    ]


def make_table(report, columns, make_row):
    """One row for each case, those without figures with their reason."""
    widths = [width for _, width in columns]

    def join(cells):
        return " ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                        for i, (cell, width) in enumerate(zip(cells, widths))).rstrip()

    lines = [join([name for name, _ in columns])]
    entries = report["cases"] + report.get("left_out", [])
    for figure in sorted(entries, key=lambda entry: entry["order"]):
        if "ratios" in figure:
            lines.append(join([figure["name"], *make_row(figure)]))
        else:
            reason = figure.get("reason") or figure.get("failed", "no figures")
            lines.append(f"{figure['name']:{widths[0]}} left out: {reason}")
    return "\n".join(lines)


def summarize(figure):
    """One line for the progress."""
    if "ratios" not in figure:
        return figure.get("failed", "no figures")
    key, letter = name_ceiling(figure)
    parts = [f"ours {format_time(figure['implementations']['ours'])}",
             f"{figure['ratios'][key]:.1%} {letter}"]
    for name in ("flex", "sdpa"):
        if name in figure["ratios"]:
            parts.append(f"{name} {figure['ratios'][name]:.2f} x")
        elif "skipped" in figure["implementations"].get(name, {}):
            parts.append(f"{name} {figure['implementations'][name]['skipped']}")
    return ", ".join(parts) + f" ({figure['wall_seconds']:.0f} s)"


def describe_run(report):
    machine, figures = report["machine"], report["cases"]
    loads = [figure["load"] for figure in figures] or [0]
    others = [f["other_cores"] for f in figures if f.get("other_cores") is not None] or [0]
    levels = sorted({f["work"]["level"] for f in figures if "work" in f})
    lines = [f"{machine['processor']}, {machine['cores']} cores, commit {machine['commit']}, "
             f"torch {machine['torch']}, level {', '.join(levels) or '-'}",
             f"{len(figures)} cases in {report['seconds'] / 60:.1f} minutes; load before the cases "
             f"{min(loads):.1f} to {max(loads):.1f}; other processes: "
             f"{sum(others) / len(others):.2f} cores on average, {max(others):.2f} at most"]
    for key, unit in (("fma", "GFLOP/s"), ("bf16_dot", "GFLOP/s"), ("read", "GB/s")):
        for threads in sorted({figure["threads"] for figure in figures}):
            ours = [f["implementations"]["ours"] for f in figures
                    if f["threads"] == threads and "ratios" in f]
            ours = [entry for entry in ours if entry["ceiling"] == key]
            if ours:
                lines.append(f"ceiling {key:8} {threads} thread{'s' if threads > 1 else ' '}: "
                             f"{min(e['ceiling_rate_min'] for e in ours) / 1e9:.0f} to "
                             f"{max(e['ceiling_rate_max'] for e in ours) / 1e9:.0f} {unit}")
    return "\n".join(lines)


def list_notes(report):
    return sorted({
        f"{name}: {entry['note']}"
        for figure in report["cases"]
        for name, entry in figure.get("implementations", {}).items()
        if "note" in entry
    })


def list_doubts(report):
    """What makes a figure doubtful: named, so that nobody has to find it out."""
    doubts = []
    for figure in report["cases"]:
        work = figure.get("work")
        if work and work["visited_pairs"] < 0.999 * work["kept_pairs"]:
            doubts.append(f"{figure['name']}: visits {work['visited_pairs']:.0f} pairs but keeps "
                          f"{work['kept_pairs']}")
        bound = 1e-4 if figure["dtype"] == "f32" else 3e-2
        for name, entry in figure.get("implementations", {}).items():
            if entry.get("relative_error", 0) > bound:
                doubts.append(f"{figure['name']}: {name} differs by {entry['relative_error']:.1e}")
    return doubts


def list_reasons(report):
    reasons = []
    for figure in report["cases"]:
        if "failed" in figure:
            reasons.append(f"{figure['name']}: {figure['failed']}")
        for name, entry in figure.get("implementations", {}).items():
            if "skipped" in entry:
                reasons.append(f"{figure['name']}: {name}: {entry['skipped']}")
            if "eager_mask_skipped" in entry:
                reasons.append(f"{figure['name']}: {name}: eager mask: {entry['eager_mask_skipped']}")
    return reasons


def render(report):
    parts = [describe_run(report), make_table(report, OURS, make_row_of_ours),
             make_table(report, PEERS, make_row_of_peers), LEGEND]
    for title, lines in (("in favour of peers:", list_notes(report)),
                         ("doubtful:", list_doubts(report)),
                         ("left out:", list_reasons(report))):
        if lines:
            parts.append("\n".join([title, *("  " + line for line in lines)]))
    parts.append(verdict.render(report["verdict"], "where it must be"))
    return "\n\n".join(parts)
