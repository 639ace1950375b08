"""The program as a user meets it: help, errors and exit codes, and every command on a small synthetic set."""
import csv
import json
import math
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

FOVEA = os.path.abspath(sys.argv[1])
COMMANDS = ["train", "evaluate", "predict", "compare", "cam", "data", "export", "probe", "gradcheck", "kernels",
            "profile", "peaks", "bench", "plan"]


def run(*arguments, **options):
    return subprocess.run([FOVEA, *arguments], capture_output=True, text=True, timeout=300, **options)


def read(*path):
    with open(os.path.join(*path)) as file:
        return file.read()


def read_safetensors(path):
    """Name to (dtype, shape, list of numbers)."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    letters = {"F32": "f", "F64": "d", "I64": "q", "U8": "B"}
    arrays = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        letter = letters[entry["dtype"]]
        count = (end - begin) // struct.calcsize("<" + letter)
        arrays[name] = (entry["dtype"], entry["shape"], struct.unpack(f"<{count}{letter}", data[begin:end]))
    return arrays


def write_safetensors(path, arrays):
    """Name to (dtype, shape, list of numbers): what read_safetensors gives."""
    letters, header, parts, at = {"F32": "f", "F64": "d", "I64": "q", "U8": "B"}, {}, [], 0
    for name, (dtype, shape, values) in sorted(arrays.items(), key=lambda item: -struct.calcsize(letters[item[1][0]])):
        part = struct.pack(f"<{len(values)}{letters[dtype]}", *values)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + len(part)]}
        parts.append(part)
        at += len(part)
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(parts))


class ProgramTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = tempfile.mkdtemp(prefix="fovea-program-")
        cls.data = os.path.join(cls.root, "eyes")
        cls.run_folder = os.path.join(cls.root, "run")
        assert run("data", "synth", cls.data, "-n", "24", "--image-size", "40", "--seed", "3").returncode == 0
        cls.trained = run("train", "--data", cls.data, "--modalities", "fundus", "--image-size", "32", "--epochs", "2",
                          "-b", "6", "--opt", "sgd", "--lr", "0.01", "--threads", "1", "--output", cls.run_folder)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.root)

    def path(self, name):
        return os.path.join(self.root, name)

    def expect(self, code, *arguments, says=None):
        result = run(*arguments)
        self.assertEqual(result.returncode, code, f"{arguments}: {result.stderr}")
        if code in (1, 2):
            self.assertIn("\nfovea: ", "\n" + result.stderr)
            self.assertEqual(result.stdout, "")
            if code == 2:
                self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        for part in [says] if isinstance(says, str) else says or []:
            self.assertIn(part, result.stderr)
        return result

    # ---- help and wrong usage

    def test_help_and_version(self):
        for arguments in ([], ["--help"], ["help"]):
            text = run(*arguments)
            for command in COMMANDS:
                self.assertIn(f"  {command} ", text.stdout + text.stderr)
        self.assertEqual(run("--help").returncode, 0)
        self.assertEqual(run().returncode, 2)
        self.assertRegex(self.expect(0, "--version").stdout, r"^fovea \d+\.\d+\.\d+ \(\S+\)\n$")
        for command in [["train"], ["evaluate"], ["predict"], ["compare"], ["cam"], ["data"], ["data", "check"],
                        ["data", "synth"], ["data", "show"], ["export"], ["probe"], ["gradcheck"], ["kernels"],
                        ["profile"], ["peaks"]]:
            result = self.expect(0, *command, "--help")
            self.assertIn("examples:", result.stdout)
            self.assertEqual(result.stderr, "")

    def test_wrong_usage(self):
        out = ["--output", self.path("never")]
        data = ["--data", self.data]
        cases = [
            (["trian"], "did you mean 'train'?"),
            (["data", "chek", "x"], "did you mean 'check'?"),
            (["data"], "data check PATH"),
            (["train", "--bach", "3"], "no flag --bach; did you mean '--batch'?"),
            (["train", "--epochs"], "--epochs"),
            (["train", "--epochs", "many", *data, *out], "epochs must be a whole number, not 'many'"),
            (["train", "--epochs", "0", *data, *out], "epochs must be 1 to 1000000, not 0"),
            (["train", "--lr", "nan", *data, *out], "lr"),
            (["train", "--opt", "adamm", *data, *out], "did you mean 'adam' or 'adamw'?"),
            (["train", "--model", "hm-vg", *data, *out], "did you mean 'hm-vgg'?"),
            (["train", "--modalities", "fundus,fv", *data, *out], "fv"),
            (["train", "--image-size", "8", *data, *out], "32"),
            (["train", "--set", "mlmr.rates=1,2", *data, *out], "did you mean 'mlrm.rates'?"),
            (["train", "--set", "lr", *data, *out], "KEY=VALUE"),
            (["train", "--kernel", "conv2d=onedn", *data, *out], "no kernel 'onedn'"),
            (["train", "--kernel", "conv3d=onednn", *data, *out], "did you mean 'conv2d'"),
            (["train", "--backend", "onedn", *data, *out], "did you mean 'onednn'?"),
            (["train", "--dtype", "f16", *data, *out], "dtype cannot be 'f16'"),
            (["train", "--amp", *data, *out], "CUDA"),
            (["train", "--memory-limit", "2GB", *data, *out], "'2GB' is not a number of bytes, as in 2GiB"),
            (["train", *out], "--data PATH"),
            (["train", *data], "--output DIR"),
            (["train", "-c", self.path("none.toml"), *data, *out], "none.toml"),
            (["train", *data, "--output", self.data], "is not empty"),
            (["evaluate"], "--run DIR"),
            (["evaluate", "--run", self.data], "no config.toml"),
            (["predict", "--run", self.run_folder], "--data PATH"),
            (["probe", "--model", "hm-vgg"], "--save-weights"),
            (["probe", "--input", "x"], "--output"),
            (["gradcheck", "conv2"], "did you mean 'conv2d'?"),
            (["kernels", "convd"], "did you mean 'conv2d'"),
            (["kernels", "conv2d", "more"], "'more' is one argument too many"),
        ]
        for arguments, says in cases:
            with self.subTest(" ".join(arguments)):
                self.expect(2, *arguments, says=says)
        self.assertFalse(os.path.exists(self.path("never")))

    def test_config_errors_name_the_line(self):
        path = self.path("bad.toml")
        for text, says in [("lr = 0.1\nmlrm.rate = 3\n", "line 2"), ("lr = \n", "line 1"), ("[augment]\nflip = true\n", "augment.flips"),
                           ("epochs = 'x'\n", "epochs must be a whole number")]:
            with open(path, "w") as file:
                file.write(text)
            self.expect(2, "train", "-c", path, "--data", self.data, "--output", self.path("never"), says=["bad.toml", says])

    # ---- data

    def test_data_errors(self):
        out = ["--output", self.path("never")]
        self.expect(1, "train", "--data", self.path("nowhere"), *out, says="nowhere")
        self.expect(1, "train", "--data", self.data, "--label", "grade", *out, says="grade")
        self.expect(1, "train", "--data", self.data, "--fold", "9", *out, says="fold 9")
        broken = self.path("broken")
        shutil.copytree(self.data, broken)
        name = sorted(os.listdir(os.path.join(broken, "fundus")))[0]
        with open(os.path.join(broken, "fundus", name), "r+b") as file:
            file.truncate(300)
        self.expect(1, "train", "--data", broken, "--image-size", "32", "--output", self.path("failed"), says=name)
        checked = run("data", "check", broken)
        self.assertEqual(checked.returncode, 1)
        self.assertIn(name, checked.stdout)
        self.expect(1, "predict", "--run", self.run_folder, os.path.join(broken, "fundus", name), says=name)

    def test_data_check_and_show(self):
        report = json.loads(self.expect(0, "data", "check", self.data, "--json").stdout)
        self.assertEqual(report["samples"], 24)
        ident = read(self.data, "labels.csv").splitlines()[1].split(",")[0]
        arrays, picture = self.path("x.safetensors"), self.path("x.png")
        self.expect(0, "data", "show", self.data, "--id", ident, "--image-size", "32x48", "--output", arrays)
        seen = read_safetensors(arrays)
        self.assertEqual({name: entry[1] for name, entry in seen.items()},
                         {"fundus": [1, 32, 48, 3], "oct": [1, 32, 48, 3], "vf": [1, 32, 48, 1], "label": [1]})
        self.assertTrue(all(-3 < v < 3 for name in ("fundus", "oct", "vf") for v in seen[name][2]))
        self.expect(0, "data", "show", self.data, "--id", ident, "--image-size", "32", "--output", picture)
        with open(picture, "rb") as file:
            self.assertEqual(struct.unpack(">II", file.read(24)[16:]), (32 * 5, 32))
        self.expect(2, "data", "show", self.data, "--id", ident + "x", "--output", picture, says=ident)
        self.expect(2, "data", "show", self.data, "--id", ident, "--output", "x.jpg", says=".png")

    # ---- train, evaluate, predict

    def test_training_leaves_its_files(self):
        self.assertEqual(self.trained.returncode, 0, self.trained.stderr)
        for name in ["config.toml", "metrics.jsonl", "metrics.json", "predictions.csv", "last.safetensors",
                     "best.safetensors", "last.state.safetensors", "curves.png", "confusion.png", "report.html", "stamp.json"]:
            self.assertGreater(os.path.getsize(os.path.join(self.run_folder, name)), 0, name)
        self.assertIn("accuracy", self.trained.stdout)
        self.assertIn("peak memory", self.trained.stderr)
        self.assertIn("last checkpoint", self.trained.stderr)  # the held-out part validates, so not the best
        rows = [json.loads(line) for line in read(self.run_folder, "metrics.jsonl").splitlines()]
        self.assertEqual([row["epoch"] for row in rows], [1, 2])
        self.assertEqual(list(rows[0]), ["epoch", "step", "lr", "train_loss", "val_loss", "val_accuracy", "images_per_s",
                                         "seconds"])
        stamp = json.loads(read(self.run_folder, "stamp.json"))
        self.assertIn("conv2d.forward", stamp["kernels"])
        self.assertIn("commit", stamp)

    def test_metrics_agree_with_predictions(self):
        metrics = json.loads(read(self.run_folder, "metrics.json"))
        rows = list(csv.DictReader(read(self.run_folder, "predictions.csv").splitlines()))
        classes = len(metrics["classes"])
        self.assertEqual(metrics["n"], len(rows))
        confusion = [[0] * classes for _ in range(classes)]
        for row in rows:
            p = [float(row[f"p{k}"]) for k in range(classes)]
            self.assertAlmostEqual(sum(p), 1, places=12)
            self.assertEqual(int(row["predicted"]), p.index(max(p)))
            confusion[int(row["label"])][int(row["predicted"])] += 1
        self.assertEqual(confusion, metrics["confusion"])
        hits = sum(confusion[k][k] for k in range(classes))
        self.assertAlmostEqual(metrics["accuracy"]["value"], hits / len(rows), places=12)
        recalls = [confusion[k][k] / max(sum(confusion[k]), 1) for k in range(classes)]
        self.assertAlmostEqual(metrics["recall"]["value"], sum(recalls) / classes, places=12)
        for name in ["accuracy", "precision", "recall", "f1", "f1_pr", "kappa", "auroc"]:
            value = metrics[name]
            self.assertLessEqual(value["low"], value["high"])
        # evaluate computes the same again from the weights.
        again = self.expect(0, "evaluate", "--run", self.run_folder, "--json")
        self.assertEqual(json.loads(again.stdout), metrics)
        best = self.expect(0, "evaluate", "--run", self.run_folder, "--checkpoint", "best")
        self.assertIn("optimistic", best.stderr)

    def test_predict(self):
        held_out = list(csv.DictReader(read(self.run_folder, "predictions.csv").splitlines()))
        everyone = self.expect(0, "predict", "--run", self.run_folder, "--checkpoint", "last", "--data", self.data)
        rows = {row["id"]: row for row in csv.DictReader(everyone.stdout.splitlines())}
        self.assertEqual(len(rows), 24)
        self.assertEqual(everyone.stdout.splitlines()[0], "id,predicted,p0,p1,p2")
        for row in held_out:
            for key in ("p0", "p1", "p2"):
                self.assertAlmostEqual(float(row[key]), float(rows[row["id"]][key]), places=4)
        right = [row["id"] for row in csv.DictReader(read(self.data, "labels.csv").splitlines()) if row["eye"] == "OD"][:2]
        files = [os.path.join(self.data, "fundus", f"{ident}.jpg") for ident in right]
        single = self.expect(0, "predict", "--run", self.run_folder, "--checkpoint", "last", "--json", *files)
        for got, ident in zip(json.loads(single.stdout), right):
            self.assertEqual(got["id"], ident)
            self.assertTrue(all(math.isclose(a, float(rows[ident][f"p{k}"]), abs_tol=1e-4)
                                for k, a in enumerate(got["probabilities"])))
        self.expect(1, "predict", "--run", self.run_folder, self.path("none.jpg"), says="none.jpg")

    # ---- class activation maps

    def maps(self, name, *arguments, run="run"):
        """The list that `fovea cam` prints of a run, and its folder."""
        folder = self.path(name)
        done = self.expect(0, "cam", "--run", self.path(run), "--json", "--output", folder, *arguments)
        self.assertEqual(done.stdout, read(folder, "cam.json"))
        return json.loads(done.stdout), folder

    def array(self, folder, name):
        """Height, width and floats of an .npy file, and that its .png has the same size."""
        with open(os.path.join(folder, name + ".npy"), "rb") as file:
            self.assertEqual(file.read(8), b"\x93NUMPY\x01\x00")
            header = file.read(struct.unpack("<H", file.read(2))[0])
            self.assertEqual(file.tell() % 64, 0)
            values = file.read()
        height, width = map(int, re.search(rb"'<f4', 'fortran_order': False, 'shape': \((\d+), (\d+)\)", header).groups())
        with open(os.path.join(folder, name + ".png"), "rb") as file:
            self.assertEqual(struct.unpack(">II", file.read(24)[16:]), (width, height))
        return height, width, struct.unpack(f"<{height * width}f", values)

    def test_cam_of_the_held_out_part(self):
        maps, folder = self.maps("maps", "--part", "test", "--layer", "H3,R5", "--class", "1", "-b", "3", "--faithfulness", "--steps", "4")
        held_out = {row["id"]: row for row in csv.DictReader(read(self.run_folder, "predictions.csv").splitlines())}
        self.assertEqual([m["layer"] for m in maps], ["H3", "R5", "H3+R5"] * len(held_out))
        self.assertEqual(sorted({m["id"] for m in maps}), sorted(held_out))
        names = {"sheet.png", "cam.json"}
        for m in maps:
            self.assertEqual((m["modality"], m["class"], m["method"]), ("fundus", 1, "gradcam"))
            self.assertEqual(m["label"], int(held_out[m["id"]]["label"]))
            if m["status"] != "ok":
                self.assertEqual(m["status"], "not positive")
                self.assertIn("nowhere above zero", m["message"])
                self.assertIsNone(m["file"])
                continue
            self.assertEqual(m["file"], f"{m['id']}.{m['layer']}")
            names |= {m["file"] + ".png", m["file"] + ".npy"}
            height, width, values = self.array(folder, m["file"])
            self.assertEqual((height, width), (32, 32))
            self.assertEqual(min(values), 0)
            self.assertAlmostEqual(max(values), 1, places=6)
            self.assertTrue(0 <= m["insertion"] <= 1 and 0 <= m["deletion"] <= 1, m)
            self.assertTrue(0 <= m["disc"]["share"] <= 1 and 0.1 < m["disc"]["area"] < 0.3, m)
        self.assertEqual(set(os.listdir(folder)), names)
        # Again: refused, and with --overwrite the maps of before are gone.
        self.expect(2, "cam", "--run", self.run_folder, "--part", "test", "--output", folder, says=["not empty", "--overwrite"])
        self.maps("maps", "--ids", "0001_OD", "--layer", "H3", "--overwrite")
        self.assertLessEqual(set(os.listdir(folder)), {"sheet.png", "cam.json", "0001_OD.H3.png", "0001_OD.H3.npy"})

    def test_cam_goes_the_way_of_the_set(self):
        """The same eyes as files and as a set: ids of both, mirrored left ones, the energy of the box where it is mirrored too."""
        rows = list(csv.DictReader(read(self.data, "labels.csv").splitlines()))
        left = [row for row in rows if row["eye"] == "OS"][:2]
        half = [[str(int(row["disc_x"]) + int(row["disc_width"]) // 2), row["disc_y"], str(int(row["disc_width"]) // 2),
                 row["disc_height"]] for row in left]
        manifest = os.path.join(self.data, "marked.csv")
        with open(manifest, "w") as file:
            file.write("id,eye,fundus,disc_x,disc_y,disc_width,disc_height,fovea_x,fovea_y\n")
            for row, box in zip(left, half):
                stored = [row["id"], "OS", row["fundus"], *box, "10", "20"]
                file.write(",".join(stored) + "\n")
        seen, folder = self.maps("seen", "--data", manifest, "--layer", "H3")
        self.assertEqual([m["label"] for m in seen], [None, None])
        for m, box in zip(seen, half):
            if m["status"] != "ok":
                continue
            height, width, values = self.array(folder, m["file"])
            # 40 pixels become 32; x runs the other way.
            x1, x0 = 32 - int(box[0]) * 0.8, 32 - (int(box[0]) + int(box[2])) * 0.8
            y0, y1 = int(box[1]) * 0.8, (int(box[1]) + int(box[3])) * 0.8
            part = lambda i, a, b: max(0.0, min(i + 1, b) - max(i, a))  # noqa: E731
            inside = sum(v * part(i % 32, x0, x1) * part(i // 32, y0, y1) for i, v in enumerate(values))
            self.assertAlmostEqual(m["disc"]["share"], inside / sum(values), places=5)
            near = [math.hypot(i % 32 + 0.5 - (32 - 8), i // 32 + 0.5 - 16) <= 3.2 for i in range(1024)]
            self.assertAlmostEqual(m["fovea"]["area"], sum(near) / 1024, places=9)
            self.assertAlmostEqual(m["fovea"]["share"], sum(v for v, n in zip(values, near) if n) / sum(values), places=5)
        files, _ = self.maps("files", os.path.join(self.data, left[0]["fundus"]), "--layer", "H3")
        self.assertEqual([(m["id"], m["disc"]) for m in files], [(left[0]["id"], None)])

    def test_cam_errors(self):
        photo = os.path.join(self.data, "fundus", "0001_OD.jpg")
        out = ["--output", self.path("no-maps")]
        this = ["cam", "--run", self.run_folder]
        for arguments, says in [
            (["cam", *out], "either --run DIR, or --input"),
            ([*this, photo], "--output DIR"),
            ([*this, *out], "either photographs, or a set"),
            ([*this, *out, photo, "--part", "test"], "either photographs, or a set"),
            ([*this, *out, photo, "--layer", "M3"], ["no layer 'M3'", "did you mean", "layers are M2, M1, H5, H4, H3, R5"]),
            ([*this, *out, photo, "--layer", "M2,M2"], "M2 is named twice"),
            ([*this, *out, photo, "--class", "3"], "no class 3; the model has classes 0 to 2"),
            ([*this, *out, photo, "--class", "ill"], "'ill' is neither a number nor a class"),
            ([*this, *out, photo, "--method", "grad-cam"], "did you mean 'gradcam'"),
            ([*this, *out, photo, "--steps", "9"], "--steps needs --faithfulness"),
            ([*this, *out, photo, "--faithfulness", "--steps", "0"], "--steps must be 1 to 10000"),
            ([*this, *out, photo, "--fovea-radius", "-1"], "--fovea-radius"),
            ([*this, *out, photo, "--model", "vgg11"], "--model is of --input"),
            ([*this, *out, "--part", "half"], "test or all, not 'half'"),
            ([*this, *out, "--ids", "0001_OX"], "no sample '0001_OX'"),
            ([*this, *out, photo, "-b", "0"], "batch must be 1 to 65536"),
        ]:
            self.expect(2, *arguments, says=says)
            self.assertFalse(os.path.exists(self.path("no-maps")), arguments)
        broken = self.path("broken.jpg")
        with open(photo, "rb") as file, open(broken, "wb") as copy:
            copy.write(file.read()[:400])
        self.expect(1, *this, *out, broken, says="broken.jpg")
        other = self.path("0001_OD.jpg")
        shutil.copy(photo, other)
        self.expect(1, *this, "--output", self.path("doubles"), photo, other, says="two images have the id '0001_OD'")

    def test_cam_names_its_files_after_any_id(self):
        manifest = os.path.join(self.data, "ids.csv")

        def write(*ids):
            with open(manifest, "w") as file:
                file.write("id,fundus\n" + "".join(f"{i},fundus/0001_OD.jpg\n" for i in ids))

        write("a/b", "../c", ".d", "é e")
        maps, folder = self.maps("ids", "--data", manifest, "--layer", "H3,H4,R5")
        self.assertEqual([m["id"] for m in maps if m["layer"] == "H3"], ["a/b", "../c", ".d", "é e"])
        drawn = {m["file"].split(".H3")[0] for m in maps if m["file"] and m["file"].endswith(".H3")}
        self.assertEqual(drawn, {"a_b", "_.._c", "_.d", "é e"})
        self.assertTrue(all(os.path.isfile(os.path.join(folder, m["file"] + ".png")) for m in maps if m["file"]))
        write("a/b", "a_b")
        self.expect(1, "cam", "--run", self.run_folder, "--data", manifest, "--output", self.path("clash"),
                    says=["'a/b'", "'a_b'"])

    def test_cam_reports_what_it_does_not_draw(self):
        arrays = self.path("flat.safetensors")
        weights = self.path("flat-weights.safetensors")
        size = 32 * 32 * 3
        write_safetensors(arrays, {"fundus": ("F32", (2, 32, 32, 3), [0.0] * size + [math.nan] + [0.5] * (size - 1))})
        self.expect(0, "probe", "--model", "hm-vgg", "--seed", "1", "--save-weights", weights)
        folder = self.path("flat")
        done = self.expect(0, "cam", "--model", "hm-vgg", "--weights", weights, "--input", arrays, "--layer", "R5",
                           "--faithfulness", "--json", "--output", folder, says=["1 of 2 maps not drawn", "nowhere above zero", "not finite"])
        flat, damaged = json.loads(done.stdout)
        self.assertEqual((flat["id"], flat["status"], flat["file"], flat["insertion"]), ("0", "not positive", None, None))
        self.assertEqual((damaged["id"], damaged["status"], damaged["file"]), ("1", "not finite", None))
        self.assertEqual(sorted(os.listdir(folder)), ["cam.json", "sheet.png"])

    def test_config_repeats_the_run(self):
        config = os.path.join(self.run_folder, "config.toml")
        again = self.path("again")
        self.expect(0, "train", "-c", config, "--output", again)
        for name in ["config.toml", "predictions.csv", "metrics.json"]:
            self.assertEqual(read(again, name), read(self.run_folder, name), name)
        shutil.rmtree(again)

    # ---- memory, debug mode, devices

    @unittest.skipIf("FOVEA_SANITIZED" in os.environ, "a dozen trainings, which take ten minutes under a sanitizer")
    def test_out_of_memory_names_the_largest_batch_that_fits(self):
        fixed = ["train", "--data", self.data, "--modalities", "fundus", "--image-size", "64", "--epochs", "1", "--opt", "sgd",
                 "--threads", "1"]

        def train(limit, batch):
            shutil.rmtree(self.path("limited"), ignore_errors=True)
            return run(*fixed, "--memory-limit", limit, "-b", str(batch), "--output", self.path("limited"))

        def peak(batch):  # of this machine: scratch memory depends on its instruction set
            return int(re.search(r"peak memory: tensors (\d+) MiB", train("none", batch).stderr)[1])

        limit = f"{(peak(2) + peak(12)) // 2}MiB"
        failed = train(limit, 12)
        self.assertEqual(failed.returncode, 1, failed.stderr)
        line = failed.stderr.splitlines()[-1]
        self.assertRegex(line, r"^fovea: .+: out of memory on cpu: a (tensor of [0-9x]+ f32|buffer) needs .+, and .+ of [0-9.]+ MiB "
                               r"are in use; a batch of 12 is too large, and the largest that fits is \d+: use --batch \d+$")
        self.assertEqual(failed.stderr.count("fovea: "), 1)
        fits = int(re.search(r"--batch (\d+)", line)[1])
        self.assertEqual(train(limit, fits).returncode, 0)
        self.assertIn(f"the largest that fits is {fits}:", train(limit, fits + 1).stderr)
        self.assertIn("not even a batch of 1 fits", train(f"{peak(1) - 20}MiB", 4).stderr)
        tiny = train("1MiB", 4)
        self.assertEqual(tiny.returncode, 1)
        self.assertIn("of 1.0 MiB are in use", tiny.stderr)

    def test_debug_mode_changes_nothing(self):
        config = os.path.join(self.run_folder, "config.toml")
        debugged = self.path("debugged")
        self.expect(0, "train", "-c", config, "--debug", "--output", debugged)
        self.assertEqual(read(debugged, "predictions.csv"), read(self.run_folder, "predictions.csv"))
        self.assertIn("debug = true", read(debugged, "config.toml"))
        shutil.rmtree(debugged)

    def test_a_device_that_cannot_be_used_is_one_sentence(self):
        result = run("train", "--data", self.data, "--device", "cuda", "--output", self.path("on_device"))
        if result.returncode == 0:
            self.skipTest("every op runs on this machine's device")
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertRegex(result.stderr, r"^fovea: [^\n]+; use --device cpu\n$")
        self.assertFalse(os.path.exists(self.path("on_device")))

    def test_weights_of_another_model(self):
        weights = self.path("eighteen.safetensors")
        self.expect(0, "probe", "--model", "resnet18", "--save-weights", weights)
        self.expect(1, "train", "--data", self.data, "--model", "inception_v3", "--image-size", "75", "--epochs", "1", "--weights", weights,
                    "--output", self.path("another"), says="so it is another model's")

    def test_weights_of_another_number_of_classes(self):
        weights, model = self.path("seven.safetensors"), ["--model", "resnet18"]
        self.expect(0, "probe", *model, "--set", "classes=7", "--save-weights", weights)
        result = self.expect(0, "train", "--data", self.data, *model, "--image-size", "32", "--epochs", "1", "--weights", weights,
                             "--output", self.path("from_seven"), says="120 tensors loaded")
        self.assertIn("\nthe last layer starts anew (2): fc.weight, fc.bias; the file is of 7 classes\n", result.stderr)
        self.assertNotIn("missing", result.stderr)

    def test_export(self):
        onnx, weights = self.path("first.onnx"), self.path("first.safetensors")
        self.expect(0, "export", "--run", self.run_folder, "--onnx", onnx, "--safetensors", weights, says="hm-vgg of 3 classes")
        with open(onnx, "rb") as file:
            self.assertIn(b"class_names", file.read())
        arrays = []
        for path in (weights, os.path.join(self.run_folder, "best.safetensors")):  # the headers differ in metadata
            with open(path, "rb") as file:
                file.seek(8 + struct.unpack("<Q", file.read(8))[0])
                arrays.append(file.read())
        self.assertTrue(arrays[0] == arrays[1])

    # ---- probe, gradcheck, kernels

    def test_probe(self):
        weights, x, y = self.path("w.safetensors"), self.path("in.safetensors"), self.path("out.safetensors")
        model = ["--model", "hm-vgg", "--modalities", "fundus,vf", "--set", "oct.slices=5"]
        self.expect(0, "probe", *model, "--seed", "7", "--save-weights", weights)
        values = [math.sin(0.37 * i) for i in range(2 * 32 * 32 * 3)]
        arrays = {"fundus": ("F32", [2, 32, 32, 3], values), "vf": ("F32", [2, 32, 32, 1], values[: 2 * 32 * 32]),
                  "mask/vf": ("I64", [2], [1, 0])}
        write_safetensors(x, arrays)
        self.expect(0, "probe", *model, "--weights", weights, "--input", x, "--output", y)
        self.assertEqual(list(read_safetensors(y)), ["logits"])
        arrays["label"] = ("I64", [2], [2, 0])
        write_safetensors(x, arrays)
        self.expect(0, "probe", *model, "--weights", weights, "--input", x, "--output", y, "--train")
        out, parameters = read_safetensors(y), read_safetensors(weights)
        self.assertEqual(out["logits"][1], [2, 3])
        self.assertEqual(out["loss"][1], [])
        self.assertEqual(out["grad/input/fundus"][1], [2, 32, 32, 3])
        self.assertEqual(out["grad/input/vf"][1], [2, 32, 32, 1])
        self.assertTrue(all(v == 0 for v in out["grad/input/vf"][2][32 * 32:]))  # the second sample has no field
        for name, (_, shape, _) in parameters.items():
            where = "buffer/" if "running" in name or "num_batches" in name else "grad/"
            self.assertEqual(out[where + name][1], shape, name)
        self.assertEqual(len(out), len(parameters) + 4)
        moved = out["buffer/fundus.down4.bn.running_mean"][2]
        self.assertNotEqual(moved, parameters["fundus.down4.bn.running_mean"][2])
        # What the loss should be, from the logits.
        z = [out["logits"][2][3 * i:3 * i + 3] for i in range(2)]
        loss = sum(math.log(sum(math.exp(v) for v in row)) - row[label] for row, label in zip(z, [2, 0])) / 2
        self.assertAlmostEqual(out["loss"][2][0], loss, places=4)
        self.expect(1, "probe", "--model", "hm-vgg", "--weights", weights, "--input", x, "--output", y, says="not in the model")
        arrays["label"] = ("I64", [2], [2, 3])
        write_safetensors(x, arrays)
        self.expect(1, "probe", *model, "--input", x, "--output", y, says="label 3")
        del arrays["fundus"]
        write_safetensors(x, arrays)
        self.expect(1, "probe", *model, "--input", x, "--output", y, says="fundus")

    def test_gradcheck(self):
        for op in ["relu", "linear"]:
            result = self.expect(0, "gradcheck", op)
            self.assertRegex(result.stdout.splitlines()[-1], r"^\d+ cells, \d+ passed, 0 failed, \d+ skipped \(.+\)$")
        self.assertIn("no f64", result.stdout)  # the single-precision kernel of linear
        forced = json.loads(self.expect(0, "gradcheck", "conv2d", "--kernel", "conv2d=reference", "--json").stdout)
        self.assertGreater(len(forced), 3)
        self.assertEqual({cell["kernel"] for cell in forced}, {"reference"})
        self.assertEqual({cell["result"] for cell in forced}, {"passed"})

    def test_kernels(self):
        rows = json.loads(self.expect(0, "kernels", "--json").stdout)
        self.assertEqual(set(rows[0]), {"op", "kernel", "backend", "deterministic", "available", "default", "why"})
        for op in {row["op"] for row in rows}:
            mine = [row for row in rows if row["op"] == op]
            self.assertEqual(sum(row["default"] for row in mine), 1, op)
            self.assertIn("reference", [row["backend"] for row in mine], op)
        conv = json.loads(self.expect(0, "kernels", "conv2d.forward", "--json", "--kernel", "conv2d=reference").stdout)
        self.assertEqual([(r["kernel"], r["why"]) for r in conv if r["default"]], [("reference", "forced")])
        self.assertIn("conv2d.forward", self.expect(0, "kernels", "conv2d").stdout)

    def test_ledger_of_plans(self):
        folder = os.path.join(self.root, "plans")
        os.makedirs(folder, exist_ok=True)
        plan = {"knobs": "tile_size=1", "deterministic": True, "tf32": False, "approximate": False}
        times = {"median_us": 20.0, "p10_us": 19.0, "p90_us": 22.0}
        problem = {"op": "conv2d.forward", "problem": "x bf16 1x1x1x1", "flops": 790e7, "bytes": 4e6, "plans": [
            {"engine": "eng1", "workspace": 0, **plan, **times},
            {"engine": "eng2", "workspace": 2 << 30, **plan},
            {"engine": "eng3", "workspace": 0, **plan, "failure": "no kernel"}]}
        whole = {"format": "fovea plans", "version": 1, "device": "D", "cudnn": "9.19.0", "cublaslt": "13.1.0",
                 "copy_bytes_per_s": 4e12, "problems": [problem, {"op": "batch_norm.backward", "problem": "y", "flops": 0,
                                                                  "bytes": 0, "plans": [], "refusal": "eng1: halves"}]}
        with open(os.path.join(folder, "plans-D-cudnn-9.19.0-cublaslt-13.1.0.json"), "w") as file:
            json.dump(whole, file)
        with open(os.path.join(folder, "plans-E-cudnn-9.19.0-cublaslt-13.1.0.json"), "w") as file:
            file.write('{"format": ')
        os.environ["FOVEA_PLAN_CACHE"] = folder
        try:
            answer = self.expect(0, "kernels", "conv2d", "--plans", "--json")
            self.assertIn("is not usable", answer.stderr)
            rows = json.loads(answer.stdout)
            self.assertEqual([row["chosen"] for row in rows], [True, False, False])
            self.assertAlmostEqual(rows[0]["floor_share"], 0.5)
            self.assertEqual([row["note"] for row in rows], ["", "needs 2.00 GiB of workspace", "failed: no kernel"])
            wider = json.loads(self.expect(0, "kernels", "--plans", "--json", "--workspace-limit", "4GiB").stdout)
            self.assertEqual(wider[1]["note"], "")
            table = self.expect(0, "kernels", "--plans").stdout
            self.assertIn("conv2d.forward: x bf16 1x1x1x1", table)
            self.assertIn("50.0 %", table)
            self.assertIn("batch_norm.backward: y\nno plan: eng1: halves", table)
            refused = json.loads(self.expect(0, "kernels", "batch_norm", "--plans", "--json").stdout)
            self.assertEqual([(row["note"], row["chosen"]) for row in refused], [("no plan: eng1: halves", False)])
            del whole["copy_bytes_per_s"]
            with open(os.path.join(folder, "plans-D-cudnn-9.19.0-cublaslt-13.1.0.json"), "w") as file:
                json.dump(whole, file)
            unread = json.loads(self.expect(0, "kernels", "--plans", "--json").stdout)
            self.assertNotIn("floor_share", unread[0], "without the copy rate there is no floor")
            none = self.expect(0, "kernels", "ham", "--plans")
            self.assertEqual(none.stdout, "")
            self.assertIn("no plans in", none.stderr)
        finally:
            del os.environ["FOVEA_PLAN_CACHE"]

    def test_record_of_kernels(self):
        folder = os.path.join(self.root, "record")
        os.makedirs(folder, exist_ok=True)
        row = {"primitive": "ham.forward", "dtype": "f32", "bytes": 10000, "kernel": "two_pass", "median_us": 3}
        record = {"format": "fovea kernels", "version": 1, "device": "host executor", "rows": [row]}
        environment = {**os.environ, "FOVEA_PLAN_CACHE": folder, "FOVEA_EMULATE_DEVICE": "1"}

        def default(*more):
            with open(os.path.join(folder, "kernels-host-executor.json"), "w") as file:
                json.dump(record, file)
            answer = run("kernels", "ham.forward", "--device", "cuda", "--json", *more, env=environment)
            rows = [r for r in json.loads(answer.stdout) if r["default"]]
            return rows[0]["kernel"], rows[0]["why"].split(";")[0], answer.stderr

        if run("kernels", "--device", "cuda", env=environment).returncode != 0:
            self.skipTest("a build with CUDA emulates no device")
        self.assertEqual(default(), ("two_pass", "fastest on record", ""))
        self.assertEqual(default("--kernel", "ham=cluster")[:2], ("cluster", "forced"))
        self.assertEqual(default("--backend", "cuda")[:2], ("cluster", "preferred backend"))
        record["device"] = "another"
        kernel, why, said = default()
        self.assertEqual((kernel, why), ("cluster", "first in the table"))
        self.assertIn("it is of another, and here is host executor; kernels are chosen by the order", said)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=2)
