"""A comparison from the command line: its rows, its table in all forms, killed and gone on with, and what is refused.

Killed with -9 and gone on with, a comparison ends in the same predictions as one that never stopped.
"""
import csv
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

FOVEA = os.path.abspath(sys.argv[1])
TIMEOUT = 600
SANITIZED = bool(os.environ.get("FOVEA_SANITIZED"))  # own kernels are ten times slower there: fewer rows
# Small networks where there is no need for ours.
SMALL = ["--image-size", "32", "--epochs", "2", "-b", "8", "--set", "resamples=200", "--threads", "1", "--folds", "2"]
MODELS = ["--models", "resnet18"] if SANITIZED else ["--models", "resnet18,hm-vgg", "--modalities", "fundus"]
ROWS = ["resnet18"] if SANITIZED else ["resnet18", "hm-vgg fundus"]


def run(*arguments, **options):
    return subprocess.run([FOVEA, *arguments], capture_output=True, text=True, timeout=TIMEOUT, **options)


def read(*path):
    with open(os.path.join(*path)) as file:
        return file.read()


def wait_for(condition, seconds=TIMEOUT):
    end = time.time() + seconds
    while not condition():
        assert time.time() < end, "waited in vain"
        time.sleep(0.02)


class CompareTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = tempfile.mkdtemp(prefix="fovea-compare-")
        cls.data = os.path.join(cls.root, "eyes")
        assert run("data", "synth", cls.data, "-n", "24", "--image-size", "32", "--seed", "5").returncode == 0
        cls.whole = os.path.join(cls.root, "whole")
        cls.done = run("compare", "--data", cls.data, *MODELS, *SMALL, "--jobs", "2", "--output", cls.whole)
        assert cls.done.returncode == 0, cls.done.stderr

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.root)

    def folder(self, name):
        return os.path.join(self.root, name)

    def predictions(self, folder):
        return {os.path.relpath(path, folder): read(path) for path in glob.glob(folder + "/runs/*/*/predictions.csv")}

    def test_the_table_in_all_forms(self):
        told = json.loads(read(self.whole, "comparison.json"))
        self.assertEqual([row["name"] for row in told["rows"]], ROWS)
        self.assertEqual(told["reference"], ROWS[-1])
        with open(os.path.join(self.whole, "comparison.csv")) as file:
            rows = list(csv.DictReader(file))
        for row, cells in zip(told["rows"], rows):
            self.assertEqual(len(row["runs"]), 2)
            pooled = []
            for planned in row["runs"]:
                with open(os.path.join(self.whole, planned["folder"], "predictions.csv")) as file:
                    pooled += list(csv.DictReader(file))
            right = sum(p["label"] == p["predicted"] for p in pooled) / len(pooled)
            self.assertAlmostEqual(row["metrics"]["accuracy"]["value"], right, places=12)
            self.assertEqual(row["metrics"]["n"], len(pooled))
            self.assertEqual(float(cells["accuracy"]), row["metrics"]["accuracy"]["value"])
            self.assertGreater(row["gflops"], 0.01)
            self.assertGreater(row["train_seconds"], 0)
        if not SANITIZED:
            self.assertEqual(told["rows"][0]["parameters"], 11178051)  # torchvision's resnet18 with three classes
            self.assertIn("p_corrected", told["rows"][0]["difference"])
        for name in ROWS:
            self.assertIn(name, self.done.stdout)
            self.assertIn(name, read(self.whole, "comparison.md"))
        self.assertIn("0.74", self.done.stdout)  # the paper's recall of resnet18, beside ours
        self.assertIn("first 2 of the set's 4 folds", self.done.stdout)

    def test_a_second_time_trains_nothing(self):
        before = {path: os.stat(path).st_mtime_ns for path in glob.glob(self.whole + "/runs/*/*/*.safetensors")}
        again = run("compare", "--output", self.whole, "--json")
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertEqual([row["name"] for row in json.loads(again.stdout)["rows"]], ROWS)
        self.assertEqual(before, {path: os.stat(path).st_mtime_ns for path in before})

    def test_runs_keep_the_weights_that_their_figures_are_of(self):
        folders = glob.glob(self.whole + "/runs/*/*")
        self.assertEqual(len(folders), 2 * len(ROWS))
        for folder in folders:
            self.assertEqual(glob.glob("*.safetensors", root_dir=folder), ["last.safetensors"], folder)
        for arguments, code, part in (
                (["predict", "--run", folders[0], "--data", self.data], 0, ""),  # reads what there is
                (["predict", "--run", folders[0], "--data", self.data, "--checkpoint", "best"], 1, "--checkpoint last reads what it has"),
                (["train", "--resume", folders[0]], 1, "begin a new run")):
            done = run(*arguments)
            self.assertEqual(done.returncode, code, done.stderr)
            self.assertIn(part, done.stderr)

    def test_killed_and_gone_on_with(self):
        folder = self.folder("killed")
        command = ["compare", "--data", self.data, *MODELS, *SMALL, "--jobs", "1", "--output", folder]
        process = subprocess.Popen([FOVEA, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: glob.glob(folder + "/runs/*/*/metrics.jsonl") or process.poll() is not None)
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.assertLess(len(self.predictions(folder)), len(self.predictions(self.whole)))
        done = run(*command)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.predictions(folder), self.predictions(self.whole))
        self.assertEqual({os.path.basename(path) for path in glob.glob(folder + "/runs/*/*/*.safetensors")}, {"last.safetensors"})

    def test_interrupted_children_save_their_state(self):
        folder = self.folder("interrupted")
        command = ["compare", "--data", self.data, *MODELS, *SMALL, "--jobs", "1", "--output", folder]
        process = subprocess.Popen([FOVEA, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: glob.glob(folder + "/runs/*/*/config.toml") or process.poll() is not None)
        process.send_signal(signal.SIGTERM)
        _, messages = process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 130, messages)
        self.assertIn("the same command again", messages)
        self.assertTrue(os.path.exists(folder + "/comparison.json"))

    def test_a_row_that_fails_leaves_the_others(self):
        folder = self.folder("failed")
        done = run("compare", "--data", self.data, "--models", "resnet18,inception_v3", *SMALL, "--epochs", "1", "--output", folder)
        self.assertEqual(done.returncode, 1)
        self.assertIn("inception_v3", done.stdout)
        self.assertIn("75", done.stdout)  # the least size that it takes
        rows = json.loads(read(folder, "comparison.json"))["rows"]
        self.assertIn("metrics", rows[0])
        self.assertNotIn("metrics", rows[1])
        self.assertIn("failure", rows[1]["runs"][0])

    def test_what_is_refused(self):
        base = ["compare", "--data", self.data, "--output", self.folder("never")]
        for arguments, part in (
                ([*base, "--models", "resnet19"], "'resnet18'"),
                ([*base, "--models", "resnet18,resnet18"], "twice"),
                ([*base, "--models", "resnet18", "--for", "vgg11:lr=1"], "not compared"),
                ([*base, "--models", "resnet18", "--for", "resnet18:lr"], "MODEL:KEY=VALUE"),
                ([*base, "--models", "resnet18", "--for", "resnet18:lr=fast"], "lr must be a number"),
                ([*base, "--folds", "9"], "names 4 folds itself"),
                ([*base, "--seeds", "0"], "--seeds 0"),
                ([*base, "--modalities", "fundus,mri"], "'mri'"),
                ([*base, "--modalities", "fundus", "--modalities", "fundus"], "once"),
                ([*base, "--reference", "resnet"], "no row"),
                (["compare", "--data", self.data], "--output DIR"),
                (["compare", "--output", self.folder("never")], "--data PATH"),
                (["compare", "--data", self.data, "--output", self.data], "neither empty nor a comparison"),
                (["compare", "--output", self.whole, "--epochs", "3"], "epochs = '2', not '3'"),
        ):
            done = run(*arguments)
            self.assertEqual(done.returncode, 2, f"{arguments}: {done.stderr}")
            self.assertIn(part, done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertFalse(os.path.exists(self.folder("never") + "/runs"))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:], verbosity=2)
