"""fovea profile, fovea peaks and train --profile as a user meets them: rows that add up, a forced slow kernel that leads, traces that
nest, ceilings that are kept, and wrong usage."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

FOVEA = os.path.abspath(sys.argv[1])
ROOT = tempfile.mkdtemp(prefix="fovea-profile-")
CACHE = os.path.join(ROOT, "cache")
SMALL = ["--model", "resnet18", "--image-size", "32", "-b", "2", "--threads", "1"]


def run(*arguments, cache=CACHE, **environment):
    return subprocess.run([FOVEA, *arguments], capture_output=True, text=True, timeout=300,
                          env={**os.environ, "FOVEA_CACHE": cache, **environment})


def path(name):
    return os.path.join(ROOT, name)


def read_json(name):
    with open(path(name)) as file:
        return json.load(file)


def keep_peaks():
    """Ceilings for one thread: measured once, or, where a sanitizer makes measuring slow, in the release build's test alone."""
    return run("peaks", "--threads", "1", "--json")


class Base(unittest.TestCase):
    def expect(self, code, *arguments, says=(), **options):
        result = run(*arguments, **options)
        self.assertEqual(result.returncode, code, f"{arguments}: {result.stderr}")
        for part in [says] if isinstance(says, str) else says:
            self.assertIn(part, result.stderr)
        return result


class PeaksTest(Base):
    def test_are_measured_once(self):
        first = self.expect(0, "peaks", "--threads", "1", "--json")
        peaks = json.loads(first.stdout)
        self.assertEqual(peaks["threads"], 1)
        for rate in [peaks["copy_bytes_per_s"], peaks["triad_bytes_per_s"], *(g["flops_per_s"] for g in peaks["gemm"])]:
            self.assertGreater(rate, 1e6)
        self.assertLess({"f32", "f64"} - {g["dtype"] for g in peaks["gemm"]}, {"f32"})
        again = self.expect(0, "peaks", "--threads", "1", "--json")
        self.assertEqual((again.stdout, again.stderr), (first.stdout, ""))  # to the last digit: not measured again
        table = self.expect(0, "peaks", "--threads", "1").stdout
        for word in ["copy", "triad", "product f32", "product f64", "GB/s", "GFLOP/s"]:
            self.assertIn(word, table)

    def test_a_damaged_file_is_measured_anew(self):
        keep_peaks()
        name = next(n for n in os.listdir(CACHE) if n.startswith("peaks-") and n.endswith("-1.json"))
        file = os.path.join(CACHE, name)
        with open(file) as kept:
            text = kept.read()
        for bad, says in [(text[:50], "no valid JSON"), (text.replace('"threads": 1', '"threads": 5'), "5 threads, not 1")]:
            with open(file, "w") as broken:
                broken.write(bad)
            result = self.expect(0, "peaks", "--threads", "1", "--json", says=[says, "; measuring anew"])
            with open(file) as mended:
                self.assertEqual(mended.read(), result.stdout)

    def test_a_cache_that_cannot_be_written(self):
        with open(path("file"), "w") as file:
            file.write("not a folder")
        result = self.expect(1, "peaks", "--threads", "1", cache=path("file"))
        self.assertIn("fovea: ", result.stderr.splitlines()[-1])


class ProfileTest(Base):
    @classmethod
    def setUpClass(cls):
        keep_peaks()
        cls.result = run("profile", *SMALL, "--train", "--steps", "3", "--json", "--trace", path("trace.json"),
                         "--html", path("page.html"))
        cls.profile = json.loads(cls.result.stdout or "{}")

    def test_contract(self):
        self.assertEqual(self.result.returncode, 0, self.result.stderr)
        self.assertEqual(self.profile["steps"], 3)
        self.assertEqual(len(self.profile["each_step"]), 3)
        for op in self.profile["ops"]:
            for key in ["name", "kernel", "calls", "self_seconds", "flops", "bytes", "floor_share"]:
                self.assertIn(key, op)
        self.assertGreater(self.profile["flops"], 1e6)
        self.assertGreater(self.profile["memory_peak_bytes"], 1e6)
        times = [op["self_seconds"] for op in self.profile["ops"]]
        self.assertEqual(times, sorted(times, reverse=True))

    def test_rows_add_up(self):
        names = [op["name"] for op in self.profile["ops"]]
        for name in ["optimizer", "data", "(framework)", "conv2d.forward", "conv2d.backward_data", "batch_norm.backward"]:
            self.assertIn(name, names)
        total = sum(op["self_seconds"] for op in self.profile["ops"])
        self.assertAlmostEqual(total / self.profile["step_seconds"], 1, delta=0.05)
        parts = self.profile["parts"]
        self.assertLessEqual(sum(parts.values()), self.profile["step_seconds"] * 1.001)
        self.assertGreater(sum(parts.values()), self.profile["step_seconds"] * 0.9)

    def test_rows_add_up_for_every_model(self):
        for model, size in [("hm-vgg", 32), ("vgg11", 32), ("vgg13", 32), ("resnet18", 32), ("resnet50", 32), ("densenet161", 32),
                            ("convnext_tiny", 32), ("inception_v3", 75)]:
            for mode in [[], ["--train"]]:
                with self.subTest(model=model, mode=mode):
                    profile = json.loads(self.expect(0, "profile", "--model", model, "--image-size", str(size), "-b", "2",
                                                     "--threads", "1", "--steps", "1", "--warm-up", "1", "--json", *mode).stdout)
                    total = sum(op["self_seconds"] for op in profile["ops"])
                    self.assertAlmostEqual(total / profile["step_seconds"], 1, delta=0.05)
                    kernels = sum(op["self_seconds"] for op in profile["ops"] if op["kernel"])
                    self.assertGreater(kernels / profile["step_seconds"], 0.5)  # and are no framework alone
                    self.assertAlmostEqual(sum(op["flops"] for op in profile["ops"]) / profile["flops"], 1, delta=0.02)

    def test_operations_count_once(self):
        self.assertAlmostEqual(sum(op["flops"] for op in self.profile["ops"]) / self.profile["flops"], 1, delta=0.02)

    def test_a_slow_kernel_leads(self):
        result = self.expect(0, "profile", *SMALL, "--steps", "1", "--warm-up", "1", "--json", "--kernel",
                             "conv2d.forward=reference")
        first = json.loads(result.stdout)["ops"][0]
        self.assertEqual((first["name"], first["kernel"]), ("conv2d.forward", "reference"))

    def test_trace_nests_and_agrees(self):
        events = read_json("trace.json")["traceEvents"]
        self.assertTrue(all(e["ph"] == "X" and e["dur"] >= 0 and e["ts"] >= 0 for e in events))
        for part in ["step", "forward", "backward", "optimizer", "data"]:
            self.assertEqual(sum(e["name"] == part for e in events), 3, part)
        open_ends, parents = [], []  # of the ranges that the event at hand is in
        for event in events:
            begin, end = event["ts"], event["ts"] + event["dur"]
            while open_ends and open_ends[-1] <= begin + 5e-4:
                open_ends.pop(), parents.pop()
            if open_ends:
                self.assertLessEqual(end, open_ends[-1] + 1e-3, event)
            if event["cat"] == "kernel":
                self.assertIn("step", parents)
                for key in ["kernel", "shape", "dtype", "GFLOP/s"]:
                    self.assertIn(key, event["args"])
            if event["name"].endswith(".backward_data"):
                self.assertIn("backward", parents)
            if event["name"] == "adam":
                self.assertIn("optimizer", parents)
            open_ends.append(end)
            parents.append(event["name"])
        steps = [e["dur"] for e in events if e["name"] == "step"]
        self.assertAlmostEqual(sum(steps) / 3e6 / self.profile["step_seconds"], 1, delta=1e-3)
        for op in self.profile["ops"]:
            if op["kernel"]:
                of_it = [e["args"]["self_us"] for e in events
                         if e["name"] == op["name"] and e["args"].get("kernel") == op["kernel"]]
                self.assertEqual(len(of_it), round(3 * op["calls"]))
                self.assertAlmostEqual(sum(of_it) / 3e6, op["self_seconds"], delta=1e-6)

    def test_trace_stops_at_its_limit(self):
        self.expect(0, "profile", *SMALL, "--steps", "1", "--trace", path("short.json"), "--trace-limit", "5KiB",
                    says=["short.json stops at 5.0 KiB", "left out"])
        self.assertLessEqual(os.path.getsize(path("short.json")), 5 * 1024)
        self.assertGreater(len(read_json("short.json")["traceEvents"]), 5)

    def test_page(self):
        with open(path("page.html")) as file:
            page = file.read()
        for part in ["Roofline of", "Time line of a step", "conv2d.forward", "default-src 'none'"]:
            self.assertIn(part, page)
        self.assertNotIn("<script", page)

    def test_by_layer_and_shape(self):
        by_layer = json.loads(self.expect(0, "profile", *SMALL, "--train", "--steps", "1", "--by", "layer-kernel",
                                          "--json").stdout)
        sums = json.loads(self.expect(0, "profile", *SMALL, "--train", "--steps", "2", "--by", "layer", "--json").stdout)
        total = sum(op["self_seconds"] for op in sums["ops"])
        self.assertAlmostEqual(total / sums["step_seconds"], 1, delta=0.05)
        conv = next(op for op in sums["ops"] if op["name"] == "layer1.0.conv1")
        self.assertGreater(conv["backward_seconds"], conv["forward_seconds"] * 0.2)
        self.assertAlmostEqual(conv["forward_seconds"] + conv["backward_seconds"], conv["self_seconds"], delta=1e-9)
        self.assertEqual(len({op["name"] for op in sums["ops"]}), len(sums["ops"]))
        layers = {op["layer"] for op in by_layer["ops"] if op["name"] == "conv2d.backward_weights"}
        self.assertIn("layer1.0.conv1", layers)
        self.assertNotIn("", layers)
        table = self.expect(0, "profile", *SMALL, "--steps", "1", "--by", "shape", "--rows", "4").stdout
        self.assertIn("2x32x32x3", self.expect(0, "profile", *SMALL, "--steps", "1", "--by", "shape").stdout)
        self.assertIn(" more)", table)

    def test_wrong_usage(self):
        for arguments, says in [
                (["--steps", "0"], "--steps must be 1 to 200, not 0"),
                (["--steps", "many"], "--steps"),
                (["--warm-up", "-1"], "--warm-up must be 0 to 200, not -1"),
                (["--rows", "0"], "--rows must be at least 1"),
                (["--by", "layers"], "did you mean 'layer'"),
                (["--batch", "0"], "batch must be 1 to 65536, not 0"),
                (["--image-size", "20"], "32"),
                (["--model", "hm-vg"], "did you mean 'hm-vgg'?"),
                (["--label", "grade"], "--label needs --data PATH"),
                (["--trace-limit", "1MiB"], "--trace-limit needs --trace FILE.json"),
                (["--trace", path("t.json"), "--trace-limit", "much"], "much"),
                (["--stepps", "3"], "did you mean '--steps'?"),
                (["--kernel", "conv2d=fastest"], "no kernel 'fastest'")]:
            result = self.expect(2, "profile", *arguments, says=says)
            self.assertEqual((result.stdout, result.stderr.count("\n")), ("", 1), result.stderr)
        self.expect(2, "peaks", "--threads", "x", says="threads must be a whole number, not 'x'")
        self.expect(2, "peaks", "here", says="one argument too many")
        self.expect(1, "profile", *SMALL, "--steps", "1", "--html", path("no/such/page.html"), says="there is no folder")
        self.expect(1, "profile", *SMALL, "--data", path("nothing"), says="nothing")


class TrainTest(Base):
    def test_train_with_profile(self):
        keep_peaks()
        self.expect(0, "data", "synth", path("eyes"), "-n", "18", "--image-size", "40", "--seed", "3")
        arguments = ["--data", path("eyes"), "--model", "resnet18", "--image-size", "32", "--threads", "1", "-b", "3",
                     "--set", "resamples=20"]
        result = self.expect(0, "train", *arguments, "--epochs", "7", "--profile", "--output", path("run"),
                             says=["profiled 20 steps", "% of the f32 ceiling"])
        profile = read_json("run/profile.json")
        self.assertEqual((profile["steps"], profile["mode"]), (20, "training"))
        total = sum(op["self_seconds"] for op in profile["ops"])
        self.assertAlmostEqual(total / profile["step_seconds"], 1, delta=0.05)
        self.assertGreater(len(read_json("run/trace.json")["traceEvents"]), 1000)
        with open(path("run/report.html")) as file:
            report = file.read()
        self.assertIn("<h2>Profile of the training step</h2>", report)
        self.assertIn("Time line of a step", report)
        self.expect(0, "train", *arguments, "--epochs", "7", "--output", path("plain"))
        for name in ["predictions.csv", "metrics.json"]:  # looking on changes nothing
            with open(path("run/" + name), "rb") as a, open(path("plain/" + name), "rb") as b:
                self.assertEqual(a.read(), b.read(), name)
        self.assertFalse(os.path.exists(path("plain/profile.json")))
        with open(path("plain/report.html")) as file:
            self.assertNotIn("Profile of the training step", file.read())
        short = self.expect(0, "train", *arguments, "--epochs", "1", "--profile", "--output", path("short"))
        self.assertGreater(read_json("short/profile.json")["steps"], 1)  # fewer than 20: what there was


class EmulatedTest(Base):
    def test_on_an_emulated_device(self):
        result = self.expect(0, "profile", "--model", "resnet18", "--image-size", "32", "-b", "1", "--device", "cuda",
                             "--steps", "1", "--warm-up", "0", "--json", FOVEA_EMULATE_DEVICE="1")
        profile = json.loads(result.stdout)
        self.assertEqual(profile["device"], "cuda")
        total = sum(op["self_seconds"] for op in profile["ops"])
        self.assertAlmostEqual(total / profile["step_seconds"], 1, delta=0.05)


if __name__ == "__main__":
    try:
        unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
    finally:
        shutil.rmtree(ROOT)
