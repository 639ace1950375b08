"""Includes point downward only, and third-party headers stay in the rooms that own them.

    runtime <- cpu, cuda <- op folders <- autograd <- nn <- models <- exchange, data, eval <- experiments
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SRC = ROOT / "src"
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)

# What each room may include besides itself: rooms, and single headers.
BELOW_OPS = {"simt", "kernels/runtime", "kernels/cpu", "kernels/cuda"}
AUTOGRAD = {"autograd", "kernels/runtime"}
ROOMS = {
    "simt": set(),
    "kernels/runtime": {"simt"},
    "kernels/cpu": {"simt", "kernels/runtime"},
    "kernels/cuda": {"simt", "kernels/runtime"},
    "nn": AUTOGRAD | {"ops", "kernels/cpu"},
    "models": AUTOGRAD | {"nn"},
    "exchange": AUTOGRAD | {"ops", "nn", "models"},
    # The loader augments one image after another as the op does batches: the arithmetic of a pixel stands in the op.
    "data": AUTOGRAD | {"nn", "models", "kernels/augment/augment.hpp"},
    "eval": AUTOGRAD | {"nn", "models"},
}

# Header prefix -> rooms that may name it.
THIRD_PARTY = {
    "oneapi/dnnl": ("kernels/",),
    "dnnl": ("kernels/",),
    "cuda": ("kernels/", "simt"),
    "cudnn": ("kernels/",),
    "cublas": ("kernels/",),
    "nvtx3": ("kernels/runtime/",),
    "onnx": ("exchange/",),
    "google/protobuf": ("exchange/",),
}


def room_of(path):
    parts = path.split("/")
    return "/".join(parts[:2]) if parts[0] == "kernels" and len(parts) > 2 else parts[0]


def is_op(room):
    return room.startswith("kernels/") and room not in BELOW_OPS


def declares_primitives(path):
    return "extern const PrimitiveOf<" in (SRC / path).read_text()


def allowed(file, room, target, target_path):
    if target == room or target in BELOW_OPS and (is_op(room) or room == "autograd"):
        return True
    if is_op(room):  # a sibling op only where the op is composed of siblings
        return is_op(target) and file.name.endswith("_composed.cpp")
    if room == "autograd":  # an op's header of primitives, as <op>/<op>.hpp, never its kernels
        return is_op(target) and declares_primitives(target_path)
    if room == "kernels":  # the one list
        return is_op(target) or target in BELOW_OPS
    if "ops" in ROOMS.get(room, ()) and is_op(target):
        return declares_primitives(target_path)
    return not ROOMS.get(room, set()).isdisjoint({target, target_path})


def problems_of(file):
    relative = file.relative_to(SRC).as_posix()
    room = room_of(relative)
    for quote, target_path in INCLUDE.findall(file.read_text()):
        if quote == '"':
            if not (SRC / target_path).exists():
                yield f"{relative} includes {target_path}, which is not there"
            elif not allowed(file, room, room_of(target_path), target_path):
                yield f"{relative} (in {room}) must not include {target_path}"
            continue
        for prefix, homes in THIRD_PARTY.items():
            if target_path.startswith(prefix) and not relative.startswith(homes):
                yield f"{relative} must not include <{target_path}>"
        if target_path.startswith("fmt/") and file.suffix in (".cu", ".hpp"):
            yield f"{relative}: fmt stays out of headers and .cu files"


def main():
    files = sorted(f for f in SRC.rglob("*") if f.suffix in (".hpp", ".cpp", ".cu", ".cuh"))
    problems = [p for f in files for p in problems_of(f)]
    for f in files:
        if not f.read_text().startswith("//"):
            problems.append(f"{f.relative_to(SRC)} has no banner")
    print("\n".join(problems) or f"{len(files)} files: all includes point downward")
    return 1 if problems or len(files) < 50 else 0


if __name__ == "__main__":
    sys.exit(main())
