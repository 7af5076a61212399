"""The one node with the graph inside, as a user finds it and as its command writes it."""

import json
from pathlib import Path

import author_blueprint
import pytest
from playwright.sync_api import TimeoutError

ROOT = Path(__file__).resolve().parents[2]
ADD = """() => {
  app.graph.clear();
  for (const [x, type] of [[200, 'LEOLoadSample'], [900, 'SaveVideo']]) {
    const node = LiteGraph.createNode(type);
    node.pos = [x, 200];
    app.graph.add(node);
  }
  app.canvas.setDirty(true, true);
}"""


@pytest.mark.smoke
def test_the_blueprint_is_the_first_answer_to_the_packs_name_and_animates_a_photo(frontend):
    page = frontend.page
    page.evaluate(ADD)
    page.wait_for_timeout(1000)
    for _ in range(20):  # on a busy machine the two clicks can be too far apart to count as a double click
        page.mouse.dblclick(700, 700)
        try:
            page.wait_for_function("() => document.activeElement?.tagName === 'INPUT'", timeout=10_000)
            break
        except TimeoutError:
            page.keyboard.press("Escape")
    else:
        raise AssertionError("A double click on the canvas opened no search.")
    page.keyboard.type("leo")
    page.get_by_text("Subgraph Blueprints / LEO").first.wait_for()
    page.keyboard.press("Enter")
    page.get_by_text("Subgraph Blueprints / LEO").first.wait_for(state="hidden")
    page.mouse.click(700, 700)  # where the new node is put down
    page.wait_for_function("() => app.graph.nodes.length === 3")
    page.evaluate("""() => {
      const find = type => app.graph.nodes.find(n => type ? n.type === type : n.isSubgraphNode?.());
      const photo = find("LEOLoadSample"), save = find("SaveVideo"), animate = find();
      photo.widgets[0].value = 'woman.png';
      animate.widgets.find(w => w.name === 'motion').value = 'nod';
      animate.widgets.find(w => w.name === 'seconds').value = 0.24;
      photo.connect(0, animate, 0);
      animate.connect(0, save, 0);
    }""")
    seed = """() => app.graph.nodes.find(n => n.isSubgraphNode?.()).widgets.find(w => w.name === 'seed').value"""
    before = page.evaluate(seed)
    frontend.run()
    page.locator("video").first.wait_for(state="attached")
    assert page.evaluate(seed) != before, "Run again would sample the same motion."


def test_the_blueprint_file_is_what_its_command_writes(frontend):
    """But for places and sizes, which the page may round otherwise."""

    def content(graph: dict) -> list:
        (inside,) = graph["definitions"]["subgraphs"]
        (host,) = graph["nodes"]
        return [
            host["widgets_values"],
            [slot["name"] for slot in host["inputs"]],
            [(node["type"], node.get("widgets_values") or []) for node in inside["nodes"]],
            len(inside["links"]),
        ]

    written = json.loads((ROOT / "subgraphs" / f"{author_blueprint.TITLE}.json").read_text(encoding="utf-8"))
    assert content(written) == content(author_blueprint.author(frontend))
