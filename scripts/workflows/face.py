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
    "Press **Run**: the woman in the photo makes the faces in a recording.\n\nRecord your own with **Live Link Face** "
    "on an iPhone, put the .csv in ComfyUI's `input` folder, press R, and choose it in **LEO Load Face Capture**; "
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
    "Press **Run**: the woman in the photo makes the faces of the man in the clip, read as landmarks by ComfyUI's own "
    "detector, so it does not matter who the driver is.\n\nThe detector needs a file: **Load Face Detection Model** "
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

flow = Workflow("LEO - Puppeteer - sliders and webcam")
flow.note(
    "## Puppeteer: sliders and webcam\n\nOne picture per run: your face in the webcam moves the woman in the photo, "
    "and the sliders of **LEO Edit Directions** add to it.\n\n"
    "1. Let the browser use the camera, look straight into it with a relaxed face, and turn on *hold* in **You at "
    "rest**. What you do from then on counts as movement away from that picture. Until then both cameras see the same, "
    "and only the sliders move the photo.\n"
    "2. Press **Run** for one picture, or choose **Run (Instant)** next to it, which keeps running by itself, or **Run "
    "(On Change)**, which makes one each time you move a slider.\n\n"
    "Every picture is saved as `leo/puppet_...` in the output folder; replace **Save Image** with **Preview Image** to "
    "save none. If several people are in view, the one nearest to the middle counts.\n\n"
    "**Your own photo**: press *choose your own file* on the sample, or drop a photo on it.",
    size=(400, 400),
)
photo = flow.node("LEOLoadSample", title="Photo", inputs={"sample": "woman.png"})
rest = flow.node("LEOWebcam", title="You at rest", size=(290, 360))
now = flow.node("LEOWebcam", title="You now", size=(290, 360))
both = flow.node("ImageBatch", title="At rest, then now", inputs={"image1": rest["image"], "image2": now["image"]})
framed = flow.node("LEOCropSubject", title="Your face at rest", inputs={"image": rest["image"], "person": "nearest"})
person = flow.node("LEOCropSubject", title="The photo's face", inputs={"image": photo["image"]})
animator = flow.node("LEOLoadAnimator", inputs={"model": MODEL})
look = flow.node("LEOEncoder", inputs={"animator": animator["animator"], "image": person["image"]})
driving = flow.node(
    "LEOMotionEncoder", inputs={"animator": animator["animator"], "images": both[0], "crop": framed["crop"]}
)
moved = flow.node("LEOTransferMotion", inputs={"source_pose": look["pose"], "driving": driving["motion"]})
last = flow.node("LEOTrimMotion", title="Only now", inputs={"motion": moved["motion"], "start": 1, "frames": 1})
posed = flow.node(
    "LEOEditDirections",
    title="Sliders",
    size=(300, 700),
    inputs={
        "motion": last["motion"],
        "edits": "turn: 0\nsmile: 1\nbrows up: 1\nlook sideways: 0",
        "animator": animator["animator"],
    },
)
maps = flow.node(
    "LEOFlowGenerator",
    inputs={"animator": animator["animator"], "appearance": look["appearance"], "motion": posed["motion"]},
)
frame = flow.node(
    "LEOInpaintingDecoder",
    inputs={
        "animator": animator["animator"],
        "appearance": look["appearance"],
        "flow": maps["flow"],
        "picture": person["image"],
        "full_resolution": True,
    },
)
back = flow.node("LEOPasteBack", inputs={"images": frame["images"], "crop": person["crop"], "picture": photo["image"]})
flow.node("SaveImage", inputs={"images": back["images"], "filename_prefix": "leo/puppet"}, size=(400, 340))
