"""Workflows in which somebody else's face drives: a recording of face capture, or landmarks that ComfyUI finds."""

from author_workflows import INPUTS, MODEL, MODELS, RENDERING, Workflow

FACES = [
    {
        "name": "mediapipe_face_fp32.safetensors",
        "url": "https://huggingface.co/Comfy-Org/mediapipe/resolve/main/detection/mediapipe_face_fp32.safetensors",
        "directory": "detection",
    }
]
REST = (
    "*calibration* decides what counts as the driver's face at rest: **automatic** finds it, **neutral frame** takes "
    "one that you choose. Each part of the face has a gain: 0 leaves it at rest, 1.5 exaggerates."
)


def start(title: str, note: str, height: int, thumbnail: str | None = None) -> Workflow:
    flow = Workflow(title, thumbnail)
    flow.note(f"## {title.removeprefix('LEO - ')}\n\n{note}", column=0, size=(400, height))
    return flow


flow = start(
    "LEO - Animate a photo from a face capture",
    "Press **Run**: the woman of the photo makes the face of a recording.\n\nRecord your own with **Live Link Face** "
    "on an iPhone, put the .csv into ComfyUI's `input` folder, press R, and choose it in **LEO Load Face Capture**; "
    f"JSON lists of ARKit weights from web trackers are read too.\n\n{REST}\n\n**LEO Save Face Capture** writes any "
    "motion as such a .csv, for game engines and Blender.",
    330,
)
photo = flow.node("LEOLoadSample", column=0, title="Photo", inputs={"sample": "woman.png"})
animator = flow.node("LEOLoadAnimator", column=1, inputs={"model": MODEL})
look = flow.node("LEOEncoder", column=1, inputs={"animator": animator["animator"], "image": photo["image"]})
driving = flow.node(
    "LEOLoadFaceCapture", column=1, size=(300, 480), inputs={"animator": animator["animator"], "file": "talking.csv"}
)
motion = flow.node("LEOTransferMotion", column=2, inputs={"source_pose": look["pose"], "driving": driving["motion"]})
video = flow.node(
    "LEORenderVideo",
    column=3,
    inputs={
        "animator": animator["animator"],
        "appearance": look["appearance"],
        "motion": motion["motion"],
        "picture": photo["image"],
        "full_resolution": True,
    },
)
flow.node(
    "LEOSaveFaceCapture",
    column=3,
    title="For other rigs",
    inputs={"animator": animator["animator"], "motion": driving["motion"]},
    size=(300, 200),
)
flow.node("SaveVideo", column=4, inputs={"video": video["video"], "filename_prefix": "leo/captured"}, size=(330, 380))
flow.group("Read", animator, look, driving, color=MODELS)
flow.group("Move", motion, color=RENDERING)

flow = start(
    "LEO - Animate a photo from a video's face landmarks",
    "Press **Run**: the woman of the photo makes the face of the man in the clip, read as landmarks by ComfyUI's own "
    "detector, so that who the driver is does not matter.\n\nThe detector wants a file: **Load Face Detection Model** "
    f"says which, and ComfyUI offers the download.\n\n{REST}",
    260,
    thumbnail="samples/man.png",
)
photo = flow.node("LEOLoadSample", column=0, title="Photo", inputs={"sample": "woman.png"})
clip = flow.node("LEOLoadSample", column=0, title="Driving video", inputs={"sample": "man_talking.mp4"})
faces = flow.node("LoadMediaPipeFaceLandmarker", column=0, models=FACES, inputs={"model_name": FACES[0]["name"]})
parts = flow.node("GetVideoComponents", column=1, inputs={"video": clip["video"]})
found = flow.node(
    "MediaPipeFaceLandmarker", column=2, inputs={"face_detection_model": faces[0], "image": parts["images"]}
)
animator = flow.node("LEOLoadAnimator", column=1, inputs={"model": MODEL})
look = flow.node("LEOEncoder", column=2, inputs={"animator": animator["animator"], "image": photo["image"]})
driving = flow.node(
    "LEOMotionFromFace",
    column=3,
    size=(300, 560),
    inputs={"animator": animator["animator"], "face_landmarks": found[0], "video": clip["video"]},
)
motion = flow.node("LEOTransferMotion", column=4, inputs={"source_pose": look["pose"], "driving": driving["motion"]})
video = flow.node(
    "LEORenderVideo",
    column=5,
    inputs={
        "animator": animator["animator"],
        "appearance": look["appearance"],
        "motion": motion["motion"],
        "picture": photo["image"],
        "video": clip["video"],
        "full_resolution": True,
    },
)
flow.node("SaveVideo", column=6, inputs={"video": video["video"], "filename_prefix": "leo/landmarks"}, size=(330, 380))
flow.group("Inputs", photo, clip, faces, color=INPUTS)
flow.group("Move", motion, color=RENDERING)
