"""Workflows for the released LIA-X weights, which a user downloads."""

from author_workflows import INPUTS, MODELS, OWN_PHOTO, RENDERING, Workflow

LIAX = [{"name": "lia-x.pt", "url": "https://huggingface.co/YaohuiW/LIA-X/resolve/main/lia-x.pt", "directory": "leo"}]
LIAX_NOTE = (
    "\n\n**The weights** are LIA-X's, 3.6 GB: if they are missing, ComfyUI offers to download them from the [model "
    "page](https://huggingface.co/YaohuiW/LIA-X) into `ComfyUI/models/leo`. They are for **non-commercial use only**: "
    "read the terms on that page."
)
SLIDERS_NOTE = (
    "**LEO Edit Directions** has the names: add a row, choose *yaw*, *pitch*, *smile*, *eyes* or *mouth*, and drag. "
    "The ends of a slider are the published useful range; names and ranges are read from the file before anything runs."
)

flow = Workflow("LEO - LIA-X - Edit a picture", thumbnail="samples/woman.png")
photo = flow.node("LEOLoadSample", title="Photo", inputs={"sample": "woman.png"})
flow.note(
    "## Edit a picture with named sliders\n\nPress **Run**: the head turns and smiles.\n\n"
    + SLIDERS_NOTE
    + " Every run shows the edited face on the node."
    + f"\n\n{OWN_PHOTO}"
    + LIAX_NOTE,
    size=(400, 310),
)
person = flow.node("LEOCropSubject", inputs={"image": photo["image"]})
animator = flow.node("LEOLoadAnimator", inputs={"model": "lia-x.pt"}, models=LIAX)
look = flow.node("LEOEncoder", inputs={"animator": animator["animator"], "image": person["image"]})
edited = flow.node(
    "LEOEditDirections",
    size=(300, 640),
    inputs={
        "motion": look["pose"],
        "edits": "yaw: -1\nsmile: 1",
        "animator": animator["animator"],
        "appearance": look["appearance"],
    },
)
moved = flow.node(
    "LEOFlowGenerator",
    inputs={"animator": animator["animator"], "appearance": look["appearance"], "motion": edited["motion"]},
)
frames = flow.node(
    "LEOInpaintingDecoder",
    inputs={
        "animator": animator["animator"],
        "appearance": look["appearance"],
        "flow": moved["flow"],
        "picture": person["image"],
    },
)
back = flow.node("LEOPasteBack", inputs={"images": frames["images"], "crop": person["crop"], "picture": photo["image"]})
flow.node("SaveImage", inputs={"images": back["images"], "filename_prefix": "leo/edited"}, size=(400, 440))
flow.group("Read", person, animator, look, color=MODELS)
flow.group("Edit", edited, color=INPUTS)
flow.group("Render", moved, frames, back, color=RENDERING)

flow = Workflow("LEO - LIA-X - Edit a video", thumbnail="samples/man.png")
clip = flow.node("LEOLoadSample", title="Video", inputs={"sample": "man_talking.mp4"})
flow.note(
    "## Edit a video with named sliders\n\nPress **Run**: the man says the same with another expression.\n\n"
    + SLIDERS_NOTE
    + " Set *timing* to *curve* to let the edit come and go. The first frame sets the looks of the whole clip, whose "
    "motion is read frame by frame." + LIAX_NOTE,
    size=(400, 290),
)
animator = flow.node("LEOLoadAnimator", inputs={"model": "lia-x.pt"}, models=LIAX)
look = flow.node("LEOEncoder", inputs={"animator": animator["animator"], "image": clip["image"]})
driving = flow.node("LEOMotionEncoder", inputs={"animator": animator["animator"], "video": clip["video"]})
edited = flow.node(
    "LEOEditDirections",
    size=(300, 640),
    inputs={
        "motion": driving["motion"],
        "edits": "smile: 1.5\neyebrows: 1",
        "animator": animator["animator"],
        "appearance": look["appearance"],
    },
)
video = flow.node(
    "LEORenderVideo",
    inputs={
        "animator": animator["animator"],
        "appearance": look["appearance"],
        "motion": edited["motion"],
        "picture": clip["image"],
        "video": clip["video"],
    },
)
flow.node("SaveVideo", inputs={"video": video["video"], "filename_prefix": "leo/edited"}, size=(400, 460))
flow.group("Read", animator, look, driving, color=MODELS)
flow.group("Edit", edited, color=INPUTS)
flow.group("Render", video, color=RENDERING)

flow = Workflow("LEO - LIA-X - Animate a portrait", thumbnail="samples/woman.png")
photo = flow.node("LEOLoadSample", title="Photo", inputs={"sample": "woman.png"})
clip = flow.node("LEOLoadSample", title="Driving video", inputs={"sample": "man_talking.mp4"})
flow.note(
    "## Animate a portrait\n\nPress **Run**: the woman in the photo moves like the man in the clip.\n\n"
    "LIA-X is made for *relative* transfer: the driver's change of pose is added to the photo's own. Start from the "
    "frame of "
    "the driver that looks like the photo (*best match*). If the driver moves too much, lower *gain*.\n\n"
    + OWN_PHOTO
    + LIAX_NOTE,
    size=(400, 310),
)
person = flow.node("LEOCropSubject", inputs={"image": photo["image"]})
animator = flow.node("LEOLoadAnimator", inputs={"model": "lia-x.pt"}, models=LIAX)
look = flow.node("LEOEncoder", inputs={"animator": animator["animator"], "image": person["image"]})
driving = flow.node("LEOMotionEncoder", inputs={"animator": animator["animator"], "video": clip["video"]})
motion = flow.node(
    "LEOTransferMotion",
    inputs={
        "source_pose": look["pose"],
        "driving": driving["motion"],
        "reference": "best match",
        "animator": animator["animator"],
    },
)
video = flow.node(
    "LEORenderVideo",
    inputs={
        "animator": animator["animator"],
        "appearance": look["appearance"],
        "motion": motion["motion"],
        "picture": photo["image"],
        "crop": person["crop"],
        "video": clip["video"],
    },
)
flow.node("SaveVideo", inputs={"video": video["video"], "filename_prefix": "leo/driven"}, size=(400, 460))
flow.group("Inputs", photo, clip, color=INPUTS)
flow.group("Read", person, animator, look, driving, color=MODELS)
flow.group("Move", motion, video, color=RENDERING)
