"""Every shipped workflow, as a user meets it: found in the template browser, opened by a click, run, its output on
the page."""

import json
from pathlib import Path

import av
import numpy as np
import pytest
from frontend import RESULTS
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / "workflows").glob("*.json"))
FIRST = "LEO - Animate a person with a driving video"

# What the nodes that save show: [title, width and height of their picture or video].
SHOWN = """() => app.graph.nodes.filter(n => ['SaveVideo', 'SaveImage'].includes(n.type) && n.mode === 0).map(n => {
  const video = n.videoContainer?.querySelector('video');
  return [n.title, video?.videoWidth || n.imgs?.[0]?.naturalWidth || 0];
})"""
# Types of the nodes that show pictures or videos, of while they worked or of when they were done.
WITH_A_PICTURE = """() => app.graph.nodes
  .filter(n => app.nodePreviewImages[n.id]?.length || app.nodeOutputs[n.id]?.images?.length).map(n => n.type)"""


def pytest_generate_tests(metafunc):
    if "path" in metafunc.fixturenames:
        metafunc.parametrize("path", WORKFLOWS, ids=[path.stem for path in WORKFLOWS])


@pytest.fixture
def empty_input(server):
    for left_by_other_tests in (server.base / "input").glob("*.*"):
        left_by_other_tests.unlink()


def pictures(path: Path) -> np.ndarray:
    """Frames [T, H, W, 3] of a picture or video file."""
    if path.suffix == ".png":
        return np.asarray(Image.open(path).convert("RGB"))[None].astype(int)
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(int)


def saved(server, prompt: dict, history: dict) -> list[Path]:
    """Files written by the nodes that save pictures and videos, in their place and by their name."""
    written = []
    for key, node in prompt.items():
        if node["class_type"] in ("SaveImage", "SaveVideo"):
            files = server.files({"outputs": {key: history["outputs"][key]}})
            assert {path.name.split("_")[0] for path in files} == {Path(node["inputs"]["filename_prefix"]).name}
            written += files
    return written


def test_it_opens_runs_and_shows_its_output(
    server, liax, face_detector, empty_input, frontend, reduced, path, full, pytestconfig
):
    """By clicks on the template and on Run, with nothing in input/."""
    state = frontend.open_template(path.stem)
    assert (state["toasts"], state["unknown"], state["red"]) == ([], [], [])
    assert frontend.problems(path, state) == []
    assert frontend.misplaced() == []
    if not full and path.stem != FIRST:
        reduced(frontend.page)
    prompt = frontend.prompt()
    files = saved(server, prompt, frontend.run(3600))
    assert files
    for written in files:
        frames = pictures(written)
        assert frames.std() > 1 and (len(frames) > 5 or written.suffix == ".png")
    frontend.page.wait_for_function(f"() => ({SHOWN})().every(([, width]) => width > 0)")
    assert frontend.state()["red"] == []
    assert frontend.misplaced() == []
    # Nodes that are not listed there would grow in Nodes 2.0 without test_templates.py seeing it.
    assert set(frontend.page.evaluate(WITH_A_PICTURE)) <= set(RESULTS)
    if pytestconfig.getoption("--screenshots"):
        frontend.screenshot(pytestconfig.getoption("--screenshots") / f"{path.stem}.png")
    if path.stem == FIRST:
        with av.open(str(files[0])) as result, av.open(str(ROOT / "samples" / "man_talking.mp4")) as clip:
            assert describe(result) == describe(clip)


def describe(container: av.container.InputContainer) -> tuple:
    stream = container.streams.video[0]
    return sum(1 for _ in container.decode(video=0)), stream.average_rate, stream.width, stream.height


def test_its_file_names_the_packs_of_its_nodes_and_has_a_thumbnail(path):
    for node in json.loads(path.read_text())["nodes"]:
        assert node["properties"]["cnr_id"] == ("leo" if node["type"].startswith("LEO") else "comfy-core")
    assert path.with_suffix(".jpg").is_file()


def test_data_flows_from_left_to_right(path):
    graph = json.loads(path.read_text())
    left = {node["id"]: node["pos"][0] for node in graph["nodes"]}
    assert not [link for link in graph["links"] if left[link[1]] > left[link[3]]]


def test_what_is_put_back_into_the_photo_was_cut_out_of_it(path):
    """Otherwise the animator would see the whole photo."""
    graph = json.loads(path.read_text())
    nodes, sources = {node["id"]: node for node in graph["nodes"]}, {link[0]: link[1] for link in graph["links"]}
    for node in graph["nodes"]:
        for slot in node.get("inputs", []) if node["type"] in ("LEORenderVideo", "LEOPasteBack") else []:
            if slot["name"] == "crop" and slot["link"]:
                cut = nodes[sources[slot["link"]]]
                assert all(output["links"] for output in cut["outputs"] if output["name"] == "image")


def test_another_animator_chosen_in_the_first_workflow_runs_too(server, liax, frontend, reduced):
    frontend.open_template(FIRST)
    frontend.page.evaluate(
        "() => { app.graph.nodes.find(n => n.type === 'LEOLoadAnimator').widgets[0].value = 'lia-x.pt' }"
    )
    reduced(frontend.page, seconds=0.1)
    (video,) = saved(server, frontend.prompt(), frontend.run())
    assert pictures(video).shape[1:] == (256, 256, 3)
