"""ComfyUI's real frontend in a headless Chromium: load, check, author and run UI workflows."""

import json
import re
import tempfile
from contextlib import contextmanager
from itertools import combinations, islice
from pathlib import Path

import av
from comfy_server import ComfyServer, ExecutionError, refusal_text
from environment import ROOT, chromium
from playwright.sync_api import Locator, sync_playwright
from playwright.sync_api import TimeoutError as PageTimeout

# Headless, and without the services Chromium would look for outside this machine.
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SETTINGS = {
    "Comfy.TutorialCompleted": True,  # or the first page starts with a dialog over it
    "Comfy.Validation.Workflows": True,  # a file that breaks the workflow schema then says so in a toast
}
PATIENCE = 600_000  # milliseconds that a page may take on a busy machine
# The nodes are registered and the initial graph is loaded: newer frontends load it late, and would replace a graph that
# was opened earlier.
READY = """() => Object.keys(window.LiteGraph?.registered_node_types ?? {}).length > 100 &&
  window.app?.graph && app.extensionManager?.workflow?.activeWorkflow"""
LOAD = """async (text) => {
  try { await app.loadGraphData(JSON.parse(text), true, true, null) } catch (error) { return String(error) }
  return null;
}"""
# Widget values as the page holds them, in the order in which a file stores them; `undefined` is stored as null.
STATE = """() => {
  const nodes = app.rootGraph.nodes;
  return {
    unknown: nodes.filter(n => !LiteGraph.registered_node_types[n.type] && !n.isSubgraphNode?.()).map(n => n.type),
    red: nodes.filter(n => n.has_errors).map(n => `${n.id} ${n.type}`),
    widgets: Object.fromEntries(nodes.map(n => [n.id, (n.widgets ?? []).filter(w => w.serialize !== false)
      .map(w => [w.name, w.value === undefined ? null : w.value])])),
    toasts: [...document.querySelectorAll('.p-toast-message, [data-testid="toast"]')].map(e => e.innerText),
    text: document.body.innerText,
  };
}"""
# What nodes show of a run: pictures while they work, and pictures, a video or text once they are done.
WORKING, PICTURE, VIDEO, TEXT = "working", "picture", "video", "text"
RESULTS = {
    "LEOCropSubject": (PICTURE, TEXT),
    "LEOEditDirections": (PICTURE,),
    "LEOExpressionEditor": (PICTURE,),
    "LEOFlowGenerator": (WORKING,),
    "LEOInpaintingDecoder": (WORKING,),
    "LEOJoinMotion": (WORKING, TEXT),
    "LEOLMDMSampler": (WORKING, TEXT),
    "LEOLoadFaceCapture": (TEXT,),
    "LEOLoadMotion": (TEXT,),
    "LEOLoopMotion": (WORKING, TEXT),
    "LEOMotionEncoder": (WORKING, TEXT),
    "LEOMotionFromFace": (TEXT,),
    "LEOPasteBack": (WORKING,),
    "LEORenderVideo": (WORKING, TEXT),
    "LEOSaveFaceCapture": (TEXT,),
    "LEOSaveMotion": (TEXT,),
    "LEOTrainMotionPrior": (WORKING, TEXT),
    "PreviewImage": (PICTURE,),
    "SaveImage": (PICTURE,),
    "SaveVideo": (VIDEO,),
}
SHOW_RESULTS = """async ([shown, picture, video]) => {
  const { api } = await import('/scripts/api.js');
  const blob = await (await fetch(api.apiURL(`/view?type=input&filename=${picture}`))).blob();
  // Without an appearance there is nothing to draw.
  const shows = node => node.inputs?.some(i => i.name === 'appearance' && i.link == null) ? [] : shown[node.type] ?? [];
  const nodes = app.rootGraph.nodes.filter(node => node.mode === 0);
  for (const node of nodes) {
    const id = String(node.id), kinds = shows(node), output = {};
    if (kinds.includes('working'))
      api.dispatchCustomEvent('b_preview_with_metadata',
        {blob, nodeId: id, displayNodeId: id, parentNodeId: id, realNodeId: id, promptId: 'shown', jobId: 'shown'});
    if (kinds.includes('text'))
      api.dispatchCustomEvent('progress_text', {nodeId: id, text: 'A line that says how it went'});
    if (kinds.includes('picture')) output.images = [{filename: picture, subfolder: '', type: 'input'}];
    if (kinds.includes('video'))
      Object.assign(output, {images: [{filename: video, subfolder: '', type: 'input'}], animated: [true]});
    if (output.images)
      api.dispatchCustomEvent('executed', {node: id, display_node: id, prompt_id: 'shown', output});
  }
  const drawn = (node, what) => [...document.querySelectorAll(`[data-node-id="${node.id}"] ${what}`)];
  const missing = () => nodes.filter(node => shows(node).some(kind => kind !== 'text')
    && !drawn(node, 'img').some(i => i.complete && i.naturalWidth) && !drawn(node, 'video').some(v => v.readyState));
  for (let waited = 0; missing().length; waited++) {
    if (waited > 600) throw new Error(`no picture appeared on ${missing().map(node => node.title).join(', ')}`);
    await new Promise(resolve => setTimeout(resolve, 100));
  }
  await new Promise(resolve => setTimeout(resolve, 500));  // the nodes have grown
}"""
# Of every node and group: its name, and [left, top, right, bottom] with its title.
BOXES = """() => {
  const box = (x, y, w, h) => [x, y, x + w, y + h];
  const size = n => {
    const drawn = document.querySelector(`[data-node-id="${n.id}"]`);  // in Nodes 2.0
    return drawn ? [drawn.offsetWidth, drawn.offsetHeight] : [...n.getBounding()].slice(2);
  };
  return {
    nodes: app.graph.nodes.map(n => [n.title, box(n.pos[0], n.pos[1] - LiteGraph.NODE_TITLE_HEIGHT, ...size(n))]),
    groups: app.graph.groups.map(g => [g.title, box(...g.pos, ...g.size)]),
  };
}"""
# What the server reports of a prompt goes to the page that queued it.
COUNT_REPORTS = """async () => {
  if (window.reports !== undefined) return;
  window.reports = 0;
  const { api } = await import('/scripts/api.js');
  for (const kind of ['progress', 'progress_state', 'executing', 'executed', 'b_preview'])
    api.addEventListener(kind, () => window.reports++);
}"""
# Who sits in front of the camera, and for how many frames: in 23 of the other 56 the face finder does not take the
# rendered head for a face.
CAMERA_CLIP, CAMERA_FRAMES = ROOT / "samples" / "man_talking.mp4", 40
SUBGRAPH_TYPE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def meet(a: list[float], b: list[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def play_to_camera(clip: Path, path: Path) -> list[str]:
    """Write the beginning of a clip in the form that Chromium plays in place of a camera; the arguments with which it
    does, and lets every page look."""
    with av.open(str(clip)) as container, path.open("wb") as file:
        stream = container.streams.video[0]
        rate = stream.average_rate
        file.write(
            f"YUV4MPEG2 W{stream.width} H{stream.height} F{rate.numerator}:{rate.denominator} Ip A1:1 C420\n".encode()
        )
        for frame in islice(container.decode(stream), CAMERA_FRAMES):
            file.write(b"FRAME\n" + frame.to_ndarray(format="yuv420p").tobytes())
    return [
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={path}",
    ]


class Frontend:
    """One page of the frontend of a running server. `page` is Playwright's, for what has no method here.

    :param camera: with a webcam, in front of which a clip of a person is played, again and again.
    """

    def __init__(self, server: ComfyServer, width: int = 1600, height: int = 900, camera: bool = False):
        self.server = server
        self.viewport = {"width": width, "height": height}
        self.camera = camera

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        seen = play_to_camera(CAMERA_CLIP, Path(self.folder.name) / "camera.y4m") if self.camera else []
        self.playwright = sync_playwright().start()
        self.browser = self.playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_ARGUMENTS + seen)
        self.open()
        return self

    def __exit__(self, *exception):
        self.browser.close()
        self.playwright.stop()
        self.folder.cleanup()

    def open(self) -> None:
        """A fresh page, as of a person who has used ComfyUI before but keeps nothing of the last visit."""
        self.server.post("/settings", SETTINGS)
        for context in self.browser.contexts:
            context.close()
        # There is no GPU: animating the template browser alone took nine seconds of processor time.
        self.page = self.browser.new_context(viewport=self.viewport, reduced_motion="reduce").new_page()
        self.page.set_default_timeout(PATIENCE)
        self.console: list[str] = []
        self.said: list[str] = []  # everything in the console, errors among it
        self.page.on("console", lambda message: self.console.append(message.text) if message.type == "error" else None)
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.goto(self.server.url)
        self.page.wait_for_function(READY)

    @contextmanager
    def visiting(self, server: ComfyServer):
        """A fresh page of another server, in the same browser: there can be only one in a process."""
        home, self.server = self.server, server
        try:
            self.open()
            yield self
        finally:
            self.server = home

    def load(self, workflow: Path | dict) -> dict:
        """Load a UI workflow as dropping its file would; the state of the page after it (see `state`)."""
        text = json.dumps(workflow) if isinstance(workflow, dict) else Path(workflow).read_text(encoding="utf-8")
        refused = self.page.evaluate(LOAD, text)
        state = self.state()
        if refused:
            state["toasts"].append(refused)
        return state

    def state(self) -> dict:
        """What the page shows: `unknown` node types, `red` nodes, `toasts`, `widgets` by node id, and all `text`."""
        self.page.wait_for_timeout(1200)  # missing nodes and models are looked up after the graph is drawn
        return self.page.evaluate(STATE)

    def problems(self, workflow: Path | dict, state: dict | None = None) -> list[str]:
        """Everything that a user of a UI workflow would see go wrong, and any value the page changed.

        :param state: of the page after it was opened; it is loaded here otherwise.
        """
        state = state or self.load(workflow)
        if not isinstance(workflow, dict):
            workflow = json.loads(Path(workflow).read_text(encoding="utf-8"))
        found = [f"toast: {text}" for text in state["toasts"]]
        found += [f"node type not installed: {name}" for name in state["unknown"]]
        found += [f"node shown in red: {name}" for name in state["red"]]
        found += [
            f"missing model: {m.group(0)}"
            for m in re.finditer(r"\S+\.(safetensors|pth|pt|ckpt) is missing", state["text"])
        ]
        for node in workflow["nodes"]:
            if SUBGRAPH_TYPE.fullmatch(node["type"]):
                continue  # its widgets are those of the nodes inside
            saved, shown = node.get("widgets_values", []), state["widgets"].get(str(node["id"]), [])
            if saved != [value for _, value in shown]:
                found.append(f"node {node['id']} {node['type']}: values {saved} of the file became {shown}")
        return found

    def open_template(self, title: str, pack: str = "leo") -> dict:
        """Open a workflow of this pack from the template browser, by clicks; the state of the page after it."""
        try:
            dialog = self._templates_of(pack, PATIENCE / 5)
        except PageTimeout:  # on a very busy machine the list once never came; a person would reload the page
            self.open()
            dialog = self._templates_of(pack, PATIENCE)
        dialog.get_by_test_id(f"template-workflow-{title}").click()
        dialog.wait_for(state="hidden")
        return self.state()

    def _templates_of(self, pack: str, patience: float) -> Locator:
        """The template browser with the workflows of one pack; Playwright's TimeoutError after so many
        milliseconds."""
        self.page.get_by_role("button", name="Templates").first.click(timeout=patience)
        dialog = self.page.get_by_role("dialog")
        dialog.get_by_text(pack, exact=True).click(timeout=patience)
        return dialog

    def prompt(self) -> dict:
        """The loaded graph as an API prompt. As text inside the page: Playwright would turn undefined into null."""
        return json.loads(self.page.evaluate("async () => JSON.stringify((await app.graphToPrompt()).output)"))

    def run(self, patience: float = 600) -> dict:
        """Click Run and wait; the history entry. What the server refused or a node raised comes as ExecutionError."""
        self.page.evaluate(COUNT_REPORTS)
        with self.page.expect_response(
            lambda answer: answer.url.endswith("/prompt") and answer.request.method == "POST"
        ) as answer:
            self.page.get_by_test_id("queue-button").click()
        if answer.value.status != 200:
            raise ExecutionError(refusal_text(answer.value.json()), answer.value.json())
        return self.server.wait(
            answer.value.json()["prompt_id"], patience, lambda: self.page.evaluate("() => window.reports")
        )

    def show_results(self) -> None:
        """Let every node show in Nodes 2.0 what it would after a run, a square picture each, without a run."""
        files = (ROOT / "samples" / name for name in ("woman.png", "man_talking.mp4"))
        samples = [self.server.upload(file, f"shown_{file.name}") for file in files]  # other tests choose a woman.png
        self.page.evaluate(SHOW_RESULTS, [RESULTS, *samples])

    def misplaced(self) -> list[str]:
        """Nodes that cover one another or leave their group, in the rendering that is on."""
        boxes = self.page.evaluate(BOXES)
        found = [f"{one} covers {other}" for (one, a), (other, b) in combinations(boxes["nodes"], 2) if meet(a, b)]
        for group, (left, top, right, bottom) in boxes["groups"]:
            for node, box in boxes["nodes"]:
                over = max(left - box[0], top - box[1], box[2] - right, box[3] - bottom)
                if meet(box, [left, top, right, bottom]) and over > 0:
                    found.append(f"{node} leaves {group} by {over:.0f}")
        return found

    def screenshot(self, path: Path) -> None:
        """The page with the whole graph in view."""
        self.page.evaluate("() => app.extensionManager.command.execute('Comfy.Canvas.FitView')")
        self.page.wait_for_timeout(1000)  # the view glides there
        self.page.screenshot(path=str(path))
