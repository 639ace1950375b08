#!/usr/bin/python3
"""A training step of HM-VGG on a device against the CPU's, through `fovea probe`: on a real one where there is one, else
on the emulated device of a build without CUDA.

In fp64 every tensor to 1e-9 of its largest value; in fp32 all gradients as one vector at most twice as far from the
CPU's in fp64 as the CPU's in fp32; in bf16 (--amp) the same within 0.3 and the loss within 5 %.

Usage: device_step_test.py path/to/fovea [image size]. Exits with 77 where there is no device.
"""
import os
import subprocess
import sys
import tempfile

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "twin"))
import safetensors_io  # noqa: E402


def probe(fovea, folder, name, flags):
    path = os.path.join(folder, name + ".safetensors")
    files = ["--input", os.path.join(folder, "X.safetensors"), "--weights", os.path.join(folder, "W.safetensors")]
    subprocess.run([fovea, "probe", "--model", "hm-vgg", "--train", "--output", path] + files + flags, check=True)
    return {k: np.asarray(a, "f8") for k, a in safetensors_io.load(path).items()}


def has_device(fovea):
    done = subprocess.run([fovea, "kernels", "ham", "--json"], capture_output=True, text=True, check=True)
    return '"available": true' in "".join(line for line in done.stdout.split("}") if '"cuda"' in line)


def distance(got, exact):
    """Of all gradients as one vector, relative."""
    names = [k for k in exact if k.startswith("grad/")]
    square = sum(float(((got[k] - exact[k]) ** 2).sum()) for k in names)
    return (square / sum(float((exact[k] ** 2).sum()) for k in names)) ** 0.5


def worst(got, exact):
    def relative(k):
        return float(np.abs(got[k] - exact[k]).max() / max(np.abs(exact[k]).max(), 1e-300))

    return max((relative(k), k) for k in exact if exact[k].size)


def main():
    fovea, size = os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 32
    os.environ.setdefault("FOVEA_EMULATE_DEVICE", "1")
    if not has_device(fovea):
        print("skipped: no device, and this build cannot emulate one")
        sys.exit(77)
    rng, failed = np.random.default_rng(3), 0
    with tempfile.TemporaryDirectory(prefix="fovea-step-") as folder:
        x = {"fundus": rng.standard_normal((2, size, size, 3)).astype("f4"), "label": np.array([0, 2])}
        safetensors_io.save(os.path.join(folder, "X.safetensors"), x)
        weights = os.path.join(folder, "W.safetensors")
        subprocess.run([fovea, "probe", "--model", "hm-vgg", "--seed", "5", "--save-weights", weights], check=True)
        exact = probe(fovea, folder, "exact", ["--dtype", "f64", "--device", "cpu"])
        near = distance(probe(fovea, folder, "cpu", ["--dtype", "f32", "--device", "cpu"]), exact)
        f64 = worst(probe(fovea, folder, "f64", ["--dtype", "f64", "--device", "cuda"]), exact)
        f32 = distance(probe(fovea, folder, "f32", ["--dtype", "f32", "--device", "cuda"]), exact)
        amp = probe(fovea, folder, "amp", ["--amp", "--device", "cuda"])
        loss = abs(float(amp["loss"] - exact["loss"]) / float(exact["loss"]))
    lines = [
        (f64[0] <= 1e-9, "f64: worst %.1e at %s" % f64),
        (f32 <= 2 * near, "f32: gradients off by %.1e, the CPU's by %.1e" % (f32, near)),
        (distance(amp, exact) <= 0.3 and loss <= 0.05, "bf16: gradients off by %.2f, loss by %.4f" % (distance(amp, exact), loss)),
    ]
    for good, text in lines:
        failed += not good
        print("%s %s" % ("ok    " if good else "FAILED", text))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
