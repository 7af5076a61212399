"""Where the tests find things.

`leo_core` is imported from the repository. The nodes are imported as `leo_pack.nodes.<file>`, and run in-process on
ComfyUI's own modules, in CPU mode, with input, output and temp folders of their own (fixture `comfy_folders`).
"""

import asyncio
import importlib
import importlib.machinery
import importlib.util
import json
import sys
import types
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "scripts"))
from versions import chosen_comfyui  # noqa: E402  (which tree of ComfyUI is known to scripts/ alone)

COMFYUI = chosen_comfyui()
PACK = "leo_pack"


class OneLeoCore:
    """`leo_pack.leo_core` is `leo_core`: imported twice, a MotionSequence of a test would be none of the nodes'."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == f"{PACK}.leo_core" or name.startswith(f"{PACK}.leo_core."):
            return importlib.machinery.ModuleSpec(name, OneLeoCore())
        return None

    def create_module(self, spec):
        module = importlib.import_module(spec.name.removeprefix(f"{PACK}."))
        self.spec = module.__spec__
        return module

    def exec_module(self, module):
        module.__spec__ = self.spec  # the import system has just overwritten it


def order_paths() -> None:
    """ComfyUI first, the repository last: both have something called `nodes`, and ComfyUI imports its own by that
    name."""
    for path in (str(ROOT), ""):
        while path in sys.path:
            sys.path.remove(path)
    sys.path.insert(0, str(COMFYUI))
    sys.path.append(str(ROOT))


def name_pack() -> None:
    """The repository as a package, because ComfyUI loads it as one too, under a name that no folder has."""
    pack = types.ModuleType(PACK)
    pack.__path__ = [str(ROOT)]
    sys.modules[PACK] = pack
    sys.meta_path.insert(0, OneLeoCore)


# `--fast` runs what tests the model alone: it needs no ComfyUI, and a minute of one core.
FAST = "--fast" in sys.argv
if FAST:
    collect_ignore = [
        "browser",
        "fuzz",
        "nodes",
        "robustness",
        "server",
        "training",
        "test_fullres.py",
        "test_library.py",
        "test_liax.py",
        "test_video.py",
        "test_video_exactly.py",
    ]

order_paths()
name_pack()
if COMFYUI.exists() and not FAST:
    from comfy.cli_args import args

    args.cpu = True  # before anything imports comfy.model_management, which reads it once
    importlib.import_module(
        "utils.install_util"
    )  # as main.py does: ComfyUI's nodes.py puts comfy/, which has a utils.py, first on the path


def pytest_addoption(parser):
    parser.addoption(
        "--media",
        type=Path,
        help="folder with clips/ and stills/ of real people; tests on them run only when it is given",
    )
    parser.addoption(
        "--humans",
        type=Path,
        help="folder of MakeHuman's CC0 assets; tests that render people run only when it is given",
    )
    parser.addoption(
        "--screenshots", type=Path, help="folder to put a picture of every workflow into, after its run in the page"
    )
    parser.addoption("--fast", action="store_true", help="only the fast tests of leo_core, without ComfyUI")
    parser.addoption("--full", action="store_true", help="full counts in tests that otherwise take a sample")


def pytest_configure(config):
    media = config.getoption("--media")
    if media and not media.is_dir():
        raise pytest.UsageError(f"--media {media}: no such folder")


def pytest_collection_modifyitems(config, items):
    """Tests on real media are left out, not skipped, where there is none: a clone without it is complete."""
    if not config.getoption("--media"):
        items[:] = [item for item in items if "media" not in item.fixturenames]


@pytest.fixture(scope="session")
def media(pytestconfig) -> Path:
    """The folder of real test media; a test that names this fixture exists only with --media."""
    return pytestconfig.getoption("--media").resolve()


@pytest.fixture(scope="session")
def full(pytestconfig) -> bool:
    return pytestconfig.getoption("--full")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Networks as small as the tests' only wait for each other on several threads."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A real ComfyUI with this pack and with empty folders, started once for all tests that name it."""
    from comfy_server import ComfyServer

    with ComfyServer(tmp_path_factory.mktemp("comfyui")) as running:
        yield running


@pytest.fixture(scope="session")
def archive(tmp_path_factory) -> Path:
    """What users get, as a .zip."""
    import pack as packaging

    return packaging.pack(tmp_path_factory.mktemp("archive") / "leo.zip")


@pytest.fixture(scope="session")
def installed(archive, tmp_path_factory):
    """A server whose only pack is the unpacked archive, in a folder whose name has a space and capitals."""
    from comfy_server import ComfyServer

    base = tmp_path_factory.mktemp("clean comfyui")
    with zipfile.ZipFile(archive) as content:
        content.extractall(base / "custom_nodes" / "LEO Pack (Copy)")
    with ComfyServer(base, linked=False) as server:
        yield server


@pytest.fixture
def comfy_folders(tmp_path, monkeypatch) -> Path:
    """Empty input/, output/, temp/ and models/ for nodes called in-process; returns their parent."""
    import folder_paths

    for kind in ("input", "output", "temp"):
        (tmp_path / kind).mkdir()
        monkeypatch.setattr(folder_paths, f"{kind}_directory", str(tmp_path / kind))
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path / "models"))
    return tmp_path


@pytest.fixture
def pack(comfy_folders, monkeypatch) -> dict:
    """The pack's node classes by id, registered as ComfyUI does it, with `comfy_folders` as ComfyUI's folders."""
    import folder_paths
    from leo_pack.nodes import comfy_entrypoint

    monkeypatch.delitem(folder_paths.folder_names_and_paths, "leo", raising=False)

    async def load() -> dict:
        extension = await comfy_entrypoint()
        await extension.on_load()
        return {node.GET_SCHEMA().node_id: node for node in await extension.get_node_list()}

    # In a thread of its own: Playwright, once started, keeps an event loop running in this one.
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(asyncio.run, load()).result()
    folder_paths.folder_names_and_paths.pop("leo", None)
    folder_paths.filename_list_cache.pop("leo", None)


@pytest.fixture(scope="session")
def animator_file(tmp_path_factory) -> str:
    """An animator file of 32 px and 4 directions with random weights of the size training gives them."""
    import torch

    from leo_core.animator import Animator, lia, orthonormal_basis
    from leo_core.animator.checkpoint import raw_state, save_animator

    config = lia(32, {4: 16, 8: 16, 16: 8, 32: 8}, style_dim=16, directions=4)
    animator = Animator(config).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in animator.named_parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 16
        parameter.data = torch.randn(parameter.shape, generator=generator) / fan_in**0.5
        if name.endswith("modulation.bias"):
            parameter.data += 1
    weight = animator.dictionary.basis.clone()
    animator.dictionary.basis.data = orthonormal_basis(weight)
    path = tmp_path_factory.mktemp("animators") / "small.safetensors"
    save_animator(path, raw_state(animator, weight), config, torch.float32)
    return str(path)


@pytest.fixture
def photo():
    """A picture that is not square, [1, 40, 48, 3] in 0..1."""
    import torch

    return torch.rand(1, 40, 48, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="session")
def lia_state() -> dict:
    """Weights in the published layout of LIA at 64 px, a sixteenth as wide."""
    import torch

    generator = torch.Generator().manual_seed(0)
    shapes = json.loads((ROOT / "tests" / "data" / "lia64_layout.json").read_text())
    return {
        name: torch.randn([n // 16 if n % 16 == 0 else n for n in shape], generator=generator)
        for name, shape in shapes.items()
    }
