#!/usr/bin/python3
"""HM-VGG against its PyTorch twin (twin/hm_vgg.py), through `fovea probe`.

In fp64: logits, loss, every parameter's and input's gradient and every updated buffer to 1e-9 of the
tensor's largest value; every line names the tensor that differs most. In fp32, where ReLU and max-pool flip
under rounding for everyone: all gradients as one vector, from the twin in fp64 at most twice as far as
PyTorch's own fp32.

With `simt` the hand-written kernels compute the step, on the host executor (`--backend simt`); in bf16
(`--amp`) all gradients as one vector are from the twin in fp64 as far as PyTorch's autocast.

Usage: parity_test.py path/to/fovea [part of a configuration's name]. Without a part all but simt. Exits with
77 where PyTorch is not installed.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time

try:
    import numpy as np
    import torch
    from torch.nn import functional as F
except ImportError as missing:
    print("skipped: %s" % missing)
    sys.exit(77)

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "twin"))
import safetensors_io  # noqa: E402
import weights as start_weights  # noqa: E402
from hm_vgg import HMVGG  # noqa: E402

TOLERANCE = 1e-9
CHANNELS = {"fundus": 3, "oct": 3, "vf": 1}

# name, options of the twin, and: n, size, train, present (modality -> flags)
F64 = [
    ("default, train", {}, {}),
    ("default, eval", {}, dict(train=False)),
    ("scse, train", dict(ham_variant="scse"), {}),
    ("concat of two rates, train", dict(mlrm_fuse="concat", mlrm_rates=(2, 3)), {}),
    ("without HAM and MLRM, train", dict(ham_variant="none", mlrm_rates=()), {}),
    ("without the shortcut, train", dict(shortcut=False), {}),
    ("rates 1,3,5 at 67x83, train", dict(mlrm_rates=(1, 3, 5)), dict(size=(67, 83))),
    ("vgg13 with bn, train", dict(backbone="vgg13", bn=True), {}),
    ("vgg16 with bn, taps 2,3,4, eval", dict(backbone="vgg16", bn=True, taps=(2, 3, 4)), dict(train=False)),
    ("taps 1,2,3, four classes, train", dict(taps=(1, 2, 3), classes=4), {}),
    ("fundus,vf late, train", dict(modalities=("fundus", "vf")), {}),
    ("fundus,vf early, train", dict(modalities=("fundus", "vf"), fusion="early"), {}),
    (
        "late, vf and fundus missing, train",
        dict(modalities=("fundus", "vf")),
        dict(n=3, present=dict(fundus=(0, 1, 1), vf=(1, 0, 1))),
    ),
    (
        "late, nobody has vf, train",
        dict(modalities=("fundus", "vf")),
        dict(present=dict(vf=(0, 0))),
    ),
    (
        "late, vf missing, oct of 5, eval",
        dict(modalities=("vf", "oct"), oct_channels=5),
        dict(n=3, train=False, present=dict(vf=(0, 1, 0))),
    ),
    (
        "early, vf missing, train",
        dict(modalities=("fundus", "vf"), fusion="early"),
        dict(n=3, present=dict(vf=(1, 0, 0))),
    ),
]
F32 = [
    ("default, train", {}, {}),
    ("default, eval", {}, dict(train=False)),
    ("fundus,vf late, train", dict(modalities=("fundus", "vf")), {}),
    ("fundus,vf early, train", dict(modalities=("fundus", "vf"), fusion="early"), {}),
]


SIMT_F64 = [("default, train", {}, dict(flags=["--backend", "simt"]))]
SIMT_F32 = SIMT_F64
SIMT_BF16 = [("default, train", {}, dict(flags=["--backend", "simt", "--amp"]))]


def flags_of(options):
    """The probe's flags for the twin's options."""

    def text(value):
        if isinstance(value, bool):
            return str(value).lower()
        return (",".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value)

    keys = dict(
        ham_variant="ham.variant", mlrm_rates="mlrm.rates", mlrm_fuse="mlrm.fuse", oct_channels="oct.slices"
    )
    flags = []
    for name, value in options.items():
        if name in ("modalities", "fusion"):
            flags += ["--" + name, text(value)]
        else:
            flags += ["--set", "%s=%s" % (keys.get(name, name), text(value))]
    return flags


def random_weights(twin, rng):
    def backbone(name, a, rng):
        if ".features." in name and a.ndim > 1:
            return np.sqrt(2 / a[0].size) * rng.standard_normal(a.shape)  # He et al.: the activations keep their size
        return None

    return start_weights.moved({name: t.numpy() for name, t in twin.state_dict().items()}, rng, 0.3, backbone)


def batch(options, case, rng, size):
    n, (h, w) = case.get("n", 2), case.get("size", size)
    channels = dict(CHANNELS, oct=options.get("oct_channels", 3))
    arrays = {
        m: rng.standard_normal((n, h, w, channels[m])) for m in options.get("modalities", ("fundus",))
    }
    arrays["label"] = rng.integers(0, options.get("classes", 3), n)
    for m, has in case.get("present", {}).items():
        arrays["mask/" + m] = np.asarray(has, "u1")
    return arrays


def floating(arrays, dtype):
    return {k: a.astype(dtype) if a.dtype.kind == "f" else a for k, a in arrays.items()}


def run_twin(twin, weights, arrays, train, autocast=False):
    """One forward and backward in the dtype of the arrays (with autocast in bf16 where PyTorch thinks that fit),
    in PyTorch's default layout (the more accurate of its two in fp32: oneDNN's kernels for channels_last add in
    longer chains); named as the probe names its output."""
    dtype = torch.float64 if weights["classifier.0.weight"].dtype == np.float64 else torch.float32
    twin = twin.to(dtype)
    twin.load_state_dict({k: torch.from_numpy(np.array(a)) for k, a in weights.items()})
    twin.train(train)
    twin.zero_grad(set_to_none=True)
    images = {
        m: torch.from_numpy(arrays[m]).permute(0, 3, 1, 2).contiguous().requires_grad_() for m in twin.modalities
    }
    masks = {m: arrays["mask/" + m] for m in images if "mask/" + m in arrays}
    present = {m: torch.from_numpy(mask.astype(bool)) for m, mask in masks.items()}
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        logits = twin(images, present)
    logits = logits.to(dtype)
    loss = F.cross_entropy(logits, torch.from_numpy(arrays["label"]))
    loss.backward()
    out = {"logits": logits.detach().numpy(), "loss": loss.detach().numpy()}
    for name, parameter in twin.named_parameters():
        grad = parameter.grad
        out["grad/" + name] = np.zeros(tuple(parameter.shape)) if grad is None else grad.numpy()
    for m, image in images.items():
        grad = torch.zeros_like(image) if image.grad is None else image.grad
        out["grad/input/" + m] = grad.numpy().transpose(0, 2, 3, 1)
    if train:
        for name, value in twin.named_buffers():
            out["buffer/" + name] = value.numpy().copy()
    return out


def call(fovea, arguments):
    done = subprocess.run([fovea, "probe", "--model", "hm-vgg"] + arguments, capture_output=True, text=True)
    if done.returncode != 0:
        shown = (" ".join(arguments), done.returncode, done.stderr)
        raise AssertionError("fovea probe %s: exit %d: %s" % shown)


def run_fovea(fovea, folder, options, weights, arrays, train, dtype, flags=()):
    path = {name: os.path.join(folder, name + ".safetensors") for name in "WXY"}
    safetensors_io.save(path["W"], weights)
    safetensors_io.save(path["X"], arrays)
    arguments = ["--weights", path["W"], "--input", path["X"], "--output", path["Y"], "--dtype", dtype]
    call(fovea, arguments + ["--train"] * train + flags_of(options) + list(flags))
    return safetensors_io.load(path["Y"])


def peak(a):
    return float(np.abs(a).max()) if a.size else 0.0


def scale_of(name, wanted):
    """The largest value; of a bias's gradient also its weight's, since a bias before batch norm has a gradient
    of zero and what is computed is rounding."""
    scale = peak(wanted[name])
    if name.startswith("grad/") and name.endswith(".bias"):
        scale = max(scale, peak(wanted[name[: -len("bias")] + "weight"]))
    return scale


def worst_difference(got, wanted):
    """(relative difference, name); absent gradients are zeros, anything else absent or misshapen fails."""
    worst = (0.0, "none")
    for name, b in wanted.items():
        a = got.get(name)
        if a is None and name.startswith("grad/") and not b.any():
            continue
        if a is None or a.shape != b.shape:
            found = "absent" if a is None else a.shape
            raise AssertionError("%s: %s, the twin has %s" % (name, found, b.shape))
        difference, scale = peak(a - b.astype(a.dtype)), scale_of(name, wanted)
        relative = difference / scale if scale else (0.0 if difference == 0 else np.inf)
        if not relative <= worst[0]:  # so that NaN is the worst
            worst = (float(relative), name)
            if np.isnan(relative):
                break
    return worst


def gradients(out, like):
    names = [name for name in like if name.startswith("grad/")]
    return np.concatenate([np.asarray(out.get(n, np.zeros(like[n].shape)), "f8").ravel() for n in names])


def check_f64(fovea, folder, name, options, case):
    rng, train = np.random.default_rng(len(name)), case.get("train", True)
    torch.manual_seed(1)
    twin = HMVGG(**options).double()
    weights, arrays = random_weights(twin, rng), batch(options, case, rng, (32, 32))
    wanted = run_twin(twin, weights, arrays, train)
    got = run_fovea(fovea, folder, options, weights, arrays, train, "f64", case.get("flags", ()))
    worst, where = worst_difference(got, wanted)
    return worst <= TOLERANCE, "worst %.1e at %s" % (worst, where)


def distances(fovea, folder, options, case, autocast):
    """How far fovea's and PyTorch's gradients, each as one vector, are from the twin's in fp64, for three small
    batches; and what is wrong with the logits, if anything."""
    train, ours, theirs, wrong = case.get("train", True), [], [], ""
    torch.manual_seed(2)
    twin = HMVGG(**options)
    weights = floating(random_weights(twin, np.random.default_rng(0)), "f4")
    for seed in range(1, 4):
        arrays = floating(batch(options, case, np.random.default_rng(seed), (32, 32)), "f4")
        of_torch = run_twin(twin, weights, arrays, train, autocast)
        exact = run_twin(twin, floating(weights, "f8"), floating(arrays, "f8"), train)
        of_fovea = run_fovea(fovea, folder, options, weights, arrays, train, "f32", case.get("flags", ()))
        reference = gradients(exact, exact)
        length = np.linalg.norm(reference)
        ours.append(np.linalg.norm(gradients(of_fovea, exact) - reference) / length)
        theirs.append(np.linalg.norm(gradients(of_torch, exact) - reference) / length)
        if not np.allclose(of_fovea["logits"], exact["logits"], rtol=1e-3, atol=0.05 if autocast else 1e-3):
            wrong = "logits %s, the twin's %s" % (of_fovea["logits"], exact["logits"])
    shown = tuple(" ".join("%.1e" % v for v in sorted(values)) for values in (ours, theirs))
    return ours, theirs, wrong, "gradients off by %s, PyTorch's by %s" % shown


def check_f32(fovea, folder, name, options, case):
    """The median of three small batches: a ReLU that flips moves the gradients a thousand times as far as
    all the rounding, in whichever of the two programs it happens to; the batches are so small that few see
    one."""
    ours, theirs, wrong, text = distances(fovea, folder, options, case, autocast=False)
    good = not wrong and np.median(ours) <= 2 * np.median(theirs) and max(ours) < 2e-2
    return bool(good), wrong or text


def check_bf16(fovea, folder, name, options, case):
    """Over all batches; a quarter more is within what three of them tell."""
    ours, theirs, wrong, text = distances(fovea, folder, options, case, autocast=True)
    return bool(not wrong and np.linalg.norm(ours) <= 1.25 * np.linalg.norm(theirs)), wrong or text


def check_start(fovea, folder, name, options, case):
    """Names, shapes and values of a model that was initialised by seed; its file loads into the twin."""
    path = os.path.join(folder, "W.safetensors")
    call(fovea, ["--seed", "1", "--save-weights", path] + flags_of(options))
    got = safetensors_io.load(path)
    wanted = {k: tuple(v.shape) for k, v in HMVGG(**options).state_dict().items()}
    if {k: a.shape for k, a in got.items()} != wanted:
        unlike = [k for k in set(got) | set(wanted) if k not in got or got[k].shape != wanted.get(k)]
        return False, "names or shapes differ: %s" % ", ".join(sorted(unlike))
    dead = [k for k, a in got.items() if a.ndim >= 2 and not (np.isfinite(a).all() and a.std() > 0)]
    return not dead, "%d tensors%s" % (len(got), "".join("; not initialised: " + k for k in dead))


START = [
    ("default", {}, {}),
    ("vgg19 with bn, concat", dict(backbone="vgg19", bn=True, mlrm_fuse="concat"), {}),
    ("fundus,oct,vf", dict(modalities=("fundus", "oct", "vf"), oct_channels=4), {}),
    ("early", dict(modalities=("fundus", "vf"), fusion="early", taps=(2, 3, 4)), {}),
]


@contextlib.contextmanager
def scratch_folder():
    """In memory where there is room: the files of a run hold a few hundred megabytes."""
    shm = "/dev/shm"
    room = os.access(shm, os.W_OK) and shutil.disk_usage(shm).free > 4 << 30
    with tempfile.TemporaryDirectory(prefix="fovea-parity-", dir=shm if room else None) as folder:
        yield folder


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    fovea, only = os.path.abspath(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    print("PyTorch %s, %s" % (torch.__version__, fovea))
    ran = failed = 0
    kinds = (
        ("start", check_start, START),
        ("f64", check_f64, F64),
        ("f32", check_f32, F32),
        ("simt f64", check_f64, SIMT_F64),
        ("simt f32", check_f32, SIMT_F32),
        ("simt bf16", check_bf16, SIMT_BF16),
    )
    for kind, check, cases in kinds:
        for name, options, case in cases:
            if only not in kind + " " + name or kind.startswith("simt") != only.startswith("simt"):
                continue
            start, ran = time.time(), ran + 1
            try:
                with scratch_folder() as folder:
                    good, text = check(fovea, folder, name, options, case)
            except AssertionError as error:
                good, text = False, str(error).strip()
            failed += not good
            verdict = "ok    " if good else "FAILED"
            print("%s %-9s %-36s %5.1f s  %s" % (verdict, kind, name, time.time() - start, text), flush=True)
    print("%d configurations, %d failed" % (ran, failed))
    sys.exit(1 if failed or not ran else 0)


if __name__ == "__main__":
    main()
