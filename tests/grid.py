"""Adds up the cells that the kernel tests counted (see grid_file.hpp): grid.py FILE.

Prints one line, and exits with 1 where a cell failed or there is none.
"""
import collections
import json
import sys

passed = failed = 0
skipped = collections.Counter()
with open(sys.argv[1]) as lines:
    for line in map(json.loads, lines):
        passed += line["passed"]
        failed += line["failed"]
        skipped.update(line["skipped"])
total = sum(skipped.values())
why = ", ".join(f"{count} {reason}" for reason, count in skipped.most_common())
print(f"grid: {passed + failed + total} cells, {passed} passed, {failed} failed, {total} skipped ({why})")
sys.exit(failed > 0 or passed == 0)
