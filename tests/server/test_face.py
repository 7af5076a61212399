"""Landmarks of ComfyUI's own detector node, and a recording of face capture, become videos in a real server, by our
animator and LIA-X."""

import importlib.util
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from comfy_server import ComfyServer, ExecutionError

from leo_core.face import NAMES, load_capture
from leo_core.motion import load_motion

TESTS = Path(__file__).resolve().parents[1]
spec = importlib.util.spec_from_file_location("liax_helpers", TESTS / "server" / "test_liax.py")
helpers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(helpers)
node = helpers.node

FACE = {
    "calibration": "automatic",
    "neutral_frame": 0,
    "smooth": 0.1,
    "missing": "interpolate",
    **dict.fromkeys(("head", "place", "mouth", "eyes", "brows", "gaze"), 1.0),
}
FRAMES = 12


def save_named(path: Path) -> None:
    """A narrow animator of ours, whose directions have the names of the controls."""
    from leo_core.animator import Animator, Direction, lia, orthonormal_basis
    from leo_core.animator.checkpoint import raw_state, save_animator

    config = lia(32, {4: 16, 8: 16, 16: 8, 32: 8}, style_dim=32, directions=20)
    animator, generator = Animator(config).eval().requires_grad_(False), torch.Generator().manual_seed(0)
    for name, parameter in animator.named_parameters():
        parameter.data = (
            torch.randn(parameter.shape, generator=generator)
            / (parameter[0].numel() if parameter.ndim > 1 else 16) ** 0.5
        )
        parameter.data += name.endswith("modulation.bias")
    weight = animator.dictionary.basis.clone()
    animator.dictionary.basis.data = orthonormal_basis(weight)
    save_animator(
        path,
        raw_state(animator, weight),
        config,
        torch.float32,
        directions={i: Direction(n, -3.0, 3.0) for i, n in enumerate(NAMES)},
    )


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """A server with the recorded detector, a picture, and a narrow animator of each family."""
    base = tmp_path_factory.mktemp("studio")
    pack, models = base / "custom_nodes" / "recorded_detector", base / "models" / "leo"
    for folder in (pack, models, base / "input"):
        folder.mkdir(parents=True)
    shutil.copy(TESTS / "server" / "recorded_detector.py", pack / "__init__.py")
    shutil.copy(TESTS / "data" / "talking_face.npz", pack)
    save_named(models / "ours.safetensors")
    torch.save({"gen": helpers.narrow("lia64", {512: 32, 256: 32})}, models / "lia.pt")
    torch.save(helpers.narrow("liax_half", {256: 64, 128: 32, 64: 32}), models / "lia-x.pt")
    with ComfyServer(base) as server:
        yield server


def prompt(model: str, driving: dict) -> dict:
    """A sample photo driven by node 10, into a video."""
    return {
        "1": node("LEOLoadSample", sample="woman.png"),
        "2": node("LEOLoadAnimator", model=model),
        "3": node("LEOEncoder", animator=["2", 0], image=["1", 0]),
        **driving,
        "11": node(
            "LEOTransferMotion",
            source_pose=["3", 1],
            driving=["10", 0],
            mode="relative",
            reference="first frame",
            reference_frame=0,
            gain=1.0,
        ),
        "12": node(
            "LEORenderVideo",
            animator=["2", 0],
            appearance=["3", 0],
            motion=["11", 0],
            full_resolution=False,
            crf=18,
            feather=0.1,
            region="box",
            length="motion",
            broken_frames="hold",
        ),
        "13": node("SaveVideo", video=["12", 0], filename_prefix="driven", format="mp4", codec="h264"),
        "14": node("LEOSaveMotion", motion=["10", 0], filename_prefix="leo/driving"),
    }


def landmarks() -> dict:
    return {
        "5": node("LEOLoadSample", sample="man_talking.mp4"),
        "6": node("LoadRecordedDetector"),
        "7": node("GetVideoComponents", video=["5", 1]),
        "8": node("ImageFromBatch", image=["7", 0], batch_index=0, length=FRAMES),
        "9": node(
            "MediaPipeFaceLandmarker",
            face_detection_model=["6", 0],
            image=["8", 0],
            detector_variant="short",
            num_faces=1,
            min_confidence=0.5,
            missing_frame_fallback="empty",
        ),
        "10": node(
            "LEOMotionFromFace",
            animator=["2", 0],
            face_landmarks=["9", 0],
            video=["5", 1],
            fps=10.0,
            **FACE,
            person="largest",
            index=0,
            point_x=0.5,
            point_y=0.5,
        ),
    }


def recording() -> dict:
    return {
        "10": node("LEOLoadFaceCapture", animator=["2", 0], file="short.csv", fps=0.0, **FACE),
        "15": node("LEOSaveFaceCapture", animator=["2", 0], motion=["10", 0], filename_prefix="leo/again"),
    }


def result(studio, history: dict):
    """Frames of the video, its rate, and the motion that drove it."""
    files = studio.files(history)
    (video,) = (path for path in files if path.suffix == ".mp4")
    with av.open(str(video)) as container:
        rate = container.streams.video[0].average_rate
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    motion, _ = load_motion(sorted((studio.base / "output" / "leo").glob("driving_*.safetensors"))[-1])
    return frames, rate, motion


@pytest.mark.parametrize("model", ["ours.safetensors", "lia-x.pt"])
def test_landmarks_of_comfyuis_detector_drive(studio, model):
    frames, rate, motion = result(studio, studio.run(prompt(model, landmarks()), patience=1800))
    assert len(frames) == len(motion) == FRAMES and rate == motion.fps == 25, "the video's rate"
    assert motion.codes.std(0).gt(1e-3).sum() > (15 if model.startswith("ours") else 5)
    assert np.abs(frames[0].astype(int) - frames[-1]).max() > 0


@pytest.mark.parametrize("model", ["ours.safetensors", "lia-x.pt"])
def test_a_recording_drives(studio, model):
    lines = (TESTS.parent / "samples" / "talking.csv").read_text().splitlines()
    (studio.base / "input" / "short.csv").write_text("\n".join(lines[:1] + lines[30 : 30 + FRAMES]) + "\n")
    made = recording() if model.startswith("ours") else {"10": recording()["10"]}
    made["10"]["inputs"]["fps"] = 30.0  # so short a piece of the file does not tell
    frames, rate, motion = result(studio, studio.run(prompt(model, made), patience=1800))
    assert len(frames) == len(motion) == FRAMES and rate == motion.fps == Fraction(30)
    assert np.abs(frames[0].astype(int) - frames[-1]).max() > 0
    if model.startswith("ours"):
        (again,) = (studio.base / "output" / "leo").glob("again_*.csv")
        known = [i for i in range(20) if i not in (3, 4, 5)]
        assert np.abs(load_capture(again, 30).controls()[:, known] - motion.codes.numpy()[:, known] / 3).max() < 1e-3


def test_an_animator_without_names_says_what_to_do(studio):
    with pytest.raises(ExecutionError, match="Use leo-face-128 or LIA-X"):
        studio.run(prompt("lia.pt", landmarks()), patience=1800)
