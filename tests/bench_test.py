"""Records of times: what kernel_bench writes, what `fovea bench` shows, compares and refuses. A planted slow kernel is found."""
import copy
import json
import os
import subprocess
import sys
import tempfile
import unittest

FOVEA, KERNEL_BENCH = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
CACHE = tempfile.TemporaryDirectory(prefix="fovea-bench-")  # of this machine's ceilings
ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("FOVEA_")} | {
    "OMP_NUM_THREADS": "1", "FOVEA_CACHE": CACHE.name}
FIELDS = ["tool", "commit", "kernel_hash", "date", "machine", "device", "driver", "toolkit", "cudnn", "clocks", "compiler",
          "threads", "peer"]


def run(*arguments):
    return subprocess.run(arguments, text=True, capture_output=True, env=ENVIRONMENT, timeout=300)


def row(kernel, median, noise=0.02, **more):
    return {"op": "ham.forward", "kernel": kernel, "shape": "N8 256@56", "dtype": "f32", "state": "cold", "timed": "graph",
            "median_us": median, "p10_us": median * (1 - noise), "p90_us": median * (1 + noise), "again_us": median} | more


def record(rows, **stamp):
    return {"format": "fovea-bench", "version": 1, "stamp": {f: "" for f in FIELDS} | {"threads": "1"} | stamp, "rows": rows}


class BenchTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def put(self, name, content):
        with open(self.path(name), "w") as file:
            file.write(content if isinstance(content, str) else json.dumps(content))
        return self.path(name)

    def diff(self, before, after, *flags):
        return run(FOVEA, "bench", "diff", self.put("before.json", before), self.put("after.json", after), *flags)

    # The same binary; the second time HAM's forward is forced to the plain loops.
    def test_planted_slow_kernel(self):
        before, after = self.path("fast.json"), self.path("slow.json")
        common = [KERNEL_BENCH, "--small", "--only", "ham", "--dtype", "f32", "--chosen", "--benchmark_filter=N2.*warm"]
        for command in ([*common, "--json", before], [*common, "--force", "ham.forward=reference", "--json", after]):
            done = run(*command)
            self.assertEqual(done.returncode, 0, done.stderr)
        done = run(FOVEA, "bench", "diff", before, after, "--json", "--fail-on-slower")
        self.assertEqual(done.returncode, 1, done.stderr)
        rows = {r["op"]: r for r in json.loads(done.stdout)["rows"]}
        self.assertEqual(rows["ham.forward"]["verdict"], "slower")
        self.assertGreater(rows["ham.forward"]["ratio"], 3)
        self.assertEqual(set(rows), {"ham.forward", "ham.backward"})
        self.assertEqual(run(FOVEA, "bench", "diff", before, after).returncode, 0)
        shown = run(FOVEA, "bench", "show", after)
        self.assertIn("chosen: reference", shown.stdout)

    def test_record(self):
        path = self.path("record.json")
        done = run(KERNEL_BENCH, "--small", "--only", "ham.forward", "--dtype", "f32", "--json", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(path) as file:
            made = json.load(file)
        self.assertEqual(list(made["stamp"]), FIELDS)
        for field in ("commit", "kernel_hash", "date", "machine", "device", "compiler", "threads"):
            self.assertTrue(made["stamp"][field], field)
        rows = [r for r in made["rows"] if r["shape"] == "N2 64@14"]
        self.assertEqual({(r["kernel"], r["state"]) for r in rows},
                         {(k, s) for k in ("fused", "composed", "reference") for s in ("cold", "warm")})
        for r in rows:
            self.assertEqual(r["baseline"], "composed")
            self.assertGreater(r["again_us"], 0)
            base = next(b for b in rows if b["kernel"] == "composed" and b["state"] == r["state"])
            self.assertAlmostEqual(r["ratio"], r["median_us"] / base["median_us"])

    # Cases fill their own ports: indices, saved statistics, ports that are left out.
    def test_cases(self):
        done = run(KERNEL_BENCH, "--cases", "--only", "rows.gather ", "--dtype", "f32", "--benchmark_filter=warm/graph/iter")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("rows.gather ", done.stdout)

    def test_verdicts(self):
        before = [row("fused", 100), row("old", 5), row("noisy", 100, noise=0.3), row("drifts", 100, again_us=120), row("calm", 10)]
        after = [row("fused", 110), row("new", 5), row("noisy", 110), row("drifts", 110), row("calm", 8)]
        done = self.diff(record(before), record(after), "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        out = json.loads(done.stdout)
        self.assertEqual({r["kernel"]: r["verdict"] for r in out["rows"]},
                         {"fused": "slower", "noisy": "same", "drifts": "same", "calm": "faster"})
        self.assertIn(" old ", out["only_first"][0])
        self.assertIn(" new ", out["only_second"][0])
        self.assertAlmostEqual(out["rows"][0]["ratio"], 1.1)
        self.assertEqual(self.diff(record(before), record(after), "--fail-on-slower").returncode, 1)
        self.assertEqual(self.diff(record(before), record(before), "--fail-on-slower").returncode, 0)

    def test_other_machine(self):
        a, b = record([row("fused", 1)], device="NVIDIA H100"), record([row("fused", 1)], device="NVIDIA H200", threads="2")
        refused = self.diff(a, b)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("device is 'NVIDIA H100' and 'NVIDIA H200'; threads is '1' and '2'", refused.stderr)
        self.assertIn("--force", refused.stderr)
        forced = self.diff(a, b, "--force")
        self.assertEqual(forced.returncode, 0)
        self.assertIn("NVIDIA H200", forced.stderr)
        same = record([row("fused", 1)], device="NVIDIA H100", commit="another", date="later")
        self.assertEqual(self.diff(a, same).returncode, 0)

    def test_broken_records(self):
        good = record([row("fused", 1)])
        text = json.dumps(good)

        def changed(change):
            other = copy.deepcopy(good)
            change(other)
            return other

        for content, said in [
            ("", "no valid JSON"),
            (text[:-5], "no valid JSON"),
            ("[" * 40 + "]" * 40, "nested deeper"),
            (text.replace('"format"', '"version": 1, "format"', 1), "key 'version' is in an object twice"),
            ("[]", "no object"),
            ({"rows": []}, "'format' of the record is missing"),
            (changed(lambda r: r.update(version=2)), "no record of format"),
            (changed(lambda r: r["stamp"].pop("threads")), "'threads' of the stamp is missing"),
            (changed(lambda r: r.update(stamp=3)), "the stamp is no object"),
            (changed(lambda r: r.pop("stamp")), "'stamp' of the record is missing"),
            (changed(lambda r: r["rows"][0].pop("median_us")), "'median_us' of row 1 is missing"),
            (changed(lambda r: r["rows"][0].update(median_us="1")), "is no number"),
            (changed(lambda r: r["rows"][0].update(median_us=-1)), "no number of at least 0"),
            (changed(lambda r: r["rows"][0].update(median_us=0, p10_us=0)), "took no time"),
            (changed(lambda r: r["rows"][0].update(p10_us=2)), "outside its percentiles"),
            (changed(lambda r: r["rows"].append(row("fused", 2))), "twice"),
            (changed(lambda r: r.update(rows={})), "is no list"),
        ]:
            done = run(FOVEA, "bench", "show", self.put("broken.json", content))
            self.assertEqual(done.returncode, 1, said)
            self.assertIn(said, done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)

    def test_wrong_usage(self):
        good = self.put("good.json", record([row("fused", 1)]))
        for arguments, said in [([], "say what to do"), (["plot", good], "not 'plot'"), (["show"], "takes one record"),
                                (["diff", good], "takes two records"), (["diff", good, good, "--forse"], "--force")]:
            done = run(FOVEA, "bench", *arguments)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertIn(said, done.stderr)
        self.assertEqual(run(FOVEA, "bench", "show", self.path("nowhere.json")).returncode, 1)
        other = record([row("other", 1)])
        self.assertIn("no row in common", self.diff(record([row("fused", 1)]), other).stderr)
        for arguments, said in [(["--small", "--cases"], "two sets of shapes"), (["--chosen", "--kernel", "fused"], "--chosen"),
                                (["--force", "ham.forward=nothing"], "nothing"), (["--only", "no such op"], "no kernel matches")]:
            done = run(KERNEL_BENCH, *arguments)
            self.assertNotEqual(done.returncode, 0, arguments)
            self.assertIn(said, done.stderr)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]])
