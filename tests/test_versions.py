"""--frontend and --comfyui of scripts/dev.py, without an index: what a server is started with, and what stays."""

import shutil
from pathlib import Path

import pytest
import versions


@pytest.fixture
def dev(tmp_path, monkeypatch):
    """An empty .dev/, and a pip that writes down what it is asked for and makes the folder it is to fill."""
    asked = []

    def pip(*arguments):
        asked.append(arguments[-1])
        (tmp_path / "dev").joinpath(arguments[arguments.index("--target") + 1]).mkdir(parents=True, exist_ok=True)

    (tmp_path / "dev").mkdir()
    monkeypatch.setattr(versions, "DEV", tmp_path / "dev")
    monkeypatch.setattr(versions, "pip", pip)
    monkeypatch.setattr(versions, "planned", lambda *arguments: ["comfyui-frontend-package==1.99.0"])
    for name in (versions.FRONTEND_CHOICE, versions.COMFYUI_CHOICE, "PYTHONPATH"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return asked


@pytest.fixture
def tree(tmp_path):
    folder = tmp_path / "there" / "ComfyUI-master"
    folder.mkdir(parents=True)
    for name, text in (
        ("main.py", ""),
        ("comfyui_version.py", '__version__ = "0.99.0"'),
        ("requirements.txt", "torch\nyarl>=1.18.0\n"),
    ):
        (folder / name).write_text(text)
    return folder


def test_without_a_choice_the_pinned_versions_are_started(dev):
    assert versions.choose(["tests/browser", "-k", "help"]) == ["tests/browser", "-k", "help"]
    assert versions.frontend_arguments() == [] and versions.chosen_comfyui() == versions.COMFYUI


@pytest.mark.parametrize("version, fetched", [("1.58.1", "1.58.1"), ("newest", "1.99.0")])
def test_a_frontend_is_fetched_once_into_a_folder_of_its_own(dev, version, fetched):
    for _ in range(2):
        assert versions.choose(["--frontend", version, "-m", "smoke"]) == ["-m", "smoke"]
    assert dev == [f"comfyui-frontend-package=={fetched}"]
    option, root = versions.frontend_arguments()
    assert option == "--front-end-root"
    assert root == str(versions.DEV / "frontends" / fetched / "comfyui_frontend_package" / "static")


@pytest.mark.parametrize("version, step", [("newest", "planned"), ("1.58.1", "pip")])
def test_a_frontend_that_cannot_be_fetched_ends_the_command(dev, monkeypatch, version, step):
    def fail(*arguments):
        raise versions.subprocess.CalledProcessError(1, "pip")

    versions.fetch_frontend("1.47.12")
    monkeypatch.setattr(versions, step, fail)
    with pytest.raises(SystemExit, match=rf"{version} could not be fetched.*fetched before \(1\.47\.12\)"):
        versions.choose(["--frontend", version, "-m", "smoke"])


def test_a_tree_is_used_where_it_is_with_the_packages_that_it_lacks_beside_it(dev, tree, monkeypatch):
    asked = []

    def planned(*arguments):
        asked.append(Path(arguments[-1]).read_text())
        return ["yarl==2.0"]

    monkeypatch.setattr(versions, "planned", planned)
    assert versions.choose([f"--comfyui={tree}"]) == []
    assert versions.chosen_comfyui() == tree
    assert asked == ["yarl>=1.18.0"], "torch stays the environment's"
    assert dev == ["yarl==2.0"] and versions.os.environ["PYTHONPATH"].startswith(str(versions.DEV / "trees"))


@pytest.mark.parametrize("kind", ["zip", "gztar"])
def test_a_tree_comes_out_of_an_archive(dev, tree, tmp_path, kind):
    archive = shutil.make_archive(str(tmp_path / "comfy"), kind, tree.parent)
    made = versions.fetch_comfyui(archive)
    assert made == versions.fetch_comfyui(archive) and made.is_relative_to(versions.DEV)
    assert (made / "main.py").exists() and (tree / "main.py").exists()


def test_what_holds_no_comfyui_is_refused(dev, tmp_path):
    with pytest.raises(SystemExit, match="it has no main.py"):
        versions.fetch_comfyui(str(tmp_path))
    (tmp_path / "other").mkdir()
    archive = shutil.make_archive(str(tmp_path / "other"), "zip", tmp_path / "other")
    with pytest.raises(SystemExit, match="holds no ComfyUI"):
        versions.fetch_comfyui(archive)
