"""The rows of LEO Edit Directions in the real frontend."""

import urllib.error

import pytest
import torch
from frontend import READY

from leo_core.animator import Animator, Direction, lia, orthonormal_basis
from leo_core.animator.checkpoint import raw_state, save_animator

GRAPH = """() => {
  app.graph.clear();
  const make = (type, x) => { const node = LiteGraph.createNode(type); node.pos = [x, 50]; app.graph.add(node);
      return node };
  const animator = make('LEOLoadAnimator', 50);
  window.edit = make('LEOEditDirections', 500);
  animator.widgets.find(w => w.name === 'model').value = 'named.safetensors';
  window.connect = () => animator.connect(0, edit, edit.inputs.findIndex(i => i.name === 'animator'));
  window.text = edit.widgets.find(w => w.name === 'edits');
  window.add = () => edit.widgets.find(w => w.type === 'button').callback();
  window.rows = () => edit.widgets.filter(w => w.leoRow);
  window.pick = (row, value) => { rows()[row].value = value; rows()[row].callback(value) };
  window.type = (value) => { text.value = value; text.callback(value) };
}"""
ROWS = "() => rows().map(w => w.value)"


@pytest.fixture(scope="module")
def named_model(server):
    """An animator file with two named directions."""
    config = lia(16, {4: 8, 8: 8, 16: 8}, style_dim=16, directions=6)
    animator, generator = Animator(config), torch.Generator().manual_seed(0)
    dictionary = torch.randn(16, 6, generator=generator)
    weights = {name: torch.randn(value.shape, generator=generator) for name, value in animator.state_dict().items()}
    animator.load_state_dict({**weights, "dictionary.basis": orthonormal_basis(dictionary)})
    folder = server.base / "models" / "leo"
    folder.mkdir(parents=True, exist_ok=True)
    save_animator(
        folder / "named.safetensors",
        raw_state(animator, dictionary),
        config,
        directions={1: Direction("turn head", -2.0, 2.0), 4: Direction("smile", -1.0, 0.5)},
    )


@pytest.fixture
def page(named_model, frontend):
    frontend.page.evaluate(GRAPH)
    return frontend.page


def connect(page):
    page.evaluate("() => connect()")
    page.wait_for_function("() => edit.leoDirections?.length === 6")


def test_rows_carry_the_names_of_the_connected_animator(page):
    connect(page)
    page.evaluate("() => { add(); add() }")
    assert page.evaluate(ROWS) == ["0", 0, "1 turn head", 0]
    assert page.evaluate("() => text.value") == "0: 0\nturn head: 0"


def test_names_follow_the_choice_of_another_model(page):
    connect(page)
    page.evaluate("() => type('1: 1')")
    page.evaluate("""() => {
      const model = app.graph.nodes.find(n => n.type === 'LEOLoadAnimator').widgets[0];
      model.value = 'leo-face-64.safetensors';
      model.callback(model.value);
    }""")
    page.wait_for_function("() => edit.leoDirections?.length === 20")
    page.wait_for_function("() => rows()[0].value === '1 nod'")


def test_nodes_2_0_offers_the_names_too(page, frontend):
    """There the page draws what it keeps of a widget, not the widget."""
    frontend.server.post("/settings", {"Comfy.VueNodes.Enabled": True})
    try:
        page.reload()
        page.wait_for_function(READY)
        page.evaluate(GRAPH)
        page.evaluate("() => type('1: 1')")
        connect(page)
        page.get_by_label("direction 1").click()
        page.get_by_role("option", name="4 smile").click()
        assert page.evaluate("() => text.value") == "smile: 1"
        assert page.locator("[aria-invalid=true]").count() == 0
    finally:
        frontend.server.post("/settings", {"Comfy.VueNodes.Enabled": False})


def test_released_weights_give_their_names_before_the_first_run(page, server, narrow_liax):
    (server.base / "models" / "leo" / "named.pt").write_bytes(narrow_liax.read_bytes())
    page.evaluate(
        "() => { app.graph.nodes.find(n => n.type === 'LEOLoadAnimator').widgets[0].value = 'named.pt'; connect() }"
    )
    page.wait_for_function("() => edit.leoDirections?.length === 40")
    page.evaluate("() => type('yaw: 1')")
    assert page.evaluate(ROWS) == ["37 yaw", 1]
    assert page.evaluate("() => [rows()[1].options.min, rows()[1].options.max]") == pytest.approx([-8 / 3, 4 / 3])


@pytest.mark.parametrize("model", ["", "absent.pt", "../../server.log", "letter.pt"])
def test_files_without_directions_are_refused(named_model, server, model):
    (server.base / "models" / "leo" / "letter.pt").write_text("Dear reader")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        server.get("/leo/directions", model=model)


def test_moving_a_row_writes_the_text(page):
    connect(page)
    page.evaluate("() => { add(); pick(0, '4 smile'); pick(1, 0.755) }")
    assert page.evaluate("() => text.value") in ("smile: 0.76", "smile: 0.75")
    assert page.evaluate("() => rows()[1].options.max") == pytest.approx(4 / 3)


def test_typing_text_makes_rows_and_removing_a_row_removes_its_line(page):
    connect(page)
    page.evaluate("() => type('Turn head: -1\\nsmile = 0.5, 3: 1')")
    assert page.evaluate(ROWS) == ["1 turn head", -1, "4 smile", 0.5, "3", 1]
    page.evaluate("() => pick(2, '(remove)')")
    assert page.evaluate("() => text.value") == "Turn head: -1\n3: 1"
    assert page.evaluate(ROWS) == ["1 turn head", -1, "3", 1]


def test_what_is_no_row_stays_in_the_text(page):
    page.evaluate("() => { type('smile\\n2: 1'); pick(1, 2) }")
    assert page.evaluate("() => text.value") == "smile\n2: 2"


def test_without_an_animator_directions_are_numbers(page):
    page.evaluate("() => add()")
    assert page.evaluate(ROWS) == ["0", 0]


def test_a_saved_graph_keeps_the_text_and_shows_its_rows_again(page, frontend):
    connect(page)
    page.evaluate("() => type('turn head: -1\\nsmile: 0.5')")
    graph = page.evaluate("() => JSON.parse(JSON.stringify(app.graph.serialize()))")
    saved = next(node for node in graph["nodes"] if node["type"] == "LEOEditDirections")["widgets_values"]
    assert saved[:3] == ["turn head: -1\nsmile: 0.5", 1, "constant"] and len(saved) == 4
    assert not frontend.problems(graph)
    page.wait_for_function("""() => {
      const node = app.graph.nodes.find(n => n.type === 'LEOEditDirections');
      return node.widgets.filter(w => w.leoRow).map(w => w.value).join() === '1 turn head,-1,4 smile,0.5';
    }""")
    prompt = frontend.prompt()
    inputs = next(node["inputs"] for node in prompt.values() if node["class_type"] == "LEOEditDirections")
    assert set(inputs) == {"edits", "strength", "timing", "curve", "animator"}
