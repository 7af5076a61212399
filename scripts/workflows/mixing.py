"""The turns of one motion in another, with what comes with the pack."""

from author_workflows import INPUTS, MODEL, MODELS, MOTION, RENDERING, Workflow

LIBRARY = MODEL.removesuffix(".safetensors")
flow = Workflow("LEO - Mix two motions")
photo = flow.node("LEOLoadSample", column=0, title="Photo", inputs={"sample": "man.png"})
flow.note(
    "## Mix two motions\n\nPress **Run**: the man talks as in one motion and turns his head as in another.\n\n"
    "**LEO Select Directions** takes the turns out of the one and leaves them out of the other. **LEO Blend Motion** "
    "takes half of each, and **LEO Amplify Motion** doubles the result, so both are there at full size: raise *gain* "
    "to exaggerate. **LEO Trim Motion** cuts the part to render.\n\n"
    "**Your own photo or motion**: put **Load Image** in place of the sample, and **LEO Motion Encoder** with a clip "
    "in place of **LEO Load Motion**. A motion fits only the animator that it was made with.",
    column=0,
    size=(400, 230),
)
animator = flow.node("LEOLoadAnimator", column=1, inputs={"model": MODEL})
look = flow.node("LEOEncoder", column=1, inputs={"animator": animator["animator"], "image": photo["image"]})
around = flow.node(
    "LEOLoadMotion",
    column=2,
    title="The turns of this",
    inputs={"file": f"{LIBRARY}/look around.safetensors"},
    size=(360, 160),
)
talk = flow.node(
    "LEOLoadMotion", column=2, title="The rest of this", inputs={"file": f"{LIBRARY}/talk.safetensors"}, size=(360, 160)
)
turns = flow.node(
    "LEOSelectDirections",
    column=2,
    title="Only the turns",
    size=(300, 220),
    inputs={"motion": around["motion"], "directions": "turn", "action": "keep", "animator": animator["animator"]},
)
rest = flow.node(
    "LEOSelectDirections",
    column=2,
    title="All but the turns",
    size=(300, 220),
    inputs={"motion": talk["motion"], "directions": "turn", "action": "hold", "animator": animator["animator"]},
)
both = flow.node("LEOBlendMotion", column=3, inputs={"first": turns["motion"], "second": rest["motion"], "weight": 0.5})
whole = flow.node("LEOAmplifyMotion", column=3, inputs={"motion": both["motion"], "gain": 2.0}, size=(290, 180))
part = flow.node("LEOTrimMotion", column=3, inputs={"motion": whole["motion"], "start": 0, "frames": 75})
moved = flow.node("LEOTransferMotion", column=4, inputs={"source_pose": look["pose"], "driving": part["motion"]})
video = flow.node(
    "LEORenderVideo",
    column=4,
    inputs={
        "animator": animator["animator"],
        "appearance": look["appearance"],
        "motion": moved["motion"],
        "picture": photo["image"],
        "full_resolution": True,
    },
    size=(290, 600),
)
flow.node("SaveVideo", column=5, inputs={"video": video["video"], "filename_prefix": "leo/mixed"}, size=(400, 460))
flow.group("Read", animator, look, around, talk, color=MODELS)
flow.group("Choose what moves", turns, rest, color=INPUTS)
flow.group("Mix", both, whole, part, color=MOTION)
flow.group("Render", moved, video, color=RENDERING)
