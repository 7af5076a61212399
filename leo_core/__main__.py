"""The command line: ``python -m leo_core COMMAND``."""
import argparse
import importlib
import sys

# Each offers add_commands(subparsers). Some need packages that only training needs.
MODULES = (
    "checkpoints",
    "directions",
    "training.animator",
    "training.humans.commands",
    "training.prior",
    "lmdm.evaluate",
)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="leo_core", description="LEO: train, evaluate and convert models.")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    missing = []
    for module in MODULES:
        try:
            importlib.import_module(f".{module}", __package__).add_commands(subparsers)
        except ModuleNotFoundError as error:
            missing.append(f"{module} ({error.name})")
    if missing:
        parser.epilog = (
            f"Left out, because a package is not installed: {', '.join(missing)}. Install what training needs with:  pip install -e '.[train]'"
        )
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        print(f"error: the package '{error.name}' is not installed. Install what training needs with:  pip install -e '.[train]'", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
