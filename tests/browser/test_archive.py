"""The workflows of the archive that users get, run from the page of a ComfyUI that has nothing else, in a folder
with a space in its name."""

import copy
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = [
    "LEO - Animate a person from one image",
    "LEO - Pose a still picture",
    "LEO - Shape a motion with sliders and curves",
]


@pytest.fixture
def page_of_archive(installed, chromium_page):
    """The tests' own browser on that server: Playwright starts only once in a process."""
    page = copy.copy(chromium_page)
    page.server = installed
    page.open()
    return page


def wants_download(path: Path) -> bool:
    return any(
        node["type"] == "LEOLoadAnimator" and node["properties"].get("models")
        for node in json.loads(path.read_text())["nodes"]
    )


def test_its_workflows_load_clean_and_run(page_of_archive, reduced, full):
    """Three of them; with --full all that want no download. They are loaded from their files: ComfyUI lists
    templates of such a folder but serves them not, whosever they are."""
    (folder,) = (page_of_archive.server.base / "custom_nodes").iterdir()
    paths = [path for path in sorted((folder / "workflows").glob("*.json")) if not wants_download(path)]
    assert len(paths) > 10
    for path in paths if full else [path for path in paths if path.stem in SAMPLE]:
        assert page_of_archive.problems(path) == []
        reduced(page_of_archive.page)
        assert page_of_archive.server.files(page_of_archive.run()), path.stem
