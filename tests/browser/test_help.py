"""What a user finds when a node is not clear: its help page, and its texts in another language."""

import json
from pathlib import Path

import pytest
from frontend import READY

ROOT = Path(__file__).resolve().parents[2]
ADD = """(types) => {
  app.graph.clear();
  for (const [i, type] of types.entries()) {
    const node = LiteGraph.createNode(type);
    node.pos = [400 + 330 * i, 200];
    app.graph.add(node);
  }
  app.canvas.ds.reset();
  app.canvas.setDirty(true, true);
}"""
# Names as the node shows them.
TEXTS = """() => app.graph.nodes.map(n => ({
  title: n.title,
  inputs: n.inputs.map(i => i.label ?? i.localized_name ?? i.name),
  outputs: n.outputs.map(o => o.label ?? o.localized_name ?? o.name),
}))"""
PICTURES = "() => [...document.querySelectorAll('.node-help-content img')].map(i => [decodeURI(i.src), i.naturalWidth])"


def click_title(page, node: int) -> None:
    page.wait_for_timeout(1000)  # a node that was not drawn yet cannot be clicked
    x, y = page.evaluate(
        """i => {
      const n = app.graph.nodes[i], box = app.canvas.canvas.getBoundingClientRect(), ds = app.canvas.ds;
      return [box.x + (n.pos[0] + 60 + ds.offset[0]) * ds.scale, box.y + (n.pos[1] - 15 + ds.offset[1]) * ds.scale];
    }""",
        node,
    )
    page.mouse.click(x, y)


def open_help(page) -> str:
    """Click the one node's title and its info button; the text of the page that opens."""
    click_title(page, 0)
    page.get_by_test_id("info-button").click()
    content = page.locator(".node-help-content").first
    content.get_by_role("heading", level=1).wait_for()
    return content.inner_text()


@pytest.mark.smoke
def test_the_info_button_opens_the_help_page_with_its_picture(frontend):
    page = frontend.page
    page.evaluate(ADD, ["LEOMotionEncoder"])
    assert "few numbers per frame" in open_help(page)
    page.wait_for_function("() => document.querySelector('.node-help-content img')?.naturalWidth > 0")
    ((source, width),) = page.evaluate(PICTURES)
    assert source.endswith("/docs/LEOMotionEncoder.webp") and width > 300
    assert page.locator(".node-help-content table").count() == 2


@pytest.fixture
def chinese(frontend):
    frontend.server.post("/settings", {"Comfy.Locale": "zh"})
    frontend.page.reload()
    frontend.page.wait_for_function(READY)
    yield frontend.page
    frontend.server.post("/settings", {"Comfy.Locale": "en"})


def test_nodes_speak_chinese_in_a_chinese_comfyui_and_help_stays_readable(chinese):
    translated = json.loads((ROOT / "locales" / "zh" / "nodeDefs.json").read_text(encoding="utf-8"))
    types = ["LEORetimeMotion", "LEOCropSubject", "LEORenderVideo"]
    chinese.evaluate(ADD, types)
    for node_id, shown in zip(types, chinese.evaluate(TEXTS), strict=True):
        expected = translated[node_id]
        assert shown["title"] == expected["display_name"]
        assert shown["outputs"] == [output["name"] for output in expected["outputs"].values()]
        assert set(shown["inputs"]) <= {text["name"] for text in expected["inputs"].values()}
    assert "Plays a motion" in open_help(chinese)
