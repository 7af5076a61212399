"""Motion and flow as material: shaped, frozen and posed with what comes with the pack."""

from author_workflows import INPUTS, MODEL, MODELS, MOTION, OWN_PHOTO, RENDERING, Workflow

FLOW = "#8a5a2b"
LIBRARY = MODEL.removesuffix(".safetensors")
YOURS = (
    f"\n\n{OWN_PHOTO} The small model that comes with the pack moves heads, mouths, brows and lids; for more, "
    "put LIA or LIA-X weights into `ComfyUI/models/leo` and choose them in **LEO Load Animator**."
)
OTHER_ANIMATORS = (
    " (a motion fits only the animator it was made with; read one from a clip with **LEO Motion Encoder**)"
)


class Scene:
    """What all of these graphs start with: a photo, the person in it unless it is taken `whole`, and the animator."""

    def __init__(self, title: str, note: str, *, sample: str, height: float, whole: bool = False):
        self.flow = Workflow(title)
        self.photo = self.flow.node("LEOLoadSample", title="Photo", inputs={"sample": sample})
        self.flow.note(note, size=(400, height))
        self.cut, self.read = self.photo["image"], []
        if not whole:
            self.person = self.flow.node("LEOCropSubject", inputs={"image": self.photo["image"]})
            self.cut, self.read = self.person["image"], [self.person]
        self.animator = self.flow.node("LEOLoadAnimator", inputs={"model": MODEL})
        self.look = self.flow.node("LEOEncoder", inputs={"animator": self.animator["animator"], "image": self.cut})
        self.read += [self.animator, self.look]

    def motion_of_library(self, name: str):
        """A ready-made motion on the person of the photo."""
        ready = self.flow.node("LEOLoadMotion", inputs={"file": f"{LIBRARY}/{name}.safetensors"}, size=(290, 150))
        return ready, self.flow.node(
            "LEOTransferMotion", inputs={"source_pose": self.look["pose"], "driving": ready["motion"]}
        )

    def maps(self, motion, title: str):
        return self.flow.node(
            "LEOFlowGenerator",
            title=title,
            size=(290, 300),
            inputs={"animator": self.animator["animator"], "appearance": self.look["appearance"], "motion": motion},
        )

    def decoded(self, maps):
        return self.flow.node(
            "LEOInpaintingDecoder",
            inputs={
                "animator": self.animator["animator"],
                "appearance": self.look["appearance"],
                "flow": maps,
                "picture": self.cut,
                "full_resolution": True,
            },
            size=(290, 340),
        )


scene = Scene(
    "LEO - Shape a motion with sliders and curves",
    "## Shape a motion with sliders and curves\n\nPress **Run**: a ready-made motion is applied to the person in "
    "the photo, sped up, smoothed, and shaped with sliders along a curve. The plot shows it in color, and before "
    "smoothing in gray.\n\n"
    "**LEO Edit Directions**: add a row, choose what moves, and drag; drag the keyframes on its timeline to let the "
    "edit come and go (double-click to add or remove one). Every run shows the strongest frame on the node. "
    "Nothing is rendered before the end, so try what you like: shaping takes no time.\n\n"
    "**LEO Load Motion** has more motions"
    + OTHER_ANIMATORS
    + ", and **LEO Save Motion** keeps yours in a few kB."
    + YOURS,
    sample="woman.png",
    height=350,
)
ready, moved = scene.motion_of_library("look around")
faster = scene.flow.node("LEORetimeMotion", inputs={"motion": moved["motion"], "timing": "speed", "timing.speed": 2.0})
calm = scene.flow.node("LEOSmoothMotion", inputs={"motion": faster["motion"], "seconds": 0.5})
bent = scene.flow.node(
    "LEOEditDirections",
    size=(300, 580),
    inputs={
        "motion": calm["motion"],
        "edits": "tilt: 2\nnod: 0.6",
        "timing": "curve",
        "curve": {"points": [[0, 0], [0.35, 1], [0.65, 1], [1, 0]], "interpolation": "monotone_cubic"},
        "animator": scene.animator["animator"],
        "appearance": scene.look["appearance"],
    },
)
plot = scene.flow.node(
    "LEOPlotMotion",
    size=(310, 240),
    inputs={"motion": bent["motion"], "behind": faster["motion"], "width": 640, "strip": 32},
)
shown = scene.flow.node(
    "PreviewImage", title="The motion, and before in gray", inputs={"images": plot["image"]}, size=(310, 260)
)
kept = scene.flow.node(
    "LEOSaveMotion",
    inputs={"motion": bent["motion"], "filename_prefix": "leo/shaped", "description": "Looks around, the head tilted."},
)
video = scene.flow.node(
    "LEORenderVideo",
    inputs={
        "animator": scene.animator["animator"],
        "appearance": scene.look["appearance"],
        "motion": bent["motion"],
        "picture": scene.photo["image"],
        "crop": scene.person["crop"],
        "full_resolution": True,
    },
    size=(290, 620),
)
scene.flow.node("SaveVideo", inputs={"video": video["video"], "filename_prefix": "leo/shaped"}, size=(400, 380))
scene.flow.group("Read, and apply to the person", scene.animator, scene.look, ready, moved, color=MODELS)
scene.flow.group("Time", faster, calm, color=MOTION)
scene.flow.group("Sliders and a curve", bent, color=INPUTS)
scene.flow.group("See and keep", plot, shown, kept, color=MOTION)
scene.flow.group("Render", video, color=RENDERING)

scene = Scene(
    "LEO - Edit the flow with a mask",
    "## Edit the flow with a mask\n\nPress **Run**: the head moves, the shirt holds still. On the right of the video, "
    "arrows show where things go; they stop at the mask.\n\nBetween a motion and its frames lies the *flow*: where "
    "each pixel of the photo goes, and what is left for inpainting. **LEO Edit Flow** weakens it, mixes two, pushes it "
    "with "
    "a picture of your own, or freezes a region: hands, a logo, the background. *still* says how the frozen region "
    "looks at rest.\n\nHere the mask is a soft rectangle. To paint your own, load the photo with **Load Image**, open "
    "its mask editor, and connect *MASK* to *freeze*. The whole picture is moved here: if the head is small in "
    "it, use **LEO Crop Subject** first.",
    sample="man.png",
    height=300,
    whole=True,
)
ready, moved = scene.motion_of_library("look around")
short = scene.flow.node("LEORetimeMotion", inputs={"motion": moved["motion"], "timing": "speed", "timing.speed": 2.5})
empty = scene.flow.node("SolidMask", title="Nothing", inputs={"value": 0.0, "width": 256, "height": 256})
block = scene.flow.node("SolidMask", title="The lower part", inputs={"value": 1.0, "width": 256, "height": 70})
soft = scene.flow.node("FeatherMask", inputs={"mask": block["MASK"], "top": 16})
region = scene.flow.node(
    "MaskComposite", inputs={"destination": empty["MASK"], "source": soft["MASK"], "x": 0, "y": 186, "operation": "add"}
)
maps = scene.maps(short["motion"], "Flow of the motion")
rest = scene.maps(scene.look["pose"], "Flow at rest")
held = scene.flow.node(
    "LEOEditFlow", inputs={"flow": maps["flow"], "freeze": region["MASK"], "still": rest["flow"]}, size=(290, 560)
)
frames = scene.decoded(held["flow"])
arrows = scene.flow.node(
    "LEOVisualizeFlow", inputs={"flow": held["flow"], "view": "arrows", "size": 256, "spacing": 16, "image": scene.cut}
)
pair = scene.flow.node(
    "ImageStitch", inputs={"image1": frames["images"], "image2": arrows["image"], "direction": "right"}
)
video = scene.flow.node("CreateVideo", inputs={"images": pair[0], "fps": 25.0})
scene.flow.node("SaveVideo", inputs={"video": video["VIDEO"], "filename_prefix": "leo/frozen"}, size=(400, 380))
scene.flow.group("Read", *scene.read, ready, color=MODELS)
scene.flow.group("Move", moved, short, color=MOTION)
scene.flow.group("The region to hold", empty, block, soft, region, color=INPUTS)
scene.flow.group("Flow", maps, rest, held, color=FLOW)
scene.flow.group("Render and show", frames, arrows, color=RENDERING)

scene = Scene(
    "LEO - Pose a still picture",
    "## Pose a still picture\n\nPress **Run**: the person in the photo turns and lowers their head; the background "
    "stays still.\n\n"
    "**LEO Edit Directions** has the names of what the model can move: add a row, choose, drag, run again. Amounts are "
    "in standard deviations of what the model has seen; 2 is far. *strength* scales all rows together." + YOURS,
    sample="woman.png",
    height=260,
)
posed = scene.flow.node(
    "LEOEditDirections",
    size=(300, 660),
    inputs={
        "motion": scene.look["pose"],
        "edits": "turn: 2\nnod: 0.7",
        "animator": scene.animator["animator"],
        "appearance": scene.look["appearance"],
    },
)
maps = scene.maps(posed["motion"], "Flow")
frames = scene.decoded(maps["flow"])
back = scene.flow.node(
    "LEOPasteBack",
    size=(290, 360),
    inputs={"images": frames["images"], "crop": scene.person["crop"], "picture": scene.photo["image"]},
)
pair = scene.flow.node(
    "ImageStitch", inputs={"image1": scene.photo["image"], "image2": back["images"], "direction": "right"}
)
shown = scene.flow.node("PreviewImage", title="Photo and new pose", inputs={"images": pair[0]}, size=(400, 280))
scene.flow.node("SaveImage", inputs={"images": back["images"], "filename_prefix": "leo/posed"}, size=(400, 440))
scene.flow.group("Read", scene.person, scene.animator, color=MODELS)
scene.flow.group("Pose", scene.look, posed, color=INPUTS)
scene.flow.group("Render", maps, frames, color=RENDERING)
scene.flow.group("Put back and compare", back, pair, shown, color=MOTION)
