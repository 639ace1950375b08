#!/bin/sh
# Runs an nvcc compilation and keeps what ptxas says of each kernel's registers, stack and spills beside the object file, in
# OBJECT.resources, instead of printing it. CMake calls it: nvcc_resources.sh OBJECT COMMAND...
object=$1
shift
mkdir -p "$(dirname "$object")"
"$@" 2>"$object.stderr"
status=$?
grep -E '^ptxas info|bytes stack frame' "$object.stderr" >"$object.resources"
grep -vE '^ptxas info|bytes stack frame' "$object.stderr" >&2
rm -f "$object.stderr"
exit $status
