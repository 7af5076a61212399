"""The command line: ``python -m leo_core COMMAND``."""

import argparse
import importlib
import sys
from pathlib import Path

# Each offers add_commands(subparsers). Some need packages that only training needs.
MODULES = (
    "training.convert",
    "training.probe_directions",
    "training.motion_library",
    "training.train_animator",
    "training.adapt",
    "training.evaluate",
    "training.evaluate_landmarks",
    "training.evaluate_directions",
    "training.evaluate_controls",
    "training.humans.commands",
    "training.landmarks",
    "training.portraits.commands",
    "training.portraits.clips",
    "training.train_finder",
    "training.prior_motions",
    "training.train_prior",
    "training.train_reader",
    "training.evaluate_prior",
)


# double quotes, which every shell takes
ROOT = Path(__file__).resolve().parent.parent
INSTALL = f'Install what training needs with:  "{sys.executable}" -m pip install -e "{ROOT}[train]"'


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    :return: 0, or 1 after one line on stderr that says what is wrong: a ValueError, or an OSError such as a missing
        file.
    """
    parser = argparse.ArgumentParser(prog="leo_core", description="LEO: train, evaluate and convert models.")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    missing = []
    for module in MODULES:
        try:
            importlib.import_module(f".{module}", __package__).add_commands(subparsers)
        except ModuleNotFoundError as error:
            missing.append(f"{module} ({error.name})")
    left_out = f"Left out, because a package is not installed: {', '.join(missing)}. {INSTALL}" if missing else ""
    parser.epilog = left_out
    try:
        options = parser.parse_args(arguments)
    except SystemExit as refused:
        if refused.code and left_out:  # the command may be one of those
            print(left_out, file=sys.stderr)
        raise
    try:
        options.run(options)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        print(f"error: the package '{error.name}' is not installed. {INSTALL}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
