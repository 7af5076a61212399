"""ComfyUI's real frontend in a headless Chromium: load, check, author and run UI workflows."""

import json
import re
import tempfile
from contextlib import contextmanager
from pathlib import Path

import av
from comfy_server import ComfyServer, ExecutionError, refusal_text
from environment import ROOT, chromium
from playwright.sync_api import sync_playwright

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
# What the server reports of a prompt goes to the page that queued it.
COUNT_REPORTS = """async () => {
  if (window.reports !== undefined) return;
  window.reports = 0;
  const { api } = await import('/scripts/api.js');
  for (const kind of ['progress', 'progress_state', 'executing', 'executed', 'b_preview'])
    api.addEventListener(kind, () => window.reports++);
}"""
CAMERA_CLIP = ROOT / "samples" / "man_talking.mp4"  # who sits in front of the camera
SUBGRAPH_TYPE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def play_to_camera(clip: Path, path: Path) -> list[str]:
    """Write a clip in the form that Chromium plays in place of a camera; the arguments with which it does, and lets
    every page look."""
    with av.open(str(clip)) as container, path.open("wb") as file:
        stream = container.streams.video[0]
        rate = stream.average_rate
        file.write(
            f"YUV4MPEG2 W{stream.width} H{stream.height} F{rate.numerator}:{rate.denominator} Ip A1:1 C420\n".encode()
        )
        for frame in container.decode(stream):
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
        self.page = self.browser.new_context(viewport=self.viewport).new_page()
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
        self.page.get_by_role("button", name="Templates").first.click()
        dialog = self.page.get_by_role("dialog")
        dialog.get_by_text(pack, exact=True).click()
        dialog.get_by_test_id(f"template-workflow-{title}").click()
        dialog.wait_for(state="hidden")
        return self.state()

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

    def screenshot(self, path: Path) -> None:
        """The page with the whole graph in view."""
        self.page.evaluate("() => app.extensionManager.command.execute('Comfy.Canvas.FitView')")
        self.page.wait_for_timeout(1000)  # the view glides there
        self.page.screenshot(path=str(path))
