"""`fovea export --onnx` as another program meets it: every file passes ONNX's checker and gives fovea's own logits in
onnxruntime, for every model of the zoo and every kind of HM-VGG, at several batch sizes; and every form of every primitive
that exchange_test writes. Then what the files say of themselves, `--safetensors`, and what is refused.

Usage: export_test.py path/to/fovea path/to/exchange_test [all]. Without `all` one VGG stands for the others. onnxruntime is
that of this Python, or of the environment that `script/bootstrap --onnxruntime` makes; without it only what needs none is
tested, the rest counted as skipped, and the exit code 77.
"""
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
PYTHON = os.path.join(HERE, "..", ".venv-onnx", "bin", "python")
try:
    import numpy as np
    import onnx
    import onnxruntime
except ImportError:
    if os.path.exists(PYTHON) and "FOVEA_EXPORT_TEST" not in os.environ:
        os.environ["FOVEA_EXPORT_TEST"] = "1"  # so that it is tried once
        os.execv(PYTHON, [PYTHON, *sys.argv])
    onnxruntime = None

sys.path.insert(0, os.path.join(HERE, "twin"))
FOVEA, CASES = (os.path.abspath(path) for path in sys.argv[1:3])
TOLERANCE = 2e-5  # of the largest value: sums in f32 in another order; most are below 3e-6
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
CHANNELS = {"fundus": 3, "oct": 3, "vf": 1, "image": 3}
needs_onnxruntime = unittest.skipIf(onnxruntime is None, "onnxruntime is not installed: script/bootstrap --onnxruntime")

# Flags, the inputs, height and width.
HM_VGG = [
    ("", ["fundus"], 67, 83),
    ("--modalities oct,vf --set bn=true --set ham.variant=scse --set taps=2,3,4 --set classes=5", ["oct", "vf"], 32, 48),
    ("--modalities fundus,vf --fusion early --set mlrm.fuse=concat --set mlrm.rates=2,1", ["fundus", "vf"], 64, 64),
]
SIZES = {"resnet18": (64, 48), "resnet50": (40, 40), "vgg11_bn": (64, 40), "inception_v3": (96, 96)}
ALL = "all" in sys.argv[3:]


def run(*arguments):
    return subprocess.run([FOVEA, *arguments], capture_output=True, text=True, timeout=600)


def zoo():
    """The comparison models that this program has, by its own list."""
    said = run("probe", "--model", "?", "--save-weights", "never").stderr
    names = said.split("known: ")[1].strip().split(", ")
    return [name for name in names if name != "hm-vgg" and (ALL or not name.startswith("vgg") or name == "vgg11_bn")]


def off(got, wanted):
    return float(np.abs(got.astype("f8") - wanted).max() / np.abs(wanted).max())


class ExportTest(unittest.TestCase):
    def setUp(self):
        shm = "/dev/shm"  # in memory where there is room: a VGG has half a gigabyte
        room = os.access(shm, os.W_OK) and shutil.disk_usage(shm).free > 4 << 30
        folder = tempfile.TemporaryDirectory(prefix="fovea-export-", dir=shm if room else None)
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, name):
        return os.path.join(self.folder, name)

    def expect(self, code, *arguments, says=()):
        result = run(*arguments)
        self.assertEqual(result.returncode, code, f"{arguments}: {result.stderr}")
        for part in [says] if isinstance(says, str) else says:
            self.assertIn(part, result.stderr)
        return result

    def weights(self, *model):
        """The model's own start, with statistics and biases moved off zero and one, so that none hides."""
        import safetensors_io
        self.expect(0, "probe", *model, "--seed", "7", "--save-weights", self.path("w"))
        rng, arrays = np.random.default_rng(5), safetensors_io.load(self.path("w"))
        for name, a in arrays.items():
            if a.ndim == 1:
                noise = rng.standard_normal(a.shape)
                moved = np.exp(0.3 * noise) if name.endswith("running_var") else a + 0.1 * noise
                arrays[name] = moved.astype("f4")
            elif name.endswith("layer_scale"):
                arrays[name] = (a + 0.5 * rng.standard_normal(a.shape)).astype("f4")
            elif name.startswith("classifier"):
                arrays[name] = a * 4
        safetensors_io.save(self.path("w"), arrays)
        return self.path("w")

    def logits(self, model, weights, arrays):
        import safetensors_io
        safetensors_io.save(self.path("x"), arrays)
        self.expect(0, "probe", *model, "--weights", weights, "--input", self.path("x"), "--output", self.path("y"))
        return safetensors_io.load(self.path("y"))["logits"]

    def checked(self, path):
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        return model, onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def compare(self, model, inputs, height, width):
        weights, out = self.weights(*model), self.path("m.onnx")
        self.expect(0, "export", *model, "--weights", weights, "--image-size", f"{height}x{width}", "--onnx", out)
        _, session = self.checked(out)
        self.assertEqual([i.name for i in session.get_inputs()], inputs)
        self.assertEqual([i.shape for i in session.get_inputs()],
                         [["batch", CHANNELS[name], height, width] for name in inputs])
        self.assertEqual([o.name for o in session.get_outputs()], ["logits"])
        rng = np.random.default_rng(6)
        arrays = {n: rng.standard_normal((3, height, width, CHANNELS[n])).astype("f4") for n in inputs}
        wanted, worst = self.logits(model, weights, arrays), 0
        for first, last in ((0, 3), (0, 1), (1, 3)):
            got, = session.run(["logits"], {n: a[first:last].transpose(0, 3, 1, 2) for n, a in arrays.items()})
            self.assertEqual(got.shape, wanted[first:last].shape)
            worst = max(worst, off(got, wanted[first:last]))
        print("%-90s off by %.1e" % (" ".join(model), worst), flush=True)
        self.assertLess(worst, TOLERANCE)

    # ---- numbers

    @needs_onnxruntime
    def test_hm_vgg(self):
        for flags, inputs, height, width in HM_VGG:
            with self.subTest(flags):
                self.compare(["--model", "hm-vgg", *flags.split()], inputs, height, width)

    @needs_onnxruntime
    def test_zoo(self):
        names = zoo()
        self.assertLessEqual({"vgg11_bn", "resnet18", "resnet50"}, set(names))
        for name in names:
            with self.subTest(name):
                self.compare(["--model", name], ["image"], *SIZES.get(name, (32, 32)))

    @needs_onnxruntime
    def test_every_primitive(self):
        import safetensors_io
        environment = {**os.environ, "FOVEA_EXPORT_CASES": self.folder}
        subprocess.run([CASES, "--gtest_filter=*EveryCaseIsWritten"], env=environment, check=True, capture_output=True)
        paths = sorted(glob.glob(self.path("*.onnx")))
        self.assertGreater(len(paths), 20)
        for path in paths:
            with self.subTest(os.path.basename(path)):
                _, session = self.checked(path)
                arrays = safetensors_io.load(path.replace(".onnx", ".safetensors"))
                wanted = arrays.pop("y")
                got, = session.run(["y"], {n: a.transpose(0, 3, 1, 2) if a.ndim == 4 else a for n, a in arrays.items()})
                got = got.transpose(0, 2, 3, 1) if got.ndim == 4 else got
                self.assertEqual(got.shape, wanted.shape)
                self.assertLess(off(got, wanted), TOLERANCE)

    # ---- what the files say

    def a_run(self):
        """A run as `train` leaves it, as far as it is read here."""
        folder = self.path("run")
        os.mkdir(folder)
        model = ["--model", "hm-vgg", "--modalities", "fundus,vf"]
        with open(os.path.join(folder, "config.toml"), "w") as file:
            file.write('model = "hm-vgg"\nmodalities = ["fundus", "vf"]\nclass_names = ["none", "mild", "severe"]\n'
                       'classes = 3\nimage_size = "48x32"\ndtype = "f32"\n')
        for checkpoint, seed in (("best", "1"), ("last", "2")):
            weights = os.path.join(folder, checkpoint + ".safetensors")
            self.expect(0, "probe", *model, "--seed", seed, "--save-weights", weights)
        return folder

    @needs_onnxruntime
    def test_metadata(self):
        out = self.path("m.onnx")
        result = self.expect(0, "export", "--run", self.a_run(), "--onnx", out, says="hm-vgg of 3 classes")
        self.assertEqual(result.stdout, "")
        file, session = self.checked(out)
        self.assertEqual((file.ir_version, file.opset_import[0].version, file.producer_name), (8, 17, "fovea"))
        self.assertEqual([i.shape for i in session.get_inputs()], [["batch", 3, 48, 32], ["batch", 1, 48, 32]])
        about = session.get_modelmeta().custom_metadata_map
        self.assertEqual((about["model"], about["classes"]), ("hm-vgg", "3"))
        self.assertEqual(json.loads(about["class_names"]), ["none", "mild", "severe"])
        self.assertEqual(json.loads(about["normalisation"]),
                         {"fundus": {"mean": MEAN, "std": STD}, "vf": {"mean": [0.5], "std": [0.5]}})
        self.assertEqual(json.loads(about["config"])["fusion"], "late")
        # Parameters keep their names and lie as PyTorch has them.
        dims = {i.name: list(i.dims) for i in file.graph.initializer}
        self.assertEqual(dims["fundus.down4.conv.weight"], [512, 512, 3, 3])
        self.assertEqual(dims["vf.features.0.weight"], [64, 1, 3, 3])

    @needs_onnxruntime
    def test_snippet_of_the_documentation(self):
        """It is run as it stands, beside a model and a photograph, and says what `predict` says."""
        folder = self.path("run")
        eyes = self.path("eyes")
        self.expect(0, "data", "synth", eyes, "-n", "12", "--image-size", "50", "--seed", "3")
        self.expect(0, "train", "--data", eyes, "--modalities", "fundus", "--image-size", "32x48", "--epochs", "1",
                    "--folds", "3", "--output", folder)
        self.expect(0, "export", "--run", folder, "--onnx", self.path("first.onnx"))
        photograph = sorted(glob.glob(os.path.join(eyes, "fundus", "*")))[0]
        shutil.copy(photograph, self.path("eye.jpg"))
        with open(os.path.join(HERE, "..", "docs", "exchange.md")) as file:
            snippet = file.read().split("```python\n")[1].split("```")[0]
        said = subprocess.run([sys.executable, "-c", snippet], cwd=self.folder, check=True, capture_output=True,
                              text=True).stdout
        numbers = [float(n) for n in re.findall(r"float32\(([^)]*)\)", said)]
        wanted = run("predict", "--run", folder, self.path("eye.jpg")).stdout.splitlines()[1].split(",")[2:]
        self.assertEqual(len(numbers), 3, said)
        np.testing.assert_allclose(numbers, [float(w) for w in wanted], atol=1e-5)

    def test_which_checkpoint_and_safetensors(self):
        folder, parts = self.a_run(), {}
        for checkpoint in ("best", "last"):
            out = self.path(checkpoint)
            self.expect(0, "export", "--run", folder, "--checkpoint", checkpoint, "--safetensors", out)
            with open(out, "rb") as file, open(os.path.join(folder, checkpoint + ".safetensors"), "rb") as source:
                parts[checkpoint] = file.read()[-1000:]
                self.assertEqual(parts[checkpoint], source.read()[-1000:])
        self.assertNotEqual(parts["best"], parts["last"])

    # ---- errors

    def test_what_is_refused(self):
        model, weights, out = ["--model", "resnet18"], self.path("w"), ["--onnx", self.path("never.onnx")]
        self.expect(0, "probe", *model, "--save-weights", weights)
        given = [*model, "--weights", weights]
        cases = [
            (2, ["--model", "resnet19", "--weights", weights, *out], "did you mean 'resnet18'"),
            (2, [*model, *out], "--run DIR, or --model M --weights FILE"),
            (2, [*given, "--run", self.folder, *out], "--run DIR, or --model M --weights FILE"),
            (2, given, "--onnx FILE or --safetensors FILE"),
            (2, [*given, "--checkpoint", "last", *out], "--checkpoint is of a run"),
            (2, [*given, "--dtype", "f64", *out], "not f64"),
            (2, [*given, "--image-size", "31", *out], "at least 32"),
            (2, [*given, "--image-size", "large", *out], "S or HxW"),
            (2, ["--model", "hm-vgg", "--weights", weights, "--image-size", "40", *out], "does not fit the model"),
            (2, ["--run", self.folder, *out], "is not the folder of a run"),
            (1, [*model, "--weights", self.path("none"), *out], "none"),
            (1, ["--model", "vgg11", "--weights", weights, *out], "not in the model"),
            (1, [*given, "--set", "classes=4", *out], "fc.weight: file 3x512, model 4x512"),
            (1, [*given, "--onnx", self.path("no/folder.onnx")], "make the folder first"),
            (1, [*given, "--onnx", self.folder], "is not a file"),
        ]
        for code, arguments, says in cases:
            with self.subTest(arguments):
                code = 1 if "does not fit" in says else code
                self.expect(code, "export", *arguments, says=says)
        self.assertFalse(os.path.exists(self.path("never.onnx")))
        self.expect(2, "export", "--model", "hm-vgg", "--weights", self.hm_weights(), "--image-size", "40", *out, says="nearest")

    def hm_weights(self):
        self.expect(0, "probe", "--model", "hm-vgg", "--save-weights", self.path("hm"))
        return self.path("hm")


if __name__ == "__main__":
    result = unittest.main(argv=[sys.argv[0]] + [a for a in sys.argv[3:] if a != "all"], exit=False, verbosity=1).result
    if result.skipped:
        print("%d tests skipped: %s" % (len(result.skipped), result.skipped[0][1]))
    sys.exit(1 if not result.wasSuccessful() else 77 if result.skipped else 0)
