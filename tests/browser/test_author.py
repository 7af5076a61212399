"""The tool that writes workflow files, and the checks on them, against the real frontend."""

import json

import author_workflows
import pytest
from comfy_server import ExecutionError
from PIL import Image

DESCRIPTION = """
from author_workflows import Workflow

flow = Workflow("Two pictures", thumbnail={thumbnail!r}, prompt={prompt!r})
red = flow.node("EmptyImage", inputs={{"width": 64, "height": 32, "batch_size": 2, "color": 0xff0000}})
blue = flow.node("EmptyImage", inputs={{"width": 40, "height": 40, "color": 0x0000ff}}, title="Blue")
scaled = flow.node("ResizeImageMaskNode", inputs={{
    "input": blue["IMAGE"], "resize_type": "scale dimensions", "resize_type.width": 64, "resize_type.height": 32}})
both = flow.node("BatchImagesNode", inputs={{"images.image0": red[0], "images.image1": scaled["resized"]}})
flow.node("SaveImage", inputs={{"images": both["IMAGE"], "filename_prefix": "authored"}}, size=(300, 300))
flow.note("# Two pictures")
flow.group("Made of nothing", red, blue)
"""


@pytest.fixture(scope="session")
def authored(chromium_page, tmp_path_factory):
    """The path of a workflow written by the tool."""
    folder = tmp_path_factory.mktemp("authored")
    Image.new("RGBA", (1024, 512), "green").save(folder / "picture.png")
    (folder / "description.py").write_text(
        DESCRIPTION.format(thumbnail=str(folder / "picture.png"), prompt=str(folder / "prompt.json"))
    )
    (flow,) = author_workflows.describe([str(folder / "description.py")])
    chromium_page.open()  # a test before may have led it to another server
    return author_workflows.author(flow, chromium_page, folder / "workflows")


def test_an_authored_workflow_holds_what_was_described(authored):
    graph = json.loads(authored.read_text())
    nodes = {node["type"]: node for node in graph["nodes"]}
    assert nodes["ResizeImageMaskNode"]["widgets_values"][:3] == ["scale dimensions", 64, 32]
    assert {node["properties"]["cnr_id"] for node in graph["nodes"]} == {"comfy-core"}
    assert sorted((link[1], link[3]) for link in graph["links"]) == [(1, 4), (2, 3), (3, 4), (4, 5)]
    assert graph["groups"][0]["title"] == "Made of nothing"
    assert Image.open(authored.with_suffix(".jpg")).size == (512, 256)


def test_nothing_in_an_authored_workflow_overlaps(authored):
    boxes = [
        (node["pos"][0], node["pos"][1] - 30, node["pos"][0] + node["size"][0], node["pos"][1] + node["size"][1])
        for node in json.loads(authored.read_text())["nodes"]
    ]
    for i, (left, top, right, bottom) in enumerate(boxes):
        assert not [b for b in boxes[i + 1 :] if b[0] < right and left < b[2] and b[1] < bottom and top < b[3]]


@pytest.mark.smoke
def test_it_runs_by_a_click_and_shows_its_pictures(frontend, authored):
    assert frontend.problems(authored) == []
    pictures = frontend.server.files(frontend.run())
    assert [Image.open(path).getpixel((5, 5)) for path in pictures] == [(255, 0, 0), (255, 0, 0), (0, 0, 255)]


def test_its_prompt_runs_without_a_browser(server, authored):
    history = server.run(json.loads((authored.parent.parent / "prompt.json").read_text()))
    assert len(server.files(history)) == 3


def break_value(graph):
    node = next(n for n in graph["nodes"] if n["type"] == "ResizeImageMaskNode")
    del node["widgets_values"][1]
    return "became"


def break_node(graph):
    graph["nodes"][0]["type"] = "NoSuchNode"
    return "not installed: NoSuchNode"


def break_schema(graph):
    graph["nodes"][0]["pos"] = "left"
    return "toast"


@pytest.mark.parametrize("damage", [break_value, break_node, break_schema])
def test_the_check_sees_a_damaged_file(frontend, authored, damage):
    graph = json.loads(authored.read_text())
    expected = damage(graph)
    assert expected in "\n".join(frontend.problems(graph))


def test_a_description_with_a_wrong_name_says_which_there_are(frontend, tmp_path):
    flow = author_workflows.Workflow("wrong")
    flow.node("EmptyImage", inputs={"widht": 3})
    with pytest.raises(Exception, match="EmptyImage has no widget widht, but width, height, batch_size, color"):
        author_workflows.author(flow, frontend, tmp_path)


def test_a_refused_run_names_the_node(frontend):
    flow = author_workflows.Workflow("unfinished")
    flow.node("SaveImage")
    frontend.load(author_workflows.build(flow, frontend))
    with pytest.raises(ExecutionError, match="SaveImage: Required input is missing"):
        frontend.run()
    assert frontend.state()["red"] == ["1 SaveImage"]
