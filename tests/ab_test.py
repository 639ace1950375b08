"""A/B of kernels and the ledger in real runs: what they say, that the run is the same to the bit, and what is refused.

The network is the smallest that the configuration gives, on a few synthetic eyes; on the emulated device, too.
"""
import csv
import filecmp
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
from array import array

FOVEA = os.path.abspath(sys.argv[1])
TIMEOUT = 600
TINY = ["--set", "taps=1,2,3", "--set", "mlrm.rates=1", "--threads", "1"]
TRAIN = [*TINY, "--image-size", "32", "-b", "4", "--epochs", "1", "--opt", "sgd", "--lr", "0.002", "--set", "resamples=50"]
EXACT = ["last.safetensors", "best.safetensors", "last.state.safetensors", "predictions.csv", "metrics.json"]


def run(*arguments, emulate=False):
    environment = {key: value for key, value in os.environ.items() if key != "FOVEA_EMULATE_DEVICE"}
    if emulate:
        environment["FOVEA_EMULATE_DEVICE"] = "1"
    return subprocess.run([FOVEA, *arguments], capture_output=True, text=True, timeout=TIMEOUT, env=environment)


def write_input(path, samples, size):
    """Normal numbers and labels for fovea probe."""
    numbers = random.Random(3)
    image = array("f", [numbers.gauss(0, 1) for _ in range(samples * size * size * 3)]).tobytes()
    label = array("q", [i % 3 for i in range(samples)]).tobytes()
    header = json.dumps({"fundus": {"dtype": "F32", "shape": [samples, size, size, 3], "data_offsets": [0, len(image)]},
                         "label": {"dtype": "I64", "shape": [samples],
                                   "data_offsets": [len(image), len(image) + len(label)]}}).encode()
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + image + label)


def read_json(*path):
    with open(os.path.join(*path)) as file:
        return json.load(file)


class AbTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = tempfile.mkdtemp(prefix="fovea-ab-")
        cls.data = os.path.join(cls.root, "eyes")
        assert run("data", "synth", cls.data, "-n", "24", "--image-size", "32", "--seed", "5").returncode == 0
        cls.input = os.path.join(cls.root, "x.safetensors")
        write_input(cls.input, 2, 32)
        cls.plain = os.path.join(cls.root, "plain")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.root)

    @classmethod
    def train(cls, folder, *flags, emulate=False):
        return run("train", "--data", cls.data, *TRAIN, *flags, "--output", folder, emulate=emulate)

    def check_equals_plain(self, folder, names):
        """The files of a training without any of these flags."""
        if not os.path.exists(self.plain):
            done = self.train(self.plain)
            self.assertEqual(done.returncode, 0, done.stderr)
        for name in names:
            self.assertTrue(filecmp.cmp(os.path.join(self.plain, name), os.path.join(folder, name), shallow=False), name)

    def probe(self, *flags, emulate=False):
        return run("probe", *TINY, "--input", self.input, "--train", "--output", os.path.join(self.root, "y.safetensors"), *flags,
                   emulate=emulate)

    def folder(self):
        return os.path.join(self.root, self.id().split(".")[-1])

    def check_row(self, row, most=1e-4):
        self.assertGreater(row["runs"], 0, row)
        self.assertLess(row["relative"], most, row)
        self.assertEqual(row["not_finite"], 0, row)
        ratio = row["time_ratio"]
        self.assertGreater(ratio["p10"], 0, row)
        self.assertLessEqual(ratio["p10"], ratio["median"], row)
        self.assertLessEqual(ratio["median"], ratio["p90"], row)

    def test_training_is_the_same_to_the_bit(self):
        """Several ops at once, one of them called inside a shadow of another, and the ledger."""
        folder = self.folder()
        done = self.train(folder, "--ab", "ham=fused,composed", "--ab", "linear=onednn,reference", "--ab-bound", "1e-3", "--ledger",
                          "--ledger-every", "2")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.check_equals_plain(folder, EXACT)
        result = read_json(folder, "ab.json")
        self.assertLessEqual({"ham.forward", "ham.backward", "linear.backward_data"}, {row["op"] for row in result["rows"]})
        steps = read_json(folder, "metrics.jsonl")["step"]
        for row in result["rows"]:
            self.check_row(row)
            self.assertIsNone(row["passed_at"], row)
        backward = [row for row in result["rows"] if row["op"] == "ham.backward"]
        self.assertGreaterEqual(sum(row["runs"] for row in backward), steps, "every step; the report's maps go backward, too")
        self.assertTrue(all(row["ulp"] > 0 and row["second"] == "composed" for row in backward), backward)
        self.assertIn("a/b: ", done.stderr)
        self.assertIn("fused, composed", done.stderr)
        self.check_ledger(folder, steps, done.stderr)

    def check_ledger(self, folder, steps, text):
        with open(os.path.join(folder, "ledger.csv")) as file:
            samples = list(csv.DictReader(file))
        sampled = sorted({int(sample["step"]) for sample in samples})
        self.assertEqual(sampled, list(range(1, steps + 1, 2)))
        ops = {sample["primitive"] for sample in samples}
        self.assertLessEqual({"conv2d.forward", "conv2d.backward_weights", "ham.forward", "ham.backward", "mlrm.backward"}, ops)
        ledger = read_json(folder, "ledger.json")
        self.assertEqual({row["op"] for row in ledger["rows"]}, ops)
        for row in ledger["rows"]:
            relative = row["relative"]
            self.assertLessEqual(relative["min"], relative["median"], row)
            self.assertLessEqual(relative["median"], relative["max"], row)
            self.assertLess(relative["max"], 1e-4, row)
            self.assertEqual(row["steps"], len(sampled), row)
        self.assertEqual([row["op"] for row in ledger["left_out"]], ["sgd.update", "sum_of_squares.forward"])
        self.assertIn("ledger: ", text)

    def test_bound_and_stop(self):
        folder = self.folder()
        stop = ["--ab", "ham.backward=fused,composed", "--ab-every", "2", "--ab-bound", "1e-12"]
        done = self.train(folder, *stop, "--ab-stop")
        self.assertEqual(done.returncode, 1, done.stderr)
        sentence = done.stderr.strip().splitlines()[-1]
        self.assertRegex(sentence, r"fovea: step 1: ham\.backward: 'composed' differs from 'fused' by .* the bound of 1e-12: port '")
        self.assertIn("the state after step 1 is saved", sentence)
        self.assertEqual(read_json(folder, "ab.json")["rows"][0]["passed_at"], 1)
        # The rest of the run, looked at in another way or not at all, ends where the whole one does.
        done = run("train", "--resume", folder, "--set", "ab_stop=false", "--set", "ab_bound=0", "--set", "ab=")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.check_equals_plain(folder, ["last.safetensors", "predictions.csv"])

    def test_probe(self):
        done = self.probe("--ab", "conv2d=onednn,reference", "--ab", "mlrm.backward=composed,reference", "--ledger", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        result = json.loads(done.stdout)
        ops = {row["op"] for row in result["ab"]["rows"]}
        self.assertEqual(ops, {"conv2d.forward", "conv2d.backward_data", "conv2d.backward_weights", "mlrm.backward"})
        for row in result["ab"]["rows"]:
            self.check_row(row)
        self.assertIn("ham.forward", {row["op"] for row in result["ledger"]["rows"]})
        done = self.probe("--ab", "ham=reference,fused", "--ab-bound", "1e-12")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertIn("step 1: ham.forward: 'fused' differs from 'reference' by", done.stderr)
        self.assertIn("passed the bound of 1e-12 at step 1", done.stderr)

    def test_no_observer_says_nothing(self):
        done = self.probe()
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))

    def test_what_is_refused(self):
        for flags, said in [
            (["--ab", "ham=fused"], "'ham=fused' is not OP=FIRST,SECOND"),
            (["--ab", "hem=fused,composed"], "there is no op 'hem'; did you mean"),
            (["--ab", "ham=fused,fuzed"], "'ham' has no kernel 'fuzed'; it has "),
            (["--ab", "ham=fused,composed", "--ab", "ham.forward=fused,reference"], "ham.forward stands in two --ab"),
            (["--ab", "ham=fused,composed", "--kernel", "ham=reference"], "'reference', which is forced"),
            (["--ab-bound", "1"], "--ab-bound needs --ab"),
            (["--ab", "ham=fused,composed", "--ab-every", "0"], "ab_every must be at least 1"),
            (["--ab", "ham=fused,composed", "--ab-bound", "-1"], "ab_bound must be a finite number of at least 0"),
            (["--ledger-every", "none"], "ledger_every must be a whole number"),
            (["--ab", "ham=fused,composed", "--ab-stop"], "--ab-stop "),
        ]:
            done = self.probe(*flags)
            self.assertEqual(done.returncode, 2, (flags, done.stderr))
            self.assertIn(said, done.stderr)
        done = self.train(os.path.join(self.root, "never"), "--ab", "ham=fused,composed", "--ab-stop")
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("--ab-stop needs a bound", done.stderr)
        self.assertFalse(os.path.exists(os.path.join(self.root, "never")))
        done = self.probe("--ab", "ham=composed,fused", "--dtype", "f64")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("kernel 'fused' of --ab does not support this f64 problem on cpu", done.stderr)
        done = self.train(os.path.join(self.root, "table"), "--ab", "sgd=reference,cpu")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("table of addresses", done.stderr)

    def test_on_the_emulated_device(self):
        done = self.probe("--device", "cuda", "--ab", "ham=cluster,two_pass", "--ledger", "--json", emulate=True)
        if "has no kernel" in done.stderr or "no usable" in done.stderr:
            self.skipTest("a build with a device of its own")
        self.assertEqual(done.returncode, 0, done.stderr)
        result = json.loads(done.stdout)
        self.assertEqual({row["op"] for row in result["ab"]["rows"]}, {"ham.forward", "ham.backward"})
        for row in result["ab"]["rows"]:
            self.check_row(row)
        self.assertIn("ham.backward", {row["op"] for row in result["ledger"]["rows"]})
        done = self.probe("--device", "cuda", "--ab", "ham=cluster,fused", emulate=True)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("kernel 'fused' of --ab does not run on cuda", done.stderr)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
