"""Write the pictures of the help pages, web/docs/<node id>.webp: each node in a small graph that has been run.

`python3 scripts/dev.py figures [NODE_ID ...]` builds the graphs in the real frontend, runs them and takes their
pictures; without ids all of them. Run it again when an animator, a sample or a schema has changed.
"""

import io
import sys
import tempfile
from pathlib import Path

from author_workflows import MODEL, Node, Output, Workflow, build
from comfy_server import ComfyServer
from environment import ROOT
from frontend import Frontend
from PIL import Image

FOLDER = ROOT / "web" / "docs"
LARGEST_WIDTH = 860
# The figures that save what others load.
FIRST = {"LEOTrainMotionPrior", "LEOSaveMotion"}
PRIOR, MOTION = "talking.safetensors", "motion_00001_.safetensors"
SEED = {"seed": 5, "control_after_generate": "fixed"}
# Many of the graphs read the same clip.
CACHED = ("--cpu", "--cache-lru", "300")
# Nodes before this column feed the others and stay out of the picture.
SHOWN = 10
# Show these nodes at full size, without the links by which results come round from nodes outside the picture;
# where on the page they are then.
FRAME = """async ({shown, left, top, margin}) => {
  const nodes = shown.map(i => app.rootGraph.nodes[i]), ds = app.canvas.ds;
  const x = Math.min(...nodes.map(n => n.pos[0])) - margin, y = Math.min(...nodes.map(n => n.pos[1])) - 30 - margin;
  const right = Math.max(...nodes.map(n => n.pos[0] + n.size[0])) + margin,
      bottom = Math.max(...nodes.map(n => n.pos[1] + n.size[1])) + margin;
  const isShown = id => shown.includes(app.rootGraph.nodes.findIndex(n => n.id == id));
  for (const link of [...app.rootGraph.links.values()]) {
    const isPreview = app.rootGraph.getNodeById(link.target_id).type === 'PreviewImage';
    if (isShown(link.origin_id) !== isShown(link.target_id) &&
        (isShown(link.origin_id) || isPreview)) app.rootGraph.removeLink(link.id);
  }
  ds.scale = 1;
  ds.offset = [left - x, top - y];
  app.canvas.deselectAll?.();
  app.canvas.setDirty(true, true);
  await new Promise(resolve => setTimeout(resolve, 1500));
  return {x: left, y: top, width: right - x, height: bottom - y};
}"""


class Figure(Workflow):
    """A graph about one node; what `show` adds is in the picture, what `feed` adds stays out of it."""

    def __init__(self, node_id: str, run: bool = True):
        super().__init__(node_id)
        self.run = run

    def show(self, node_id: str | None = None, column: int = 0, **options) -> Node:
        return self.node(node_id or self.title, column=SHOWN + column, **options)

    def feed(self, node_id: str, **inputs) -> Node:
        return self.node(node_id, column=0, inputs=inputs)

    @property
    def shown(self) -> list[int]:
        return [node.index for node in self.nodes if node.description["column"] >= SHOWN]

    @property
    def loads(self) -> bool:
        """Whether it needs a file that another figure saves."""
        return any(value in (PRIOR, MOTION) for node in self.nodes for _, value in node.description["values"])

    def animator(self) -> Output:
        return self.feed("LEOLoadAnimator", model=MODEL)["animator"]

    def photo(self, sample: str = "woman.png") -> Output:
        return self.feed("LEOLoadSample", sample=sample)["image"]

    def look(self, animator: Output, photo: Output) -> tuple[Output, Output]:
        """Appearance and pose."""
        encoded = self.feed("LEOEncoder", animator=animator, image=photo)
        return encoded["appearance"], encoded["pose"]

    def driving(self, animator: Output, sample: str = "man_talking.mp4") -> Output:
        clip = self.feed("LEOLoadSample", sample=sample)["video"]
        return self.feed("LEOMotionEncoder", animator=animator, video=clip)["motion"]

    def prior(self) -> Output:
        return self.feed("LEOLoadMotionPrior", prior=PRIOR)["prior"]

    def flow(self, frames: int = 96) -> tuple[Output, Output, Output, Output]:
        """Animator, photo, appearance, and the flow of the photo with the driving clip's motion."""
        animator, photo = self.animator(), self.photo()
        appearance, pose = self.look(animator, photo)
        part = self.feed("LEOTrimMotion", motion=self.driving(animator), start=40, frames=frames)["motion"]
        motion = self.feed("LEOTransferMotion", source_pose=pose, driving=part)["motion"]
        return (
            animator,
            photo,
            appearance,
            self.feed("LEOFlowGenerator", animator=animator, appearance=appearance, motion=motion)["flow"],
        )

    def result(self, images: Output, column: int = 1, row: int = 0, size: tuple[int, int] = (360, 400)) -> None:
        self.show("PreviewImage", column, row=row, inputs={"images": images}, size=size)

    def curves(self, motion: Output, behind: Output | None = None, directions: str = "") -> None:
        """The motion plotted, over the one before it in gray."""
        inputs = {"motion": motion, "width": 440, "strip": 18}
        plot = self.feed("LEOPlotMotion", **inputs, **({} if behind is None else {"behind": behind}))
        self.result(plot["image"], size=(440, 430))

    def ask_for(self, motion: Output) -> None:
        """Let the motion be computed, out of the picture: only what leads to an output runs."""
        self.feed("PreviewImage", images=self.feed("LEOPlotMotion", motion=motion)["image"])


def describe() -> list[Figure]:
    """The figures in the order in which they have to run: what one saves, others load."""
    Workflow.described.clear()

    f = Figure("LEOTrainMotionPrior")
    animator = f.animator()
    f.show(
        inputs={
            "motions.motion0": f.driving(animator),
            "motions.motion1": f.driving(animator, "woman_talking.mp4"),
            "name": PRIOR.removesuffix(".safetensors"),
            "steps": 100,
            "batch": 8,
            **SEED,
        },
        size=(420, 300),
    )

    f = Figure("LEOSaveMotion")
    f.show(
        inputs={
            "motion": f.driving(f.animator()),
            "filename_prefix": "leo/motion",
            "description": "A man turns and talks.",
        },
        size=(400, 260),
    )

    f = Figure("LEOLoadAnimator", run=False)
    f.show(inputs={"model": MODEL})

    f = Figure("LEOLoadMotionPrior")
    prior = f.show(inputs={"prior": PRIOR})
    sampled = f.show("LEOLMDMSampler", 1, inputs={"prior": prior["prior"], "frames": 200, **SEED})
    f.node(
        "PreviewImage",
        column=SHOWN + 2,
        size=(400, 420),
        inputs={"images": f.feed("LEOPlotMotion", motion=sampled["motion"], width=440, strip=18)["image"]},
    )

    f = Figure("LEOLoadSample")
    sample = f.show(inputs={"sample": "woman.png"})
    f.result(sample["image"], size=(300, 330))

    f = Figure("LEOWebcam")
    f.result(f.show(size=(300, 330))["image"], size=(300, 330))

    f = Figure("LEOEncoder")
    animator, photo = f.animator(), f.photo()
    f.result(photo, column=0, size=(300, 320))
    encoded = f.show(column=1, inputs={"animator": animator, "image": photo})
    moved = f.feed("LEOFlowGenerator", animator=animator, appearance=encoded["appearance"], motion=encoded["pose"])
    painted = f.feed(
        "LEOInpaintingDecoder", animator=animator, appearance=encoded["appearance"], flow=moved["flow"], picture=photo
    )
    f.show(
        "PreviewImage", 2, title="What the animator sees in it", inputs={"images": painted["images"]}, size=(300, 320)
    )

    f = Figure("LEOMotionEncoder")
    clip = f.feed("LEOLoadSample", sample="man_talking.mp4")["video"]
    f.show("SaveVideo", inputs={"video": clip, "filename_prefix": "leo/clip"}, size=(300, 400))
    read = f.show(column=1, inputs={"animator": f.animator(), "video": clip})
    plot = f.feed("LEOPlotMotion", motion=read["motion"], width=440, strip=18)
    f.result(plot["image"], column=2, size=(400, 420))

    f = Figure("LEOLMDMSampler")
    animator = f.animator()
    appearance, pose = f.look(animator, f.photo())
    sampled = f.show(inputs={"prior": f.prior(), "start_pose": pose, "frames": 200, **SEED}, size=(300, 260))
    f.curves(sampled["motion"])

    f = Figure("LEOFlowGenerator")
    animator, photo, appearance, _ = f.flow()
    _, pose = f.look(animator, photo)
    part = f.feed("LEOTrimMotion", motion=f.driving(animator), start=60, frames=4)["motion"]
    motion = f.feed("LEOTransferMotion", source_pose=pose, driving=part)["motion"]
    moved = f.show(inputs={"animator": animator, "appearance": appearance, "motion": motion})
    seen = f.feed("LEOVisualizeFlow", flow=moved["flow"], view="grid", image=photo, size=384)
    f.result(seen["image"], size=(420, 430))

    f = Figure("LEOInpaintingDecoder")
    animator, photo, appearance, flow = f.flow(frames=4)
    painted = f.show(
        size=(300, 300),
        inputs={
            "animator": animator,
            "appearance": appearance,
            "flow": flow,
            "picture": photo,
            "full_resolution": True,
        },
    )
    f.result(painted["images"], size=(420, 430))

    f = Figure("LEORenderVideo")
    animator, photo = f.animator(), f.photo()
    appearance, pose = f.look(animator, photo)
    motion = f.feed("LEOTransferMotion", source_pose=pose, driving=f.driving(animator))["motion"]
    rendered = f.show(
        size=(330, 420),
        inputs={
            "animator": animator,
            "appearance": appearance,
            "motion": motion,
            "picture": photo,
            "full_resolution": True,
        },
    )
    f.show("SaveVideo", 1, inputs={"video": rendered["video"], "filename_prefix": "leo/rendered"}, size=(330, 420))

    f = Figure("LEOTransferMotion")
    animator = f.animator()
    _, pose = f.look(animator, f.photo())
    driving = f.driving(animator)
    moved = f.show(inputs={"source_pose": pose, "driving": driving}, size=(330, 300))
    f.curves(moved["motion"], behind=driving)

    f = Figure("LEOEditDirections")
    animator = f.animator()
    appearance, pose = f.look(animator, f.photo())
    moved = f.feed("LEOTransferMotion", source_pose=pose, driving=f.driving(animator))["motion"]
    edited = f.show(
        size=(380, 720),
        inputs={
            "motion": moved,
            "edits": "turn: 1.5\nnod: -1",
            "timing": "curve",
            "animator": animator,
            "appearance": appearance,
            "curve": {"points": [[0, 0], [0.4, 1], [0.7, 1], [1, 0.2]], "interpolation": "monotone_cubic"},
        },
    )
    f.ask_for(edited["motion"])

    f = Figure("LEOBlendMotion")
    animator = f.animator()
    first = f.driving(animator)
    mixed = f.show(
        inputs={"first": first, "second": f.driving(animator, "woman_talking.mp4"), "timing": "curve", "weight": 1.0},
        size=(330, 420),
    )
    f.curves(mixed["motion"], behind=first)

    f = Figure("LEOJoinMotion")
    animator = f.animator()
    first = f.feed("LEOTrimMotion", motion=f.driving(animator), start=0, frames=60)["motion"]
    second = f.feed("LEOTrimMotion", motion=f.driving(animator, "woman_talking.mp4"), start=30, frames=60)["motion"]
    joined = f.show(
        inputs={"motions.motion0": first, "motions.motion1": second, "prior": f.prior(), **SEED}, size=(330, 300)
    )
    f.curves(joined["motion"], behind=first)

    f = Figure("LEOLoopMotion")
    part = f.feed("LEOTrimMotion", motion=f.driving(f.animator()), start=0, frames=60)["motion"]
    looped = f.show(inputs={"prior": f.prior(), "motion": part, **SEED}, size=(330, 260))
    f.curves(looped["motion"], behind=part)

    f = Figure("LEORetimeMotion")
    driving = f.driving(f.animator())
    slow = f.show(inputs={"motion": driving, "timing": "speed", "timing.speed": 0.5}, size=(330, 160))
    f.curves(slow["motion"], behind=driving)

    for node_id, inputs in (
        ("LEOSmoothMotion", {"seconds": 0.6}),
        ("LEOAmplifyMotion", {"gain": 2.0}),
        ("LEOTrimMotion", {"start": 24, "frames": 48}),
        ("LEOSelectDirections", {"directions": "0-2"}),
    ):
        f = Figure(node_id)
        driving = f.driving(f.animator())
        changed = f.show(inputs={"motion": driving, **inputs}, size=(330, 120))
        f.curves(changed["motion"], behind=driving)

    f = Figure("LEOLoadMotion")
    f.ask_for(f.show(inputs={"file": MOTION}, size=(400, 200))["motion"])

    f = Figure("LEOChooseMotion")
    _, pose = f.look(f.animator(), f.photo())
    f.curves(f.show(inputs={"pose": pose, "motion": "nod", "seconds": 6.0}, size=(330, 260))["motion"])

    f = Figure("LEOMotionFromFace", run=False)  # what finds landmarks wants weights that do not come with ComfyUI
    animator = f.animator()
    found = f.show("MediaPipeFaceLandmarker")
    f.show(column=1, inputs={"animator": animator, "face_landmarks": found[0]}, size=(330, 560))

    f = Figure("LEOLoadFaceCapture")
    f.curves(f.show(inputs={"animator": f.animator(), "file": "talking.csv"}, size=(330, 520))["motion"])

    f = Figure("LEOSaveFaceCapture")
    animator = f.animator()
    recorded = f.feed("LEOLoadFaceCapture", animator=animator, file="talking.csv")
    f.show(inputs={"animator": animator, "motion": recorded["motion"]}, size=(400, 220))

    f = Figure("LEOPlotMotion")
    animator = f.animator()
    driving = f.driving(animator)
    calm = f.feed("LEOSmoothMotion", motion=driving, seconds=0.6)["motion"]
    plot = f.show(inputs={"motion": calm, "behind": driving, "width": 440, "strip": 18})
    f.result(plot["image"], size=(440, 430))

    f = Figure("LEOVisualizeFlow")
    animator, photo, appearance, flow = f.flow(frames=1)
    for column, view in enumerate(("color", "arrows", "grid")):
        seen = f.show(
            column=column, title=view, inputs={"flow": flow, "view": view, "size": 384, "image": photo}, size=(290, 200)
        )
        f.result(seen["image"], column=column, size=(290, 320))

    f = Figure("LEOEditFlow")
    animator, photo, appearance, flow = f.flow(frames=1)
    for column, strength in enumerate((1.0, 0.0, 2.0)):
        edited = f.show(
            column=column, title=f"strength {strength:g}", inputs={"flow": flow, "strength": strength}, size=(290, 300)
        )
        painted = f.feed(
            "LEOInpaintingDecoder",
            animator=animator,
            appearance=appearance,
            flow=edited["flow"],
            picture=photo,
            full_resolution=True,
        )
        f.result(painted["images"], column=column, size=(290, 320))

    f = Figure("LEOCropSubject")
    photo = f.photo("astronaut.png")
    f.result(photo, column=0, size=(300, 330))
    boxes = f.feed("PrimitiveBoundingBox", x=60, y=40, width=120, height=140)
    cut = f.show(column=1, inputs={"image": photo, "boxes": boxes[0]})
    f.result(cut["image"], column=2, size=(300, 330))

    f = Figure("LEOPasteBack")
    photo = f.photo("astronaut.png")
    boxes = f.feed("PrimitiveBoundingBox", x=60, y=40, width=120, height=140)
    cut = f.feed("LEOCropSubject", image=photo, boxes=boxes[0])
    changed = f.feed("ImageInvert", image=cut["image"])
    f.result(changed["IMAGE"], column=0, size=(300, 330))
    back = f.show(column=1, inputs={"images": changed["IMAGE"], "crop": cut["crop"], "picture": photo})
    f.result(back["images"], column=2, size=(300, 330))

    f = Figure("LEOExpressionEditor")
    photo = f.photo("portrait_2.jpg")
    f.result(photo, column=0, size=(300, 330))
    sliders = {"turn": -0.4, "nod": 0.15, "jaw_open": 0.5, "brows_up": 0.7}
    edited = f.show(column=1, inputs={"image": photo, **sliders}, size=(330, 940))
    f.result(edited["image"], column=2, size=(300, 330))

    return list(Workflow.described)


def take(figure: Figure, frontend: Frontend) -> Path:
    """Build, run and photograph one graph."""
    page = frontend.page
    page.evaluate("() => app.refreshComboInNodes()")
    graph = build(figure, frontend)
    frontend.load(graph)
    if figure.run:
        frontend.run()
        page.wait_for_timeout(1500)
    page.evaluate("() => app.extensionManager.command.execute('Workspace.ToggleFocusMode')")
    clip = page.evaluate(FRAME, {"shown": figure.shown, "left": 30, "top": 30, "margin": 24})
    picture = Image.open(io.BytesIO(page.screenshot(clip=clip)))
    page.evaluate("() => app.extensionManager.command.execute('Workspace.ToggleFocusMode')")
    picture.thumbnail((LARGEST_WIDTH, LARGEST_WIDTH), Image.Resampling.LANCZOS)
    path = FOLDER / f"{figure.title}.webp"
    picture.convert("RGB").save(path, quality=72, method=6)
    return path


def main(wanted: list[str]) -> int:
    figures = describe()
    unknown = set(wanted) - {figure.title for figure in figures}
    if unknown:
        print(
            f"No figure for {', '.join(sorted(unknown))}. Describe it in describe() of scripts/help_figures.py. There "
            f"are: {', '.join(figure.title for figure in figures)}.",
            file=sys.stderr,
        )
        return 2
    chosen = [figure for figure in figures if not wanted or figure.title in wanted]
    if any(figure.loads for figure in chosen):
        chosen = [figure for figure in figures if figure in chosen or figure.title in FIRST]
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as base,
        ComfyServer(Path(base), CACHED) as server,
        Frontend(server, 1700, 1300, camera=True) as frontend,
    ):
        for figure in chosen:
            print(take(figure, frontend).relative_to(ROOT), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
