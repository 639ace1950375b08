"""Weights for comparisons: a model's start with biases, statistics and scales moved off zero and one, so that none hides."""
import numpy as np


def moved(state, rng):
    """`state` is name -> array, in the order in which random numbers are drawn."""
    out = {}
    for name, a in state.items():
        a = np.asarray(a, "f8")
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
        out[name] = a
    return out
