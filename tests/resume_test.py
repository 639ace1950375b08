"""A run that is interrupted and resumed ends in the same files as one that never stopped.

Interrupted how: SIGINT and SIGTERM in the middle of epochs (the state is saved), kill -9 at any moment, among them the
moments at which a checkpoint is being written; and the folders that a kill between two renames leaves behind.
"""
import filecmp
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
TIMEOUT = 300  # of one process; seconds
TRAIN = ["--image-size", "32", "--epochs", "3", "-b", "6", "--opt", "sgd", "--lr", "0.01", "--sched", "cosine",
         "--label-smoothing", "0.1", "--threads", "1", "--set", "resamples=100"]
if "FOVEA_SANITIZED" in os.environ:  # where own kernels are ten times slower: the same code on a smaller network
    TRAIN += ["--set", "taps=1,2,3", "--set", "mlrm.rates=1", "--modalities", "fundus"]
EXACT = ["config.toml", "last.safetensors", "best.safetensors", "last.state.safetensors", "predictions.csv", "metrics.json",
         "confusion.png"]
TIMING = ("images_per_s", "seconds")


def run(*arguments):
    return subprocess.run([FOVEA, *arguments], capture_output=True, text=True, timeout=TIMEOUT)


def read(*path):
    with open(os.path.join(*path)) as file:
        return file.read()


def write(text, *path):
    with open(os.path.join(*path), "w") as file:
        file.write(text)


def logged(folder):
    """Whole rows of the log so far."""
    try:
        return read(folder, "metrics.jsonl").count("\n")
    except FileNotFoundError:
        return 0


def rows_of(folder):
    rows = [json.loads(line) for line in read(folder, "metrics.jsonl").splitlines()]
    return [{key: value for key, value in row.items() if key not in TIMING} for row in rows]


class ResumeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = tempfile.mkdtemp(prefix="fovea-resume-")
        cls.data = os.path.join(cls.root, "eyes")
        assert run("data", "synth", cls.data, "-n", "24", "--image-size", "32", "--seed", "5").returncode == 0
        cls.whole = os.path.join(cls.root, "whole")
        done = run(*cls.train(cls.whole))
        assert done.returncode == 0, done.stderr

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.root)

    @classmethod
    def train(cls, folder):
        return ["train", "--data", cls.data, *TRAIN, "--output", folder]

    def folder(self):
        folder = os.path.join(self.root, self.id().split(".")[-1])
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        return folder

    def start(self, *arguments):
        process = subprocess.Popen([FOVEA, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

        def end():
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stderr.close()

        self.addCleanup(end)
        return process

    def wait_for(self, process, condition):
        """True once the condition holds; False where the process ended first."""
        limit = time.monotonic() + TIMEOUT
        while time.monotonic() < limit:
            if condition():
                return True
            if process.poll() is not None:
                return False
            time.sleep(0.002)
        self.fail("timed out")

    def expect_same(self, folder):
        for name in EXACT:
            self.assertTrue(filecmp.cmp(os.path.join(self.whole, name), os.path.join(folder, name), shallow=False),
                            f"{name} differs")
        self.assertEqual(rows_of(self.whole), rows_of(folder))
        left = [name for name in os.listdir(folder) if ".next" in name]
        self.assertEqual(left, [])

    def stop_politely(self, number):
        folder = self.folder()
        process = self.start(*self.train(folder))
        # The first signal falls into the first epoch's steps, the second into the second epoch.
        self.assertTrue(self.wait_for(process, lambda: os.path.exists(os.path.join(folder, "config.toml"))))
        process.send_signal(number)
        _, message = process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 130, message)
        self.assertIn(f"fovea train --resume {folder}", message)
        process = self.start("train", "--resume", folder)
        self.assertTrue(self.wait_for(process, lambda: logged(folder) > 0))
        process.send_signal(number)
        _, message = process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 130, message)
        done = run("train", "--resume", folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.expect_same(folder)

    def test_sigint(self):
        self.stop_politely(signal.SIGINT)

    def test_sigterm(self):
        self.stop_politely(signal.SIGTERM)

    def test_kill(self):
        """Kills at each of these files' first appearance, then at the end of the training, resuming in between."""
        folder = self.folder()
        moments = ["config.toml", ".best.safetensors.tmp", ".last.next.safetensors.tmp", "last.next.safetensors",
                   ".last.state.next.safetensors.tmp", "last.state.next.safetensors", "last.safetensors", "metrics.json"]
        process = self.start(*self.train(folder))
        for name in moments:
            path = os.path.join(folder, name)
            before = os.stat(path).st_mtime_ns if os.path.exists(path) else 0

            def touched():
                try:
                    return os.stat(path).st_mtime_ns != before
                except FileNotFoundError:
                    return False

            if not self.wait_for(process, touched):
                break  # this moment lasted less than the poll; the run is done
            process.kill()
            process.wait()
            process = self.start("train", "--resume", folder)
        _, message = process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 0, message)
        self.expect_same(folder)

    def resume_for_an_epoch(self, source, folder):
        shutil.copytree(source, folder)
        process = self.start("train", "--resume", folder)
        self.assertTrue(self.wait_for(process, lambda: logged(folder) > 0))
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 130)

    def goes_on_at(self, folder):
        """The line with which a resumed training tells where it stands."""
        process = self.start("train", "--resume", folder)
        for line in process.stderr:
            if line.startswith("going on"):
                process.kill()
                return line
            self.assertNotIn("different steps", line)
        self.fail("the run did not go on")

    def test_half_renamed_pairs(self):
        base = self.folder()
        os.makedirs(base)
        first, second = os.path.join(base, "first"), os.path.join(base, "second")
        process = self.start(*self.train(first))
        self.assertTrue(self.wait_for(process, lambda: os.path.exists(os.path.join(first, "config.toml"))))
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 130)
        self.resume_for_an_epoch(first, second)
        old, new = self.goes_on_at(first), self.goes_on_at(second)
        self.assertNotEqual(old, new)
        weights, state = "last.safetensors", "last.state.safetensors"
        next_weights, next_state = "last.next.safetensors", "last.state.next.safetensors"
        cases = [  # what of the second folder lies in the first under which name, and whose position counts
            ({next_weights: weights}, old),
            ({next_weights: weights, next_state: state}, new),
            ({weights: weights, next_state: state}, new),
        ]
        for number, (files, expected) in enumerate(cases):
            folder = os.path.join(base, f"case{number}")
            shutil.copytree(first, folder)
            for to, name in files.items():
                shutil.copy(os.path.join(second, name), os.path.join(folder, to))
            self.assertEqual(self.goes_on_at(folder), expected, files)
            shutil.rmtree(folder)
        # A pair that no kill leaves behind is refused.
        shutil.copy(os.path.join(second, weights), os.path.join(first, weights))
        refused = run("train", "--resume", first)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("different steps", refused.stderr)

    def test_finished_run_stays_as_it_is(self):
        folder = self.folder()
        shutil.copytree(self.whole, folder)
        done = run("train", "--resume", folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.expect_same(folder)

    def test_what_resume_refuses(self):
        changed = run("train", "--resume", self.whole, "--lr", "0.5")
        self.assertEqual(changed.returncode, 2)
        self.assertIn("lr is '0.01', not '0.5'", changed.stderr)
        repeated = run("train", "--resume", self.whole, "--lr", "0.01", "--output", "elsewhere")
        self.assertEqual(repeated.returncode, 2)
        nothing = run("train", "--resume", self.data)
        self.assertEqual(nothing.returncode, 2)
        self.assertIn("no config.toml", nothing.stderr)
        taken = run(*self.train(self.whole))
        self.assertEqual(taken.returncode, 2)
        self.assertIn(f"--resume {self.whole}", taken.stderr)

    def test_data_that_changed(self):
        folder, data = self.folder(), os.path.join(self.root, "moved")
        self.addCleanup(shutil.rmtree, data, ignore_errors=True)
        shutil.copytree(self.whole, folder)
        shutil.copytree(self.data, data)
        write(read(folder, "config.toml").replace(self.data, data), folder, "config.toml")
        lines = read(data, "labels.csv").splitlines(keepends=True)
        cells = lines[1].split(",")
        cells[4] = {"0": "1", "1": "2", "2": "0"}[cells[4]]
        write("".join([lines[0], ",".join(cells), *lines[2:]]), data, "labels.csv")
        refused = run("train", "--resume", folder)
        self.assertEqual(refused.returncode, 1, refused.stderr)
        self.assertIn("not those the run began with", refused.stderr)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=2)
