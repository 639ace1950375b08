"""What script/demo promises: trained with experiments/configs/demo.toml on the synthetic set, HM-VGG grades held-out eyes with
an accuracy of at least 0.85, three balanced grades."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROMISED = 0.85


def main():
    fovea = sys.argv[1]
    with tempfile.TemporaryDirectory(prefix="fovea-demo-") as folder:
        eyes, run = f"{folder}/eyes", f"{folder}/run"
        subprocess.run([fovea, "data", "synth", eyes, "-n", os.environ.get("FOVEA_DEMO_EYES", "300"), "--image-size", "64", "--seed", "1"], check=True)
        epochs = os.environ.get("FOVEA_DEMO_EPOCHS")  # fewer than the demo has: only that it runs is checked
        subprocess.run([fovea, "train", "-c", str(ROOT / "experiments/configs/demo.toml"), "--data", eyes,
                        "--output", run, *(["--epochs", epochs, "--warmup", "0"] if epochs else [])], check=True)
        metrics = json.loads(pathlib.Path(run, "metrics.json").read_text())
        rows = [json.loads(line) for line in pathlib.Path(run, "metrics.jsonl").read_text().splitlines()]
    per_class = [sum(row) for row in metrics["confusion"]]
    accuracy = metrics["accuracy"]["value"]
    print(f"accuracy {accuracy:.3f} on {metrics['n']} eyes, {per_class} per grade, "
          f"{sum(row['seconds'] for row in rows):.0f} s of training")
    if len(per_class) != 3 or max(per_class) - min(per_class) > 1:
        print("the held-out grades are not balanced")
        return 1
    return 0 if epochs or accuracy >= PROMISED else 1


if __name__ == "__main__":
    sys.exit(main())
