"""Development commands. The environment they use lies under the ignored folder .dev/ (Linux or macOS, Python 3.10 or
later).

python3 scripts/dev.py demo            run the demo workflow in a real ComfyUI, headless; --ui opens it in the
                                       browser instead
python3 scripts/dev.py test [...]      run all tests; further arguments go to pytest, as --media=DIR (the = is
                                       needed, or pytest takes DIR for a folder of tests before it knows the
                                       option); --fast runs those of the model alone, without ComfyUI, in under a
                                       minute
python3 scripts/dev.py lint            ruff (check and format), and mypy on leo_core; --fix corrects what ruff can
python3 scripts/dev.py serve [...]     ComfyUI with this pack in the foreground; further arguments (all but address,
                                       port and folders) go to ComfyUI
python3 scripts/dev.py setup           only build the environment that the others use
python3 scripts/dev.py author FILE     write workflows/*.json with the real frontend from a description (see
                                       author_workflows.py)
python3 scripts/dev.py thumbnails FILE run the workflows of a description, and make the .jpg of each of what it writes
                                       (see thumbnails.py)
python3 scripts/dev.py schema          record ids, inputs and texts of the nodes after a change on purpose (see
                                       node_schema.py)
python3 scripts/dev.py figures [...]   make the pictures of the help pages anew, or those of the node ids given (see
                                       help_figures.py)
python3 scripts/dev.py blueprint       write the one node with the graph inside, subgraphs/*.json (see
                                       author_blueprint.py)
python3 scripts/dev.py hero            make the animated picture of README.md and the icon anew (see hero.py)
python3 scripts/dev.py modules         draw the module map of CONTRIBUTING.md anew (see module_map.py)
python3 scripts/dev.py pack [FILE]     the archive for the Comfy Registry (see pack.py)

Commands that start a server also take --frontend VERSION and --comfyui SOURCE, to run another version (see
versions.py).
"""

import argparse
import json
import os
import subprocess
import sys
import time
import webbrowser

import environment
import module_map
import versions
from comfy_server import ComfyServer, ExecutionError

DEMO = "LEO - Animate a person with a driving video"
DEMO_PROMPT = environment.ROOT / "scripts" / "demo_prompt.json"
SERVED = environment.DEV / "comfyui_files"


def python() -> str:
    """The interpreter of the environment where there is one; else the running one, which may have all that is
    needed."""
    return str(environment.PYTHON) if environment.PYTHON.exists() else sys.executable


def require(*modules: str) -> None:
    """Say how to get the packages that a command needs, before it fails on the first of them."""
    code = "import importlib.util as i, sys; print(*(m for m in sys.argv[1:] if not i.find_spec(m)), sep=', ')"
    asked = subprocess.run([python(), "-c", code, *modules], check=True, capture_output=True, text=True)
    if missing := asked.stdout.strip():
        raise SystemExit(
            f"[leo] {python()} has no {missing}. Run `python3 scripts/dev.py setup` once, or "
            f"`pip install -e '.[train,test]'` in an environment of your own."
        )


def test(arguments: list[str]) -> int:
    if "--fast" not in arguments:
        environment.setup()
    require("pytest", "hypothesis", "torch", "xdist")
    # The whole suite runs on two workers, each with its own server and browser; a selection runs in one process.
    everything = all(argument.startswith("-") for argument in arguments) and "--fast" not in arguments
    workers = ["-n", "2", "--dist", "worksteal"] if everything else []
    # Torch's threads wait for one another, so with more threads than cores a busy machine slows to a crawl.
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // 2))} if everything else {}
    return subprocess.run(
        [python(), "-m", "pytest", *workers, *arguments], cwd=environment.ROOT, env={**os.environ, **threads}
    ).returncode


def lint(arguments: list[str]) -> int:
    options = argparse.ArgumentParser(prog="dev.py lint")
    options.add_argument("--fix", action="store_true", help="let ruff correct and format what it can")
    fix = options.parse_args(arguments).fix
    require("ruff", "mypy")
    commands = (
        ["ruff", "check", *(["--fix"] if fix else []), "."],
        ["ruff", "format", *([] if fix else ["--check"]), "."],
        ["mypy"],
    )
    return max(subprocess.run([python(), "-m", *command], cwd=environment.ROOT).returncode for command in commands)


def serve(arguments: list[str], message: str = "") -> int:
    environment.setup()
    accelerated = subprocess.run(
        [str(environment.PYTHON), "-c", "import sys, torch; sys.exit(not torch.accelerator.is_available())"]
    )
    cpu = () if accelerated.returncode == 0 else ("--cpu",)
    with ComfyServer(SERVED, arguments=(*cpu, *arguments)) as server:
        environment.say(f"ComfyUI on {server.url}{message} (Ctrl+C ends it; its files: {SERVED})")
        webbrowser.open(server.url)
        return server.process.wait()


def demo(arguments: list[str]) -> int:
    options = argparse.ArgumentParser(prog="dev.py demo")
    options.add_argument("--ui", action="store_true", help="open the browser interface instead of running the workflow")
    if options.parse_args(arguments).ui:
        return serve([], f": Workflow > Browse Templates > leo > {DEMO}")
    environment.setup()
    with ComfyServer(SERVED) as server:
        environment.say(f"running: {DEMO}")
        start = time.monotonic()
        history = server.run(json.loads(DEMO_PROMPT.read_text()), patience=3600)
        for path in server.files(history):
            environment.say(f"{path.suffix[1:]} after {time.monotonic() - start:.0f} s: {os.path.relpath(path)}")
    return 0


def run_script(name: str, arguments: list[str]) -> int:
    environment.setup()
    return subprocess.run([str(environment.PYTHON), str(environment.ROOT / "scripts" / name), *arguments]).returncode


def author(arguments: list[str]) -> int:
    environment.chromium()
    return run_script("author_workflows.py", arguments)


def thumbnails(arguments: list[str]) -> int:
    environment.chromium()
    return run_script("thumbnails.py", arguments)


def figures(arguments: list[str]) -> int:
    environment.chromium()
    return run_script("help_figures.py", arguments)


def schema(arguments: list[str]) -> int:
    return run_script("node_schema.py", arguments)


def blueprint(arguments: list[str]) -> int:
    environment.chromium()
    return run_script("author_blueprint.py", arguments)


def hero(arguments: list[str]) -> int:
    return run_script("hero.py", arguments)


def modules(arguments: list[str]) -> int:
    return module_map.main()


def pack(arguments: list[str]) -> int:
    return run_script("pack.py", arguments)


def main() -> int:
    commands = {
        "demo": demo,
        "test": test,
        "lint": lint,
        "modules": modules,
        "serve": serve,
        "author": author,
        "thumbnails": thumbnails,
        "schema": schema,
        "figures": figures,
        "blueprint": blueprint,
        "hero": hero,
        "pack": pack,
    }
    name, *arguments = sys.argv[1:] or ["--help"]
    if name == "setup" and not arguments:
        environment.setup()
        return 0
    if name in ("-h", "--help"):
        print(__doc__, end="")
        return 0
    if name not in commands:
        known = ", ".join(sorted([*commands, "setup"]))
        wrong = "setup takes no arguments" if name == "setup" else f"there is no command '{name}', but {known}"
        print(f"[leo] {wrong} (see `python3 scripts/dev.py --help`)", file=sys.stderr)
        return 2
    # Servers, workers and commands under test are processes that would each compile torch's and ComfyUI's sources anew
    # where the environment keeps Python from storing what it compiled. Nothing is stored beside the sources.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(environment.DEV / "bytecode")
    try:
        if any(argument.startswith(("--frontend", "--comfyui")) for argument in arguments):
            environment.setup()
            arguments = versions.choose(arguments)
        return commands[name](arguments)
    except (ExecutionError, subprocess.CalledProcessError) as error:
        print(f"[leo] {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
