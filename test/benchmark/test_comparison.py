# ===- test_comparison.py - ratios, verdict, tables of the benchmark --------===#
#
# Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""The comparison with peers, on figures that are made up: no kernel runs here."""
import copy
import io
import json
import os
import sys
import tempfile
import textwrap
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "benchmark"))

import cases  # noqa: E402
import ceilings  # noqa: E402
import figures  # noqa: E402
import peers  # noqa: E402
import tables  # noqa: E402
import verdict  # noqa: E402

CONFIG = peers.read_config("peers")


def time_of(seconds, low=None, high=None, key="seconds"):
    return {key: seconds, key + "_min": low or seconds, key + "_max": high or seconds}


def make_figure(name, ours=1.0, flex=3.0, kept=1000, visited=1000):
    """A figure of the case `name` with round numbers."""
    case = next(case for case in cases.list_cases(CONFIG) if case["name"] == name)
    ceiling = "read" if case["kind"] == "decode" else "fma"
    rate = 500.0 if ceiling == "read" else 4 * case["head_dim"] * 1000
    return copy.deepcopy({
        **case,
        "load": 0.1, "wall_seconds": 3, "other_cores": 0.0,
        "work": {"kept_pairs": kept, "visited_pairs": visited, "visited_share": 0.5,
                 "kept_flops": 4 * case["head_dim"] * kept, "level": "avx512",
                 "read_bytes": 400 if ceiling == "read" else None},
        "implementations": {
            "ours": {**time_of(ours), **time_of(0.1, key="mask_seconds"), "ceiling": ceiling,
                     **time_of(rate, key="ceiling_rate"),
                     **time_of(rate * ours, key="ceiling_amount")},
            "flex": {**time_of(flex), **time_of(0.3, key="mask_seconds"),
                     **time_of(6.6, key="eager_mask_seconds"), "relative_error": 1e-7},
            "sdpa": {**time_of(2.0), **time_of(9.0, key="mask_seconds"), "relative_error": 2e-7},
        },
    })


def make_report(*given, left_out=()):
    for figure in given:
        if "implementations" in figure:
            figures.add_ratios(figure)
    figures.add_dense_ratios(given)
    report = {
        "machine": {"processor": "P", "cores": 2, "commit": "c", "torch": "t"},
        "limits": {}, "seconds": 60, "cases": list(given), "left_out": list(left_out),
    }
    report["verdict"] = verdict.judge_peers(report)
    return report


def row_of(report, what):
    (row,) = [row for row in report["verdict"] if row["what"] == what]
    return row


class Ratios(unittest.TestCase):
    def test_inside_a_case(self):
        figure = make_figure("prefill/16k/D64/t2/causal", ours=2.0, flex=5.0, visited=1500)
        figures.add_ratios(figure)
        expected = {"of_fma": 0.5, "visited_of_ceiling": 0.75, "plan_over_forward": 0.05,
                    "flex": 2.5, "flex_with_mask": 5.3 / 2.1, "flex_with_eager_mask": 11.6 / 2.1,
                    "sdpa": 1.0, "sdpa_with_mask": 11 / 2.1}
        self.assertEqual(set(figure["ratios"]), set(expected))
        for key, value in expected.items():
            self.assertAlmostEqual(figure["ratios"][key], value, msg=key)

    def test_ceilings(self):
        figure = make_figure("decode_bf16/32k/D128/t2/dense", ours=1.6)
        figures.add_ratios(figure)
        self.assertAlmostEqual(figure["ratios"]["of_read"], 0.5)
        self.assertNotIn("visited_of_ceiling", figure["ratios"])
        self.assertEqual(tables.name_ceiling(figure), ("of_read", "R"))

    def test_ceiling_is_the_higher_one_around_a_repetition(self):
        ceiling = ceilings.Ceiling.__new__(ceilings.Ceiling)
        rates = iter([3.0, 2.0, 4.0, 5.0])
        ceiling.measure = lambda: next(rates)
        self.assertEqual(ceiling.around(lambda: "first"), ("first", 3.0))
        self.assertEqual(ceiling.around(lambda: "second"), ("second", 5.0))

    def test_spread_of_a_ratio(self):
        figure = make_figure("prefill/16k/D64/t2/causal")
        ours = figure["implementations"]["ours"]
        ours.update(time_of(1.0, 0.97, 1.03))
        amount = ours["ceiling_amount"]
        ours.update(time_of(amount, 0.98 * amount, 1.02 * amount, key="ceiling_amount"))
        figure["implementations"]["flex"].update(time_of(3.0, 2.88, 3.12))
        figures.add_ratios(figure)
        self.assertAlmostEqual(figure["spreads"]["of_fma"], 0.02)
        self.assertAlmostEqual(figure["spreads"]["flex"], 0.05)
        # 0.06 of 1.1 and 0.24 of 3.3, halved.
        self.assertAlmostEqual(figure["spreads"]["flex_with_mask"],
                               ((0.03 / 1.1) ** 2 + (0.12 / 3.3) ** 2) ** 0.5)

    def test_over_dense(self):
        dense = make_figure("prefill/16k/D64/t2/dense", ours=4.0, kept=4000, visited=4000)
        other = make_figure("prefill/16k/D128/t2/dense", ours=400.0, kept=4000, visited=4000)
        sparse = make_figure("prefill/16k/D64/t2/dilated", ours=1.2, kept=250, visited=1000)
        alone = make_figure("prefill/4k/D64/t2/dilated")
        make_report(dense, other, sparse, alone)
        self.assertAlmostEqual(sparse["ratios"]["pair_over_dense"], 1.2)
        self.assertAlmostEqual(sparse["ratios"]["kept_pair_over_dense"], 4.8)
        self.assertNotIn("pair_over_dense", alone["ratios"])

    def test_over_dense_at_the_pace_of_the_machine(self):
        dense = make_figure("prefill/16k/D64/t2/dense", ours=4.0, kept=4000, visited=4000)
        slow = make_figure("prefill/16k/D64/t2/dilated", ours=2.0, kept=1000, visited=1000)
        slow["implementations"]["ours"]["ceiling_amount"] /= 2  # the machine was, too
        make_report(dense, slow)
        self.assertAlmostEqual(slow["ratios"]["pair_over_dense"], 1.0)

    def test_peer_without_a_time(self):
        figure = make_figure("prefill/16k/D64/t2/causal")
        figure["implementations"]["sdpa"] = {"skipped": "its boolean mask takes 20 GiB"}
        del figure["implementations"]["flex"]["eager_mask_seconds"]
        figures.add_ratios(figure)
        self.assertNotIn("sdpa", figure["ratios"])
        self.assertNotIn("flex_with_eager_mask", figure["ratios"])


class Judging(unittest.TestCase):
    def judge(self, bound, at_least, *samples):
        return verdict.judge(verdict.Target("w", bound, at_least, verdict.SHARE,
                                            [verdict.Sample(*sample) for sample in samples]))

    def test_worst_case_decides(self):
        samples = [("a", 0.9, 0.01), ("b", 0.8, 0.02), ("c", 0.95, 0.0)]
        low = self.judge(0.85, True, *samples)
        self.assertEqual((low["reached"], low["case"], low["passing"]), (False, "b", 2))
        self.assertFalse(low["close"])
        high = self.judge(0.85, False, *samples)
        self.assertEqual((high["reached"], high["case"], high["passing"]), (False, "c", 1))

    def test_bound_is_reached_by_itself(self):
        self.assertTrue(self.judge(0.85, True, ("a", 0.85))["reached"])
        self.assertTrue(self.judge(0.85, False, ("a", 0.85))["reached"])

    def test_within_the_spread(self):
        self.assertTrue(self.judge(0.85, True, ("a", 0.84, 0.05))["close"])
        text = verdict.format_answer(self.judge(0.85, True, ("a", 0.84, 0.05)))
        self.assertEqual(text, "NO, within spread")

    def test_nothing_is_not_reached(self):
        row = self.judge(0.85, True)
        self.assertIsNone(row["reached"])
        self.assertEqual(verdict.format_answer(row), "not measured")


class Verdict(unittest.TestCase):
    def test_dense_rows(self):
        report = make_report(make_figure("prefill/16k/D64/t1/dense", ours=1 / 0.88),
                             make_figure("prefill/4k/D64/t1/dense", ours=1 / 0.86),
                             make_figure("prefill/16k/D64/t2/dense", ours=1 / 0.95))
        one = row_of(report, "f32 prefill, full tiles, D 64, one core: of FMA")
        self.assertEqual((one["reached"], one["case"]), (False, "prefill/4k/D64/t1/dense"))
        self.assertTrue(row_of(report, "f32 prefill, full tiles, D 64, two: of FMA")["reached"])
        none = row_of(report, "f32 prefill, full tiles, D 128, two: of FMA")
        self.assertIsNone(none["reached"])

    def test_pairs_over_dense(self):
        report = make_report(make_figure("prefill/16k/D64/t2/dense"),
                             make_figure("prefill/16k/D64/t2/dilated", ours=1.3),
                             make_figure("prefill/16k/D64/t2/window", ours=1.2))
        self.assertFalse(row_of(report, "time per visited pair at 16k over dense")["reached"])
        row = row_of(report, "the same, periodic and graph patterns")
        self.assertEqual((row["reached"], row["cases"]), (True, 1))

    def test_masks_of_peers(self):
        """Dense needs no mask: it counts without one alone."""
        report = make_report(make_figure("prefill/16k/D64/t2/dense", flex=1.9),
                             make_figure("prefill/16k/D64/t2/causal"))
        plain = row_of(report, "FlexAttention, f32 prefill")
        self.assertEqual((plain["cases"], plain["case"]), (2, "prefill/16k/D64/t2/dense"))
        compiled = row_of(report, "FlexAttention + mask (compiled), f32 prefill")
        self.assertEqual((compiled["cases"], compiled["reached"]), (1, False))
        eager = row_of(report, "FlexAttention + mask (as by default), f32 prefill")
        self.assertTrue(eager["reached"])
        self.assertAlmostEqual(eager["worst"], 9.6 / 1.1)

    def test_plans_at_64k(self):
        figure = make_figure("prefill/64k/D64/t2/documents", ours=4.0)
        report = make_report(figure, make_figure("prefill/64k/D64/t2/window", ours=0.1))
        row = row_of(report, "plan over forward, graph and documents, 64k")
        self.assertEqual((row["cases"], row["reached"]), (1, False))

    def test_what_is_missing_is_named(self):
        failed = make_figure("prefill/16k/D128/t2/causal")
        del failed["implementations"], failed["work"]
        failed["failed"] = "failed at first run: killed, out of memory?"
        slow = make_figure("prefill/16k/D64/t2/causal")
        slow["implementations"]["flex"] = {"skipped": "> 90 s (first run)"}
        case = next(c for c in cases.list_cases(CONFIG) if c["name"] == "prefill/16k/D64/t2/prefix")
        report = make_report(slow, failed, left_out=[dict(case, reason="12 s left of the budget")])
        row = row_of(report, "FlexAttention, f32 prefill")
        self.assertIsNone(row["reached"])
        self.assertEqual(row["missing"], [
            ("prefill/16k/D64/t2/causal", "> 90 s (first run)"),
            ("prefill/16k/D128/t2/causal", "failed at first run: killed, out of memory?"),
            ("prefill/16k/D64/t2/prefix", "12 s left of the budget")])
        text = tables.render(report)
        for _, reason in row["missing"]:
            self.assertIn(reason, text)
        self.assertIn("prefill/16k/D64/t2/prefix            left out: 12 s left", text)
        # Rows that no case of the run is for are counted, not shown.
        self.assertNotIn("plan over forward", text)
        self.assertIn("of them as no case of the selection is for them", text)


class Tables(unittest.TestCase):
    def render(self, *given):
        return tables.render(make_report(*given)).splitlines()

    def test_rows(self):
        name = "prefill/16k/D64/t2/causal"
        ours, theirs = [line for line in self.render(make_figure(name, ours=2.0, visited=1500))
                        if line.startswith(name)]
        self.assertEqual(ours.split(), [name, "2", "s", "+-0%", "50.0%", "+-0%", "F", "75.0%",
                                        "50.0%", "-", "-", "100", "ms", "5.0%", "0.00"])
        self.assertEqual(theirs.split()[:6], [name, "3", "s", "+-0%", "1.50", "+-0%"])

    def test_doubts(self):
        wrong = make_figure("prefill/16k/D64/t2/causal")
        wrong["implementations"]["sdpa"]["relative_error"] = 0.3
        few = make_figure("prefill/16k/D64/t2/dilated", kept=1000, visited=10)
        text = "\n".join(self.render(wrong, few))
        self.assertIn("prefill/16k/D64/t2/causal: sdpa differs by 3.0e-01", text)
        self.assertIn("prefill/16k/D64/t2/dilated: visits 10 pairs but keeps 1000", text)


class Cases(unittest.TestCase):
    def test_configuration_has_what_it_promises(self):
        names = {case["name"] for case in cases.list_cases(CONFIG)}
        patterns = ("dense causal window window_sink dilated longnet prefix documents source_graph "
                    "bigbird blocks_10 blocks_25 blocks_50").split()
        for size in ("4k", "16k", "64k"):
            for dim in (64, 128):
                for pattern in patterns:
                    self.assertIn(f"prefill/{size}/D{dim}/t2/{pattern}", names)
        for keys in ("8k", "32k", "128k"):
            for batch in ("", "_b8"):
                for pattern in ("dense", "window"):
                    self.assertIn(f"decode/{keys}{batch}/D128/t2/{pattern}", names)
        self.assertIn("verify/32k/D128/t2/token_tree", names)

    def test_selections(self):
        for selection in CONFIG["selections"]:
            chosen = [case["name"] for case in cases.choose_cases(CONFIG, selection)]
            self.assertEqual(len(chosen), len(set(chosen)))
        standard = {case["name"] for case in cases.choose_cases(CONFIG, "standard")}
        every = {f"prefill/16k/D{dim}/t2/{pattern}" for dim in (64, 128)
                 for pattern in CONFIG["groups"][0]["patterns"]}
        self.assertLessEqual(every, standard)

    def test_every_rule_has_a_case_in_the_standard_selection(self):
        chosen = cases.choose_cases(CONFIG, "standard")
        for rule in verdict.RULES:
            self.assertTrue(any(map(rule.applies, chosen)), rule.what)

    def test_unknown(self):
        config = dict(CONFIG, selections={"s": {"cases": ["prefill/17k/*"]}})
        with self.assertRaisesRegex(cases.UnknownCases, "no case is called 'prefill/17k/"):
            cases.choose_cases(config, "s")
        with self.assertRaisesRegex(cases.UnknownCases, "no case of 'all' contains 'prefill moon'"):
            cases.choose_cases(CONFIG, "all", "prefill moon")

    def test_clock_learns(self):
        limits = CONFIG["limits"]
        first, second = cases.choose_cases(CONFIG, "all", "prefill/4k/D64/t2 window")[:2]
        clock = cases.Clock(limits, {second["name"]: 7.5})
        before = clock.estimate(first)
        clock.add(first, 10 * before)
        self.assertGreater(clock.estimate(first), 2 * before)
        self.assertEqual(clock.estimate(second), 7.5)


#: Stands in for peers_case.py: does what the case's `script` says.
CHILD = """
import json, os, sys, time
case = json.load(sys.stdin)
def report(**line):
    print(json.dumps(line), flush=True)
result = {"implementations": {"ours": {"mask_seconds": 1}, "flex": {"mask_seconds": 1}}}
for name in case["excluded"]:
    result["implementations"].pop(name, None)
exec(case["script"])
"""


class Robustness(unittest.TestCase):
    """A case that crashes, hangs or is killed is a result."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        path = os.path.join(self.folder.name, "child.py")
        with open(path, "w", encoding="utf-8") as file:
            file.write(CHILD)
        self.addCleanup(setattr, peers, "CASE", peers.CASE)
        self.addCleanup(setattr, sys, "stderr", sys.stderr)
        peers.CASE, sys.stderr = path, io.StringIO()

    def run_case(self, script, step=5, whole=20):
        limits = {"seconds_of_a_step": step, "seconds_of_a_case": whole}
        with open(os.devnull, "w", encoding="utf-8") as log:
            return peers.run_case({"script": textwrap.dedent(script), "limits": limits}, log)

    def test_peer_crashes(self):
        result = self.run_case("""
            if "flex" not in case["excluded"]:
                report(step="flex", what="first run")
                os.abort()
            report(result=result)
        """)
        self.assertEqual(result["implementations"]["flex"],
                         {"skipped": "failed at first run: killed, out of memory?"})
        self.assertIn("ours", result["implementations"])

    def test_peer_hangs(self):
        result = self.run_case("""
            if "flex" not in case["excluded"]:
                report(step="flex", what="repetition")
                time.sleep(60)
            report(result=result)
        """, step=1)
        self.assertEqual(result["implementations"]["flex"], {"skipped": "> 1 s (repetition)"})

    def test_we_crash(self):
        result = self.run_case('report(step="ours", what="first run"); sys.exit(3)')
        self.assertEqual(result, {"failed": "failed at first run: exit status 3"})

    def test_case_takes_too_long(self):
        result = self.run_case("""
            while True:
                report(step="ours", what="repetition")
                time.sleep(0.2)
        """, whole=1)
        self.assertEqual(result, {"failed": "> 1 s (the whole case, at repetition)"})

    def test_eager_mask_takes_the_memory(self):
        result = self.run_case("""
            report(result=result)
            report(step="flex", what="eager mask")
            os.kill(os.getpid(), 9)
        """)
        self.assertEqual(result["implementations"]["flex"], {
            "mask_seconds": 1, "eager_mask_skipped": "failed at eager mask: killed, out of memory?"})

    def test_eager_mask(self):
        result = self.run_case("""
            report(result=result)
            report(eager_mask={"eager_mask_seconds": 2})
        """)
        self.assertEqual(result["implementations"]["flex"]["eager_mask_seconds"], 2)


class Report(unittest.TestCase):
    def test_is_json(self):
        report = make_report(make_figure("prefill/16k/D64/t2/dense"))
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "peers.json")
            peers.write_report(report, path)
            with open(path, encoding="utf-8") as file:
                text = file.read()
        self.assertEqual(json.loads(text), json.loads(json.dumps(report)))


if __name__ == "__main__":
    unittest.main(verbosity=2)
