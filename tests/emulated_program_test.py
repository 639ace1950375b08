"""The program on a device, emulated on the host executor (FOVEA_EMULATE_DEVICE=1): probe to the bit as --backend simt
computes it, training in fp32 and mixed precision beside the CPU's, checkpoints that go from device to device.

The executor is slow: the network is the smallest that the configuration gives, on a few eyes.
Exits with 77 where the build has a device of its own, whose kernels are not the executor's.
"""
import csv
import filecmp
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest
from array import array

FOVEA = os.path.abspath(sys.argv[1])
TIMEOUT = 1200  # of one process; seconds
TINY = ["--set", "taps=1,2,3", "--set", "mlrm.rates=1", "--threads", "1"]
TRAIN = [*TINY, "--image-size", "32", "-b", "2", "--opt", "sgd", "--lr", "0.002", "--clip", "1", "--set", "resamples=50",
         "--weight-decay", "0.01"]
EXACT = ["last.safetensors", "best.safetensors", "last.state.safetensors", "predictions.csv", "metrics.json"]


def start(*arguments, emulate=True):
    environment = {key: value for key, value in os.environ.items() if key != "FOVEA_EMULATE_DEVICE"}
    if emulate:
        environment["FOVEA_EMULATE_DEVICE"] = "1"
    return subprocess.Popen([FOVEA, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def run(*arguments, emulate=True):
    process = start(*arguments, emulate=emulate)
    out, err = process.communicate(timeout=TIMEOUT)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def write_safetensors(path, tensors):
    """name -> (dtype, shape, bytes)"""
    header, data = {}, b""
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def read_floats(path):
    """name -> values of the F32 tensors"""
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header, data = json.loads(file.read(size)), file.read()
    header.pop("__metadata__", None)
    return {name: array("f", data[slice(*entry["data_offsets"])]) for name, entry in header.items() if entry["dtype"] == "F32"}


def distance(a, b):
    """Relative, of two lists of numbers."""
    return (sum((x - y) ** 2 for x, y in zip(a, b)) / max(sum(y * y for y in b), 1e-30)) ** 0.5


def rows_of(folder):
    with open(os.path.join(folder, "metrics.jsonl")) as file:
        rows = [json.loads(line) for line in file]
    return [{key: value for key, value in row.items() if key not in ("images_per_s", "seconds")} for row in rows]


class EmulatedDeviceTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = tempfile.mkdtemp(prefix="fovea-emulated-")
        cls.data = os.path.join(cls.root, "eyes")
        assert run("data", "synth", cls.data, "-n", "12", "--image-size", "32", "--seed", "5").returncode == 0
        cls.keep_few(os.path.join(cls.data, "labels.csv"))

    @staticmethod
    def keep_few(path):
        """One eye of each class held out, and four to train on."""
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
        kept = []
        for fold, most in (("0", 3), ("1", 4)):
            part = [row for row in rows if row["fold"] == fold]
            firsts = [next(row for row in part if row["label"] == label) for label in sorted({row["label"] for row in part})]
            kept += (firsts + [row for row in part if row not in firsts])[:most]
        with open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(kept)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.root)

    def path(self, name):
        return os.path.join(self.root, self.id().split(".")[-1] + "." + name)

    def done(self, *arguments, emulate=True):
        result = run(*arguments, emulate=emulate)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result

    def train(self, folder, *more, emulate=True, epochs="1"):
        return self.done("train", "--data", self.data, *TRAIN, "--epochs", epochs, "--output", folder, *more, emulate=emulate)

    def probe(self, fusion, *more):
        """Output files of the device and of the executor."""
        draw = random.Random(3)
        floats = {name: array("f", [draw.gauss(0, 1) for _ in range(2 * 32 * 32 * channels)]).tobytes()
                  for name, channels in (("fundus", 3), ("vf", 1))}
        write_safetensors(self.path("x"), {
            "fundus": ("F32", [2, 32, 32, 3], floats["fundus"]), "vf": ("F32", [2, 32, 32, 1], floats["vf"]),
            "label": ("I64", [2], struct.pack("<2q", 2, 0)), "mask/vf": ("U8", [2], b"\1\0")})
        files = []
        for where in (["--device", "cuda"], ["--device", "cpu", "--backend", "simt"]):
            files.append(self.path(where[1]))
            self.done("probe", "--model", "hm-vgg", *TINY, "--modalities", "fundus,vf", "--fusion", fusion, "--seed", "3", "--train",
                      "--input", self.path("x"), "--output", files[-1], *where, *more)
        return files

    def test_probe(self):
        device, executor = self.probe("late")
        self.assertTrue(filecmp.cmp(device, executor, shallow=False))

    def test_probe_amp(self):
        device, executor = self.probe("early", "--amp")
        self.assertTrue(filecmp.cmp(device, executor, shallow=False))
        mixed = read_floats(device)
        self.assertIn("grad/early.features.0.weight", mixed)
        self.assertIn("grad/input/vf", mixed)
        cpu = self.path("f32")
        self.done("probe", "--model", "hm-vgg", *TINY, "--modalities", "fundus,vf", "--fusion", "early", "--seed", "3", "--train",
                  "--input", self.path("x"), "--output", cpu, "--device", "cpu")
        full = read_floats(cpu)
        self.assertEqual(sorted(mixed), sorted(full))
        self.assertLess(distance(mixed["logits"], full["logits"]), 0.05)
        self.assertLess(distance(mixed["grad/classifier.2.weight"], full["grad/classifier.2.weight"]), 0.1)
        self.assertNotEqual(mixed["logits"], full["logits"])

    def test_training_follows_the_cpu(self):
        folders = {}
        for name, more in (("cpu", ["--device", "cpu"]), ("cuda", ["--device", "cuda"]), ("amp", ["--device", "cuda", "--amp"])):
            folders[name] = self.path(name)
            said = self.train(folders[name], *more)
            self.assertIn("memory of a step", said.stderr)
        rows = {name: rows_of(folder)[-1] for name, folder in folders.items()}
        self.assertAlmostEqual(rows["cuda"]["train_loss"], rows["cpu"]["train_loss"], delta=1e-3)
        self.assertAlmostEqual(rows["cuda"]["val_loss"], rows["cpu"]["val_loss"], delta=1e-2)
        self.assertAlmostEqual(rows["amp"]["train_loss"], rows["cpu"]["train_loss"], delta=0.1)
        with open(os.path.join(folders["amp"], "stamp.json")) as file:
            stamp = json.load(file)
        self.assertEqual((stamp["device"], stamp["amp"]), ("cuda", True))
        self.assertIn("augment.forward", stamp["kernels"])
        memory = stamp["first_step_memory_bytes"]
        self.assertGreater(memory["images"], 0)
        self.assertGreater(memory["peak"], memory["parameters"] + memory["optimizer"])
        shown = self.done("evaluate", "--run", folders["amp"], "--json")
        with open(os.path.join(folders["amp"], "metrics.json")) as file:
            self.assertEqual(json.loads(shown.stdout)["confusion"], json.load(file)["confusion"])

        predicted = self.done("predict", "--run", folders["amp"], "--data", self.data, "--device", "cpu", emulate=False)
        self.assertIn("trained with --amp; here it is computed in f32", predicted.stderr)

    def test_resume(self):
        whole, parts, moved = self.path("whole"), self.path("parts"), self.path("moved")
        self.train(whole, "--device", "cuda", epochs="2")
        process = start("train", "--data", self.data, *TRAIN, "--epochs", "2", "--output", parts, "--device", "cuda")
        log, limit = os.path.join(parts, "metrics.jsonl"), time.monotonic() + TIMEOUT
        while process.poll() is None and time.monotonic() < limit and not (os.path.exists(log) and os.path.getsize(log)):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, message = process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 130, message)
        shutil.copytree(parts, moved)
        self.done("train", "--resume", parts)
        for name in EXACT:
            self.assertTrue(filecmp.cmp(os.path.join(whole, name), os.path.join(parts, name), shallow=False), name)
        self.assertEqual(rows_of(whole), rows_of(parts))
        self.done("train", "--resume", moved, "--device", "cpu", emulate=False)
        self.assertAlmostEqual(rows_of(moved)[-1]["train_loss"], rows_of(whole)[-1]["train_loss"], delta=1e-2)

    def test_what_is_not_finite_ends_the_run(self):
        folder = self.path("run")
        result = run("train", "--data", self.data, *TRAIN, "--epochs", "3", "--device", "cuda", "--lr", "1e30", "--clip", "0",
                     "--output", folder)
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertRegex(result.stderr.splitlines()[-1], r"^fovea: (the loss is \S+ at step 2|step [12]: the gradient norm is \S+); try a lower")
        self.assertFalse(os.path.exists(os.path.join(folder, "last.safetensors")))

    def test_wrong_usage(self):
        out = ["--data", self.data, "--output", self.path("never")]
        for arguments, emulate, code, said in (
                (["train", "--device", "cuda", *out], False, 1, "this build has no CUDA backend"),
                (["train", "--amp", "--device", "cpu", *out], True, 2, "--amp needs a CUDA device"),
                (["train", "--amp", "--dtype", "f64", *out], True, 2, "--amp keeps weights of f32, not f64"),
                (["train", "--dtype", "bf16", *out], True, 2, "--amp computes in bf16")):
            result = run(*arguments, emulate=emulate)
            self.assertEqual(result.returncode, code, result.stderr)
            self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
            self.assertIn(said, result.stderr)

    def test_kernels_say_where_they_run(self):
        rows = json.loads(self.done("kernels", "relu", "--device", "cuda", "--json").stdout)
        device = [row for row in rows if row["backend"] == "cuda"]
        self.assertTrue(device)
        for row in device:
            self.assertTrue(row["available"])
            self.assertIn("emulated on the host executor", row["why"])
        for row in json.loads(run("kernels", "relu", "--json", emulate=False).stdout):
            self.assertNotIn("emulated", row["why"])


if __name__ == "__main__":
    described = json.loads(run("kernels", "relu", "--device", "auto", "--json").stdout)
    if not any("emulated" in row["why"] for row in described):
        print("skipped: the build has CUDA")
        sys.exit(77)
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=2)
