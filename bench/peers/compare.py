"""Alternates training steps of fovea and of PyTorch, one process each, and prints the ratios with their spread.

    compare.py MODEL|ham|mlrm|head [--steps 10] [--python PYTHON] [--threads 2] [--batch 8] [--size S] [--channels C]
               [--autocast] [--json FILE]

Ratios are fovea's time over the peer's, pair by pair, so that a machine whose speed drifts does not decide; the peer is
the faster of PyTorch eager and torch.compile
(--eager: eager alone). What is quoted is the median, with the 10th and 90th percentile.

--autocast sets the peer's forward to bfloat16 (torch.autocast) beside ours in float32: the CPU has no mixed precision of
ours (--amp needs a device or --backend simt), so that ratio is between different arithmetic. --json writes a record
(docs/bench.md): a row for each side of each pairing.
"""
import argparse
import json
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


def row(op, kernel, shape, dtype, seconds):
    return {"op": op, "kernel": kernel, "shape": shape, "dtype": dtype, "state": "warm", "timed": "steps",
            "median_us": statistics.median(seconds) * 1e6, "p10_us": percentile(seconds, .1) * 1e6,
            "p90_us": percentile(seconds, .9) * 1e6, "copies": 1, "replays": len(seconds)}


def compare(flags, options, label, mode, record):
    """One table row; the peer's median seconds, or None where the peer cannot run. The record gets both sides."""
    peer_command = [options.python, str(ROOT / "bench/peers/torch_step.py"), *flags, "--threads", str(options.threads)]
    peer_command += (["--compile"] if mode == "compile" else []) + (["--autocast"] if options.autocast else [])
    ours = Side([str(options.build / "bench/step_bench"), *flags], options.threads)
    try:
        peer = Side(peer_command, options.threads)
    except RuntimeError:
        ours.close()
        print(f"{label}: PyTorch {mode} did not run")
        return None
    a, b = [], []
    for _ in range(options.steps):
        a.append(ours.step())
        b.append(peer.step())
    ratios = [x / y for x, y in zip(a, b)]
    version = peer.version
    peaks = ours.close(), peer.close()
    peer_name = f"torch {mode}" + (" autocast" if options.autocast else "")
    mine = row(label, f"fovea beside {peer_name}", f"N{options.batch}", "f32", a)
    mine |= {"baseline": peer_name, "ratio": statistics.median(ratios),
             "ratio_p10": percentile(ratios, .1), "ratio_p90": percentile(ratios, .9)}
    record["rows"] += [mine, row(label, peer_name, f"N{options.batch}", "bf16" if options.autocast else "f32", b)]
    record["stamp"]["peer"] = f"PyTorch {version}"
    print(f"{label:28} {mode:8} fovea {statistics.median(a) * 1e3:9.1f} ms   "
          f"PyTorch {version} {statistics.median(b) * 1e3:9.1f} ms   ratio {statistics.median(ratios):.3f} "
          f"[{percentile(ratios, .1):.3f}, {percentile(ratios, .9):.3f}]   "
          f"peak memory {peaks[0]} / {peaks[1]} MiB", flush=True)
    return statistics.median(b)


def new_record(options):
    environment = dict(os.environ, OMP_NUM_THREADS=str(options.threads))
    stamp = subprocess.run([str(options.build / "bench/step_bench"), "--stamp"], capture_output=True, text=True, check=True,
                           env=environment).stdout
    return {"format": "fovea-bench", "version": 1, "stamp": json.loads(stamp), "rows": []}


SHAPES = {"ham": (("56", "256"), ("28", "512"), ("14", "512")), "mlrm": (("14", "512"),), "head": (("14", "512"),)}


def shapes_of(options):
    if options.what not in SHAPES:
        return [["--size", str(options.size or 224)]]
    if options.size or options.channels:
        size, channels = SHAPES[options.what][0]
        return [["--size", str(options.size or size), "--channels", str(options.channels or channels)]]
    return [["--size", s, "--channels", c] for s, c in SHAPES[options.what]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", help="a model of fovea's zoo, 'model' (HM-VGG), or an op: ham, mlrm, head")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--python", default=sys.executable, help="a Python with PyTorch")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int)
    parser.add_argument("--eager", action="store_true", help="without torch.compile")
    parser.add_argument("--channels", type=int)
    parser.add_argument("--autocast", action="store_true", help="the peer's forward in bfloat16")
    parser.add_argument("--json", type=pathlib.Path, help="where to write the record")
    options = parser.parse_args()
    record = new_record(options)
    print(f"fovea {record['stamp']['commit']}, {options.threads} threads, float32, batch {options.batch}, "
          f"{options.steps} pairs")
    if options.autocast:
        print("the peer's forward is in bfloat16, ours is not: --amp needs a device or --backend simt")
    for shape in shapes_of(options):
        flags = [options.what, "--batch", str(options.batch), *shape]
        label = " ".join([options.what, *(f"{a[2:]} {b}" for a, b in zip(shape[::2], shape[1::2]))])
        modes = ("eager",) if options.eager else ("eager", "compile")
        times = {mode: compare(flags, options, label, mode, record) for mode in modes}
        ran = {mode: t for mode, t in times.items() if t}
        if ran:
            print(f"{label}: the faster peer is {min(ran, key=ran.get)}")
    if options.json and record["rows"]:
        options.json.write_text(json.dumps(record, indent=1) + "\n")
    if not record["rows"]:
        sys.exit("compare.py: PyTorch did not run in any way; --python names a Python that has it")


if __name__ == "__main__":
    main()
