"""PyTorch's side of bench/peers/run: one training step per line of stdin, timed; see bench/step_bench.cpp, its mirror.

    torch_step.py MODEL|ham|mlrm|head [--batch 8] [--size S] [--channels C] [--compile] [--autocast]

channels_last, float32, with --autocast the forward in bfloat16 as torch.autocast has it. "model" and "hm-vgg" are the twin that the parity tests compare with, other names torchvision's.
"""
import argparse
import pathlib
import resource
import sys
import time
import warnings

warnings.filterwarnings("ignore")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "twin"))

import torch  # noqa: E402
from torch.nn import functional as F  # noqa: E402

import hm_vgg  # noqa: E402


def model_step(args):
    twin = args.what in ("model", "hm-vgg")
    if twin:
        model = hm_vgg.HMVGG(modalities=("fundus",))
    else:
        import torchvision
        keys = {"init_weights": False} if args.what == "inception_v3" else {}  # its own start takes long
        model = getattr(torchvision.models, args.what)(num_classes=3, **keys)
    model = model.to(memory_format=torch.channels_last).train()
    image = torch.randn(args.batch, 3, args.size, args.size).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(args.batch) % 3
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)
    forward = torch.compile(model) if args.compile else model

    def step():
        optimizer.zero_grad()
        with autocast(args):
            out = forward({"fundus": image} if twin else image)
        if isinstance(out, tuple):  # an auxiliary head, whose loss counts 0.4
            loss = F.cross_entropy(out[0].float(), labels) + 0.4 * F.cross_entropy(out[1].float(), labels)
        else:
            loss = F.cross_entropy(out.float(), labels)
        loss.backward()
        optimizer.step()

    return step


def image_of(args):
    shape = (args.batch, args.channels, args.size, args.size)
    return torch.randn(shape).contiguous(memory_format=torch.channels_last)


class Head(torch.nn.Module):
    """The twin's last layers alone: of M2 and R5."""

    def __init__(self, channels):
        super().__init__()
        self.shortcut = torch.nn.Conv2d(channels, channels, 1)
        self.classifier = torch.nn.Sequential(
            torch.nn.Linear(channels, hm_vgg.HIDDEN), torch.nn.ReLU(), torch.nn.Linear(hm_vgg.HIDDEN, 3))

    def forward(self, m2, r5):
        pooled = self.shortcut(r5.mean((2, 3), keepdim=True))
        return self.classifier((m2.mean((2, 3), keepdim=True) + pooled).flatten(1))


def op_step(args):
    module = {"ham": hm_vgg.HAM, "mlrm": hm_vgg.MLRM, "head": Head}[args.what](args.channels)
    module = module.to(memory_format=torch.channels_last).train()
    images = [image_of(args).requires_grad_() for _ in range(2 if args.what == "head" else 1)]
    dy = torch.randn(args.batch, 3) if args.what == "head" else image_of(args)
    forward = torch.compile(module) if args.compile else module

    def step():
        for image in images:
            image.grad = None
        module.zero_grad()
        with autocast(args):
            y = forward(*images)
        y.backward(dy.to(y.dtype))

    return step


def autocast(args):
    return torch.autocast("cpu", torch.bfloat16, enabled=args.autocast)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", help="a model of fovea's zoo, 'model' (HM-VGG), or an op: ham, mlrm, head")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int)
    parser.add_argument("--channels", type=int)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--autocast", action="store_true")
    args = parser.parse_args()
    args.size = args.size or {"ham": 56, "mlrm": 14, "head": 14}.get(args.what, 224)
    args.channels = args.channels or {"ham": 256}.get(args.what, 512)
    torch.set_num_threads(args.threads)
    step = op_step(args) if args.what in ("ham", "mlrm", "head") else model_step(args)
    step()
    step()
    print("ready", torch.__version__, flush=True)
    for _ in sys.stdin:
        begin = time.perf_counter()
        step()
        print(f"{time.perf_counter() - begin:.6f}", flush=True)
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, flush=True)


if __name__ == "__main__":
    main()
