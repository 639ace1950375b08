#!/usr/bin/python3
"""The comparison models against torchvision's, through `fovea probe`: names and shapes of all tensors, logits, loss, every
gradient and every updated buffer in fp64 to 1e-9 of the tensor's largest value, in training (dropout and stochastic depth
off) and inference; in fp32 all gradients as one vector, from torchvision in fp64 at most twice as far as torchvision's own in
fp32.

With `simt` a whole training step at the model's least size through the hand-written CUDA kernels, on the host executor, in fp64.

Usage: zoo_parity_test.py path/to/fovea [simt] [part of a model's name, or all]. Without a name those whose parts no other model
here has, and of all but the smallest, ResNet18, only the training step in fp64. Exits with 77 where torchvision is not installed.
"""
import os
import subprocess
import sys
import time

try:
    import numpy as np
    import torch
    import torchvision
    from torch.nn import functional as F
except ImportError as missing:
    print("skipped: %s" % missing)
    sys.exit(77)

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import parity_test  # noqa: E402
from parity_test import safetensors_io  # noqa: E402

CLASSES = 3
# model, side of the image, images in a batch
MODELS = [("vgg11", 64, 2), ("vgg11_bn", 40, 2), ("vgg13", 32, 2), ("vgg13_bn", 32, 2), ("resnet18", 64, 3), ("resnet50", 40, 3),
          ("convnext_tiny", 40, 2)]
USUAL = ("vgg11_bn", "resnet18", "resnet50", "convnext_tiny")
USUAL_SIMT = ("vgg11_bn", "resnet18", "convnext_tiny")
LEAST, LEAST_OF = 32, {"inception_v3": 75}  # side of an image


def make(name):
    return getattr(torchvision.models, name)(num_classes=CLASSES)


def weights_of(model, rng):
    """The model's own start, with biases and statistics moved off zero and one, so that none hides."""
    state = {}
    for name, tensor in model.state_dict().items():
        a = tensor.double().numpy()
        noise = rng.standard_normal(a.shape) if a.ndim == 1 else 0
        if name.endswith("num_batches_tracked"):
            a = np.asarray(5)
        elif name.endswith("running_var"):
            a = np.exp(0.3 * noise)
        elif name.endswith("running_mean"):
            a = 0.1 * noise
        elif a.ndim == 1:
            a = a + (0.2 if name.endswith("weight") else 0.05) * noise
        elif name.endswith("layer_scale"):
            a = 0.3 + 0.1 * rng.standard_normal(a.shape)  # 1e-6 would leave nothing of the branches
        elif name.startswith("classifier"):
            a = a * 4  # deviations of 0.01 would leave nothing of the signal
        state[name] = a
    return state


def run_torchvision(model, weights, arrays, train):
    dtype = torch.float64 if arrays["image"].dtype == np.float64 else torch.float32
    model = model.to(dtype)
    model.load_state_dict({k: torch.from_numpy(np.array(a)) for k, a in weights.items()})
    model.train(train)
    for module in model.modules():
        if isinstance(module, (torch.nn.Dropout, torchvision.ops.StochasticDepth)):
            module.p = 0.0
    model.zero_grad(set_to_none=True)
    image = torch.from_numpy(arrays["image"]).permute(0, 3, 1, 2).contiguous().requires_grad_()
    logits = model(image)
    loss = F.cross_entropy(logits, torch.from_numpy(arrays["label"]))
    loss.backward()
    out = {"logits": logits.detach().numpy(), "loss": loss.detach().numpy()}
    out.update({"grad/" + name: p.grad.numpy() for name, p in model.named_parameters()})
    out["grad/input/image"] = image.grad.numpy().transpose(0, 2, 3, 1)
    if train:
        out.update({"buffer/" + name: b.numpy().copy() for name, b in model.named_buffers()})
    return out


def run_fovea(fovea, folder, name, weights, arrays, train, dtype, flags=()):
    path = {key: os.path.join(folder, key + ".safetensors") for key in "WXY"}
    safetensors_io.save(path["W"], weights)
    safetensors_io.save(path["X"], arrays)
    given = ["--weights", path["W"], "--input", path["X"], "--output", path["Y"], "--dtype", dtype]
    subprocess.run([fovea, "probe", "--model", name, *given, *["--train"] * train, *flags], check=True)
    return safetensors_io.load(path["Y"])


def check_names(fovea, folder, name, model):
    path = os.path.join(folder, "start.safetensors")
    subprocess.run([fovea, "probe", "--model", name, "--seed", "1", "--save-weights", path], check=True)
    got = {k: a.shape for k, a in safetensors_io.load(path).items()}
    wanted = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    return sorted(k for k in set(got) | set(wanted) if got.get(k) != wanted.get(k))


def check_simt(fovea, folder, name):
    """A whole training step through the hand-written CUDA kernels, on the host executor, in fp64."""
    torch.manual_seed(1)
    model, rng = make(name), np.random.default_rng(4)
    size, n = LEAST_OF.get(name, LEAST), 4  # batch norm of a pixel from each of two images would be all rounding
    weights = parity_test.floating(weights_of(model, rng), "f4")
    arrays = {"image": rng.standard_normal((n, size, size, 3)), "label": rng.integers(0, CLASSES, n)}
    exact = run_torchvision(model, parity_test.floating(weights, "f8"), arrays, True)
    got = run_fovea(fovea, folder, name, weights, arrays, True, "f64", ["--backend", "simt"])
    worst, where = parity_test.worst_difference(got, exact)
    return bool(worst <= parity_test.TOLERANCE), "simt train worst %.1e at %s" % (worst, where)


def check(fovea, folder, name, size, n, briefly):
    torch.manual_seed(1)
    model, rng = make(name), np.random.default_rng(4)
    if unlike := check_names(fovea, folder, name, model):
        return False, "names or shapes differ: %s" % ", ".join(unlike[:5])
    weights = parity_test.floating(weights_of(model, rng), "f4")  # exact in both dtypes, and half the bytes
    wide = parity_test.floating(weights, "f8")
    arrays = {"image": rng.standard_normal((n, size, size, 3)), "label": rng.integers(0, CLASSES, n)}
    text, good = [], True
    for train in (True,) if briefly else (True, False):
        exact = run_torchvision(model, wide, arrays, train)
        got = run_fovea(fovea, folder, name, weights, arrays, train, "f64")
        worst, where = parity_test.worst_difference(got, exact)
        good &= worst <= parity_test.TOLERANCE
        text.append("%s worst %.1e at %s" % ("train" if train else "eval", worst, where))
    if briefly:
        return bool(good), text[0]
    values = parity_test.floating(arrays, "f4")
    exact = run_torchvision(model, wide, parity_test.floating(values, "f8"), True)
    reference = parity_test.gradients(exact, exact)
    off = [np.linalg.norm(parity_test.gradients(out, exact) - reference) / np.linalg.norm(reference)
           for out in (run_fovea(fovea, folder, name, weights, values, True, "f32"),
                       run_torchvision(model, weights, values, True))]
    text.append("f32 off by %.1e, torchvision by %.1e" % tuple(off))
    return bool(good and off[0] <= 2 * off[1]), "; ".join(text)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    fovea, arguments = os.path.abspath(sys.argv[1]), sys.argv[2:]
    simt = arguments[:1] == ["simt"]
    only = arguments[simt] if len(arguments) > simt else ""
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    ran = failed = 0
    for name, size, n in MODELS:
        if name not in (USUAL_SIMT if simt else USUAL) if not only else only not in (name, "all") and only not in name:
            continue
        start, ran = time.time(), ran + 1
        with parity_test.scratch_folder() as folder:
            if simt:
                good, text = check_simt(fovea, folder, name)
            else:
                good, text = check(fovea, folder, name, size, n, briefly=not only and name != "resnet18")
        failed += not good
        print("%s %-13s %5.1f s  %s" % ("ok    " if good else "FAILED", name, time.time() - start, text), flush=True)
    print("%d models, %d failed" % (ran, failed))
    sys.exit(1 if failed or not ran else 0)


if __name__ == "__main__":
    main()
