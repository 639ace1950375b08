"""Alternates training steps of fovea and of PyTorch, one process each, and prints the ratios with their spread.

    compare.py MODEL|ham [--steps 10] [--python PYTHON] [--threads 2] [--batch 8] [--size S] [--channels C]

Ratios are fovea's time over the peer's, pair by pair, so that a machine whose speed drifts does not decide; the peer is
the faster of PyTorch eager and torch.compile
(--eager: eager alone). What is quoted is the median, with the 10th and 90th percentile.
"""
import argparse
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Side:
    """A process that runs one step per line it is sent."""

    def __init__(self, command, threads):
        env = dict(os.environ, OMP_NUM_THREADS=str(threads))
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env)
        words = self.process.stdout.readline().split()
        if not words or words[0] != "ready":
            self.process.kill()
            raise RuntimeError(f"{command[0]} did not start")
        self.version = " ".join(words[1:])

    def step(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self):
        """Ends the process and returns its peak memory in MiB."""
        self.process.stdin.close()
        peak = int(self.process.stdout.readline().split()[1])
        self.process.wait()
        return peak


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def fovea_version():
    commit = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"], capture_output=True, text=True)
    return commit.stdout.strip() or "unknown"


def compare(flags, options, label, compile_peer):
    """One table row; the ratio's median, or None where the peer cannot be compiled."""
    peer_command = [options.python, str(ROOT / "bench/peers/torch_step.py"), *flags, "--threads", str(options.threads)]
    ours = Side([str(options.build / "bench/step_bench"), *flags], options.threads)
    try:
        peer = Side(peer_command + (["--compile"] if compile_peer else []), options.threads)
    except RuntimeError:
        ours.close()
        print(f"{label}: PyTorch {'compile' if compile_peer else 'eager'} did not run")
        return None
    a, b = [], []
    for _ in range(options.steps):
        a.append(ours.step())
        b.append(peer.step())
    ratios = [x / y for x, y in zip(a, b)]
    version = peer.version
    peaks = ours.close(), peer.close()
    print(f"{label:28} {'compile' if compile_peer else 'eager':8} fovea {statistics.median(a) * 1e3:9.1f} ms   "
          f"PyTorch {version} {statistics.median(b) * 1e3:9.1f} ms   ratio {statistics.median(ratios):.3f} "
          f"[{percentile(ratios, .1):.3f}, {percentile(ratios, .9):.3f}]   "
          f"peak memory {peaks[0]} / {peaks[1]} MiB", flush=True)
    return statistics.median(b)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", help="a model of fovea's zoo, 'model' (HM-VGG) or 'ham'")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--python", default=sys.executable, help="a Python with PyTorch")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int)
    parser.add_argument("--eager", action="store_true", help="without torch.compile")
    parser.add_argument("--channels", type=int)
    options = parser.parse_args()
    print(f"fovea {fovea_version()}, {options.threads} threads, float32, batch {options.batch}, {options.steps} pairs")
    if options.what != "ham":
        shapes = [["--size", str(options.size or 224)]]
    elif options.size or options.channels:
        shapes = [["--size", str(options.size or 56), "--channels", str(options.channels or 256)]]
    else:
        shapes = [["--size", s, "--channels", c] for s, c in (("56", "256"), ("28", "512"), ("14", "512"))]
    for shape in shapes:
        flags = [options.what, "--batch", str(options.batch), *shape]
        label = " ".join([options.what, *(f"{a[2:]} {b}" for a, b in zip(shape[::2], shape[1::2]))])
        modes = ("eager",) if options.eager else ("eager", "compile")
        times = {mode: compare(flags, options, label, mode == "compile") for mode in modes}
        ran = {mode: t for mode, t in times.items() if t}
        if ran:
            print(f"{label}: the faster peer is {min(ran, key=ran.get)}")


if __name__ == "__main__":
    main()
