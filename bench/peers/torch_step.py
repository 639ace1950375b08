"""PyTorch's side of bench/peers/run: one training step per line of stdin, timed; see bench/step_bench.cpp, its mirror.

    torch_step.py MODEL|ham [--batch 8] [--size 224] [--channels 256] [--compile]

channels_last, float32. "model" and "hm-vgg" are the twin that the parity tests compare with, other names torchvision's.
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
        out = forward({"fundus": image} if twin else image)
        if isinstance(out, tuple):  # an auxiliary head, whose loss counts 0.4
            loss = F.cross_entropy(out[0], labels) + 0.4 * F.cross_entropy(out[1], labels)
        else:
            loss = F.cross_entropy(out, labels)
        loss.backward()
        optimizer.step()

    return step


def ham_step(args):
    ham = hm_vgg.HAM(args.channels)
    shape = (args.batch, args.channels, args.size, args.size)
    x = torch.randn(shape).contiguous(memory_format=torch.channels_last).requires_grad_()
    dy = torch.randn(shape).contiguous(memory_format=torch.channels_last)
    forward = torch.compile(ham) if args.compile else ham

    def step():
        x.grad = None
        ham.zero_grad()
        forward(x).backward(dy)

    return step


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", help="a model of fovea's zoo, 'model' (HM-VGG) or 'ham'")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int)
    parser.add_argument("--channels", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    args.size = args.size or (56 if args.what == "ham" else 224)
    torch.set_num_threads(args.threads)
    step = ham_step(args) if args.what == "ham" else model_step(args)
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
