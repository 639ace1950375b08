"""Mutation check of the kernels: a suite that cannot see a broken kernel is worth nothing.

    tests/mutants/run.py BUILD [BUILD ...] [--only TEXT] [--jobs N]

mutants.toml lists small, plausible mistakes: a dropped barrier, a shifted index, swapped tiles, a halved bound. Each is
applied to a copy of its file; it, or the CUDA files that include it, are compiled as the build compiles them, linked into OP_test
(where there is one; OP is the mutant's `op`, else its file's folder) and kernels_test in place of the originals, and one of
the two must fail, in the first of the builds or in a later one (the race checker's build sees missing barriers that no order
of threads shows). A mutant whose text is no longer found exactly once is an error: the list must follow the kernels.

Prints a line for each mutant and at last `mutants: N, killed N`; exits with 1 where one survived.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LIMIT_S = 300  # a mutant that hangs is a mutant that was seen


class Build:
    """What one build directory knows: how kernel files are compiled, what they include, how the test is linked."""

    def __init__(self, folder):
        self.folder = folder.resolve()
        commands = json.loads((self.folder / "compile_commands.json").read_text())
        self.units = {}  # kernel file -> (compile command, object, included files)
        depends = self.read_depends()
        for entry in commands:
            wrapper = pathlib.Path(entry["file"])
            if wrapper.is_relative_to(ROOT / "src/kernels") and wrapper.suffix == ".cpp":  # a kernel of the CPU's own
                self.units[wrapper.resolve()] = (entry["command"], set())
            if not wrapper.name.endswith(".cu.cpp") or "fovea_cuda_host" not in entry["file"]:
                continue
            included = depends[entry["output"]] if "output" in entry else depends[output_of(entry["command"])]
            source = pathlib.Path(wrapper.read_text().split('"')[1]).resolve()
            self.units[source] = (entry["command"], included)
        self.links = {}

    def link_of(self, test):
        """How the test is linked; None where there is no such test."""
        if test not in self.links:
            lines = subprocess.run(["ninja", "-C", self.folder, "-t", "commands", test], text=True,
                                   capture_output=True).stdout.splitlines()
            parts = [part for line in lines for part in line.split(" && ") if f"-o tests/{test} " in part]
            self.links[test] = shlex.split(parts[-1]) if parts else None
        return self.links[test]

    def read_depends(self):
        text = subprocess.run(["ninja", "-C", self.folder, "-t", "deps"], check=True, text=True,
                              capture_output=True).stdout
        depends, target = {}, None
        for line in text.splitlines():
            if line and not line.startswith(" "):
                target = line.split(":")[0]
                depends[target] = set()
            elif line.strip():
                depends[target].add((self.folder / line.strip()).resolve())
        return depends

    def kills(self, mutant, overlay, scratch):
        """Whether the tests of the mutant's op fail with it."""
        file = (ROOT / mutant["file"]).resolve()
        objects = []
        for source, (command, included) in self.units.items():
            if file != source and file not in included:
                continue
            mutated = overlay / source.relative_to(ROOT / "src")
            wrapper = scratch / (source.name + ".cpp")
            wrapper.write_text(f'#include "{mutated if mutated.exists() else source}"\n')
            objects.append(scratch / (source.name + ".o"))
            self.run(retarget(command, wrapper, objects[-1], overlay), check=True)
        if not objects:
            sys.exit(f"mutants: no kernel file includes {mutant['file']}")
        op = mutant.get("op", file.parent.name)
        return self.fails(f"{op}_test", objects, scratch, []) or self.fails(
            "kernels_test", objects, scratch, [f"--gtest_filter=*{op}*"])

    def fails(self, test, objects, scratch, arguments):
        link = self.link_of(test)
        if link is None:
            return False
        binary, at = scratch / test, link.index("-o")
        self.run(link[:at] + ["-o", str(binary)] + [str(o) for o in objects] + link[at + 2:], check=True)
        environment = dict(os.environ, GTEST_BREAK_ON_FAILURE="1", OMP_NUM_THREADS="1", SIMT_WORKERS="1")
        environment.pop("FOVEA_GRID_FILE", None)
        try:
            return self.run([binary] + arguments, env=environment, timeout=LIMIT_S).returncode != 0
        except subprocess.TimeoutExpired:
            return True

    def run(self, command, check=False, **options):
        done = subprocess.run(command, cwd=self.folder, text=True, capture_output=True, **options)
        if check and done.returncode != 0:
            raise RuntimeError(done.stderr[-2000:])
        return done


def output_of(command):
    words = shlex.split(command)
    return words[words.index("-o") + 1]


def retarget(command, source, target, overlay):
    """The same compilation of another file, with the overlay first on the include path, and quicker."""
    words = shlex.split(command)
    if words[0].endswith("ccache"):
        words = words[1:]
    for flag, value in (("-c", source), ("-o", target), ("-MF", f"{target}.d"), ("-MT", target)):
        if flag in words:
            words[words.index(flag) + 1] = str(value)
    return [words[0], f"-I{overlay}"] + words[1:] + ["-O1"]


def apply(mutant, overlay):
    file = ROOT / mutant["file"]
    text = file.read_text()
    if text.count(mutant["find"]) != 1:
        sys.exit(f"mutants: {mutant['file']} holds {text.count(mutant['find'])} times, not once, the text of "
                 f"'{mutant['what']}': {mutant['find']!r}")
    target = overlay / file.relative_to(ROOT / "src")
    target.parent.mkdir(parents=True)
    target.write_text(text.replace(mutant["find"], mutant["replace"]))


def try_one(mutant, builds):
    with tempfile.TemporaryDirectory() as folder:
        overlay = pathlib.Path(folder) / "src"
        apply(mutant, overlay)
        for build in builds:
            scratch = pathlib.Path(folder) / build.folder.name
            scratch.mkdir()
            try:
                if build.kills(mutant, overlay, scratch):
                    return build.folder.name
            except RuntimeError as error:
                sys.exit(f"mutants: '{mutant['what']}' does not compile, so it tests nothing:\n{error}")
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("builds", nargs="+", type=pathlib.Path, help="build directories, tried in this order")
    parser.add_argument("--only", default="", help="mutants whose file or description holds this text")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    builds = [Build(folder) for folder in arguments.builds]
    mutants = tomllib.loads((pathlib.Path(__file__).parent / "mutants.toml").read_text())["mutant"]
    mutants = [m for m in mutants if arguments.only in m["file"] + m["what"]]
    if not mutants:
        sys.exit(f"mutants: none matches '{arguments.only}'")
    killed = 0
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for mutant, where in zip(mutants, pool.map(lambda m: try_one(m, builds), mutants)):
            killed += where is not None
            verdict = f"killed by {where}" if where else "SURVIVED"
            print(f"{pathlib.Path(mutant['file']).name}: {mutant['what']}: {verdict}", flush=True)
    print(f"mutants: {len(mutants)}, killed {killed}")
    return 0 if killed == len(mutants) else 1


if __name__ == "__main__":
    sys.exit(main())
