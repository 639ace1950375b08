"""Class activation maps in PyTorch by forward and backward hooks: pytorch-grad-cam's formulas (1.5.0), in double.

    maps = layer_maps(model, {"layer4": model.layer4}, lambda: model(image), "gradcam", target=None)
    maps["layer4"]            # N x (H,W) sums over the channels, before the ReLU
    finished([maps["layer4"][0]], (H, W))
"""

import numpy as np
import torch
from torch.nn import functional as F


class Watch:
    """A module's output, and the gradient that comes back to it. What follows gets a copy: torchvision's next ReLU may work in
    place."""

    def __init__(self, module):
        self.activation = self.gradient = None
        self.handle = module.register_forward_hook(self.keep)

    def keep(self, module, inputs, output):
        self.activation = output.detach().clone()
        output.register_hook(self.store)
        return output.clone()

    def store(self, gradient):
        self.gradient = gradient.detach().clone()


def weighted(method, a, g):
    """Sum over the channels of one sample's activations a and gradients g, both C,h,w."""
    if method == "gradcam":
        return (g.mean((1, 2))[:, None, None] * a).sum(0)
    if method == "gradcam++":
        alpha = g**2 / (2 * g**2 + a.sum((1, 2))[:, None, None] * g**3 + 1e-6)
        alpha = torch.where(g != 0, alpha, torch.zeros_like(alpha))
        return ((g.clamp(min=0) * alpha).sum((1, 2))[:, None, None] * a).sum(0)
    if method == "hirescam":
        return (g * a).sum(0)
    assert method == "layercam"
    return (g.clamp(min=0) * a).sum(0)


def layer_maps(layers, forward, target=None):
    """(logits, classes, name -> (activations, gradients)); `layers` is name -> module, `forward` makes logits."""
    watches = {name: Watch(module) for name, module in layers.items()}
    logits = forward()
    classes = logits.argmax(1) if target is None else torch.full(logits.shape[:1], target)
    logits.gather(1, classes[:, None]).sum().backward()
    for watch in watches.values():
        watch.handle.remove()
    return logits.detach(), classes, {name: (w.activation, w.gradient) for name, w in watches.items()}


def scaled(x):
    x = x - x.min()
    return x / (1e-7 + x.max())


def finished(sums, size):
    """The map of one sample from the sums of its layers."""
    layers = [F.interpolate(scaled(s.clamp(min=0))[None, None], size, mode="bilinear", align_corners=False)[0, 0]
              for s in sums]
    return scaled(torch.stack(layers).mean(0)).numpy()


def status(sums):
    """As fovea reports it."""
    if not all(bool(torch.isfinite(s).all()) for s in sums):
        return "not finite"
    if any(float(s.max()) > 0 and float(s.max() - s.min().clamp(min=0)) > 1e-6 * float(s.max()) for s in sums):
        return "ok"
    return "constant" if float(sums[0].max()) > 0 else "not positive"


def load(path):
    """A map that fovea wrote, by numpy's own reader."""
    array = np.load(path, allow_pickle=False)
    assert array.dtype == np.float32 and array.ndim == 2, (path, array.dtype, array.shape)
    return array
