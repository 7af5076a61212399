"""Every shipped workflow, as a user meets it: found in the template browser, opened by a click, nothing wrong with it."""
import json
from pathlib import Path

import av
import pytest

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / "workflows").glob("*.json"))


def pytest_generate_tests(metafunc):
    if "path" in metafunc.fixturenames:
        metafunc.parametrize("path", WORKFLOWS, ids=[path.stem for path in WORKFLOWS])


@pytest.fixture
def downloads(server, path):
    """Empty files in place of the models that a user downloads: with them missing, the page shows their nodes in red."""
    for node in json.loads(path.read_text())["nodes"]:
        for model in node["properties"].get("models", []):
            (server.base / "models" / model["directory"]).mkdir(parents=True, exist_ok=True)
            (server.base / "models" / model["directory"] / model["name"]).touch()


def test_it_opens_from_the_template_browser(downloads, frontend, path):
    state = frontend.open_template(path.stem)
    assert (state["toasts"], state["unknown"], state["red"]) == ([], [], [])
    assert frontend.problems(path) == []


def test_its_file_names_the_packs_of_its_nodes_and_has_a_thumbnail(path):
    for node in json.loads(path.read_text())["nodes"]:
        assert node["properties"]["cnr_id"] == ("leo" if node["type"].startswith("LEO") else "comfy-core")
    assert path.with_suffix(".jpg").is_file()


def test_the_first_workflow_runs_from_the_page(server, frontend):
    """What a new user does: open the template, press Run, with nothing in input/. A finished video appears."""
    for left_by_other_tests in (server.base / "input").glob("*.*"):
        left_by_other_tests.unlink()
    frontend.open_template("LEO - Animate a person from a driving video")
    video, = server.files(frontend.run())
    with av.open(str(video)) as result, av.open(str(ROOT / "samples" / "man_talking.mp4")) as clip:
        assert describe(result) == describe(clip)


def describe(container: av.container.InputContainer) -> tuple:
    stream = container.streams.video[0]
    return sum(1 for _ in container.decode(video=0)), stream.average_rate, stream.width, stream.height
