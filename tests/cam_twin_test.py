#!/usr/bin/python3
"""Class activation maps against a PyTorch twin (twin/grad_cam.py on twin/hm_vgg.py and torchvision's models), through
`fovea cam --input` in fp64: every map of every layer, method and modality to 1e-6 (a map lies within 0..1 and its file holds
floats), class probabilities to 1e-9, and which maps are not drawn.

Usage: cam_twin_test.py path/to/fovea [part of a case's name, or all]. Without a name one model of each kind (but VGG, whose
classifier takes long to read, and whose features are HM-VGG's), all methods on the smallest, and elsewhere all layers by one.
Exits with 77 where torchvision is not installed.
"""
import json
import os
import subprocess
import sys
import time

try:
    import numpy as np
    import torch
    import torchvision  # noqa: F401
except ImportError as missing:
    print("skipped: %s" % missing)
    sys.exit(77)

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import parity_test  # noqa: E402
import zoo_parity_test  # noqa: E402
from parity_test import safetensors_io  # noqa: E402
from hm_vgg import HMVGG  # noqa: E402
import grad_cam  # noqa: E402

TOLERANCE, PROBABILITY_TOLERANCE = 1e-6, 1e-9
METHODS = ("gradcam", "gradcam++", "hirescam", "layercam")


def vgg_layers(model):
    ends = [i - 1 for i, m in enumerate(model.features) if isinstance(m, torch.nn.MaxPool2d)]
    layers = {"R%d" % (block + 1): model.features[i] for block, i in enumerate(ends)}
    return dict(layers, features=model.features)


def resnet_layers(model):
    return {name: getattr(model, name) for name in ("layer4", "layer3", "layer2", "layer1")}


def densenet_layers(model):
    layers = {"denseblock%d" % i: getattr(model.features, "denseblock%d" % i) for i in (1, 2, 3, 4)}
    return dict(layers, features=model.features.norm5)


def convnext_layers(model):
    return {"stage%d" % (i + 1): model.features[2 * i + 1] for i in range(4)}


def inception_layers(model):
    return {name: getattr(model, name) for name in ("Mixed_5d", "Mixed_6e", "Mixed_7c")}


WHOLE = ("resnet18",)  # not briefly
# name, layers, the default, size of the image, images, methods, whether every run of the tests has it
ZOO = [
    ("vgg11", vgg_layers, "features", (64, 80), 2, METHODS[:1], False),
    ("vgg11_bn", vgg_layers, "features", (64, 80), 2, METHODS[:1], False),
    ("vgg13", vgg_layers, "features", (64, 80), 2, METHODS[:1], False),
    ("vgg13_bn", vgg_layers, "features", (64, 80), 2, METHODS[:1], False),
    ("resnet18", resnet_layers, "layer4", (48, 32), 3, METHODS, True),
    ("resnet50", resnet_layers, "layer4", (40, 48), 2, METHODS[:1], False),
    ("densenet161", densenet_layers, "features", (64, 32), 1, METHODS[1:2], True),
    ("convnext_tiny", convnext_layers, "stage4", (64, 32), 1, METHODS[3:], True),
    ("inception_v3", inception_layers, "Mixed_7c", (75, 107), 1, METHODS[:1], True),
]
# name, options of the twin, size, masks, methods, whether every run of the tests has it
HM_VGG = [
    ("hm-vgg", {}, (32, 48), {}, METHODS[2:3], True),
    ("hm-vgg scse taps", dict(ham_variant="scse", taps=(2, 3, 4)), (48, 32), {}, METHODS[:1], False),
    ("hm-vgg late", dict(modalities=("fundus", "vf")), (32, 48), dict(fundus=(1, 1, 0), vf=(0, 1, 1)), METHODS[:1], True),
    ("hm-vgg early", dict(modalities=("fundus", "vf"), fusion="early"), (32, 48), dict(vf=(1, 0, 1)), METHODS[:1], False),
]


class Case:
    """What fovea is to write: streams, their layers, and the twin's forward."""

    def __init__(self, flags, streams, layers, default, forward, shape):
        self.flags, self.streams, self.layers, self.default = flags, streams, layers, default
        self.forward, self.shape = forward, shape


def zoo_case(name, layers_of, default, size, n, rng):
    model = zoo_parity_test.make(name)
    weights = parity_test.floating(zoo_parity_test.weights_of(model, rng), "f4")
    model.load_state_dict({k: torch.from_numpy(np.array(a)) for k, a in weights.items()})
    model.double().eval()
    arrays = {"image": rng.standard_normal((n, *size, 3))}
    image = torch.from_numpy(arrays["image"]).permute(0, 3, 1, 2).contiguous().requires_grad_()
    modules = layers_of(model)
    streams = {"": list(range(n))}
    return Case(["--model", name], streams, {("", k): m for k, m in modules.items()}, default, lambda: model(image),
                (n, *size)), weights, arrays


def hm_case(options, size, masks, rng):
    twin = HMVGG(**options)
    weights = parity_test.floating(parity_test.random_weights(twin, rng), "f4")
    twin.load_state_dict({k: torch.from_numpy(np.array(a)) for k, a in weights.items()})
    twin.double().eval()
    n = 3
    arrays = parity_test.batch(options, dict(n=n, present=masks), rng, size)
    images = {m: torch.from_numpy(arrays[m]).permute(0, 3, 1, 2).contiguous().requires_grad_() for m in twin.modalities}
    present = {m: torch.tensor(flags, dtype=torch.bool) for m, flags in masks.items()}
    early = options.get("fusion") == "early"
    streams, layers = {}, {}
    for stream in ["early"] if early else twin.modalities:
        has = masks.get(stream, (1,) * n)
        streams[stream] = [i for i in range(n) if has[i]]
        module = getattr(twin, stream)
        layers.update({(stream, "M2"): module.mlrm2, (stream, "M1"): module.mlrm1,
                       (stream, "R5"): module.features[module.pools[-1] - 1]})
        layers.update({(stream, "H%d" % t): getattr(module, "ham%d" % t) for t in module.taps})
    return Case(["--model", "hm-vgg", *parity_test.flags_of(options)], streams, layers, "M2",
                lambda: twin(images, present), (n, *size)), weights, arrays


def run_cam(fovea, folder, case, flags):
    out = os.path.join(folder, "maps")
    done = subprocess.run([fovea, "cam", *case.flags, "--weights", os.path.join(folder, "W"), "--input",
                           os.path.join(folder, "X"), "--dtype", "f64", "--output", out, "--overwrite", "--json", *flags],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with open(os.path.join(out, "cam.json"), encoding="utf-8") as file:
        text = file.read()
    assert text == done.stdout
    return json.loads(text), out


def compare(case, method, values, logits, classes, got, folder, named):
    """The largest difference of any map; AssertionError for anything else that differs."""
    n, height, width = case.shape
    p = torch.softmax(logits, 1)
    wanted = {}  # (id, modality, layer) -> sums
    for stream, samples in case.streams.items():
        names = [name for s, name in case.layers if s == stream] if named else [case.default]
        for row, sample in enumerate(samples):
            sums = [grad_cam.weighted(method, values[stream, k][0][row], values[stream, k][1][row]) for k in names]
            for k, s in zip(names, sums):
                wanted[str(sample), stream, k] = [s]
            if len(names) > 1:
                wanted[str(sample), stream, "+".join(names)] = sums
    found = {(m["id"], m["modality"] if "" not in case.streams else "", m["layer"]): m for m in got}
    assert len(found) == len(got) and set(found) == set(wanted), (sorted(found), sorted(wanted))
    worst = 0.0
    for key, sums in wanted.items():
        m, sample = found[key], int(key[0])
        assert m["class"] == int(classes[sample]) and m["predicted"] == int(logits[sample].argmax()), m
        assert abs(m["probability"] - float(p[sample, classes[sample]])) < PROBABILITY_TOLERANCE, m
        assert m["status"] == grad_cam.status(sums), (m, grad_cam.status(sums))
        assert (m["file"] is not None) == (m["status"] == "ok"), m
        if m["file"]:
            name = "%s.%s" % (key[0], key[2]) if len(case.streams) == 1 else "%s.%s.%s" % key
            assert m["file"] == name, m
            array = grad_cam.load(os.path.join(folder, name + ".npy"))
            assert array.shape == (height, width), array.shape
            worst = max(worst, float(np.abs(array - grad_cam.finished(sums, (height, width))).max()))
    return worst, sum(m["status"] == "ok" for m in got)


def check(fovea, folder, case, weights, arrays, methods, briefly):
    safetensors_io.save(os.path.join(folder, "W"), weights)
    safetensors_io.save(os.path.join(folder, "X"), arrays)
    first = next(iter(case.streams))
    names = ",".join(name for s, name in case.layers if s == first)
    text, worst = [], 0.0
    # All layers of class 1; then the default layer of each sample's own class.
    calls = [(method, 1, True) for method in methods] + [(methods[0], None, False)] * (not briefly)
    passes = {}
    for method, target, named in calls:
        if target not in passes:
            passes[target] = grad_cam.layer_maps(case.layers, case.forward, target)
        logits, classes, values = passes[target]
        flags = ["--method", method, "-b", "2"]
        flags += ["--layer", names] if named else []
        flags += ["--class", str(target)] if target is not None else []
        got, out = run_cam(fovea, folder, case, flags)
        off, drawn = compare(case, method, values, logits, classes, got, out, named)
        worst = max(worst, off)
        text.append("%s %d/%d %.0e" % (method, drawn, len(got), off))
    return worst <= TOLERANCE, ", ".join(text)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    fovea, only = os.path.abspath(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""
    torch.set_num_threads(1)  # quicker for such small images
    ran = failed = 0
    cases = [(name, methods, usual, lambda rng, a=(options, size, masks): hm_case(*a, rng))
             for name, options, size, masks, methods, usual in HM_VGG]
    cases += [(name, methods, usual, lambda rng, a=(name, layers, default, size, n): zoo_case(*a, rng))
              for name, layers, default, size, n, methods, usual in ZOO]
    for name, methods, usual, make in cases:
        if not usual if not only else only not in (name, "all") and only not in name:
            continue
        start, ran = time.time(), ran + 1
        torch.manual_seed(1)
        case, weights, arrays = make(np.random.default_rng(4))
        with parity_test.scratch_folder() as folder:
            try:
                briefly = not only and name not in WHOLE
                good, text = check(fovea, folder, case, weights, arrays, METHODS if only == "all" else methods, briefly)
            except AssertionError as problem:
                good, text = False, str(problem)
        failed += not good
        print("%s %-16s %5.1f s  %s" % ("ok    " if good else "FAILED", name, time.time() - start, text), flush=True)
    print("%d cases, %d failed" % (ran, failed))
    sys.exit(1 if failed or not ran else 0)


if __name__ == "__main__":
    main()
