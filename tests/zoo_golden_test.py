"""The comparison models against what torchvision's gave once, for machines that have no PyTorch: loss, logits and the length of
every gradient of a training step in fp64, to 1e-9.

Usage: zoo_golden_test.py path/to/fovea [part of a model's name, or all | --write]. Without a name ResNet18. --write makes the
golden file anew, by torchvision. Needs numpy: exits with 77 without.
"""
import json
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
except ImportError as missing:
    print("skipped: %s" % missing)
    sys.exit(77)

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "twin"))
import safetensors_io  # noqa: E402
import weights as start_weights  # noqa: E402

GOLDEN = os.path.join(HERE, "golden", "zoo.json")
TOLERANCE = 1e-9
CLASSES, IMAGES = 3, 4
SIZES = {"vgg11": 32, "vgg11_bn": 32, "vgg13": 32, "vgg13_bn": 32, "resnet18": 32, "resnet50": 32, "densenet161": 64, "convnext_tiny": 32,
         "inception_v3": 91}


def probe(fovea, *arguments):
    subprocess.run([fovea, "probe", *arguments], check=True)


def given(fovea, folder, name):
    """Weights that need no PyTorch: fovea's own start, moved; and a batch."""
    path, rng = os.path.join(folder, "start.safetensors"), np.random.default_rng(6)
    probe(fovea, "--model", name, "--seed", "1", "--save-weights", path)
    start = safetensors_io.load(path)
    weights = start_weights.moved({key: start[key] for key in sorted(start)}, rng, special=start_weights.of_zoo)
    weights = {key: a.astype("f4") if a.dtype.kind == "f" else a for key, a in weights.items()}
    arrays = {"image": rng.standard_normal((IMAGES, SIZES[name], SIZES[name], 3)), "label": np.arange(IMAGES) % CLASSES}
    return weights, arrays


def summary(out):
    lengths = {key[5:]: float(np.sqrt(np.sum(np.square(a, dtype="f8")))) for key, a in sorted(out.items()) if key.startswith("grad/")}
    return {"loss": float(out["loss"]), "logits": np.asarray(out["logits"]).ravel().tolist(), "gradients": lengths}


def step(fovea, folder, name):
    path = {key: os.path.join(folder, key + ".safetensors") for key in "WXY"}
    weights, arrays = given(fovea, folder, name)
    safetensors_io.save(path["W"], weights)
    safetensors_io.save(path["X"], arrays)
    probe(fovea, "--model", name, "--weights", path["W"], "--input", path["X"], "--output", path["Y"], "--train", "--dtype", "f64")
    return summary(safetensors_io.load(path["Y"]))


def write(fovea):
    import zoo_parity_test as peer
    golden = {}
    for name in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            weights, arrays = given(fovea, folder, name)
            wide = {key: a.astype("f8") if a.dtype.kind == "f" else a for key, a in weights.items()}
            golden[name] = summary(peer.run_torchvision(peer.make(name), wide, arrays, True))
    with open(GOLDEN, "w") as file:
        lines = ["%s: %s" % (json.dumps(name), json.dumps(values)) for name, values in golden.items()]
        file.write("{\n" + ",\n".join(lines) + "\n}\n")


def difference(got, wanted):
    """The largest relative one, of the largest logit or the longest gradient of a kind, and where."""
    pairs = [("loss", [got["loss"]], [wanted["loss"]]), ("logits", got["logits"], wanted["logits"])]
    if got["gradients"].keys() != wanted["gradients"].keys():
        return np.inf, "the names of the gradients"
    pairs += [(key, [got["gradients"][key]], [value]) for key, value in wanted["gradients"].items()]
    longest = max(wanted["gradients"].values())
    worst, where = 0.0, "nothing"
    for key, a, b in pairs:
        a, b = np.array(a), np.array(b)
        relative = np.abs(a - b).max() / max(np.abs(b).max(), 0 if key in ("loss", "logits") else 1e-4 * longest)
        if not relative <= worst:
            worst, where = relative, key
    return worst, where


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    fovea, only = os.path.abspath(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "resnet18"
    if only == "--write":
        return write(fovea)
    with open(GOLDEN) as file:
        golden = json.load(file)
    ran = failed = 0
    for name, wanted in golden.items():
        if only != "all" and only not in name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            worst, where = difference(step(fovea, folder, name), wanted)
        ran, failed = ran + 1, failed + (not worst <= TOLERANCE)
        print("%s %-13s worst %.1e at %s" % ("ok    " if worst <= TOLERANCE else "FAILED", name, worst, where), flush=True)
    print("%d models, %d failed" % (ran, failed))
    sys.exit(1 if failed or not ran else 0)


if __name__ == "__main__":
    main()
