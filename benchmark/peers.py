#!/usr/bin/env python3
# ===- peers.py - compare kernels with PyTorch's ----------------------------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Times kernels and PyTorch's on the same inputs, and compares the outputs.

Peers are FlexAttention under torch.compile (`flex`) and
scaled_dot_product_attention (`sdpa`: dense, is_causal, or with a boolean mask).
Each case is a process of its own in which the implementations take turns; one that
takes longer than the limit of a step is stopped and reported as "> X s". A ratio is
the peer's median over ours in the same run. Ceilings are measured before each case.

Run by ./dev bench --peers. Writes peers.json, peers.txt and plots (SVG, PNG).
"""
import argparse
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time

import plots
import tables

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.path.join(ROOT, "build", "bin")
CACHE = os.path.join(ROOT, ".cache", "peers")
CASE = os.path.join(ROOT, "benchmark", "peers_case.py")


def say(text):
    print(text, file=sys.stderr, flush=True)


# ===--- Cases --------------------------------------------------------------===#


def read_config(name):
    path = os.path.join(ROOT, "benchmark", "configs", name + ".json")
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except OSError as error:
        sys.exit(f"peers.py: cannot read {path}: {error.strerror}")


def list_cases(config):
    """Every case of the groups, in order."""
    for group in config["groups"]:
        for size, shape in group["shapes"].items():
            for dim in group["head_dims"]:
                for threads in group["threads"]:
                    for pattern in group["patterns"]:
                        yield {
                            "name": f"{group['name']}/{size}/D{dim}/t{threads}/{pattern}",
                            "group": group["name"],
                            "size": size,
                            "pattern_name": pattern,
                            "pattern": config["patterns"][pattern],
                            "shape": shape,
                            "head_dim": dim,
                            "threads": threads,
                            "dtype": group["dtype"],
                        }


def choose_cases(config, options):
    cases = list(list_cases(config))
    if options.quick:
        known = {case["name"]: case for case in cases}
        unknown = [name for name in config["quick"]["cases"] if name not in known]
        if unknown:
            sys.exit(f"peers.py: no case is called '{unknown[0]}'")
        cases = [known[name] for name in config["quick"]["cases"]]
    # Words that must all be in the name.
    words = options.filter.split()
    cases = [case for case in cases if all(word in case["name"] for word in words)]
    if not cases:
        sys.exit(f"peers.py: no case contains '{options.filter}'; see --list")
    return cases


# ===--- Running one --------------------------------------------------------===#


class Stopped(Exception):
    """The case did not end: which implementation, at what, and why."""

    def __init__(self, name, what, reason):
        super().__init__(reason)
        self.name, self.what, self.reason = name, what, reason


def read_lines(stream, lines):
    for line in stream:
        lines.put(json.loads(line))
    lines.put(None)


def run_once(case, log):
    """One process; its result, or Stopped."""
    environment = dict(os.environ)
    environment["SPARSE_ATTN_COMPILE"] = os.path.join(BIN, "sparse-attn-compile")
    environment["TORCHINDUCTOR_CACHE_DIR"] = os.path.join(CACHE, "inductor")
    process = subprocess.Popen(
        [sys.executable, CASE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env=environment,
        start_new_session=True,  # compilers that it starts end with it
    )
    process.stdin.write(json.dumps(case))
    process.stdin.close()
    lines = queue.Queue()
    threading.Thread(target=read_lines, args=(process.stdout, lines), daemon=True).start()
    limit = case["limits"]["seconds_of_a_step"]
    name, what = "ours", "start"
    try:
        while True:
            line = lines.get(timeout=limit)
            if line is None:
                status = process.wait()
                reason = "killed, out of memory?" if status < 0 else f"exit status {status}"
                raise Stopped(name, what, f"failed at {what}: {reason}")
            if "result" in line:
                return line["result"]
            name, what = line["step"], line["what"]
    except queue.Empty:
        raise Stopped(name, what, f"> {limit} s ({what})") from None
    finally:
        if process.poll() is None:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        process.wait()


def run_case(case, log):
    """The result of a case; a peer that is stopped is left out of a second try."""
    stopped = {}
    while True:
        try:
            result = run_once({**case, "excluded": list(stopped)}, log)
            break
        except Stopped as reason:
            say(f"  {reason.name}: {reason}")
            if reason.name == "ours":
                return {"failed": str(reason)}
            stopped[reason.name] = str(reason)
    for name, reason in stopped.items():
        result["implementations"][name] = {"skipped": reason}
    return result


def measure_ceilings(threads):
    command = [os.path.join(BIN, "sparse-attn-bench"), f"--ceilings={threads}"]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode:
        sys.exit(f"peers.py: failed: {' '.join(command)}")
    return json.loads(result.stdout)


def add_ratios(figure):
    """What the tables and plots show, from one run alone."""
    entries, work, ceilings = figure["implementations"], figure["work"], figure["ceilings"]
    ours = entries["ours"]
    ratios = figure["ratios"] = {
        "of_fma": work["kept_flops"] / ours["seconds"] / ceilings["fma"],
        "of_fma_visited": work["visited_pairs"] * 4 * figure["head_dim"] / ours["seconds"]
        / ceilings["fma"],
    }
    if work["read_bytes"]:
        ratios["of_read"] = work["read_bytes"] / ours["seconds"] / ceilings["read"]
    for name, entry in entries.items():
        if name == "ours" or "seconds" not in entry:
            continue
        ratios[name] = entry["seconds"] / ours["seconds"]
        whole = ours["seconds"] + ours["mask_seconds"]
        ratios[name + "_with_mask"] = (entry["seconds"] + entry["mask_seconds"]) / whole


def add_dense_ratios(figures):
    """Seconds for each visited pair over those of dense, of the same size and threads."""

    def key(figure):
        return figure["group"], figure["size"], figure["head_dim"], figure["threads"]

    done = [figure for figure in figures if "ratios" in figure]
    dense = {
        key(f): f["implementations"]["ours"]["seconds"] / f["work"]["visited_pairs"]
        for f in done
        if f["pattern_name"] == "dense"
    }
    for figure in done:
        base = dense.get(key(figure))
        visited = figure["work"]["visited_pairs"]
        if base and visited:
            seconds = figure["implementations"]["ours"]["seconds"]
            figure["ratios"]["pair_over_dense"] = seconds / visited / base
            kept = max(1, figure["work"]["kept_pairs"])
            figure["ratios"]["kept_pair_over_dense"] = seconds / kept / base


def describe_machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        models = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    command = ["git", "-C", ROOT, "describe", "--always", "--dirty", "--exclude=*"]
    commit = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout.strip()
    return {"processor": models[0] if models else "unknown", "cores": os.cpu_count(),
            "commit": commit, "torch": plots.torch_version()}


def write_report(report, path):
    """JSON with one line for each case."""
    head = [f'"{key}": {json.dumps(value)}' for key, value in report.items() if key != "cases"]
    cases = ",\n".join(json.dumps(figure) for figure in report["cases"])
    with open(path, "w", encoding="utf-8") as file:
        file.write("{\n" + ",\n".join(head) + ',\n"cases": [\n' + cases + "\n]\n}\n")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="peers", help="a file of benchmark/configs")
    parser.add_argument("--filter", default="", help="only cases with all of these words")
    parser.add_argument("--quick", action="store_true", help="a few cases, under 3 minutes")
    parser.add_argument("--list", action="store_true", help="print the cases and stop")
    parser.add_argument("--out", default=os.path.join(ROOT, "build", "bench", "peers"),
                        help="the folder for results (default: build/bench/peers)")
    options = parser.parse_args()
    config = read_config(options.config)
    cases = choose_cases(config, options)
    if options.list:
        print("\n".join(case["name"] for case in cases))
        return
    limits = dict(config["limits"], **(config["quick"]["limits"] if options.quick else {}))
    os.makedirs(options.out, exist_ok=True)
    load = os.getloadavg()[0]
    if load > 0.5:
        say(f"peers.py: the machine is busy (load {load:.1f}); figures will be noisy")

    # Ends the process of the case, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("peers.py: stopped"))
    figures = []
    report = {"machine": describe_machine(), "limits": limits, "cases": figures}
    begin = time.monotonic()
    with open(os.path.join(options.out, "peers.log"), "w", encoding="utf-8") as log:
        for number, case in enumerate(cases, 1):
            say(f"[{number}/{len(cases)}, {time.monotonic() - begin:.0f} s] {case['name']}")
            figure = dict(case, load=os.getloadavg()[0], ceilings=measure_ceilings(case["threads"]))
            kernels = os.path.join(CACHE, "kernels")
            figure.update(run_case(dict(case, limits=limits, cache=kernels), log))
            if "work" in figure:
                add_ratios(figure)
            figures.append(figure)
            # After each case: a run that is stopped leaves what it has.
            add_dense_ratios(figures)
            report["seconds"] = time.monotonic() - begin
            write_report(report, os.path.join(options.out, "peers.json"))
    text = tables.render(report)
    print(text)
    with open(os.path.join(options.out, "peers.txt"), "w", encoding="utf-8") as file:
        file.write(text + "\n")
    for path in plots.draw(report, options.out):
        say(f"wrote {os.path.relpath(path, os.getcwd())}")


if __name__ == "__main__":
    main()
