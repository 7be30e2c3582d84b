"""
Runs the conformance suite on a directory:

    python3 test/posix/main.py DIRECTORY [FAMILY | FAMILY.CASE]...

Prints a line a case, and of each failure what was found. Ends with 1 if there was any. As root it checks permissions,
too. BRINE_TEST_SIZE=full has the cases that take minutes.
"""
import importlib
import os
import pkgutil
import shutil
import sys
import tempfile
import time

import families as package
import suite


def main(arguments):
    if not arguments or arguments[0].startswith("-"):
        sys.exit(__doc__.strip())
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"families.{module.name}")
    chosen = choose(arguments[1:])
    os.umask(0o022)
    size = os.environ.get("BRINE_TEST_SIZE", "")
    directory = tempfile.mkdtemp(prefix="posix-", dir=arguments[0])
    os.chmod(directory, 0o755)
    counts = {"ok": 0, "skip": 0, "not ok": 0}
    start = time.monotonic()
    try:
        kind = suite.kind_of(directory)
        for family, function in chosen:
            began = time.monotonic()
            outcome, detail = suite.run_case(function, directory, kind, size)
            counts[outcome] += 1
            report(outcome, family, function, detail, time.monotonic() - began)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    print(f"# {kind}: {counts['ok']} ok, {counts['skip']} skipped, {counts['not ok']} failed", end=" ")
    print(f"in {time.monotonic() - start:.1f} s")
    sys.exit(1 if counts["not ok"] > 0 else 0)


def choose(names):
    chosen = []
    for family, functions in sorted(suite.families.items()):
        for function in functions:
            if not names or family in names or f"{family}.{function.__name__}" in names:
                chosen.append((family, function))
    if not chosen:
        sys.exit(f"no such family or case; there are: {' '.join(sorted(suite.families))}")
    return chosen


def report(outcome, family, function, detail, seconds):
    text = " ".join((function.__doc__ or "").split())
    took = f" ({seconds:.1f} s)" if seconds > 1 else ""
    reason = f" # skip: {detail}" if outcome == "skip" else ""
    print(f"{outcome} {family}.{function.__name__}: {text}{reason}{took}", flush=True)
    if outcome == "not ok":
        for line in detail.rstrip().split("\n"):
            print(f"    {line}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
