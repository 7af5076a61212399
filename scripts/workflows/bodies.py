"""Whole bodies, with the animator for them that comes with the pack."""

from author_workflows import INPUTS, MODELS, MOTION, Workflow

BODIES = "leo-taichi-128.safetensors"
flow = Workflow("LEO - Animate a whole body")
photo = flow.node("LEOLoadSample", title="Photo", inputs={"sample": "standing.png"})
clip = flow.node("LEOLoadSample", title="Driving video", inputs={"sample": "moving.mp4"})
flow.note(
    "## Animate a whole body\n\nPress **Run**: the woman in the photo steps and bends like the man in the clip; below, "
    "she sways through tai chi that nobody performed, sampled from the motion prior.\n\nThe small animator that "
    "comes with the pack is a first attempt: trunk and legs follow, arms and hands follow less, and nobody turns "
    "around. Photo and clip should show the whole person, in the middle, in front of a still background. The videos "
    "are at the animator's own 128 pixels: *full_resolution* would be sharper, but show how its flow bends legs. "
    "For more, put LIA's `taichi.pt` into `ComfyUI/models/leo`, choose it in **LEO Load Animator**, and train a prior "
    "for it with **LEO Train Motion Prior**.",
    size=(330, 420),
)
animator = flow.node("LEOLoadAnimator", inputs={"model": BODIES})
look = flow.node("LEOEncoder", inputs={"animator": animator["animator"], "image": photo["image"]})
driving = flow.node("LEOMotionEncoder", inputs={"animator": animator["animator"], "video": clip["video"]})
prior = flow.node("LEOLoadMotionPrior", inputs={"prior": "leo-taichi-128-prior.safetensors"})
driven = flow.node("LEOTransferMotion", inputs={"source_pose": look["pose"], "driving": driving["motion"]})
drawn = flow.node(
    "LEOLMDMSampler",
    size=(290, 490),
    inputs={
        "prior": prior["prior"],
        "start_pose": look["pose"],
        "frames": 90,
        "seed": 2,
        "control_after_generate": "randomize",
        "steps": 25,
    },
)
for title, name, motion in (("As in the clip", "stepping", driven), ("Tai chi", "taichi", drawn)):
    video = flow.node(
        "LEORenderVideo",
        title=title,
        size=(290, 600),
        inputs={"animator": animator["animator"], "appearance": look["appearance"], "motion": motion["motion"]},
    )
    flow.node(
        "SaveVideo", title=title, inputs={"video": video["video"], "filename_prefix": f"leo/{name}"}, size=(330, 430)
    )
flow.group("Inputs", photo, clip, color=INPUTS)
flow.group("Read", animator, look, driving, prior, color=MODELS)
flow.group("Motion", driven, drawn, color=MOTION)
