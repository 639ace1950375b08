#!/usr/bin/python3
"""The comparison models against torchvision's, through `fovea probe`: names and shapes of all tensors, logits, loss, every
gradient and every updated buffer in fp64 to 1e-9 of the tensor's largest value, in training (dropout and stochastic depth
off) and inference; in fp32 all gradients as one vector, from torchvision in fp64 at most twice as far as torchvision's own in
fp32.

With `simt` a whole training step at the model's least size through the hand-written CUDA kernels, on the host executor, in fp64.
With `curve` the losses of 20 steps on the same data, in fp64.

Usage: zoo_parity_test.py path/to/fovea [simt|curve] [part of a model's name, or all]. Without a name those whose parts no other
model here has, and of all but the ResNets only the training step in fp64; the curve of ResNet18. Exits with 77 where
torchvision is not installed.
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
import weights as start_weights  # noqa: E402

CLASSES = 3
# model, side of the image, images in a batch
MODELS = [("vgg11", 64, 2), ("vgg11_bn", 40, 2), ("vgg13", 32, 2), ("vgg13_bn", 32, 2), ("resnet18", 64, 3), ("resnet50", 40, 3),
          ("densenet161", 64, 2), ("convnext_tiny", 40, 2), ("inception_v3", 91, 2), ("inception_v3", 299, 2)]
AUXILIARY_SIDE = 299  # from which Inception's auxiliary head has a pixel; fovea leaves it out below, where torchvision fails
USUAL = ("vgg11_bn", "resnet18", "resnet50", "densenet161", "convnext_tiny", "inception_v3")
WHOLE = ("resnet18", "resnet50")  # of the usual ones
USUAL_SIMT = ("resnet18", "densenet161", "convnext_tiny", "inception_v3")
USUAL_CURVE = ("resnet18",)
STEPS, STEP_SIZE = 20, 0.001
CURVE_TOLERANCE, CURVE_FACTOR = 1e-9, 100  # of the loss; or so many times what torchvision's own curve moves by an ulp
LEAST, LEAST_OF = 32, {"inception_v3": 75}  # side of an image


def make(name):
    keys = {"init_weights": False} if name == "inception_v3" else {}  # its own start takes long
    return getattr(torchvision.models, name)(num_classes=CLASSES, **keys)


def weights_of(model, rng):
    return start_weights.moved({name: tensor.double().numpy() for name, tensor in model.state_dict().items()}, rng,
                               special=start_weights.of_zoo)


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
    label = torch.from_numpy(arrays["label"])
    auxiliary = getattr(model, "AuxLogits", None)
    if auxiliary is not None and min(image.shape[2:]) < AUXILIARY_SIDE:
        model.AuxLogits, model.aux_logits = None, False
    logits = model(image)
    logits, auxiliary_logits = logits if isinstance(logits, tuple) else (logits, None)
    loss = F.cross_entropy(logits, label)
    if auxiliary_logits is not None:
        loss = loss + 0.4 * F.cross_entropy(auxiliary_logits, label)
    loss.backward()
    if auxiliary is not None:
        model.AuxLogits = auxiliary
    out = {"logits": logits.detach().numpy(), "loss": loss.detach().numpy()}
    out.update({"grad/" + name: (torch.zeros_like(p) if p.grad is None else p.grad).numpy()
                for name, p in model.named_parameters()})
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


def curve_of_torchvision(model, weights, arrays):
    """The losses of STEPS steps of SGD with momentum 0.9, as `fovea probe --steps` takes them."""
    run_torchvision(model, weights, arrays, True)  # sets the model up
    optimizer = torch.optim.SGD(model.parameters(), lr=STEP_SIZE, momentum=0.9)
    image, label = torch.from_numpy(arrays["image"]).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(arrays["label"])
    small = min(image.shape[2:]) < AUXILIARY_SIDE and hasattr(model, "AuxLogits")
    if small:
        model.AuxLogits, model.aux_logits = None, False
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad(set_to_none=True)
        out = model(image)
        loss = F.cross_entropy(out[0] if isinstance(out, tuple) else out, label)
        if isinstance(out, tuple):
            loss = loss + 0.4 * F.cross_entropy(out[1], label)
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    return np.array(losses)


def nudged(arrays, rng):
    """Every floating value moved by at most an ulp."""
    return {k: a * (1 + rng.choice([-1, 0, 1], a.shape) * np.finfo(a.dtype).eps) if a.dtype.kind == "f" else a
            for k, a in arrays.items()}


def check_curve(fovea, folder, name):
    """Each step multiplies rounding, in batch norm of few pixels up to a hundred times, for everyone: so beside torchvision's
    curve stands that of the same start moved by an ulp, and ours may part from the first as the second does."""
    torch.manual_seed(1)
    model, rng = make(name), np.random.default_rng(4)
    size, n = LEAST_OF.get(name, LEAST), 4
    weights = parity_test.floating(weights_of(model, rng), "f4")
    wide = parity_test.floating(weights, "f8")
    arrays = {"image": rng.standard_normal((n, size, size, 3)), "label": rng.integers(0, CLASSES, n)}
    wanted = curve_of_torchvision(model, wide, arrays)
    moved = curve_of_torchvision(make(name), nudged(wide, rng), nudged(arrays, rng))
    flags = ["--steps", str(STEPS), "--step-size", str(STEP_SIZE)]
    got = run_fovea(fovea, folder, name, weights, arrays, True, "f64", flags)["losses"]
    scale = np.abs(wanted).max()
    off, own = np.abs(got - wanted) / scale, np.maximum.accumulate(np.abs(moved - wanted) / scale)
    bound = np.maximum(CURVE_TOLERANCE, CURVE_FACTOR * own)
    good = got.shape == wanted.shape and (off <= bound).all() and bound[1] <= 1e-5  # a first update gone wrong cannot hide
    text = "losses %.4f to %.4f, off by %.1e, %.1e and %.1e after 2, 10 and 20 steps, torchvision's own by %.1e, %.1e and %.1e" % (
        wanted[0], wanted[-1], *off[[1, 9, 19]], *own[[1, 9, 19]])
    return bool(good and wanted[-1] < wanted[0]), text


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
    if name == "inception_v3" and size < AUXILIARY_SIDE:
        model.transform_input = True
        exact = run_torchvision(model, wide, arrays, False)
        got = run_fovea(fovea, folder, name, weights, arrays, False, "f64", ["--set", "inception.transform_input=true"])
        worst, where = parity_test.worst_difference(got, exact)
        good &= worst <= parity_test.TOLERANCE
        text.append("transformed eval worst %.1e at %s" % (worst, where))
        model.transform_input = False
    values = parity_test.floating(arrays, "f4")
    exact = run_torchvision(model, wide, parity_test.floating(values, "f8"), True)
    reference = parity_test.gradients(exact, exact)
    def off(out):
        return np.linalg.norm(parity_test.gradients(out, exact) - reference) / np.linalg.norm(reference)

    # How far torchvision is off depends on how its threads share the sums, most where few ReLUs flip: the larger of two.
    ours, theirs = off(run_fovea(fovea, folder, name, weights, values, True, "f32")), []
    for threads in (1, torch.get_num_threads()):
        torch.set_num_threads(threads)
        theirs.append(off(run_torchvision(model, weights, values, True)))
    text.append("f32 off by %.1e, torchvision by %.1e" % (ours, max(theirs)))
    return bool(good and ours <= 2 * max(theirs)), "; ".join(text)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    fovea, arguments = os.path.abspath(sys.argv[1]), sys.argv[2:]
    mode = arguments.pop(0) if arguments[:1] in (["simt"], ["curve"]) else ""
    only = arguments[0] if arguments else ""
    usual = {"simt": USUAL_SIMT, "curve": USUAL_CURVE, "": USUAL}[mode]
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    ran = failed = 0
    for name, size, n in MODELS:
        if name not in usual if not only else only not in (name, "all") and only not in name:
            continue
        if (mode or only != "all") and size >= AUXILIARY_SIDE:
            continue
        start, ran = time.time(), ran + 1
        with parity_test.scratch_folder() as folder:
            if mode:
                good, text = (check_simt if mode == "simt" else check_curve)(fovea, folder, name)
            else:
                good, text = check(fovea, folder, name, size, n, briefly=not only and name not in WHOLE)
        failed += not good
        print("%s %-13s %5.1f s  %s" % ("ok    " if good else "FAILED", name, time.time() - start, text), flush=True)
    print("%d models, %d failed" % (ran, failed))
    sys.exit(1 if failed or not ran else 0)


if __name__ == "__main__":
    main()
