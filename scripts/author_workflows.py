"""Write workflows/<title>.json from a Python description, with ComfyUI's real frontend.

A description is a Python file that builds `Workflow` objects, as those in scripts/workflows/; run
`python3 scripts/dev.py author FILE ...`:

    from author_workflows import Workflow

    flow = Workflow("LEO - A title for humans", thumbnail="path/to/picture.png")
    photo = flow.node("LoadImage", inputs={"image": "photo.png"}, size=(300, 320))
    small = flow.node("ImageScale", inputs={"image": photo["IMAGE"], "width": 256})
    flow.node("PreviewImage", inputs={"images": small[0]})
    flow.note("What to change first.")
    flow.group("Input", photo, small, color="#3f789e")

The frontend creates, connects, sizes and serializes the nodes, so a file is what a user would have saved, and it is
loaded again and checked before it is kept. Where nodes stand is worked out, in the order of the description as far as
data allows (see workflow_layout.py). Every path in a description is relative to the repository.
"""

import json
import runpy
import sys
import tempfile
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from comfy_server import ComfyServer
from environment import ROOT
from frontend import Frontend
from PIL import Image
from workflow_layout import EDGE, LABEL, TITLE, by_hand, pack

THUMBNAIL_SIZE = 512
NOTE_WIDTH = 380
# Narrower, widgets with longer names show an ellipsis.
LEAST_NODE_WIDTH = 290
# Nodes 2.0 puts a warning below a node whose model is not there yet.
WARNING = 24
# Width and height of nodes that show a picture while they run: without the room they grow over others.
PREVIEWED = {
    "LEOCropSubject": (290, 600),
    "LEOMotionEncoder": (290, 440),
    "LEOFlowGenerator": (290, 300),
    "LEOInpaintingDecoder": (290, 340),
    "LEORenderVideo": (290, 600),
    "LEOTrainMotionPrior": (290, 480),
}
# LEO Edit Directions is not measured, because ComfyUI's own curve is in the page for a moment. In Nodes 2.0 it grows
# a little when its rows are built, and its timeline takes all the height that it has: a picture comes on top.
ROWS, PICTURE = 24, 236

# What the pack's own workflows share: the animator it ships, and the colors of groups.
MODEL = "leo-face-128.safetensors"
INPUTS, MODELS, MOTION, RENDERING = "#3f789e", "#88613c", "#6b3f8e", "#3f7e4e"
OWN_PHOTO = (
    "**Your own photo**: press *choose your own file* on the sample, or drop a photo on it, and press **Run**. The "
    "person is found, cropped, animated and put back into the photo."
)

BUILD = """async (nodes) => {
  await app.extensionManager.command.execute('Comfy.NewBlankWorkflow');
  const graph = app.rootGraph, made = [];
  const slot = (slots, key, what, node) => {
    const index = typeof key === 'number' ? key : (slots ?? []).findIndex(s => s.name === key);
    if (!(slots ?? [])[index])
        throw new Error(`${node.type} has no ${what} ${key}, but ${(slots ?? []).map(s => s.name).join(', ')}`);
    return index;
  };
  for (const wanted of nodes) {
    const node = LiteGraph.createNode(wanted.type);
    if (!node) throw new Error(`no node type ${wanted.type}`);
    graph.add(node);
    made.push(node);
    if (wanted.title) node.title = wanted.title;
    if (wanted.color) { node.color = wanted.color; node.bgcolor = wanted.color; }
    for (const [name, value] of wanted.values) {
      const widget = (node.widgets ?? []).find(w => w.name === name);
      if (!widget)
        throw new Error(`${node.type} has no widget ${name}, but ${(node.widgets ?? []).map(w => w.name).join(', ')}`);
      widget.value = value;
      widget.callback?.(value, app.canvas, node);
    }
    for (const [name, source, output] of wanted.links) {
      const from = made[source], target = slot(node.inputs, name, 'input', node);
      if (!from.connect(slot(from.outputs, output, 'output', from), node, target))
        throw new Error(`${from.type} ${output} does not fit ${node.type} ${name}`);
    }
    if (wanted.bypassed) node.mode = 4;
    if (wanted.models) node.properties.models = wanted.models;
    node.properties.cnr_id = node.type.startsWith('LEO') ? 'leo' : 'comfy-core';
  }
  await new Promise(resolve => setTimeout(resolve, 800));  // previews of loaded files grow their nodes
  return made.map((node, i) => {
    const least = node.computeSize(), wanted = nodes[i].size ?? [LEAST_WIDTH, 0];
    return [Math.max(least[0], wanted[0]), Math.max(least[1], wanted[1], node.size[1])];
  });
}""".replace("LEAST_WIDTH", str(LEAST_NODE_WIDTH))

# Heights of the nodes, without titles, in Nodes 2.0, which draws some higher than classic rendering does.
DRAW = """async (sizes) => {
  const nodes = app.rootGraph.nodes;
  nodes.forEach((node, i) => node.setSize(sizes[i]));
  await app.extensionManager.setting.set('Comfy.VueNodes.Enabled', true);
  const drawn = n => document.querySelector(`[data-node-id="${n.id}"]`)?.offsetHeight > 0;
  while (!nodes.every(drawn)) await new Promise(resolve => setTimeout(resolve, 50));
}"""
DRAWN = """async () => {
  const drawn = app.rootGraph.nodes.map(n => document.querySelector(`[data-node-id="${n.id}"]`).offsetHeight);
  await app.extensionManager.setting.set('Comfy.VueNodes.Enabled', false);
  return drawn.map(height => height - LiteGraph.NODE_TITLE_HEIGHT);
}"""

PLACE = """async ({positions, sizes, rooms, groups, head, edge, label}) => {
  const graph = app.rootGraph, made = [...graph.nodes];
  made.forEach((node, i) => { node.setSize(sizes[i]); node.pos = positions[i]; });
  for (const {title, color, members} of groups) {
    const boxes = members.map(i => made[i]);
    const x = Math.min(...boxes.map(n => n.pos[0])) - edge,
        y = Math.min(...boxes.map(n => n.pos[1])) - head - edge - label;
    const right = Math.max(...boxes.map(n => n.pos[0] + n.size[0])) + edge,
        bottom = Math.max(...members.map(i => positions[i][1] + rooms[i])) + edge;
    for (const node of made) {
      const covered = node.pos[0] < right && node.pos[0] + node.size[0] > x && node.pos[1] - head < bottom &&
          node.pos[1] + node.size[1] > y;
      if (covered && !boxes.includes(node))
          throw new Error(`group ${title} covers ${node.type}, which is not its member`);
    }
    const group = new LiteGraph.LGraphGroup(title);
    graph.add(group);
    group.pos = [x, y];
    group.size = [right - x, bottom - y];
    group.color = color;
  }
  await app.extensionManager.command.execute('Comfy.Canvas.FitView');
  await new Promise(resolve => setTimeout(resolve, 1000));
  return JSON.stringify(graph.serialize());
}"""


@dataclass
class Node:
    index: int
    description: dict = field(repr=False)

    def __getitem__(self, output: str | int) -> "Output":
        """An output by name or index, to be the value of another node's input."""
        return Output(self.index, output)


@dataclass(frozen=True)
class Output:
    node: int
    slot: str | int


class Workflow:
    described: list["Workflow"] = []

    def __init__(self, title: str, thumbnail: str | None = None, prompt: str | None = None):
        """
        :param thumbnail: the picture to make the .jpg of; without one the .jpg stays as it is (see thumbnails.py).
        :param prompt: where to write the same graph in API format too, for use without a browser.
        """
        self.title = title
        self.thumbnail = thumbnail
        self.prompt = prompt
        self.nodes: list[Node] = []
        self.groups: list[dict] = []
        Workflow.described.append(self)

    def node(
        self,
        node_id: str,
        *,
        column: int | None = None,
        row: int = 0,
        inputs: dict | None = None,
        title: str | None = None,
        size: tuple[float, float] | None = None,
        color: str | None = None,
        models: list[dict] | None = None,
        bypassed: bool = False,
    ) -> Node:
        """A node; `inputs` are widget values and outputs of other nodes by name, set in order.

        :param column: where to stand, together with ``row``, in graphs of which every node asks for a place.
        :param size: least width and height, for nodes that show a picture.
        :param models: [{"name", "url", "directory"}], the files the frontend offers to download when they are missing.
        :param bypassed: as after Ctrl+B: the node hands its input on, until the user switches it on.
        """
        inputs = inputs or {}
        node = Node(
            len(self.nodes),
            {
                "type": node_id,
                "column": column,
                "row": row,
                "title": title,
                "size": size,
                "color": color,
                "models": models,
                "bypassed": bypassed,
                "values": [[name, value] for name, value in inputs.items() if not isinstance(value, Output)],
                "links": [
                    [name, value.node, value.slot] for name, value in inputs.items() if isinstance(value, Output)
                ],
            },
        )
        self.nodes.append(node)
        return node

    def note(self, markdown: str, *, title: str = "Note", size: tuple[float, float] = (NOTE_WIDTH, 160)) -> Node:
        return self.node("MarkdownNote", title=title, size=size, inputs={"text": markdown}, color="#432")

    def group(self, title: str, *members: Node, color: str = "#3f789e") -> None:
        self.groups.append({"title": title, "color": color, "members": [node.index for node in members]})


def places(flow: Workflow, sizes: list, frontend: Frontend) -> dict:
    """Where the nodes stand, how large they are, and the height that is kept free for each (`rooms`), for nodes of the
    sizes that the page gave them. Where they are packed, a node and the picture that it shows after a run have room in
    both renderings."""
    wanted = [node.description for node in flow.nodes]
    columns = [(node["column"], node["row"]) for node in wanted if node["column"] is not None]
    if len(columns) == len(wanted):
        return {"positions": by_hand(sizes, columns), "sizes": sizes, "rooms": [down for _, down in sizes]}
    links = [(source, i) for i, node in enumerate(wanted) for _, source, _ in node["links"]]
    notes = [i for i, node in enumerate(wanted) if node["type"] == "MarkdownNote"]
    frontend.page.evaluate(DRAW, sizes)
    frontend.show_results()
    drawn = frontend.page.evaluate(DRAWN)
    fixed = {
        i: ROWS + PICTURE * any(name == "appearance" for name, _, _ in node["links"])
        for i, node in enumerate(wanted)
        if node["type"] == "LEOEditDirections"
    }
    needed = [
        (across, down + fixed[i] if i in fixed else max(down, drawn[i] + WARNING * bool(wanted[i]["models"])))
        for i, (across, down) in enumerate(sizes)
    ]
    positions, boxes = pack(needed, links, [group["members"] for group in flow.groups], notes)
    sizes = [(across, sizes[i][1] if i in fixed else down) for i, (across, down) in enumerate(boxes)]
    return {"positions": positions, "sizes": sizes, "rooms": [down for _, down in boxes]}


def build(flow: Workflow, frontend: Frontend) -> dict:
    """The graph of one workflow, as the page saves it. Nodes that show a picture while they run get room for it,
    unless they ask for a size."""
    described = [
        {**node.description, "size": node.description["size"] or PREVIEWED.get(node.description["type"])}
        for node in flow.nodes
    ]
    sizes = [tuple(size) for size in frontend.page.evaluate(BUILD, described)]
    placed = places(flow, sizes, frontend)
    frontend.page.evaluate(BUILD, described)  # anew, without the pictures that were shown to measure the nodes
    graph = json.loads(
        frontend.page.evaluate(PLACE, {**placed, "groups": flow.groups, "head": TITLE, "edge": EDGE, "label": LABEL})
    )
    # Written anew without a change, the file stays the same.
    graph["id"] = str(uuid.uuid5(uuid.NAMESPACE_URL, flow.title))
    return graph


def author(flow: Workflow, frontend: Frontend, folder: Path) -> Path:
    """Build one workflow in the page, check it, and write it with its thumbnail.

    :raises ValueError: the frontend finds something wrong with the result.
    """
    graph = build(flow, frontend)
    problems = frontend.problems(graph)
    if problems:
        raise ValueError(f"{flow.title}:\n" + "\n".join(problems))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{flow.title}.json"
    path.write_text(json.dumps(graph, indent=2) + "\n", encoding="utf-8")
    if flow.thumbnail:
        with Image.open(ROOT / flow.thumbnail) as picture:
            picture.thumbnail((THUMBNAIL_SIZE, THUMBNAIL_SIZE))
            picture.convert("RGB").save(path.with_suffix(".jpg"), quality=88)
    if flow.prompt:
        (ROOT / flow.prompt).write_text(json.dumps(frontend.prompt(), indent=2) + "\n", encoding="utf-8")
    return path


def describe(paths: list[str]) -> list[Workflow]:
    """The workflows that description files build."""
    # A description imports this file by name; run as a script it would otherwise get a second copy of Workflow.
    sys.modules["author_workflows"] = sys.modules[__name__]
    Workflow.described.clear()
    for path in paths:
        runpy.run_path(path)
    return list(Workflow.described)


def place_stand_ins(flow: Workflow, models: Path) -> None:
    """Empty files in place of the models that a user downloads: with them missing, the page shows their nodes in
    red."""
    for wanted in (model for node in flow.nodes for model in node.description["models"] or []):
        path = models / wanted["directory"] / wanted["name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def main(paths: list[str]) -> int:
    flows = describe(paths)
    if not flows:
        print(__doc__, end="")
        return 2
    with tempfile.TemporaryDirectory() as base, ComfyServer(Path(base)) as server:
        for flow in flows:
            place_stand_ins(flow, server.base / "models")
        with Frontend(server) as frontend:
            for flow in flows:
                print(author(flow, frontend, ROOT / "workflows").relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
