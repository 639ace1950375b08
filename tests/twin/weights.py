"""Weights for comparisons: a model's start with biases, statistics and scales moved off zero and one, so that none hides."""
import numpy as np


def moved(state, rng, spread=0.2, special=lambda name, a, rng: None):
    """`state` is name -> array, in the order in which random numbers are drawn; scales move by `spread`. What `special`
    returns stands for what is done here."""
    out = {}
    for name, a in state.items():
        a = np.asarray(a, "f8")
        own = special(name, a, rng)
        if own is not None:
            out[name] = own
            continue
        noise = rng.standard_normal(a.shape) if a.ndim == 1 else 0
        if name.endswith("num_batches_tracked"):
            a = np.asarray(5)
        elif name.endswith("running_var"):
            a = np.exp(0.3 * noise)
        elif name.endswith("running_mean"):
            a = 0.1 * noise
        elif a.ndim == 1:
            a = a + (spread if name.endswith("weight") else 0.05) * noise
        out[name] = a
    return out


def of_zoo(name, a, rng):
    """`special` for torchvision's models."""
    if name.endswith("layer_scale"):
        return 0.3 + 0.1 * rng.standard_normal(a.shape)  # 1e-6 would leave nothing of the branches
    if name.startswith("classifier") and a.ndim > 1:
        return a * 4  # deviations of 0.01 would leave nothing of the signal
    return None
