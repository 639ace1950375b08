"""Whether two trainings of the same data and seed, in f32 and with --amp, are one within noise: the training losses of all
epochs differ by at most a tenth of the first, on average, and both fell.

Usage: loss_curves.py F32/metrics.jsonl AMP/metrics.jsonl
"""
import json
import sys


def losses(path):
    with open(path) as file:
        return [json.loads(line)["train_loss"] for line in file if line.strip()]


def main():
    plain, amp = losses(sys.argv[1]), losses(sys.argv[2])
    apart = sum(abs(a - b) for a, b in zip(plain, amp)) / len(plain)
    print("f32 %.4f -> %.4f, amp %.4f -> %.4f, apart by %.4f on average" % (plain[0], plain[-1], amp[0], amp[-1], apart))
    good = len(plain) == len(amp) and apart <= plain[0] / 10 and plain[-1] < plain[0] and amp[-1] < amp[0]
    sys.exit(0 if good else "the curves are not one within noise")


if __name__ == "__main__":
    main()
