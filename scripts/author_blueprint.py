"""Write subgraphs/LEO.json, the one node with the modular graph inside, with ComfyUI's real frontend.

`python3 scripts/dev.py blueprint` builds the graph between a photo and a saved video, turns what lies between into a
subgraph as a user would, puts the widgets to turn on its node, and checks that the result loads without a complaint.
"""

import json
import re
import sys
import tempfile
import uuid
from pathlib import Path

from author_workflows import MODEL, Workflow, build
from comfy_server import ComfyServer
from environment import ROOT
from frontend import Frontend

TITLE = "LEO"
PRIOR = "leo-face-128-prior.safetensors"
# Narrower, the names of the model files are cut off.
WIDTH = 420
DESCRIPTION = (
    "Animates the person of one photo without a driving video: drop in a photo of any size, choose what the person "
    "does, press Run. The person is found, animated, and put back into the photo. Open it to see and change the graph "
    "inside."
)
ALIASES = ["animate photo", "image to video", "portrait animation", "talking head"]
# Outside nodes have made the subgraph's inputs and outputs by their links, and go.
ENCLOSE = """async ({inside, widgets, labels, title}) => {
  const graph = app.rootGraph, made = [...graph.nodes], kept = inside.map(i => made[i]);
  const ids = widgets.map(([index, name]) => [String(made[index].id), name]);
  const values = widgets.map(([index, name]) => made[index].widgets.find(w => w.name === name).value);
  const {subgraph, node} = graph.convertToSubgraph(new Set(kept));
  for (const other of [...graph.nodes]) if (other !== node) graph.remove(other);
  subgraph.name = node.title = title;
  for (const slot of [...subgraph.inputs, ...node.inputs]) if (labels[slot.name]) slot.label = labels[slot.name];
  node.properties.proxyWidgets = ids;
  node.properties.cnr_id = 'leo';
  node.size = [WIDTH, node.size[1]];
  const written = graph.serialize();
  written.nodes[0].widgets_values = values;
  await app.loadGraphData(JSON.parse(JSON.stringify(written)), true, true, null);
  return JSON.stringify(app.rootGraph.serialize());
}""".replace("WIDTH", str(WIDTH))


def describe() -> tuple[Workflow, dict]:
    """The graph, and what ENCLOSE needs to know of it."""
    flow = Workflow(TITLE)
    photo = flow.node("LEOLoadSample", column=0, inputs={"sample": "portrait_1.jpg"})
    sound = flow.node("GetVideoComponents", column=0, inputs={"video": photo["video"]})
    animator = flow.node("LEOLoadAnimator", column=1, inputs={"model": MODEL})
    prior = flow.node("LEOLoadMotionPrior", column=1, inputs={"prior": PRIOR})
    person = flow.node("LEOCropSubject", column=1, row=1, inputs={"image": photo["image"]})
    look = flow.node("LEOEncoder", column=2, inputs={"animator": animator["animator"], "image": person["image"]})
    motion = flow.node(
        "LEOChooseMotion",
        column=2,
        row=1,
        inputs={
            "prior": prior["prior"],
            "pose": look["pose"],
            "motion": "sampled",
            "control_after_generate": "randomize",
        },
    )
    video = flow.node(
        "LEORenderVideo",
        column=3,
        inputs={
            "animator": animator["animator"],
            "appearance": look["appearance"],
            "motion": motion["motion"],
            "picture": photo["image"],
            "crop": person["crop"],
            "audio": sound["audio"],
            "full_resolution": True,
        },
    )
    saved = flow.node("SaveVideo", column=4, inputs={"video": video["video"]})
    turned = [
        *((motion, name) for name in ("motion", "seconds", "seed", "control_after_generate")),
        (video, "full_resolution"),
        (animator, "model"),
        (prior, "prior"),
    ]
    outside = {node.index for node in (photo, sound, saved)}
    return flow, {
        "inside": [node.index for node in flow.nodes if node.index not in outside],
        "widgets": [[node.index, name] for node, name in turned],
        "labels": {"image": "photo"},
        "title": TITLE,
    }


def author(frontend: Frontend) -> dict:
    """The blueprint as ComfyUI reads it.

    :raises ValueError: the frontend finds something wrong with it.
    """
    flow, enclosed = describe()
    build(flow, frontend)
    graph = json.loads(frontend.page.evaluate(ENCLOSE, enclosed))
    graph["extra"] = {"BlueprintDescription": DESCRIPTION, "BlueprintSearchAliases": ALIASES}
    for definition in graph["definitions"]["subgraphs"]:
        definition["category"] = "LEO"
    problems = frontend.problems(graph)
    if problems:
        raise ValueError(f"{TITLE}:\n" + "\n".join(problems))
    return graph


def with_lasting_ids(text: str) -> str:
    """The page draws new ids every time; written anew without a change, the file stays the same."""
    for number, drawn in enumerate(dict.fromkeys(re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", text))):
        text = text.replace(drawn, str(uuid.uuid5(uuid.NAMESPACE_URL, f"{TITLE} {number}")))
    return text


def main() -> int:
    with tempfile.TemporaryDirectory() as base, ComfyServer(Path(base)) as server, Frontend(server) as frontend:
        graph = author(frontend)
    path = ROOT / "subgraphs" / f"{TITLE}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(with_lasting_ids(json.dumps(graph, indent=2)) + "\n", encoding="utf-8")
    print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
