"""Writes metrics.json: random predictions and what scikit-learn says of them.

    /usr/bin/python3 make_metrics_golden.py        (Debian 12: python3-sklearn 1.2.1, python3-numpy 1.24.2)

Each case: classes (K), label, predicted, p (n lists of K), expected. Averages are macro over range(K) with
zero_division=0; auroc is the mean over the classes with both positives and negatives, of
roc_auc_score(label == k, p[:, k]); null where scikit-learn leaves the metric undefined (kappa: nan; auroc: no such class).
"""
import json
import pathlib
import warnings

import numpy as np
from sklearn import metrics as sk

warnings.filterwarnings("ignore")
random = np.random.default_rng(20241)


def probabilities(label, classes, skill, levels):
    """Softmax of noise plus `skill` for the label; rounded to `levels` steps (0: not), which makes ties."""
    logits = random.normal(size=(len(label), classes))
    logits[np.arange(len(label)), label] += skill
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return np.round(p * levels) / levels if levels else p


def case(name, classes, label, p, predicted=None):
    label = np.asarray(label)
    predicted = p.argmax(1) if predicted is None else np.asarray(predicted)
    every = list(range(classes))
    macro = dict(labels=every, average="macro", zero_division=0)
    precision, recall = sk.precision_score(label, predicted, **macro), sk.recall_score(label, predicted, **macro)
    kappa = sk.cohen_kappa_score(label, predicted, labels=every, weights="quadratic")
    areas = [sk.roc_auc_score(label == k, p[:, k]) for k in every if 0 < (label == k).sum() < len(label)]
    return {
        "name": name, "classes": classes, "label": label.tolist(), "predicted": predicted.tolist(), "p": p.tolist(),
        "expected": {
            "accuracy": sk.accuracy_score(label, predicted), "precision": precision, "recall": recall,
            "f1": sk.f1_score(label, predicted, **macro),
            "f1_pr": 2 * precision * recall / (precision + recall) if precision + recall else 0.0,
            "kappa": None if np.isnan(kappa) else kappa, "auroc": float(np.mean(areas)) if areas else None,
        },
        "confusion": sk.confusion_matrix(label, predicted, labels=every).tolist(),
        "class_f1": sk.f1_score(label, predicted, labels=every, average=None, zero_division=0).tolist(),
    }


def cases():
    for i in range(24):
        classes, n = int(random.integers(2, 7)), int(random.integers(2, 60))
        label = random.integers(0, classes, n)
        levels = [0, 0, 10, 3][i % 4]
        yield case(f"random {i}", classes, label, probabilities(label, classes, [0, 1, 3][i % 3], levels))
    for i in range(4):
        label = random.integers(0, 3, 30)
        predicted = random.integers(0, 3, 30)
        yield case(f"predicted apart from probabilities {i}", 3, label, probabilities(label, 3, 1, 0), predicted)
    absent = random.choice([0, 2], 25)
    yield case("class absent from the labels", 3, absent, probabilities(absent, 3, 1, 0))
    p = probabilities(absent, 3, 1, 0)
    yield case("class absent from labels and predictions", 3, absent, p, np.where(p[:, 0] > p[:, 2], 0, 2))
    some = random.integers(0, 3, 25)
    p = probabilities(some, 3, 1, 0)
    yield case("class never predicted", 3, some, p, np.where(p[:, 0] > p[:, 2], 0, 2))
    yield case("everything predicted as one class", 3, some, p, np.full(25, 1))
    yield case("all one class, all right", 3, np.full(9, 1), probabilities(np.full(9, 1), 3, 30, 0))
    yield case("all one class, all wrong", 3, np.full(9, 1), probabilities(np.full(9, 1), 3, 0, 0), np.full(9, 2))
    yield case("all right", 4, np.arange(12) % 4, probabilities(np.arange(12) % 4, 4, 40, 0))
    yield case("all wrong", 3, np.arange(12) % 3, probabilities(np.arange(12) % 3, 3, 0, 0), (np.arange(12) + 1) % 3)
    yield case("one sample", 3, [2], probabilities(np.array([2]), 3, 0, 0))
    yield case("two samples", 2, [0, 1], probabilities(np.array([0, 1]), 2, 0, 0))
    yield case("all probabilities tied", 3, some, np.full((25, 3), 1 / 3))
    yield case("one class only", 1, np.zeros(5, int), np.ones((5, 1)))
    far = random.integers(0, 5, 40)
    yield case("imbalanced", 3, random.choice(3, 100, p=[0.9, 0.08, 0.02]), random.dirichlet(np.ones(3), 100))
    yield case("far apart grades", 5, far, probabilities(far, 5, 1, 4), 4 - far)


if __name__ == "__main__":
    path = pathlib.Path(__file__).with_name("metrics.json")
    path.write_text("[\n" + ",\n".join(json.dumps(c) for c in cases()) + "\n]\n")
