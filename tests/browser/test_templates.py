"""The template browser, and how each of the pack's templates opens in a window of 1600x1000."""

from itertools import pairwise
from pathlib import Path

import pytest
from frontend import READY

WORKFLOWS = sorted((Path(__file__).resolve().parents[2] / "workflows").glob("*.json"))
WINDOW = {"width": 1600, "height": 1000}
LEAST_ZOOM = 8 / 14  # below it, text of 14 pixels is smaller than 8, and classic rendering leaves it out
CARDS = """() => [...document.querySelectorAll('[data-testid^="template-workflow-LEO"]')].map(card => {
  const {top, left} = card.getBoundingClientRect();
  return [top, left, card.dataset.testid.replace('template-workflow-', '')];
})"""
# How far apart the note and each node that saves stand: [across, down], negative where they share a side.
APART = """() => {
  const boxes = types => app.graph.nodes.filter(n => types.includes(n.type)).map(n => n.getBounding());
  const gap = (a, b, side) => Math.max(a[side], b[side]) - Math.min(a[side] + a[side + 2], b[side] + b[side + 2]);
  const [note] = boxes(['MarkdownNote']);
  return boxes(['SaveVideo', 'SaveImage']).map(result => [gap(note, result, 0), gap(note, result, 1)]);
}"""

ALL_DRAWN = "() => app.graph.nodes.every(n => document.querySelector(`[data-node-id='${n.id}']`)?.offsetHeight > 0)"


@pytest.mark.parametrize("path", WORKFLOWS, ids=[path.stem for path in WORKFLOWS])
def test_it_opens_readable_with_the_note_beside_a_result(frontend, path):
    frontend.page.set_viewport_size(WINDOW)
    frontend.open_template(path.stem)
    assert frontend.page.evaluate("() => app.canvas.ds.scale") >= LEAST_ZOOM
    assert min(max(across, down) for across, down in frontend.page.evaluate(APART)) < 100


def test_to_animate_one_image_is_the_first_of_the_templates(frontend):
    frontend.page.get_by_role("button", name="Templates").first.click()
    frontend.page.get_by_role("dialog").get_by_text("leo", exact=True).click()
    frontend.page.get_by_test_id(f"template-workflow-{WORKFLOWS[0].stem}").wait_for()
    cards = sorted(frontend.page.evaluate(CARDS))
    assert len(cards) == len(WORKFLOWS)
    assert cards[0][2] == "LEO - Animate a person from one image"
    assert not [a for a, b in pairwise(cards) if a[:2] == b[:2]]


@pytest.fixture
def nodes_2_0(frontend):
    frontend.server.post("/settings", {"Comfy.VueNodes.Enabled": True})
    frontend.page.reload()
    frontend.page.wait_for_function(READY)
    yield frontend
    frontend.server.post("/settings", {"Comfy.VueNodes.Enabled": False})


def test_in_nodes_2_0_no_node_covers_another_or_leaves_its_group(nodes_2_0):
    """It draws some nodes higher than classic rendering does, and more so with the pictures that a run leaves on
    them."""
    wrong = {}
    for path in WORKFLOWS:
        nodes_2_0.load(path)
        nodes_2_0.page.wait_for_function(ALL_DRAWN)
        wrong[path.stem] = nodes_2_0.misplaced()
        nodes_2_0.show_results()
        wrong[f"{path.stem}, after a run"] = nodes_2_0.misplaced()
    assert not any(wrong.values()), {where: found for where, found in wrong.items() if found}
