#!/usr/bin/env python3
# ===- run.py - measure kernels and print ratios ----------------------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Compiles the kernels of a configuration, times them and prints a table.

Every figure is a ratio inside one run: to the ceiling of the machine that bounds a
case, measured before and after each repetition (the higher one counts), and of sparse to
dense time for each visited tile, each by its ceiling. A configuration is a JSON file in
benchmark/configs. The last table says which targets are reached.
"""
import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time

import plans
import verdict

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.path.join(ROOT, "build", "bin")
OUT = os.path.join(ROOT, "build", "bench")


def say(text):
    print(text, file=sys.stderr, flush=True)


def run(command, **options):
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, **options)
    if result.returncode != 0:
        sys.exit(f"run.py: failed ({result.returncode}): {' '.join(command)}")
    return result.stdout


def dtype_of(case, config):
    return case.get("dtype", config["dtype"])


def library_name(case, config):
    return f"bench_{case['pattern']}_{case['head_dim']}_{dtype_of(case, config)}"


def compile_libraries(config):
    """Builds every library that the cases use; returns seconds by name."""
    seconds = {}
    for case in config["cases"]:
        name = library_name(case, config)
        if name in seconds:
            continue
        start = time.monotonic()
        run([os.path.join(BIN, "sparse-attn-compile"), "--pattern",
             config["patterns"][case["pattern"]], "--head-dim", str(case["head_dim"]),
             "--dtype", dtype_of(case, config), "--name", name, "-o", OUT])
        seconds[name] = time.monotonic() - start
        say(f"compiled {name} in {seconds[name]:.2f} s")
    return seconds


def time_driver(config, figures):
    """Seconds that the compiler takes for one kernel of one level, the fastest of three:
    a file that is read for the first time is not the compiler's time."""
    seconds = {}
    for figure in figures:
        key = f"{figure['pattern']}/D{figure['head_dim']}/{figure['dtype']}/{figure['level']}"
        if key in seconds:
            continue
        command = [os.path.join(BIN, "sparse-attn-compile"), "--pattern",
                   config["patterns"][figure["pattern"]], "--head-dim", str(figure["head_dim"]),
                   "--dtype", figure["dtype"], "--level", figure["level"], "--name", "bench_driver",
                   "-o", OUT]
        times = []
        for _ in range(3):
            start = time.monotonic()
            run(command)
            times.append(time.monotonic() - start)
        seconds[key] = min(times)
    return seconds


def case_name(case, threads, config):
    queries, keys = case["shape"][3:]
    size = f"{keys // 1024}k" if keys % 1024 == 0 else str(keys)
    dtype = dtype_of(case, config)
    parts = [case["pattern"], f"D{case['head_dim']}", size, f"t{threads}"]
    if queries == 1:
        parts.insert(0, "decode")
    return "/".join(parts + ([dtype] if dtype != "f32" else []))


CEILINGS = ("fma", "bf16_dot", "read")


def time_case(case, threads, repetitions, config):
    """All repetitions of one case in one process; returns its figures."""
    name, dtype = case_name(case, threads, config), dtype_of(case, config)
    library = os.path.join(OUT, f"lib{library_name(case, config)}.so")
    out = os.path.join(OUT, "case.json")
    shape = ",".join(str(size) for size in case["shape"])
    command = [os.path.join(BIN, "sparse-attn-bench"), f"--case={name},{library},{shape},{threads}",
               f"--benchmark_out={out}", "--benchmark_out_format=json"]
    if case.get("once"):
        command += ["--benchmark_min_time=0.01", f"--benchmark_repetitions={min(repetitions, 3)}"]
    else:
        command += ["--benchmark_min_time=0.5", f"--benchmark_repetitions={repetitions}"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    run(command, stderr=subprocess.DEVNULL)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    with open(out, encoding="utf-8") as file:
        report = json.load(file)
    rows = [row for row in report["benchmarks"] if row.get("run_type") != "aggregate"]
    times = [row["real_time"] / 1e3 for row in rows]
    first = rows[0]
    ceiling = next(name for name in CEILINGS if f"of_{name}" in first)
    shares = [row[f"of_{ceiling}"] for row in rows]
    return {
        "name": name, "pattern": case["pattern"], "head_dim": case["head_dim"], "dtype": dtype,
        "shape": case["shape"], "threads": threads, "level": first.get("label", ""),
        "seconds": statistics.median(times), "seconds_min": min(times), "seconds_max": max(times),
        "ceiling": ceiling, "ceilings": [row["ceiling"] for row in rows],
        "share": statistics.median(shares), "share_min": min(shares), "share_max": max(shares),
        "tiles": first["tiles"],
        "of_tiles": first["share_of_tiles"], "plan_seconds": first["plan_s"],
        "plan_bytes": first["plan_bytes"], "workspace_bytes": first["workspace_bytes"],
        # Meaningful for the largest process so far.
        "peak_bytes": peak * 1024 if peak > before else None,
    }


def add_tile_ratios(figures):
    """Sparse time per visited tile over dense, of the same type, D, lengths and threads.
    Each time counts by its own ceiling, which the pace of the machine moves with it."""

    def key(figure):
        return figure["dtype"], figure["head_dim"], *figure["shape"][3:], figure["threads"]

    def time_of_tile(figure):
        return figure["seconds"] * statistics.median(figure["ceilings"]) / figure["tiles"]

    dense = {key(f): time_of_tile(f) for f in figures if f["pattern"] == "dense"}
    for f in figures:
        base = dense.get(key(f))
        f["tile_time_over_dense"] = time_of_tile(f) / base if base else None


# ===--- Targets ------------------------------------------------------------===#


def share_target(what, bound, figures, applies):
    target = verdict.Target(what, bound, True, verdict.SHARE)
    for f in figures:
        if applies(f):
            spread = (f["share_max"] - f["share_min"]) / 2 / f["share"]
            target.samples.append(verdict.Sample(f["name"], f["share"], spread))
    return target


def judge(result):
    """The rows that run.py measures of the table of targets."""
    figures = result.get("cases", [])

    def is_case(kind, **facts):
        return lambda f: (f["shape"][3] == 1) == (kind == "decode") and all(
            f[key] == value for key, value in facts.items())

    targets = [
        share_target(f"f32 prefill, full tiles, D {dim}, {cores}: of FMA", bound, figures,
                     is_case("prefill", dtype="f32", pattern="dense", head_dim=dim, threads=threads))
        for dim, bound in ((64, 0.87), (128, 0.90)) for threads, cores in ((1, "one core"), (2, "two"))
    ]
    targets.append(share_target("bf16 prefill, full tiles, D 128: of bf16 dot", 0.85, figures,
                                is_case("prefill", dtype="bf16", pattern="dense",
                                        ceiling="bf16_dot")))
    targets += [share_target(f"{dtype} decode, {pattern}, 32k keys: of read", 0.85, figures,
                             is_case("decode", dtype=dtype, pattern=pattern))
                for dtype in ("f32", "bf16") for pattern in ("dense", "window")]
    tiles = verdict.Target("time per visited tile over dense", 1.15, False, verdict.FACTOR)
    tiles.samples = [verdict.Sample(f["name"], f["tile_time_over_dense"]) for f in figures
                     if f["tile_time_over_dense"] and f["pattern"] != "dense" and f["shape"][3] > 1]
    plan = verdict.Target("plan over forward, graph and documents", 0.02, False, verdict.SHARE)
    plan.samples = [verdict.Sample(f"{f['name']}, {f['tokens']} tokens",
                                   f["plan_seconds"] / f["run_seconds"])
                    for f in result.get("plans", []) if f["name"] in ("graph", "documents")]
    driver = verdict.Target("driver, one kernel, one level", 1.0, False, verdict.SECONDS)
    driver.samples = [verdict.Sample(*pair) for pair in result.get("driver_seconds", {}).items()]
    return [verdict.judge(target) for target in (*targets, tiles, plan, driver)]


# ===--- The report ---------------------------------------------------------===#


def machine():
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8")
                  if line.startswith("model name")), platform.machine())
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"],
                            stdout=subprocess.PIPE, text=True, check=False).stdout.strip()
    return {"processor": model, "cores": os.cpu_count(), "commit": commit}


def print_table(facts, figures, compile_seconds):
    print(f"{facts['processor']}, {facts['cores']} cores, commit {facts['commit']}")
    print(f"{'case':36} {'time':>11} {'of the ceiling':>30} {'tiles':>7} {'tile/dense':>10} "
          f"{'plan':>9} {'plan bytes':>10} {'peak':>9}")
    for f in figures:
        ratio = f"{f['tile_time_over_dense']:.3f}" if f["tile_time_over_dense"] else "-"
        peak = f"{f['peak_bytes'] / 2**20:.0f} MiB" if f["peak_bytes"] else "-"
        share = f"{f['share']:.1%} ({f['share_min']:.1%}-{f['share_max']:.1%}) {f['ceiling']:8}"
        print(f"{f['name']:36} {f['seconds'] * 1e3:8.2f} ms {share:>30} "
              f"{f['of_tiles']:7.2%} {ratio:>10} {f['plan_seconds'] * 1e6:6.0f} us "
              f"{f['plan_bytes']:10.0f} {peak:>9}")
    print("compile time of a library, all levels: "
          + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in compile_seconds.items()))


def measure_cases(arguments):
    """The figures of the configuration's cases and the compile time of its libraries."""
    path = os.path.join(ROOT, "benchmark", "configs", arguments.config + ".json")
    try:
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
    except OSError as error:
        sys.exit(f"run.py: cannot read {path}: {error.strerror}")
    cases = [(case, threads) for case in config["cases"] for threads in case["threads"]
             if arguments.filter in case_name(case, threads, config)]
    if not cases:
        sys.exit(f"run.py: no case of '{arguments.config}' contains '{arguments.filter}'")
    config["cases"] = [case for case, _ in cases]
    compile_seconds = compile_libraries(config)
    figures = []
    for case, threads in cases:
        say(f"[{len(figures) + 1}/{len(cases)}] {case_name(case, threads, config)}")
        figures.append(time_case(case, threads, arguments.repetitions, config))
    add_tile_ratios(figures)
    return {"compile_seconds": compile_seconds, "cases": figures,
            "driver_seconds": time_driver(config, figures)}


def by_lines(result):
    """JSON with a line for every case: readable, and short enough to keep."""
    def value(item):
        if isinstance(item, list):
            return "[\n  " + ",\n  ".join(json.dumps(each) for each in item) + "\n ]"
        return json.dumps(item)
    return "{\n " + ",\n ".join(f"{json.dumps(key)}: {value(item)}"
                               for key, item in result.items()) + "\n}"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="forward", help="a file of benchmark/configs")
    parser.add_argument("--filter", default="", help="only cases whose name contains this")
    parser.add_argument("--plans", action="store_true",
                        help="only plan time and bytes of every pattern")
    parser.add_argument("--plan-tokens", type=int, default=65536)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--json", help="where to write all figures")
    arguments = parser.parse_args()

    os.makedirs(OUT, exist_ok=True)
    facts = machine()
    result = {"machine": facts}
    if not arguments.plans:
        result.update(measure_cases(arguments))
        print_table(facts, result["cases"], result["compile_seconds"])
    if arguments.plans or not arguments.filter:
        result["plans"] = plans.measure(run, BIN, OUT, arguments.plan_tokens, os.cpu_count(), say)
        plans.print_table(result["plans"])
    result["verdict"] = judge(result)
    print(verdict.render(result["verdict"], "where it must be"))
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            file.write(by_lines(result) + "\n")
        say(f"wrote {arguments.json}")


if __name__ == "__main__":
    main()
