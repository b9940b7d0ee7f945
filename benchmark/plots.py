# ===- plots.py - the comparison as pictures --------------------------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Draws what benchmark/peers.py measured, each picture as SVG and as PNG.

  speedup     a peer's time over ours, by case; the whisker is the spread of both
  efficiency  our share of the ceiling, by case
"""
import importlib.metadata
import os

COLORS = {"flex": "#d1603d", "sdpa": "#8d8d92", "ours": "#2a6f97"}
LABELS = {"flex": "FlexAttention", "sdpa": "scaled_dot_product_attention"}


def torch_version():
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return "none"


def draw(report, folder):
    """Writes every picture; returns the paths."""
    import matplotlib

    matplotlib.use("Agg")
    # The same figures give the same file, with letters as letters.
    matplotlib.rcParams.update({"svg.hashsalt": "sparse-attn", "svg.fonttype": "none", "font.size": 8,
                                "axes.spines.top": False, "axes.spines.right": False})
    done = [figure for figure in report["cases"] if "ratios" in figure]
    paths = []
    for name, draw_one in (("speedup", draw_speedup), ("efficiency", draw_efficiency)):
        picture = draw_one(done, report["machine"]) if done else None
        if picture is None:
            continue
        for suffix in ("svg", "png"):
            path = os.path.join(folder, f"{name}.{suffix}")
            metadata = {"Date": None} if suffix == "svg" else {"Software": None}
            picture.savefig(path, dpi=130, metadata=metadata)
            if suffix == "svg":
                strip_line_ends(path)
            paths.append(path)
    return paths


def strip_line_ends(path):
    """matplotlib leaves blanks at the ends of lines."""
    with open(path, encoding="utf-8") as file:
        lines = [line.rstrip() for line in file]
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def make_axes(count, machine):
    from matplotlib.figure import Figure

    picture = Figure(figsize=(7.5, 1.1 + 0.27 * count), layout="constrained")
    axes = picture.subplots()
    picture.supxlabel(
        f"{machine['processor']}, {machine['cores']} cores, commit {machine['commit']}, "
        f"torch {machine['torch']}", fontsize=6, color="#555555")
    return picture, axes


def label_rows(axes, done):
    axes.set_yticks(range(len(done)), [figure["name"] for figure in done])
    axes.set_ylim(len(done) - 0.5, -0.5)


def ratio_span(figure, name):
    """The smallest and the largest ratio that the repetitions allow."""
    peer, ours = figure["implementations"][name], figure["implementations"]["ours"]
    return (peer["seconds_min"] / ours["seconds_max"], peer["seconds_max"] / ours["seconds_min"])


def draw_speedup(done, machine):
    points = [
        (row, name, figure)
        for row, figure in enumerate(done)
        for name in ("flex", "sdpa")
        if name in figure["ratios"]
    ]
    if not points:
        return None
    picture, axes = make_axes(len(done), machine)
    for name, shift in (("flex", -0.19), ("sdpa", 0.19)):
        chosen = [(row, figure) for row, other, figure in points if other == name]
        if not chosen:
            continue
        rows = [row + shift for row, _ in chosen]
        values = [figure["ratios"][name] for _, figure in chosen]
        spans = [ratio_span(figure, name) for _, figure in chosen]
        error = [[max(0, v - low) for v, (low, _) in zip(values, spans)],
                 [max(0, high - v) for v, (_, high) in zip(values, spans)]]
        # From 1: to the right the peer is slower, to the left faster.
        axes.barh(rows, [value - 1 for value in values], 0.34, left=1, color=COLORS[name],
                  label=LABELS[name], xerr=error,
                  error_kw={"elinewidth": 0.7, "ecolor": "#333333"})
        masked = [figure["ratios"][name + "_with_mask"] for _, figure in chosen]
        axes.plot(masked, rows, "|", color="#111111", markersize=7,
                  label="with mask and plan building" if name == "flex" else None)
    axes.axvline(1, color="#111111", linewidth=0.8)
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.set_xlabel("time over ours (above 1 the peer is slower)")
    label_rows(axes, done)
    axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1), ncols=3, frameon=False, fontsize=7)
    return picture


def draw_efficiency(done, machine):
    picture, axes = make_axes(len(done), machine)
    values = [figure["ratios"].get("of_read") or figure["ratios"]["of_fma"] for figure in done]
    rows = range(len(done))
    ours = [figure["implementations"]["ours"] for figure in done]
    error = [[v - v * o["seconds"] / o["seconds_max"] for v, o in zip(values, ours)],
             [v * o["seconds"] / o["seconds_min"] - v for v, o in zip(values, ours)]]
    axes.barh(rows, values, 0.6, color=COLORS["ours"], xerr=error,
              error_kw={"elinewidth": 0.7, "ecolor": "#333333"})
    for row, (figure, value) in enumerate(zip(done, values)):
        kind = "read" if figure["ratios"].get("of_read") else "FMA"
        axes.text(0.01, row, f"{value:.0%} of {kind}", va="center", fontsize=6,
                  color="white" if value > 0.15 else "#111111")
    axes.axvline(1, color="#111111", linewidth=0.8)
    axes.set_xlim(0, 1.05)
    axes.set_xlabel("share of the ceiling, kept pairs alone")
    label_rows(axes, done)
    return picture
