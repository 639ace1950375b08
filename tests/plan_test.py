"""fovea plan: what it predicts against what train then takes; the batch that fits a budget, tried; a device without one;
wrong usage.

The peaks are compared with memory_use().peak of whole runs, as train prints it, so validation and checkpoints count too.
"""
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

FOVEA = os.path.abspath(sys.argv[1])
SANITIZED = len(sys.argv) > 2 and sys.argv[2] == "sanitized"
WITHIN = 0.05
MIB = 1 << 20
EYES = 20  # 12 of them train, so no last batch of one
ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("FOVEA_")} | {"OMP_NUM_THREADS": "1"}
SMALL = ["--set", "taps=1,2,3", "--set", "mlrm.rates=1", "--modalities", "fundus"]


def run(*arguments):
    return subprocess.run([FOVEA, *arguments], text=True, capture_output=True, env=ENVIRONMENT, timeout=600)


def plan(*arguments):
    done = run("plan", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class PlanTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.eyes = os.path.join(cls.folder.name, "eyes")
        assert run("data", "synth", cls.eyes, "-n", str(EYES), "--image-size", "64").returncode == 0
        cls.runs = 0

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def train(self, *arguments):
        PlanTest.runs += 1
        return run("train", "--data", self.eyes, "--epochs", "1", "--set", "resamples=10", "--output",
                   os.path.join(self.folder.name, f"run{self.runs}"), *arguments)

    def peak_of_training(self, *arguments):
        done = self.train(*arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return int(re.search(r"peak memory: tensors (\d+) MiB", done.stderr).group(1)) * MIB

    def assert_predicts(self, *arguments):
        predicted = plan(*arguments)
        self.assertTrue(predicted["same_sequence"])
        measured = self.peak_of_training(*arguments)
        peak = predicted["peak_bytes"]
        self.assertLess(abs(peak / measured - 1), WITHIN, f"{arguments}: {peak / MIB} MiB, {measured / MIB} measured")
        self.assertEqual(sum(predicted["kinds"].values()), predicted["peak_bytes"])
        for kind in ("parameters", "optimizer", "gradients"):
            self.assertGreater(predicted["kinds"][kind], 0)

    def test_prediction(self):
        self.assert_predicts("--model", "hm-vgg", *SMALL, "-b", "5", "--image-size", "64")
        if SANITIZED:
            return
        self.assert_predicts("--model", "resnet18", "-b", "3", "--image-size", "48", "--opt", "sgd")
        # Where oneDNN wants another workspace for 3 or 5 images than for more.
        self.assert_predicts("--model", "resnet18", "-b", "6", "--image-size", "224")

    # The largest batch within a budget trains within it as a limit, and the next larger one does not.
    def test_budget(self):
        arguments = ["--model", "hm-vgg", *SMALL, "--image-size", "48"]
        first = plan(*arguments, "-b", "6")
        budget = first["peak_bytes"] + (first["peak_bytes_of_one_more"] - first["peak_bytes"]) // 2
        self.assertEqual(plan(*arguments, "--budget", str(budget))["largest_batch"], 6)
        fits = self.train(*arguments, "-b", "6", "--memory-limit", str(budget))
        self.assertEqual(fits.returncode, 0, fits.stderr)
        fails = self.train(*arguments, "-b", "7", "--memory-limit", str(budget))
        self.assertEqual(fails.returncode, 1)
        self.assertIn("out of memory", fails.stderr)
        self.assertIn("use --batch 6", fails.stderr)

    def test_not_even_one(self):
        done = run("plan", *SMALL, "--image-size", "32", "--budget", "1MiB")
        self.assertEqual(done.returncode, 0)
        self.assertIn("not even one image fits into 1.0 MiB", done.stdout)

    def test_inference(self):
        arguments = ["--model", "hm-vgg", *SMALL, "--image-size", "64", "-b", "4"]
        inference, training = plan(*arguments, "--inference"), plan(*arguments)
        self.assertLess(inference["peak_bytes"], training["peak_bytes"] / 2)
        for kind in ("optimizer", "gradients", "saved for backward"):
            self.assertEqual(inference["kinds"][kind], 0)

    def test_device_without_one(self):
        arguments = ["--model", "hm-vgg", *SMALL, "--image-size", "32", "-b", "6", "--device", "cuda"]
        full = run("plan", "--json", *arguments)
        if full.returncode == 1 and "a build without CUDA" in full.stderr:
            self.skipTest("this build's kernels are a device's")
        full, mixed = json.loads(full.stdout), plan(*arguments, "--amp")
        self.assertEqual(full["device"], "cuda")
        self.assertGreater(full["kinds"]["parameters"], 0)
        self.assertGreater(mixed["kinds"]["parameters"], full["kinds"]["parameters"])  # bf16 copies
        self.assertTrue(any("no device here" in note for note in full["notes"]))

    def test_page(self):
        page = os.path.join(self.folder.name, "plan.html")
        done = run("plan", *SMALL, "--image-size", "32", "-b", "4", "--html", page, "--budget", "1GiB")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("saved for backward", done.stdout)
        with open(page) as file:
            text = file.read()
        self.assertIn("<svg", text)
        self.assertIn("largest batch within it", text)
        self.assertNotIn("nan", text.lower().replace("nance", ""))

    def test_wrong_usage(self):
        for arguments, said in [
            (["--train", "--inference"], "exclude each other"),
            (["--budget", "lots"], "'lots' is not a number of bytes"),
            (["--budget", "0"], "--budget must be more than 0"),
            (["--memory-limit", "1GiB"], "--budget"),
            (["--model", "resnet19"], "resnet18"),
            (["--buget", "1GiB"], "--budget"),
            (["-b", "0"], "batch must be 1 to"),
            (["--image-size", "8"], "hm-vgg"),
        ]:
            done = run("plan", *arguments)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertIn(said, done.stderr, arguments)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        done = run("plan", *SMALL, "--image-size", "32", "--html", "/nowhere/plan.html")
        self.assertEqual(done.returncode, 1)
        self.assertIn("/nowhere", done.stderr)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]])
