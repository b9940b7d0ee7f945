#!/usr/bin/env python3
# ===- run.py - measure kernels and print ratios ----------------------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Compiles the kernels of a configuration, times them and prints a table.

Every figure is a ratio inside one run: to the machine's FMA ceiling, measured
just before each case, and of sparse to dense time for each visited tile. A
configuration is a JSON file in benchmark/configs.
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


def library_name(pattern, dim):
    return f"bench_{pattern}_{dim}"


def compile_libraries(config):
    """Builds every library that the cases use; returns seconds by name."""
    seconds = {}
    for case in config["cases"]:
        name = library_name(case["pattern"], case["head_dim"])
        if name in seconds:
            continue
        start = time.monotonic()
        run([os.path.join(BIN, "sparse-attn-compile"), "--pattern",
             config["patterns"][case["pattern"]], "--head-dim", str(case["head_dim"]),
             "--dtype", config["dtype"], "--name", name, "-o", OUT])
        seconds[name] = time.monotonic() - start
        say(f"compiled {name} in {seconds[name]:.2f} s")
    return seconds


def case_name(case, threads):
    queries = case["shape"][3]
    size = f"{queries // 1024}k" if queries % 1024 == 0 else str(queries)
    return f"{case['pattern']}/D{case['head_dim']}/{size}/t{threads}"


def time_case(case, threads, repetitions):
    """All repetitions of one case in one process; returns its figures."""
    name = case_name(case, threads)
    library = os.path.join(OUT, f"lib{library_name(case['pattern'], case['head_dim'])}.so")
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
    with open(out, encoding="utf-8") as file:
        report = json.load(file)
    rows = [row for row in report["benchmarks"] if row.get("run_type") != "aggregate"]
    times = [row["real_time"] / 1e3 for row in rows]
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    first = rows[0]
    return {
        "name": name, "pattern": case["pattern"], "head_dim": case["head_dim"],
        "shape": case["shape"], "threads": threads,
        "seconds": statistics.median(times), "seconds_min": min(times), "seconds_max": max(times),
        "of_fma": statistics.median(row["of_fma"] for row in rows),
        "of_fma_min": min(row["of_fma"] for row in rows),
        "of_fma_max": max(row["of_fma"] for row in rows),
        "ceiling_gflops": first["ceiling"] / 1e9, "tiles": first["tiles"],
        "of_tiles": first["of_tiles"], "plan_seconds": first["plan_s"],
        "plan_bytes": first["plan_bytes"], "workspace_bytes": first["workspace_bytes"],
        # Meaningful for the largest process so far.
        "peak_bytes": peak * 1024 if peak > before else None,
    }


def add_tile_ratios(figures):
    """Sparse time per visited tile over dense, of the same D, length and threads."""
    dense = {(f["head_dim"], f["shape"][3], f["threads"]): f["seconds"] / f["tiles"]
             for f in figures if f["pattern"] == "dense"}
    for f in figures:
        base = dense.get((f["head_dim"], f["shape"][3], f["threads"]))
        f["tile_time_over_dense"] = f["seconds"] / f["tiles"] / base if base else None


def machine():
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8")
                  if line.startswith("model name")), platform.machine())
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"],
                            stdout=subprocess.PIPE, text=True, check=False).stdout.strip()
    return {"processor": model, "cores": os.cpu_count(), "commit": commit}


def print_table(facts, figures, compile_seconds):
    print(f"{facts['processor']}, {facts['cores']} cores, commit {facts['commit']}")
    print(f"{'case':32} {'time':>11} {'of FMA ceiling':>21} {'tiles':>7} {'tile/dense':>10} "
          f"{'plan':>9} {'plan bytes':>10} {'peak':>9}")
    for f in figures:
        ratio = f"{f['tile_time_over_dense']:.3f}" if f["tile_time_over_dense"] else "-"
        peak = f"{f['peak_bytes'] / 2**20:.0f} MiB" if f["peak_bytes"] else "-"
        print(f"{f['name']:32} {f['seconds'] * 1e3:8.2f} ms "
              f"{f['of_fma']:6.1%} ({f['of_fma_min']:.1%}-{f['of_fma_max']:.1%}) "
              f"{f['of_tiles']:7.2%} {ratio:>10} {f['plan_seconds'] * 1e6:6.0f} us "
              f"{f['plan_bytes']:10.0f} {peak:>9}")
    print("compile time of a library, both levels: "
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
             if arguments.filter in case_name(case, threads)]
    if not cases:
        sys.exit(f"run.py: no case of '{arguments.config}' contains '{arguments.filter}'")
    config["cases"] = [case for case, _ in cases]
    compile_seconds = compile_libraries(config)
    figures = []
    for case, threads in cases:
        say(f"[{len(figures) + 1}/{len(cases)}] {case_name(case, threads)}")
        figures.append(time_case(case, threads, arguments.repetitions))
    add_tile_ratios(figures)
    return {"compile_seconds": compile_seconds, "cases": figures}


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
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)
            file.write("\n")
        say(f"wrote {arguments.json}")


if __name__ == "__main__":
    main()
