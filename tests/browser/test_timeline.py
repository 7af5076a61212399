"""The timeline on nodes, by the mouse: a part of a motion, keyframes, and the playhead of the video that comes of
them."""

import av
import pytest
from frontend import READY

GRAPH = """() => {
  app.graph.clear();
  const put = (type, x, y) => { const node = LiteGraph.createNode(type); node.pos = [x, y]; app.graph.add(node);
      return node };
  const link = (from, slot, to, name) => from.connect(slot, to, to.inputs.findIndex(i => i.name === name));
  const set = (node, name, value) => {
    const widget = node.widgets.find(w => w.name === name);
    widget.value = value;
    widget.callback?.(value);
  };
  const animator = put('LEOLoadAnimator', 0, 50), photo = put('LEOLoadSample', 0, 250),
      motion = put('LEOLoadMotion', 0, 450);
  const look = put('LEOEncoder', 300, 50), trim = put('LEOTrimMotion', 300, 250),
      edit = put('LEOEditDirections', 620, 250);
  const video = put('LEORenderVideo', 1050, 50), save = put('SaveVideo', 1050, 550);
  set(motion, 'file', motion.widgets[0].options.values.find(v => v.endsWith('look around.safetensors')));
  set(photo, 'sample', 'woman.png');
  set(edit, 'edits', '0: 1');
  for (const node of [look, video]) link(animator, 0, node, 'animator');
  link(photo, 0, look, 'image');
  link(look, 0, video, 'appearance');
  link(motion, 0, trim, 'motion');
  link(trim, 0, edit, 'motion');
  link(edit, 0, video, 'motion');
  link(video, 0, save, 'video');
  app.canvas.ds.reset();
  app.canvas.ds.offset = [80, 40];
  app.canvas.setDirty(true, true);
}"""
FIND = "const find = type => app.graph.nodes.find(n => n.type === type);"
# The one of the last run: the page shows the one before for a moment longer.
VIDEO = (
    "seconds => { const v = document.querySelector('video'); return v?.readyState > 1 && Math.abs(v.duration - "
    "seconds) < 0.05 }"
)
FRAMES = 150
BAND = 18  # pixels above the curves, where the numbers stand, and below, where the words do
SIDE = 12  # pixels left and right of the drawn frames
# Counted in drawn frames, since a busy machine draws few in a second: a picture that arrives moves what stands below
# it, and Nodes 2.0 stretches a timeline to its node some frames after all else.
STANDS_STILL = """async element => {
  const place = () => JSON.stringify(element.getBoundingClientRect());
  for (let still = 0, last = place(); still < 20; ) {
    await new Promise(requestAnimationFrame);
    still = place() === last ? still + 1 : 0;
    last = place();
  }
}"""
UNCOVERED = "([element, x, y]) => document.elementFromPoint(x, y) === element"
NUMBERS, WORDS = 2, -1


@pytest.fixture(params=[False, True], ids=["classic", "nodes 2.0"])
def page(request, frontend):
    # The map of the graph, which the page opens by itself where there is room, would lie over the timeline's foot.
    frontend.server.post("/settings", {"Comfy.VueNodes.Enabled": request.param, "Comfy.Minimap.Visible": False})
    frontend.page.reload()
    frontend.page.wait_for_function(READY)
    frontend.page.evaluate(GRAPH)
    yield frontend.page
    frontend.server.post("/settings", {"Comfy.VueNodes.Enabled": False})


class Timeline:
    """One node's, in pixels of the page."""

    def __init__(self, page, node_type: str):
        self.page, self.node_type = page, node_type
        all_of_them = "[...document.querySelectorAll('.leo-timeline')]"
        at = page.evaluate(
            f"type => {{ {FIND} return {all_of_them}.indexOf(find(type).leoTimeline.canvas) }}", node_type
        )
        self.element = page.locator(".leo-timeline").nth(at)
        self.element.wait_for()

    def place(self, share: float, level: float) -> tuple[float, float]:
        """:param share: of the drawn time; :param level: of a key, 0 to 1, or NUMBERS or WORDS."""
        self.element.evaluate(STANDS_STILL)
        box = self.element.bounding_box()
        wide, high = self.element.evaluate("e => [e.clientWidth, e.clientHeight]")
        scale = box["width"] / wide
        down = {NUMBERS: BAND / 2, WORDS: high - BAND / 2}.get(level, BAND + (1 - level) * (high - 2 * BAND))
        x, y = box["x"] + (SIDE + share * (wide - 2 * SIDE)) * scale, box["y"] + down * scale
        self.page.wait_for_function(UNCOVERED, arg=[self.element.element_handle(), x, y])
        return x, y

    def drag(self, start: tuple[float, float], stop: tuple[float, float]) -> None:
        self.page.mouse.move(*self.place(*start))
        self.page.mouse.down()
        self.page.mouse.move(*self.place(*stop), steps=5)
        self.page.mouse.up()

    def click(self, share: float, level: float, times: int = 1) -> None:
        self.page.mouse.click(*self.place(share, level), click_count=times)

    def value(self, widget: str):
        return self.page.evaluate(
            f"([type, name]) => {{ {FIND} return find(type).widgets.find(w => w.name === name).value }}",
            [self.node_type, widget],
        )

    def frame(self) -> int | None:
        return self.page.evaluate(f"type => {{ {FIND} return find(type).leoTimeline.frame }}", self.node_type)


def run(page, frontend) -> list:
    files = frontend.server.files(frontend.run())
    page.wait_for_function(f"() => {{ {FIND} return find('LEOTrimMotion').leoTimeline.frames === {FRAMES} }}")
    return [path for path in files if path.suffix == ".mp4"]


def frame_count(path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_a_part_is_dragged_out_of_a_motion_and_its_video_carries_the_playhead(page, frontend):
    page.evaluate(f"() => {{ {FIND} find('LEOTrimMotion').widgets[1].value = 12 }}")
    run(page, frontend)
    part = Timeline(page, "LEOTrimMotion")
    position = page.evaluate(f"() => {{ {FIND} return [...find('LEOTrimMotion').pos] }}")
    part.drag((12 / FRAMES, 0.5), (60 / FRAMES, 0.5))
    part.drag((0, 0.5), (45 / FRAMES, 0.5))
    assert (part.value("start"), part.value("frames")) == (45, 15)
    part.drag((52 / FRAMES, 0.5), (62 / FRAMES, 0.5))  # the part as a whole
    assert (part.value("start"), part.value("frames")) == (55, 15)
    assert page.evaluate(f"() => {{ {FIND} return [...find('LEOTrimMotion').pos] }}") == position

    (video,) = run(page, frontend)
    assert frame_count(video) == 15
    page.wait_for_function(VIDEO, arg=15 / 25)
    page.evaluate("() => { const v = document.querySelector('video'); v.pause(); v.currentTime = 4.5 / 25 }")
    at = "find('LEOTrimMotion').leoTimeline.frame === 59 && find('LEOEditDirections').leoTimeline.frame === 4"
    page.wait_for_function(f"() => {{ {FIND} return {at} }}")
    Timeline(page, "LEOEditDirections").click(9 / 14, NUMBERS)
    page.wait_for_function("() => Math.abs(document.querySelector('video').currentTime - 9.5 / 25) < 0.02")
    page.wait_for_function(f"() => {{ {FIND} return find('LEOTrimMotion').leoTimeline.frame === 64 }}")
    page.evaluate("() => document.querySelector('video').play()")
    page.wait_for_function(f"() => {{ {FIND} return find('LEOTrimMotion').leoTimeline.frame !== 64 }}")

    part.click(62 / FRAMES, 0.5, times=2)
    assert (part.value("start"), part.value("frames")) == (0, 0)


@pytest.mark.smoke
def test_keyframes_are_set_moved_and_removed_and_stay_in_the_saved_graph(page, frontend):
    page.evaluate(f"() => {{ {FIND} find('LEOTrimMotion').widgets[1].value = 21 }}")
    run(page, frontend)
    keys = Timeline(page, "LEOEditDirections")
    assert keys.value("timing") == "constant"
    keys.click(0.5, 0.8, times=2)
    assert keys.value("timing") == "curve"
    (x0, y0), (x1, y1), (x2, y2) = keys.value("curve")["points"]
    assert (x0, x1, x2) == (0, 0.5, 1) and y1 == pytest.approx(0.8, abs=0.02)
    keys.drag((0.5, 0.8), (0.71, 0.5))  # onto frame 14 of 0 to 20
    assert keys.value("curve")["points"][1] == [0.7, pytest.approx(0.5, abs=0.02)]
    keys.drag((0, 0), (0, 1))
    assert keys.value("curve")["points"][0] == [0, 1]
    keys.click(0.95, WORDS)
    assert keys.value("curve")["interpolation"] == "linear"

    page.evaluate("() => app.loadGraphData(JSON.parse(JSON.stringify(app.graph.serialize())), true, true, null)")
    keys = Timeline(page, "LEOEditDirections")
    assert len(keys.value("curve")["points"]) == 3 and keys.value("timing") == "curve"
    inputs = next(node["inputs"] for node in frontend.prompt().values() if node["class_type"] == "LEOEditDirections")
    curve = inputs["curve"].get("__value__", inputs["curve"])  # newer frontends wrap it, and the server unwraps it
    assert curve["interpolation"] == "linear" and not any("timeline" in name for name in inputs)
    run(page, frontend)
    keys.click(0.7, 0.5, times=2)
    assert len(keys.value("curve")["points"]) == 2


def test_where_the_page_gives_no_place_to_draw_the_widgets_are_left(page):
    page.evaluate("() => { LiteGraph.LGraphNode.prototype.addDOMWidget = undefined }")
    shown = page.evaluate("""() => ['LEOTrimMotion', 'LEOBlendMotion'].map(type => {
      const node = LiteGraph.createNode(type);
      app.graph.add(node);
      return node.widgets.filter(w => !w.hidden).map(w => w.name);
    })""")
    assert shown == [["start", "frames"], ["weight", "timing", "curve", "lengths"]]
