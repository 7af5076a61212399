"""The first graph."""

from author_workflows import INPUTS, MODEL, MODELS, OWN_PHOTO, RENDERING, Workflow

flow = Workflow("LEO - Animate a person with a driving video", prompt="scripts/demo_prompt.json")
photo = flow.node("LEOLoadSample", title="Photo", inputs={"sample": "woman.png"})
clip = flow.node("LEOLoadSample", title="Driving video", inputs={"sample": "man_talking.mp4"})
flow.note(
    "## Animate a person with a driving video\n\n"
    f"Press **Run**: the woman in the photo moves like the man in the clip.\n\n{OWN_PHOTO}\n\n"
    "**Your own clip**: do the same on the other sample; the clip's sound is kept. The small model that "
    "comes with the pack moves heads, and mouths, lids and brows a little less than the driver; for more, put LIA "
    "or LIA-X weights into `ComfyUI/models/leo` and choose them in **LEO Load Animator**.",
    size=(400, 290),
)
person = flow.node("LEOCropSubject", inputs={"image": photo["image"]})
animator = flow.node("LEOLoadAnimator", inputs={"model": MODEL})
look = flow.node("LEOEncoder", inputs={"animator": animator["animator"], "image": person["image"]})
driving = flow.node("LEOMotionEncoder", inputs={"animator": animator["animator"], "video": clip["video"]})
motion = flow.node("LEOTransferMotion", inputs={"source_pose": look["pose"], "driving": driving["motion"]})
video = flow.node(
    "LEORenderVideo",
    inputs={
        "animator": animator["animator"],
        "appearance": look["appearance"],
        "motion": motion["motion"],
        "picture": photo["image"],
        "crop": person["crop"],
        "video": clip["video"],
        "full_resolution": True,
    },
)
flow.node("SaveVideo", inputs={"video": video["video"], "filename_prefix": "leo/driven"}, size=(400, 460))
flow.group("Inputs", photo, clip, color=INPUTS)
flow.group("Read", person, animator, look, driving, color=MODELS)
flow.group("Move", motion, video, color=RENDERING)
