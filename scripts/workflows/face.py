"""Workflows in which somebody else's face drives: a recording of face capture, or landmarks that ComfyUI finds."""

from author_workflows import INPUTS, MODEL, MODELS, OWN_PHOTO, RENDERING, Workflow

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
    flow.note(f"## {title.removeprefix('LEO - ')}\n\n{note}\n\n{OWN_PHOTO}", size=(400, height))
    return flow


flow = start(
    "LEO - Animate a photo from a face capture",
    "Press **Run**: the woman of the photo makes the face of a recording.\n\nRecord your own with **Live Link Face** "
    "on an iPhone, put the .csv into ComfyUI's `input` folder, press R, and choose it in **LEO Load Face Capture**; "
    f"JSON lists of ARKit weights from web trackers are read too.\n\n{REST}\n\n**LEO Save Face Capture** writes any "
    "motion as such a .csv, for game engines and Blender.",
    380,
)
photo = flow.node("LEOLoadSample", title="Photo", inputs={"sample": "woman.png"})
person = flow.node("LEOCropSubject", inputs={"image": photo["image"]})
animator = flow.node("LEOLoadAnimator", inputs={"model": MODEL})
look = flow.node("LEOEncoder", inputs={"animator": animator["animator"], "image": person["image"]})
driving = flow.node(
    "LEOLoadFaceCapture", size=(300, 480), inputs={"animator": animator["animator"], "file": "talking.csv"}
)
motion = flow.node("LEOTransferMotion", inputs={"source_pose": look["pose"], "driving": driving["motion"]})
video = flow.node(
    "LEORenderVideo",
    inputs={
        "animator": animator["animator"],
        "appearance": look["appearance"],
        "motion": motion["motion"],
        "picture": photo["image"],
        "crop": person["crop"],
        "full_resolution": True,
    },
)
flow.node("SaveVideo", inputs={"video": video["video"], "filename_prefix": "leo/captured"}, size=(400, 460))
flow.node(
    "LEOSaveFaceCapture",
    title="For other rigs",
    inputs={"animator": animator["animator"], "motion": driving["motion"]},
    size=(300, 110),
)
flow.group("Read", person, animator, look, driving, color=MODELS)
flow.group("Move", motion, color=RENDERING)

flow = start(
    "LEO - Animate a photo from a video's face landmarks",
    "Press **Run**: the woman of the photo makes the face of the man in the clip, read as landmarks by ComfyUI's own "
    "detector, so that who the driver is does not matter.\n\nThe detector wants a file: **Load Face Detection Model** "
    f"says which, and ComfyUI offers the download.\n\n{REST}",
    300,
    thumbnail="samples/man.png",
)
photo = flow.node("LEOLoadSample", title="Photo", inputs={"sample": "woman.png"})
clip = flow.node("LEOLoadSample", title="Driving video", inputs={"sample": "man_talking.mp4"})
faces = flow.node("LoadMediaPipeFaceLandmarker", models=FACES, inputs={"model_name": FACES[0]["name"]})
parts = flow.node("GetVideoComponents", inputs={"video": clip["video"]})
found = flow.node("MediaPipeFaceLandmarker", inputs={"face_detection_model": faces[0], "image": parts["images"]})
person = flow.node("LEOCropSubject", inputs={"image": photo["image"]})
animator = flow.node("LEOLoadAnimator", inputs={"model": MODEL})
look = flow.node("LEOEncoder", inputs={"animator": animator["animator"], "image": person["image"]})
driving = flow.node(
    "LEOMotionFromFace",
    size=(300, 560),
    inputs={"animator": animator["animator"], "face_landmarks": found[0], "video": clip["video"]},
)
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
flow.node("SaveVideo", inputs={"video": video["video"], "filename_prefix": "leo/landmarks"}, size=(400, 460))
flow.group("Inputs", photo, clip, faces, color=INPUTS)
flow.group("Move", motion, color=RENDERING)
