"""Two copies of the pack in custom_nodes, as after a download beside a clone."""

import pytest
from comfy_server import ComfyServer
from environment import ROOT

WIDGETS = """() => {
  app.graph.clear();
  const make = (type) => { const node = LiteGraph.createNode(type); app.graph.add(node); return node };
  return {
    add: make('LEOEditDirections').widgets.filter(w => w.type === 'button').length,
    timeline: Boolean(make('LEOTrimMotion').leoTimeline),
  };
}"""


@pytest.fixture(scope="module")
def twice(tmp_path_factory):
    base = tmp_path_factory.mktemp("twice")
    for name in ("leo", "leo-main"):
        (base / "custom_nodes").mkdir(exist_ok=True)
        (base / "custom_nodes" / name).symlink_to(ROOT, target_is_directory=True)
    with ComfyServer(base, linked=False) as server:
        yield server


def test_the_page_works_and_both_it_and_the_log_name_the_second_copy(twice, chromium_page):
    with chromium_page.visiting(twice) as frontend:
        assert frontend.page.evaluate(WIDGETS) == {"add": 1, "timeline": True}
        assert not [line for line in frontend.console if "extension" in line.lower()], frontend.console
        assert len([line for line in frontend.said if "LEO is installed twice" in line]) == 1
    assert twice.log_text().count("LEO is installed twice") == 1
