"""Content-preserving editing: a changed first frame or photo, the motion of a clip, everything else left as it is."""

from author_workflows import INPUTS, MODEL, MODELS, RENDERING, Node, Workflow

EDIT = "#8a3f5d"
UPSCALER = [
    {
        "name": "RealESRGAN_x4plus.safetensors",
        "directory": "upscale_models",
        "url": "https://huggingface.co/Comfy-Org/Real-ESRGAN_repackaged/resolve/main/RealESRGAN_x4plus.safetensors",
    }
]
YOURS = (
    "\n\nThe small model that comes with the pack moves heads, and mouths, lids and brows a little less than the "
    "driver; for more, choose LIA or LIA-X weights from `ComfyUI/models/leo` in **LEO Load Animator**."
)


def start(title: str, note: str, height: float, prompt: str) -> Workflow:
    flow = Workflow(title, prompt=f"tests/data/{prompt}_prompt.json")
    flow.note(f"## {title.removeprefix('LEO - ')}\n\n" + note + YOURS, size=(400, height))
    return flow


def color_channel(flow: Workflow, image, threshold: float, *, title: str) -> tuple[Node, Node, Node]:
    """Where a picture is blue or gray rather than green or yellow: (its channels, one of them as a mask, the
    decision)."""
    channels = flow.node("ImageRGBToYUV", inputs={"image": image})
    mask = flow.node("ImageToMask", inputs={"image": channels["U"], "channel": "red"})
    return (channels, mask, flow.node("ThresholdMask", title=title, inputs={"mask": mask[0], "value": threshold}))


def swapped_colors(flow: Workflow, picture, channels: Node, where: Node, *, title: str) -> tuple[Node, Node]:
    """The picture with red and blue changed round inside a mask."""
    swapped = flow.node("ImageYUVToRGB", inputs={"Y": channels["Y"], "U": channels["V"], "V": channels["U"]})
    return swapped, flow.node(
        "ImageCompositeMasked", title=title, inputs={"destination": picture, "source": swapped[0], "mask": where[0]}
    )


flow = start(
    "LEO - Edit a video by its first frame",
    "Press **Run**: the woman in the clip wears an orange shirt, sits in front of another wall, and moves as "
    "before.\n\n"
    "Only the **first frame** is edited, here with a few of ComfyUI's own nodes; any other edit will do: paint "
    "on it, inpaint it, run it through an image model. **LEO Motion Encoder** reads the clip's motion, and **LEO "
    "Render Video** applies it to the edited frame. Outside the subject the edited frame comes back pixel for "
    "pixel.\n\n"
    "The subject is found by its green backdrop; for your own clip, replace that group with a background remover, SAM "
    "or a drawn mask. The clip's sound is kept if it has any (the samples have none).",
    height=300,
    prompt="edit_by_first_frame",
)
clip = flow.node("LEOLoadSample", title="Video", inputs={"sample": "woman_talking.mp4"})
parts = flow.node("GetVideoComponents", inputs={"video": clip["video"]})
subject = color_channel(flow, parts["images"], 0.39, title="Not green, in any frame")
room = flow.node(
    "GrowMask", title="With its edge", inputs={"mask": subject[2][0], "expand": 5, "tapered_corners": True}
)
person = flow.node(
    "GrowMask", title="Without holes and fringe", inputs={"mask": room[0], "expand": -6, "tapered_corners": True}
)
shirt = color_channel(flow, clip["image"], 0.54, title="The blue shirt")
recolored = swapped_colors(flow, clip["image"], shirt[0], shirt[2], title="Orange shirt")
wall = flow.node("EmptyImage", title="Another wall", inputs={"width": 256, "height": 256, "color": 0x5A6B8C})
edited = flow.node(
    "ImageCompositeMasked",
    title="Edited first frame",
    inputs={"destination": wall[0], "source": recolored[1][0], "mask": person[0]},
)
crop = flow.node("LEOCropSubject", inputs={"image": edited[0], "mask": room[0], "margin": 0.0})
animator = flow.node("LEOLoadAnimator", inputs={"model": MODEL})
look = flow.node("LEOEncoder", inputs={"animator": animator["animator"], "image": crop["image"]})
driving = flow.node(
    "LEOMotionEncoder", inputs={"animator": animator["animator"], "video": clip["video"], "crop": crop["crop"]}
)
motion = flow.node("LEOTransferMotion", inputs={"source_pose": look["pose"], "driving": driving["motion"]})
video = flow.node(
    "LEORenderVideo",
    inputs={
        "animator": animator["animator"],
        "appearance": look["appearance"],
        "motion": motion["motion"],
        "crop": crop["crop"],
        "picture": edited[0],
        "video": clip["video"],
        "full_resolution": True,
        "feather": 0.04,
        "region": "subject",
    },
)
flow.node("SaveVideo", inputs={"video": video["video"], "filename_prefix": "leo/edited"}, size=(400, 460))
flow.node("PreviewImage", title="Edited first frame", inputs={"images": edited[0]}, size=(290, 330))
flow.group("Find the subject", parts, *subject, room, person, color=INPUTS)
flow.group("Edit the first frame", *shirt, *recolored, wall, edited, color=EDIT)
flow.group("Read", crop, animator, look, driving, color=MODELS)
flow.group("Move", motion, video, color=RENDERING)

flow = start(
    "LEO - One motion on many people",
    "Press **Run**: one clip moves four pictures at once, side by side: its own first frame, an edited one, a black "
    "and white one, and another person.\n\n**Create List** runs every node after it once for each picture: connect "
    "more pictures to it, and give **Merge List of Tiles** room for them. **LEO Transfer Motion** adds the change of "
    "pose to each picture's own pose, so every picture starts out unchanged.",
    height=250,
    prompt="many_people",
)
clip = flow.node("LEOLoadSample", title="Driving video", inputs={"sample": "woman_talking.mp4"})
other = flow.node("LEOLoadSample", title="Another person", inputs={"sample": "man.png"})
shirt = color_channel(flow, clip["image"], 0.54, title="The blue shirt")
recolored = swapped_colors(flow, clip["image"], shirt[0], shirt[2], title="Orange shirt")
people = flow.node(
    "CreateList",
    title="The pictures",
    size=(290, 150),
    inputs={
        "inputs.input0": clip["image"],
        "inputs.input1": recolored[1][0],
        "inputs.input2": shirt[0]["Y"],
        "inputs.input3": other["image"],
    },
)
animator = flow.node("LEOLoadAnimator", inputs={"model": MODEL})
look = flow.node("LEOEncoder", inputs={"animator": animator["animator"], "image": people[0]})
driving = flow.node("LEOMotionEncoder", inputs={"animator": animator["animator"], "video": clip["video"]})
motion = flow.node("LEOTransferMotion", inputs={"source_pose": look["pose"], "driving": driving["motion"]})
moved = flow.node(
    "LEOFlowGenerator",
    inputs={"animator": animator["animator"], "appearance": look["appearance"], "motion": motion["motion"]},
)
frames = flow.node(
    "LEOInpaintingDecoder",
    inputs={
        "animator": animator["animator"],
        "appearance": look["appearance"],
        "flow": moved["flow"],
        "picture": people[0],
        "full_resolution": True,
    },
)
tiles = flow.node(
    "ImageMergeTileList",
    title="Side by side",
    inputs={"image_list": frames["images"], "final_width": 512, "final_height": 512, "overlap": 0},
)
parts = flow.node("GetVideoComponents", inputs={"video": clip["video"]})
video = flow.node("CreateVideo", inputs={"images": tiles[0], "audio": parts["audio"], "fps": parts["fps"]})
flow.node("SaveVideo", inputs={"video": video["VIDEO"], "filename_prefix": "leo/many"}, size=(400, 460))
flow.group("Pictures", *shirt, *recolored, people, color=EDIT)
flow.group("Read", animator, look, driving, color=MODELS)
flow.group("Move", motion, moved, color=RENDERING)

flow = start(
    "LEO - Photo to video with crop, paste back and sound",
    "Press **Run**: in a photo of two people, the one on the right moves as in the clip; the rest of the "
    "photo stays as it is.\n\n**Your own photo**: connect a **LEO Load Sample** in place of the group *Photo*. The "
    "people in it are found; *person* in **LEO Crop Subject** says which one moves: here the one nearest to a point; "
    "*automatic* is the largest. Boxes from a detector or a mask work too. The crop keeps its own resolution, and the "
    "frames go back to where it came from.\n\n"
    "**Sound**: the driving video's sound is kept if it has any (the samples have none); or connect **Load Audio** to "
    "*Create Video*. **Larger**: select the two bypassed nodes of the upscaler and press Ctrl+B; the loader says "
    "which file it needs, and ComfyUI offers the download.",
    height=370,
    prompt="paste_back",
)
left = flow.node("LEOLoadSample", title="One person", inputs={"sample": "man.png"})
right = flow.node("LEOLoadSample", title="And another", inputs={"sample": "woman.png"})
photo = flow.node("ImageStitch", title="A photo of two", inputs={"image1": left["image"], "image2": right["image"]})
crop = flow.node("LEOCropSubject", inputs={"image": photo[0], "person": "nearest", "point_x": 0.75})
animator = flow.node("LEOLoadAnimator", inputs={"model": MODEL})
clip = flow.node("LEOLoadSample", title="Driving video", inputs={"sample": "man_talking.mp4"})
look = flow.node("LEOEncoder", inputs={"animator": animator["animator"], "image": crop["image"]})
driving = flow.node("LEOMotionEncoder", inputs={"animator": animator["animator"], "video": clip["video"]})
motion = flow.node("LEOTransferMotion", inputs={"source_pose": look["pose"], "driving": driving["motion"]})
moved = flow.node(
    "LEOFlowGenerator",
    inputs={"animator": animator["animator"], "appearance": look["appearance"], "motion": motion["motion"]},
)
frames = flow.node(
    "LEOInpaintingDecoder",
    size=(290, 340),
    inputs={
        "animator": animator["animator"],
        "appearance": look["appearance"],
        "flow": moved["flow"],
        "picture": crop["image"],
        "full_resolution": True,
    },
)
pasted = flow.node("LEOPasteBack", inputs={"images": frames["images"], "crop": crop["crop"], "picture": photo[0]})
upscaler = flow.node(
    "UpscaleModelLoader",
    title="Upscaler (bypassed)",
    bypassed=True,
    models=UPSCALER,
    inputs={"model_name": UPSCALER[0]["name"]},
)
larger = flow.node(
    "ImageUpscaleWithModel",
    title="Larger (bypassed)",
    bypassed=True,
    inputs={"upscale_model": upscaler[0], "image": pasted["images"]},
)
parts = flow.node("GetVideoComponents", title="Sound of the driving video", inputs={"video": clip["video"]})
video = flow.node("CreateVideo", inputs={"images": larger[0], "audio": parts["audio"], "fps": parts["fps"]})
flow.node("SaveVideo", inputs={"video": video["VIDEO"], "filename_prefix": "leo/pasted"}, size=(400, 460))
flow.group("Photo", left, right, photo, color=INPUTS)
flow.group("Read the photo", crop, animator, look, color=MODELS)
flow.group("Read the clip", clip, driving, parts, color=INPUTS)
flow.group("Move", motion, moved, frames, color=RENDERING)
flow.group("Paste back and upscale", pasted, upscaler, larger, color=EDIT)
