#!/usr/bin/env python3
"""src/simt alone: copies the folder to an empty place, builds the example of its README with CMake and runs it, plain and with
the checker; then takes a barrier out of the example and expects the report that the README shows."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def example_files(readme):
    """The fenced blocks of the README that a line with a file's name in backticks stands over."""
    return dict(re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```$", readme, re.M | re.S))


def run(command, **keywords):
    done = subprocess.run(command, capture_output=True, text=True, **keywords)
    return done.returncode, done.stdout + done.stderr


def build(folder, name, *options):
    where = os.path.join(folder, name)
    for command in (["cmake", "-S", folder, "-B", where, *options], ["cmake", "--build", where]):
        code, output = run(command)
        if code != 0:
            sys.exit(f"{' '.join(command)}:\n{output}")
    return os.path.join(where, "example")


def expect(what, wanted, output):
    if wanted not in output:
        sys.exit(f"{what}: expected '{wanted}' in:\n{output}")


def main():
    if shutil.which("cmake") is None:
        print("skipped: no cmake")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(os.path.join(REPOSITORY, "src", "simt"), os.path.join(folder, "simt"))
        with open(os.path.join(folder, "simt", "README.md"), encoding="utf-8") as file:
            readme = file.read()
        files = example_files(readme)
        if sorted(files) != ["CMakeLists.txt", "main.cpp", "sum.cu"]:
            sys.exit(f"the README's example has the files {sorted(files)}")
        for name, text in files.items():
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(text)
        expect("plain build", "2000\n", run([build(folder, "plain", "-DCMAKE_BUILD_TYPE=Release")])[1])
        checked = ["-DCMAKE_BUILD_TYPE=Release", "-DSIMT_CHECK=ON"]
        expect("with the checker", "2000\n", run([build(folder, "check", *checked)])[1])
        with open(os.path.join(folder, "sum.cu"), "w", encoding="utf-8") as file:
            file.write(files["sum.cu"].replace("  __syncthreads();\n", "\n"))
        report = re.search(r"^    (kernel 'sum': .*)$", readme, re.M).group(1)
        expect("without the barrier", report, run([build(folder, "check", *checked)])[1])
    print("src/simt builds, runs and checks alone")


if __name__ == "__main__":
    main()
