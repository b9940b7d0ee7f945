# ===- plots.py - the comparison as pictures --------------------------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Draws what benchmark/peers.py measured, each picture as SVG and as PNG.

  speedup-*     a peer's time over ours
  efficiency-*  our share of the ceiling that bounds a case, with the targets
  sparsity      our time for each pair over that of dense, by pattern

* is prefill (f32), bf16, or decode (f32, few queries). Whiskers are the spread of the
repetitions, of both times where it is a ratio.
"""
import importlib.metadata
import os

import tables

COLORS = {"flex": "#d1603d", "sdpa": "#8d8d92", 64: "#7fb2d1", 128: "#2a6f97"}
LABELS = {"flex": "FlexAttention", "sdpa": "scaled_dot_product_attention"}
WHISKER = {"elinewidth": 0.7, "ecolor": "#333333"}
#: What has to be reached, as in verdict.py.
TARGETS = {("of_fma", 64): 0.87, ("of_fma", 128): 0.90, ("of_bf16_dot", 128): 0.85,
           ("of_read", 128): 0.85}


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
    matplotlib.rcParams.update({"svg.hashsalt": "sparse-attn", "svg.fonttype": "none",
                                "font.size": 8, "axes.spines.top": False,
                                "axes.spines.right": False, "axes.axisbelow": True})
    done = [figure for figure in report["cases"] if "ratios" in figure]
    parts = [("prefill", [f for f in done if (f["kind"], f["dtype"]) == ("prefill", "f32")]),
             ("decode", [f for f in done if f["kind"] != "prefill" and f["dtype"] == "f32"]),
             ("bf16", [f for f in done if f["dtype"] != "f32"])]
    pictures = [("sparsity", draw_sparsity, done)]
    for part, figures in parts:
        pictures += [(f"speedup-{part}", draw_speedup, figures),
                     (f"efficiency-{part}", draw_efficiency, figures)]
    paths = []
    for name, draw_one, figures in sorted(pictures, key=lambda picture: picture[0]):
        picture = draw_one(figures, report["machine"]) if figures else None
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


# ===--- Panels -------------------------------------------------------------===#


def label_of(figure):
    return figure["pattern"].get("label", figure["pattern_name"])


def name_size(size):
    """32k_b8 -> 32k, batch 8"""
    length, _, batch = size.partition("_b")
    return f"{length}, batch {batch}" if batch else length


def describe_group(figure):
    kind = {"prefill": "prefill", "decode": "decode (one query)",
            "verify": "a tree of 64 tokens"}[figure["kind"]]
    return f"{kind}, {figure['dtype']}"


def describe_threads(figure):
    return f"{figure['threads']} thread{'s' if figure['threads'] > 1 else ''}"


def panels_of(done, key):
    """[(title key, figures)] in the order of the cases."""
    panels = {}
    for figure in done:
        panels.setdefault(key(figure), []).append(figure)
    return list(panels.items())


def make_panels(heights, machine, columns=1):
    """Axes one below the other, as high as they have rows; and columns of them."""
    from matplotlib.figure import Figure

    rows = [0.8 + height for height in heights]
    picture = Figure(figsize=(6.2 + 2.6 * (columns - 1), 0.8 + 0.25 * sum(rows) + 0.25 * len(rows)),
                     layout="constrained")
    axes = picture.subplots(len(rows), columns, squeeze=False, height_ratios=rows, sharey="row",
                            sharex="all")
    for plane in axes.flat:
        plane.tick_params(labelbottom=True)
    picture.supxlabel(
        f"{machine['processor']}, {machine['cores']} cores, commit {machine['commit']}, "
        f"torch {machine['torch']}", fontsize=6, color="#555555")
    return picture, axes


def label_rows(axes, labels):
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)


def errors_of(figures, key):
    return [figure["ratios"][key] * figure["spreads"][key] for figure in figures]


# ===--- Speed-up over peers ------------------------------------------------===#

#: FlexAttention with its mask: key, marker, size.
MARKS = (("flex_with_mask", "|", 6), ("flex_with_eager_mask", ">", 3.5))
MARK_COLOR = "#7a2e14"


def draw_speedup(done, machine):
    """A row of panels for each group and size of prefill, a column for each head size."""
    compared = [f for f in done if any(name in f["ratios"] for name in LABELS)]
    threads = max((f["threads"] for f in compared), default=0)
    compared = [f for f in compared if f["threads"] == threads]
    if not compared:
        return None

    def row_of(figure):
        return figure["size"] if figure["kind"] != "prefill" else "", figure["pattern_name"]

    panels = panels_of(compared, lambda f: (
        f["group"], f["size"] if f["kind"] == "prefill" else ""))
    rows = [list(dict.fromkeys(row_of(f) for f in figures)) for _, figures in panels]
    dims = sorted({f["head_dim"] for f in compared})
    picture, axes = make_panels([len(row) for row in rows], machine, len(dims))
    for line, (_, figures), row in zip(axes, panels, rows):
        for plane, dim in zip(line, dims):
            chosen = [f for f in figures if f["head_dim"] == dim]
            draw_speedup_panel(plane, [(row.index(row_of(f)), f) for f in chosen])
            first = figures[0]
            size = f", {first['size']} tokens" if first["kind"] == "prefill" else ""
            plane.set_title(f"{describe_group(first)}{size}, D {dim}", fontsize=8, loc="left")
        label_rows(line[0], [label_speedup(next(f for f in figures if row_of(f) == one))
                             for one in row])
        for plane in line[1:]:
            plane.grid(axis="x", color="#dddddd", linewidth=0.6)
            plane.tick_params(axis="y", length=0)
    set_log_ticks(axes, [f["ratios"][key] for f in compared for key in f["ratios"]
                         if key.startswith(tuple(LABELS))])
    for plane in axes[-1]:
        plane.set_xlabel(f"time over ours ({describe_threads(compared[0])}); "
                         "right of 1 the peer is slower")
    picture.legend(*legend_of_speedup(), loc="outside upper center", ncols=2 * len(dims),
                   frameon=False, fontsize=7)
    return picture


def label_speedup(figure):
    if figure["kind"] == "prefill":
        return label_of(figure)
    return f"{name_size(figure['size'])}, {label_of(figure)}"


def set_log_ticks(axes, values):
    low, high = min(0.8, 0.7 * min(values)), max(2, 1.3 * max(values))
    ticks = [x for x in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
             if low <= x <= high]
    # As many as there is room for.
    if len(ticks) > 8:
        ticks = [x for x in ticks if f"{x:g}".strip("0.") == "1"]
    for plane in axes.flat:
        plane.set_xscale("log")
        plane.minorticks_off()
        plane.set_xlim(low, high)
        plane.set_xticks(ticks)
        plane.xaxis.set_major_formatter("{x:g}")


def draw_speedup_panel(plane, chosen):
    """`chosen`: (row, figure)"""
    for name, shift in (("flex", -0.2), ("sdpa", 0.2)):
        there = [(row + shift, f) for row, f in chosen if name in f["ratios"]]
        # From 1: to the right the peer is slower, to the left faster.
        plane.barh([row for row, _ in there], [f["ratios"][name] - 1 for _, f in there], 0.36,
                   left=1, color=COLORS[name], xerr=errors_of([f for _, f in there], name),
                   error_kw=WHISKER)
        for row, f in chosen:
            reason = f["implementations"].get(name, {}).get("skipped")
            if reason:
                plane.text(1.03, row + shift, short_reason(reason), va="center", fontsize=5.5,
                           color=COLORS[name])
    for key, marker, size in MARKS:
        points = [(f["ratios"][key], row - 0.2) for row, f in chosen
                  if key in f["ratios"] and f["pattern_name"] != "dense"]
        if points:
            plane.plot(*zip(*points), marker, color=MARK_COLOR, markersize=size)
    plane.axvline(1, color="#111111", linewidth=0.8)


def short_reason(reason):
    if "GiB" in reason:
        return "mask does not fit in memory"
    return "too slow" if reason.startswith(">") else "failed"


def legend_of_speedup():
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [Patch(color=COLORS["flex"]), Patch(color=COLORS["sdpa"])]
    handles += [Line2D([], [], color=MARK_COLOR, marker=marker, linestyle="", markersize=size)
                for _, marker, size in MARKS]
    return handles, [LABELS["flex"], LABELS["sdpa"], "with its mask built under torch.compile",
                     "with its mask built as by default"]


# ===--- Share of the ceiling -----------------------------------------------===#

CEILING_NAMES = {"of_fma": "FMA ceiling", "of_bf16_dot": "bf16 dot-product ceiling",
                 "of_read": "read bandwidth"}


def draw_efficiency(done, machine):
    """A panel for each group and size; head sizes side by side."""

    def key(figure):
        ceiling = tables.name_ceiling(figure)[0]
        return ceiling, figure["group"], figure["size"] if figure["kind"] == "prefill" else ""

    panels = []
    for title, figures in panels_of(done, key):
        # A row for each pattern; one thread is a row of its own.
        rows = panels_of(figures, lambda f: (f["threads"], f["size"], f["pattern_name"]))
        panels.append((title, figures, rows))
    picture, axes = make_panels([len(rows) for _, _, rows in panels], machine)
    axes = axes[:, 0]
    for plane, ((ceiling, _, size), figures, rows) in zip(axes, panels):
        most = max(f["threads"] for f in figures)
        for dim in sorted({f["head_dim"] for f in figures}):
            draw_efficiency_bars(plane, ceiling, dim, rows)
        label_rows(plane, [label_efficiency(row[0], most) for _, row in rows])
        plane.set_xlim(0, 1.08)
        plane.xaxis.set_major_formatter(lambda x, _: f"{x:.0%}")
        first = figures[0]
        plane.set_title(f"{describe_group(first)}{', ' + size + ' tokens' if size else ''}: "
                        f"share of the {CEILING_NAMES[ceiling]}", fontsize=8, loc="left")
        if len({f["head_dim"] for f in figures}) > 1:
            plane.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False,
                         fontsize=7, borderaxespad=0, handlelength=1)
    axes[-1].set_xlabel("kept pairs (decode: keys that are needed) alone; dotted: what full tiles "
                        "have to reach")
    return picture


def label_efficiency(figure, most):
    label = label_of(figure)
    if figure["kind"] != "prefill":
        label = f"{name_size(figure['size'])}, {label}"
    return label if figure["threads"] == most else f"{label}, {describe_threads(figure)}"


def draw_efficiency_bars(plane, ceiling, dim, rows):
    dims = sorted({f["head_dim"] for _, row in rows for f in row})
    height = 0.76 / len(dims)
    shift = (dims.index(dim) - (len(dims) - 1) / 2) * height
    chosen = [(i, f) for i, (_, row) in enumerate(rows) for f in row if f["head_dim"] == dim]
    values = [f["ratios"][ceiling] for _, f in chosen]
    plane.barh([i + shift for i, _ in chosen], values, height * 0.92, color=COLORS[dim],
               label=f"D {dim}", xerr=errors_of([f for _, f in chosen], ceiling),
               error_kw=WHISKER)
    for (i, _), value in zip(chosen, values):
        inside = value > 0.12
        plane.text(0.008 if inside else value + 0.02, i + shift, f"{value:.0%}", va="center",
                   fontsize=5.5, color="white" if inside and dim == 128 else "#111111")
    target = TARGETS.get((ceiling, dim))
    if target:
        plane.axvline(target, color=COLORS[dim], linewidth=1, linestyle=":")


# ===--- Time per pair over dense -------------------------------------------===#


def draw_sparsity(done, machine):
    """A panel for each size of prefill: visited pairs, and kept ones."""
    chosen = [f for f in done if f["kind"] == "prefill" and f["pattern_name"] != "dense"
              and "pair_over_dense" in f["ratios"]]
    if not chosen:
        return None
    panels = panels_of(chosen, lambda f: (f["group"], f["size"]))
    rows = [panels_of(figures, lambda f: f["pattern_name"]) for _, figures in panels]
    picture, axes = make_panels([len(row) for row in rows], machine)
    axes = axes[:, 0]
    for plane, (_, figures), row in zip(axes, panels, rows):
        for dim, shift in ((64, -0.16), (128, 0.16)):
            for key, marker in (("pair_over_dense", "o"), ("kept_pair_over_dense", "D")):
                points = [(f["ratios"][key], i + shift, f["ratios"][key] * f["spreads"][key])
                          for i, (_, group) in enumerate(row) for f in group
                          if f["head_dim"] == dim and key in f["ratios"]]
                if points:
                    x, y, error = zip(*points)
                    plane.errorbar(x, y, xerr=error, fmt=marker, markersize=4, color=COLORS[dim],
                                   fillstyle="full" if marker == "o" else "none", elinewidth=0.7)
        for i, (_, group) in enumerate(row):
            bound = 1.35 if "class" in group[0]["pattern"] else 1.15
            plane.plot([bound, bound], [i - 0.45, i + 0.45], color="#b22222", linewidth=1.2)
        plane.axvline(1, color="#111111", linewidth=0.8)
        plane.set_xscale("log")
        plane.minorticks_off()
        plane.set_xticks([0.25, 0.5, 1, 1.35, 2, 4, 8, 16])
        plane.xaxis.set_major_formatter("{x:g}")
        label_rows(plane, [label_of(group[0]) for _, group in row])
        plane.set_title(f"{describe_group(figures[0])}, {figures[0]['size']} tokens", fontsize=8,
                        loc="left")
    axes[-1].set_xlabel("our time for each pair, over that of dense")
    picture.legend(*legend_of_sparsity(), loc="outside upper center", ncols=5, frameon=False,
                   fontsize=7, columnspacing=1)
    return picture


def legend_of_sparsity():
    from matplotlib.lines import Line2D

    def mark(marker, color, fill="full"):
        return Line2D([], [], marker=marker, linestyle="", color=color, fillstyle=fill,
                      markersize=4)

    handles = [mark("o", "#333333"), mark("D", "#333333", "none"), mark("s", COLORS[64]),
               mark("s", COLORS[128]), Line2D([], [], color="#b22222", linewidth=1.2)]
    return handles, ["pair of a visited tile", "kept pair", "D 64", "D 128",
                     "target for visited pairs"]
