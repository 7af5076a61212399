"""The first graph."""

from author_workflows import INPUTS, MODEL, MODELS, RENDERING, Workflow

flow = Workflow("LEO - Animate a person from a driving video", prompt="scripts/demo_prompt.json")
photo = flow.node("LEOLoadSample", column=0, title="Photo", inputs={"sample": "woman.png"})
clip = flow.node("LEOLoadSample", column=0, title="Driving video", inputs={"sample": "man_talking.mp4"})
flow.note(
    "## Animate a person from a driving video\n\n"
    "Press **Run**: the woman of the photo makes the motion of the man in the clip.\n\n"
    "To use your own, put **Load Image** and **Load Video** in place of the two samples. The small model that comes "
    "with the pack moves heads, and mouths, lids and brows a little less than the driver does; for more, put LIA or "
    "LIA-X weights into `ComfyUI/models/leo` and choose them in **LEO Load Animator**.",
    column=0,
    size=(380, 200),
)
animator = flow.node("LEOLoadAnimator", column=1, inputs={"model": MODEL})
look = flow.node("LEOEncoder", column=1, inputs={"animator": animator["animator"], "image": photo["image"]})
driving = flow.node("LEOMotionEncoder", column=1, inputs={"animator": animator["animator"], "video": clip["video"]})
motion = flow.node("LEOTransferMotion", column=2, inputs={"source_pose": look["pose"], "driving": driving["motion"]})
moved = flow.node(
    "LEOFlowGenerator",
    column=2,
    inputs={"animator": animator["animator"], "appearance": look["appearance"], "motion": motion["motion"]},
)
frames = flow.node(
    "LEOInpaintingDecoder",
    column=3,
    inputs={
        "animator": animator["animator"],
        "appearance": look["appearance"],
        "flow": moved["flow"],
        "picture": photo["image"],
        "full_resolution": True,
    },
    size=(290, 340),
)
parts = flow.node("GetVideoComponents", column=5, inputs={"video": clip["video"]})
video = flow.node(
    "CreateVideo", column=4, inputs={"images": frames["images"], "audio": parts["audio"], "fps": parts["fps"]}
)
flow.node("SaveVideo", column=4, inputs={"video": video["VIDEO"], "filename_prefix": "leo/driven"}, size=(330, 380))
flow.group("Inputs", photo, clip, color=INPUTS)
flow.group("Read", animator, look, driving, color=MODELS)
flow.group("Move", motion, moved, color=RENDERING)
