"""Mutation testing of the parts that decide what a file and a motion are: every mutant is a small change that a test
must notice.

.dev/venv/bin/python scripts/mutants.py [--part files|crop|video|lmdm] [--sample N] [--seed S] [--workers N]

mutmut makes and runs the mutants, in a copy of the tree under .dev/; only the fast tests that cover these files run.
A sample is drawn evenly from all mutants of all files. Prints the share that was killed, by file, and the names of
the survivors, which `cd .dev/mutants && ../venv/bin/python -m mutmut show NAME` shows.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".dev" / "mutants"
# What is mutated, and the tests that have to notice.
PARTS = {
    "files": (
        (
            "animator/checkpoint",
            "motion/edit",
            "motion/files",
            "motion/plot",
            "motion/resample",
            "motion/sequence",
            "flow",
            "files",
        ),
        ("test_checkpoints.py", "test_motion.py", "test_flow.py", "test_files.py", "robustness/malformed.py", "data"),
    ),
    "crop": (("crop",), ("test_crop_exactly.py", "test_crop.py")),
    "video": (
        ("video/order", "video/picture", "video/read", "video/sound", "video/source", "video/timeline", "video/write"),
        ("test_video_exactly.py", "test_video.py", "media"),
    ),
    "lmdm": (
        (
            "lmdm/checkpoint",
            "lmdm/condition",
            "lmdm/drift",
            "lmdm/gaussian_process",
            "lmdm/prior",
            "lmdm/samplers",
            "lmdm/schedule",
            "lmdm/seams",
            "lmdm/start_poses",
            "lmdm/unet",
        ),
        ("lmdm",),
    ),
}
# A mutant of each part that is soon run: with it all are made, and it is found out which test covers what.
FIRST = {
    "files": "leo_core.files.x_nothing*",
    "crop": "leo_core.crop.*__mutmut_1",
    "video": "leo_core.video.order.*__mutmut_1",
    "lmdm": "leo_core.lmdm.schedule.*__mutmut_1",
}
TOO_LONG = (24, 36, 152, 255, -24)  # mutmut's exit codes for it
CONFIG = """
[tool.mutmut]
source_paths = ["leo_core"]
also_copy = ["scripts"]
only_mutate = {mutated}
pytest_add_cli_args = ["-p", "no:cacheprovider", "-p", "no:randomly"]
pytest_add_cli_args_test_selection = ["tests"]
process_isolation = "forkserver"
use_git_change_detection = false
track_dependencies = false
timeout_multiplier = 10.0

[tool.pytest.ini_options]
addopts = "--import-mode=importlib -x"
"""


def prepare(mutated: tuple[str, ...], tests: tuple[str, ...]) -> None:
    shutil.rmtree(WORK, ignore_errors=True)
    shutil.copytree(ROOT / "leo_core", WORK / "leo_core", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "scripts", WORK / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("conftest.py", *tests):
        source, target = ROOT / "tests" / name, WORK / "tests" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target)
    (WORK / "pyproject.toml").write_text(CONFIG.format(mutated=[f"leo_core/{name}.py" for name in mutated]))


def mutmut(workers: int, *names: str) -> None:
    """Run mutants by name; generates all of them, and finds out which test covers what, when that was not done."""
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(workers), *names]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    # By a pipe: a test of a full disk forbids files beyond 20 kB to its process, and the log is one.
    with (
        open(WORK / "log.txt", "ab") as log,
        subprocess.Popen(
            command, cwd=WORK, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
        ) as process,
    ):
        for line in process.stdout or ():
            log.write(line)
    if process.returncode:
        raise SystemExit(f"mutmut failed; see {WORK / 'log.txt'}")


def results(mutated: tuple[str, ...]) -> dict[str, int | None]:
    """Name of every mutant -> exit code of the tests, None where they were not run."""
    found = {}
    for name in mutated:
        found |= json.loads((WORK / "mutants" / "leo_core" / f"{name}.py.meta").read_text())["exit_code_by_key"]
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--part", choices=PARTS, default="files", help="which modules")
    options.add_argument("--sample", type=int, help="how many mutants to run; all without it")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--workers", type=int, default=2)
    options = options.parse_args()
    mutated, tests = PARTS[options.part]
    prepare(mutated, tests)
    mutmut(options.workers, FIRST[options.part])
    names = sorted(results(mutated))
    chosen = (
        names
        if options.sample is None
        else sorted(random.Random(options.seed).sample(names, min(options.sample, len(names))))
    )
    mutmut(options.workers, *chosen)
    codes = results(mutated)
    late = sum(codes[name] in TOO_LONG for name in chosen)
    by_file: dict[str, Counter] = {name: Counter() for name in mutated}
    survivors = []
    for name in chosen:
        killed = codes[name] not in (0, 5, 33, None)
        module = next(module for module in mutated if name.startswith(f"leo_core.{module.replace('/', '.')}."))
        by_file[module][killed] += 1
        if not killed:
            survivors.append(name)
    print("\n".join(survivors))
    for name, count in by_file.items():
        print(f"{name}: {count[True]} of {count.total()} killed")
    print(
        f"{len(chosen) - len(survivors)} of {len(chosen)} mutants killed "
        f"({100 * (1 - len(survivors) / len(chosen)):.1f} %), a sample of {len(names)}; {late} of them by running too "
        "long, which on a busy machine may mean nothing"
    )


if __name__ == "__main__":
    main()
