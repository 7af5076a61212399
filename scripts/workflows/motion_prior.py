"""Motion out of nothing: one picture and a seed, no driving clip. All of it runs with what comes with the pack."""

from author_workflows import INPUTS, MODEL, MODELS, MOTION, OWN_PHOTO, RENDERING, Node, Output, Workflow

PRIOR = "leo-face-128-prior.safetensors"
YOURS = (
    f"\n\n{OWN_PHOTO} For LIA or LIA-X weights from `ComfyUI/models/leo`, choose them in **LEO Load Animator** and "
    "train a prior for them with **LEO Train Motion Prior**."
)


class Scene:
    """What all of these graphs have: a photo, the animator, its motion prior, and a rendered video."""

    def __init__(
        self, title: str, note: str, *, sample: str = "portrait_1.jpg", height: float = 330, prior: bool = True
    ):
        self.flow = Workflow(title)
        self.photo = self.flow.node("LEOLoadSample", title="Photo", inputs={"sample": sample})
        self.flow.note(note, size=(400, height))
        self.person = self.flow.node("LEOCropSubject", inputs={"image": self.photo["image"]})
        self.animator = self.flow.node("LEOLoadAnimator", inputs={"model": MODEL})
        self.look = self.flow.node(
            "LEOEncoder", inputs={"animator": self.animator["animator"], "image": self.person["image"]}
        )
        self.read = [self.person, self.animator, self.look]
        if prior:
            self.prior = self.flow.node("LEOLoadMotionPrior", inputs={"prior": PRIOR})
            self.read.append(self.prior)

    def sampler(self, frames: int, seed: int, *, prior: Output | None = None, **inputs) -> Node:
        """Free motion from the photo's own pose; the seed stays as it is until the user lets it go."""
        return self.flow.node(
            "LEOLMDMSampler",
            size=(290, 490),
            inputs={
                "prior": prior or self.prior["prior"],
                "start_pose": self.look["pose"],
                "frames": frames,
                "seed": seed,
                "control_after_generate": "randomize",
                "steps": 25,
                **inputs,
            },
        )

    def driven(self, clip: Node) -> Node:
        """The photo with the motion of a clip."""
        read = self.flow.node(
            "LEOMotionEncoder", inputs={"animator": self.animator["animator"], "video": clip["video"]}
        )
        self.read.append(read)
        return self.flow.node("LEOTransferMotion", inputs={"source_pose": self.look["pose"], "driving": read["motion"]})

    def render(self, motion: Output, name: str) -> None:
        """The two last nodes, and the groups of the reading and the rendering ones."""
        video = self.flow.node(
            "LEORenderVideo",
            size=(290, 600),
            inputs={
                "animator": self.animator["animator"],
                "appearance": self.look["appearance"],
                "motion": motion,
                "picture": self.photo["image"],
                "crop": self.person["crop"],
                "full_resolution": True,
            },
        )
        self.flow.node("SaveVideo", inputs={"video": video["video"], "filename_prefix": f"leo/{name}"}, size=(400, 460))
        self.flow.group("Read", *self.read, color=MODELS)
        self.flow.group("Render", video, color=RENDERING)


scene = Scene(
    "LEO - Animate a person from one image",
    "## Animate a person from one image\n\nPress **Run**: the person in the photo turns, nods, tilts and looks around "
    "for five seconds. There is no driving video: the motion comes from a motion diffusion model, and every run "
    "draws a new *seed*; set *control after generate* to *fixed* to keep one.\n\n*frames* can be any number; 25 make "
    "a second." + YOURS,
    height=270,
)
motion = scene.sampler(125, 7)
scene.render(motion["motion"], "animated")
shown = scene.flow.node(
    "LEOPlotMotion",
    title="The motion, under the video's playhead",
    size=(400, 270),
    inputs={"motion": motion["motion"]},
)
scene.flow.group("Motion from scratch", motion, color=MOTION)

scene = Scene(
    "LEO - Endless video from one image",
    "## Endless video from one image\n\nPress **Run**: half a minute from one photo. Set *frames* to whatever you "
    "like; 90,000 are an hour. Motion is generated window by window, each starting where the last one ended, and stays "
    "close to where it began; "
    "**LEO Render Video** writes frames to disk as they come. Memory does not grow with the length of the video."
    + YOURS,
    sample="portrait_2.jpg",
    height=250,
)
motion = scene.sampler(750, 3)
scene.flow.group("Motion from scratch", motion, color=MOTION)
scene.render(motion["motion"], "endless")

scene = Scene(
    "LEO - Seamless loop",
    "## Seamless loop\n\nPress **Run**: a clip whose last frame leads back to its first. **LEO Loop Motion** generates "
    "the way back with the motion prior, which is given both ends; *transition frames* sets its length.\n\nAny motion "
    "can be closed this way, including that of a driving video (**LEO Motion Encoder**)." + YOURS,
    height=250,
)
motion = scene.sampler(100, 11)
loop = scene.flow.node(
    "LEOLoopMotion",
    inputs={"prior": scene.prior["prior"], "motion": motion["motion"], "transition_frames": 25, "steps": 25},
)
scene.flow.group("Motion from scratch", motion, loop, color=MOTION)
scene.render(loop["motion"], "loop")

scene = Scene(
    "LEO - Join two motions",
    "## Join two motions\n\nPress **Run**: the person in the photo first moves as in one clip, then as in the other. "
    "**LEO Join Motion** generates the second in between with the motion prior, which sees where one motion ends and "
    "the other begins, so that no cut shows. More motions can be joined: each connected input adds another." + YOURS,
    height=250,
)
clips = [
    scene.flow.node("LEOLoadSample", title=f"{which} motion", inputs={"sample": name})
    for which, name in (("First", "man_talking.mp4"), ("Second", "woman_talking.mp4"))
]
driven = [scene.driven(clip) for clip in clips]
joined = scene.flow.node(
    "LEOJoinMotion",
    inputs={
        "motions.motion0": driven[0]["motion"],
        "motions.motion1": driven[1]["motion"],
        "prior": scene.prior["prior"],
        "transition_frames": 25,
        "steps": 25,
    },
)
scene.flow.group("Motions", *clips, color=INPUTS)
scene.flow.group("Join", *driven, joined, color=MOTION)
scene.render(joined["motion"], "joined")

scene = Scene(
    "LEO - Train a motion prior on your clips",
    "## Train a motion prior on your clips\n\nPress **Run**: the motion of two clips is learned in about a minute, "
    "saved to `output/leo`, and new motion like it is applied to the photo. **LEO Load Motion Prior** lists what was "
    "saved (press *R*).\n\n"
    "**For your own clips** connect one **LEO Motion Encoder** for each, some ten seconds or longer, and raise "
    "*steps* to 1500. A prior fits the animator that read the clips: LEO's, LIA's or LIA-X's.",
    height=220,
    prior=False,
)
clips = [
    scene.flow.node("LEOLoadSample", title=title, inputs={"sample": name})
    for title, name in (("First clip", "man_talking.mp4"), ("Second clip", "woman_talking.mp4"))
]
encoders = [
    scene.flow.node("LEOMotionEncoder", inputs={"animator": scene.animator["animator"], "video": clip["video"]})
    for clip in clips
]
scene.read += encoders
trained = scene.flow.node(
    "LEOTrainMotionPrior",
    inputs={
        **{f"motions.motion{index}": encoder["motion"] for index, encoder in enumerate(encoders)},
        "name": "two clips",
        "steps": 100,
        "batch": 16,
        "window": 48,
    },
)
motion = scene.sampler(125, 5, prior=trained["prior"])
scene.flow.group("Clips", *clips, color=INPUTS)
scene.flow.group("Learn and sample", trained, motion, color=MOTION)
scene.render(motion["motion"], "learnt")
