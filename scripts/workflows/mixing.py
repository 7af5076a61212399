"""The turns of one motion in another, with what comes with the pack."""

from author_workflows import INPUTS, MODEL, MODELS, MOTION, OWN_PHOTO, RENDERING, Workflow

LIBRARY = MODEL.removesuffix(".safetensors")
flow = Workflow("LEO - Mix two motions")
photo = flow.node("LEOLoadSample", title="Photo", inputs={"sample": "man.png"})
flow.note(
    "## Mix two motions\n\nPress **Run**: the man talks as in one motion and turns his head as in another.\n\n"
    "**LEO Select Directions** keeps only the turns of one motion and drops them from the other. **LEO Blend Motion** "
    "takes half of each, and **LEO Amplify Motion** doubles the result, so both are there at full size: raise *gain* "
    "to exaggerate. **LEO Trim Motion** cuts the part to render.\n\n"
    + OWN_PHOTO
    + "\n\n**Your own motion**: put **LEO Motion Encoder** with a clip in place of **LEO Load Motion**. A motion fits "
    "only the animator that it was made with.",
    size=(400, 230),
)
person = flow.node("LEOCropSubject", inputs={"image": photo["image"]})
animator = flow.node("LEOLoadAnimator", inputs={"model": MODEL})
look = flow.node("LEOEncoder", inputs={"animator": animator["animator"], "image": person["image"]})
around = flow.node(
    "LEOLoadMotion", title="The turns of this", inputs={"file": f"{LIBRARY}/look around.safetensors"}, size=(290, 150)
)
talk = flow.node(
    "LEOLoadMotion", title="The rest of this", inputs={"file": f"{LIBRARY}/talk.safetensors"}, size=(290, 150)
)
turns = flow.node(
    "LEOSelectDirections",
    title="Only the turns",
    size=(290, 220),
    inputs={"motion": around["motion"], "directions": "turn", "action": "keep", "animator": animator["animator"]},
)
rest = flow.node(
    "LEOSelectDirections",
    title="All but the turns",
    size=(290, 220),
    inputs={"motion": talk["motion"], "directions": "turn", "action": "hold", "animator": animator["animator"]},
)
both = flow.node("LEOBlendMotion", inputs={"first": turns["motion"], "second": rest["motion"], "weight": 0.5})
whole = flow.node("LEOAmplifyMotion", inputs={"motion": both["motion"], "gain": 2.0}, size=(290, 180))
part = flow.node("LEOTrimMotion", inputs={"motion": whole["motion"], "start": 0, "frames": 75})
moved = flow.node("LEOTransferMotion", inputs={"source_pose": look["pose"], "driving": part["motion"]})
video = flow.node(
    "LEORenderVideo",
    inputs={
        "animator": animator["animator"],
        "appearance": look["appearance"],
        "motion": moved["motion"],
        "picture": photo["image"],
        "crop": person["crop"],
        "full_resolution": True,
    },
    size=(290, 600),
)
flow.node("SaveVideo", inputs={"video": video["video"], "filename_prefix": "leo/mixed"}, size=(400, 460))
flow.group("Read", person, animator, look, color=MODELS)
flow.group("Choose what moves", around, talk, turns, rest, color=INPUTS)
flow.group("Mix", both, whole, part, color=MOTION)
flow.group("Render", moved, video, color=RENDERING)
