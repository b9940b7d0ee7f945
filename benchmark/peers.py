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
takes longer than the limit of a step is stopped and reported as "> X s", and one
that crashes as such. A ratio is the peer's median over ours in the same run. The
ceiling that bounds a case is measured right before and after each repetition of ours.

Run by ./dev bench --peers. Writes peers.json, peers.txt and plots (SVG, PNG), also
when it is stopped; --resume goes on from there.
"""
import argparse
import json
import os
import queue
import resource
import signal
import subprocess
import sys
import threading
import time

import cases as cases_of
import figures as figures_of
import plots
import tables
import verdict

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.path.join(ROOT, "build", "bin")
# Without links: compiled kernels of peers name their folder.
CACHE = os.path.realpath(os.path.join(ROOT, ".cache", "peers"))
CASE = os.path.join(ROOT, "benchmark", "peers_case.py")


def say(text):
    print(text, file=sys.stderr, flush=True)


def read_config(name):
    path = os.path.join(ROOT, "benchmark", "configs", name + ".json")
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except OSError as error:
        sys.exit(f"peers.py: cannot read {path}: {error.strerror}")


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


def start_case(case, log):
    environment = dict(os.environ)
    environment["SPARSE_ATTN_COMPILE"] = os.path.join(BIN, "sparse-attn-compile")
    environment["TORCHINDUCTOR_CACHE_DIR"] = os.path.join(CACHE, "inductor")
    # Outputs of 32 MiB and more would be mapped anew in each call, and cleared page by page.
    environment.update(MALLOC_MMAP_MAX_="0", MALLOC_TRIM_THRESHOLD_=str(1 << 40))
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
    return process


def run_once(case, log):
    """One process; its result, or Stopped."""
    process = start_case(case, log)
    lines = queue.Queue()
    threading.Thread(target=read_lines, args=(process.stdout, lines), daemon=True).start()
    limits = case["limits"]
    deadline = time.monotonic() + limits["seconds_of_a_case"]
    name, what, result = "ours", "start", None
    steps, begin = {}, time.monotonic()
    try:
        while True:
            left = max(0, deadline - time.monotonic())
            try:
                line = lines.get(timeout=min(limits["seconds_of_a_step"], left))
            except queue.Empty:
                key = "step" if left > limits["seconds_of_a_step"] else "case"
                limit = f"> {limits['seconds_of_a_' + key]} s"
                where = what if key == "step" else f"the whole case, at {what}"
                raise Stopped(name, what, f"{limit} ({where})") from None
            now = time.monotonic()
            step = f"{name}: {what}"
            steps[step], begin = steps.get(step, 0) + now - begin, now
            if line is None:
                status = process.wait()
                if status == 0 and result is not None:
                    # What the time of the case went to.
                    return dict(result, steps={key: round(t, 2) for key, t in steps.items()})
                reason = "killed, out of memory?" if status < 0 else f"exit status {status}"
                raise Stopped(name, what, f"failed at {what}: {reason}")
            if "result" in line:
                result = line["result"]
            elif "eager_mask" in line:
                result["implementations"]["flex"].update(line["eager_mask"])
            else:
                name, what = line["step"], line["what"]
    except Stopped as reason:
        if result is None or case.get("warm"):
            raise
        flex = result["implementations"].get("flex", {})
        if "mask_seconds" in flex and "eager_mask_seconds" not in flex:
            flex.setdefault("eager_mask_skipped", str(reason))
        return result  # all but the eager mask is there
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
            if reason.name == "ours" or reason.name in stopped:
                return {"failed": str(reason)}
            stopped[reason.name] = str(reason)
    for name, reason in stopped.items():
        result["implementations"][name] = {"skipped": reason}
    return result


# ===--- The machine --------------------------------------------------------===#


class Interference:
    """Cores that were busy with other processes than ours and its children's."""

    def __init__(self):
        self.start = self.read()

    @staticmethod
    def read():
        try:
            with open("/proc/stat", encoding="utf-8") as file:
                ticks = [int(field) for field in file.readline().split()[1:9]]
        except (OSError, ValueError):
            return None
        busy = (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")  # idle, iowait
        uses = [resource.getrusage(who)
                for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        own = sum(use.ru_utime + use.ru_stime for use in uses)
        return time.monotonic(), busy - own

    def cores(self):
        end = self.read()
        if self.start is None or end is None or end[0] <= self.start[0]:
            return None
        return max(0.0, (end[1] - self.start[1]) / (end[0] - self.start[0]))


def describe_machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        models = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    command = ["git", "-C", ROOT, "describe", "--always", "--dirty", "--exclude=*"]
    commit = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout.strip()
    return {"processor": models[0] if models else "unknown", "cores": os.cpu_count(),
            "commit": commit, "torch": plots.torch_version()}


def write_report(report, path):
    """JSON with one line for each case and for each row of the verdict."""
    lists = ("verdict", "left_out", "cases")
    parts = [f'"{key}": {json.dumps(value)}' for key, value in report.items() if key not in lists]
    for key in lists:
        lines = ",\n".join(json.dumps(entry) for entry in report[key])
        parts.append(f'"{key}": [\n{lines}\n]')
    temporary = path + ".new"
    with open(temporary, "w", encoding="utf-8") as file:
        file.write("{\n" + ",\n".join(parts) + "\n}\n")
    os.replace(temporary, path)


# ===--- The run ------------------------------------------------------------===#


def format_minutes(seconds):
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def read_times(out, limits):
    """Seconds of the cases of an earlier run into the same folder."""
    try:
        with open(os.path.join(out, "peers.json"), encoding="utf-8") as file:
            old = json.load(file)
    except (OSError, ValueError):
        return {}
    if old.get("limits") != limits:
        return {}
    return {f["name"]: f["wall_seconds"] for f in old["cases"] if "ratios" in f}


class Comparison:
    """All cases of one run, and the report on them."""

    def __init__(self, cases, limits, budget, out):
        self.cases, self.limits, self.budget, self.out = cases, limits, budget, out
        self.begin = time.monotonic()
        self.report = {"machine": describe_machine(), "limits": limits, "seconds": 0.0,
                       "budget_seconds": budget, "verdict": [], "left_out": [], "cases": []}
        self.clock = cases_of.Clock(limits, read_times(out, limits))

    def resume(self, old):
        """Takes over the cases of an earlier run of the same commit."""
        if old["machine"] != self.report["machine"] or old["limits"] != self.limits:
            sys.exit("peers.py: --resume: peers.json is of another commit, machine or selection; "
                     "start anew without it")
        wanted = {case["name"] for case in self.cases}
        self.report["cases"] = [f for f in old["cases"] if "ratios" in f and f["name"] in wanted]
        done = {figure["name"] for figure in self.report["cases"]}
        self.cases = [case for case in self.cases if case["name"] not in done]
        self.begin -= old["seconds"]  # the budget is that of the whole run
        say(f"peers.py: {len(done)} cases are there already, {len(self.cases)} to go")

    def seconds(self):
        return time.monotonic() - self.begin

    def run(self, log):
        total = len(self.cases)
        for number, case in enumerate(self.cases, 1):
            expected = self.clock.estimate(case)
            left = self.budget - self.seconds() if self.budget else None
            if left is not None and expected > left:
                reason = f"would take about {expected:.0f} s, {max(0, left):.0f} s left of the budget"
                say(f"[{number}/{total}] {case['name']}: {reason}")
                self.report["left_out"].append(dict(case, reason=reason))
                continue
            rest = sum(self.clock.estimate(case) for case in self.cases[number - 1 :])
            end = min(self.budget or float("inf"), self.seconds() + rest)
            say(f"[{number}/{total}, {format_minutes(self.seconds())} of about "
                f"{format_minutes(end)}] {case['name']}")
            self.add(case, log)
            self.write()

    def add(self, case, log):
        begin = time.monotonic()
        figure, others = dict(case, load=os.getloadavg()[0]), Interference()
        try:
            kernels = os.path.join(CACHE, "kernels")
            figure.update(run_case(dict(case, limits=self.limits, cache=kernels), log))
            if "work" in figure:
                figures_of.add_ratios(figure)
        except (RuntimeError, OSError, ValueError) as error:
            figure["failed"] = f"{type(error).__name__}: {error}"
        figure["other_cores"] = others.cores()
        figure["wall_seconds"] = time.monotonic() - begin
        self.clock.add(case, figure["wall_seconds"])
        say("  " + tables.summarize(figure))
        self.report["cases"].append(figure)

    def write(self):
        """After each case: a run that is stopped leaves what it has."""
        self.report["cases"].sort(key=lambda figure: figure["order"])
        figures_of.add_dense_ratios(self.report["cases"])
        self.report["verdict"] = verdict.judge_peers(self.report)
        self.report["seconds"] = self.seconds()
        write_report(self.report, os.path.join(self.out, "peers.json"))

    def stop(self, reason):
        """Names every case that has not been measured."""
        done = {entry["name"] for key in ("cases", "left_out") for entry in self.report[key]}
        self.report["left_out"] += [
            dict(case, reason=reason) for case in self.cases if case["name"] not in done]


def write_tables(report, out):
    text = tables.render(report)
    print(text)
    with open(os.path.join(out, "peers.txt"), "w", encoding="utf-8") as file:
        file.write(text + "\n")
    for path in plots.draw(report, out):
        say(f"wrote {os.path.relpath(path, os.getcwd())}")


def warm(cases, limits, log):
    """Lets torch compile what the cases need; its kernels are kept."""
    for number, case in enumerate(cases, 1):
        say(f"[{number}/{len(cases)}] {case['name']}")
        try:
            result = run_once(dict(case, limits=limits, warm=True), log)
            say("  " + result.get("skipped", f"{result.get('start_seconds', 0):.1f} s"))
        except Stopped as reason:
            say(f"  {reason}")


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="peers", help="a file of benchmark/configs")
    parser.add_argument("--select", default="all", metavar="NAME",
                        help="a selection of the configuration: standard (every target, under "
                        "half an hour), quick, or all (hours, the default)")
    parser.add_argument("--quick", action="store_const", dest="select", const="quick",
                        help="--select=quick: a few cases, under 3 minutes")
    parser.add_argument("--filter", default="", help="only cases with all of these words")
    parser.add_argument("--budget", type=float, metavar="MINUTES",
                        help="leave out what does not fit (default: the selection's)")
    parser.add_argument("--resume", action="store_true",
                        help="keep the cases that are in peers.json already")
    parser.add_argument("--warm", action="store_true",
                        help="only let torch compile its kernels; measures nothing")
    parser.add_argument("--list", action="store_true", help="print the cases and stop")
    parser.add_argument("--render", action="store_true",
                        help="only write tables and plots of peers.json again")
    parser.add_argument("--out", default=os.path.join(ROOT, "build", "bench", "peers"),
                        help="the folder for results (default: build/bench/peers)")
    return parser.parse_args()


def select(config, options):
    """(cases, limits, seconds of the budget)"""
    selection = config["selections"].get(options.select, {})
    if options.select != "all" and not selection:
        sys.exit(f"peers.py: no selection '{options.select}'; there are: all, "
                 + ", ".join(config["selections"]))
    try:
        cases = cases_of.choose_cases(config, options.select, options.filter)
    except cases_of.UnknownCases as error:
        sys.exit(f"peers.py: {error}")
    minutes = options.budget or selection.get("minutes")
    return cases, dict(config["limits"], **selection.get("limits", {})), minutes and minutes * 60


def read_report(out):
    path = os.path.join(out, "peers.json")
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        sys.exit(f"peers.py: cannot read {path}: {error}")


def main():
    options = parse_arguments()
    cases, limits, budget = select(read_config(options.config), options)
    if options.list:
        clock = cases_of.Clock(limits)
        for case in cases:
            print(f"{case['name']:40} about {clock.estimate(case):4.0f} s")
        whole = sum(clock.estimate(case) for case in cases)
        print(f"{len(cases)} cases, about {format_minutes(whole)} minutes")
        return
    if options.render:
        report = read_report(options.out)
        report["verdict"] = verdict.judge_peers(report)
        write_report(report, os.path.join(options.out, "peers.json"))
        write_tables(report, options.out)
        return
    os.makedirs(options.out, exist_ok=True)
    # Ends the process of the case, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("peers.py: stopped"))
    with open(os.path.join(options.out, "peers.log"), "w", encoding="utf-8") as log:
        if options.warm:
            warm(cases, limits, log)
            return
        comparison = Comparison(cases, limits, budget, options.out)
        if options.resume:
            comparison.resume(read_report(options.out))
        say(f"peers.py: {len(comparison.cases)} cases; load {os.getloadavg()[0]:.1f}")
        stopped = False
        try:
            comparison.run(log)
        except (KeyboardInterrupt, SystemExit):
            comparison.stop("the run was stopped")
            stopped = True
        comparison.write()
    write_tables(comparison.report, options.out)
    if stopped:
        sys.exit("peers.py: stopped; --resume goes on")


if __name__ == "__main__":
    main()
