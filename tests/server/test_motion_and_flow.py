"""Motion and flow nodes in graphs with ComfyUI's own nodes, run by a real server."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from comfy_server import ExecutionError
from PIL import Image

from leo_core.animator import Animator, lia, orthonormal_basis
from leo_core.animator.checkpoint import raw_state, save_animator
from leo_core.identity import AnimatorId
from leo_core.motion import MotionSequence, load_motion, save_motion

CURVE = {"points": [[0, 0], [0.5, 1], [1, 0]], "interpolation": "monotone_cubic"}


def save_small_animator(path: Path) -> None:
    """Random weights of about the size that training gives them."""
    config = lia(32, {4: 16, 8: 16, 16: 8, 32: 8}, style_dim=16, directions=4)
    animator, generator = Animator(config), torch.Generator().manual_seed(0)
    dictionary = torch.randn(16, 4, generator=generator)
    weights = {
        name: torch.randn(value.shape, generator=generator) / (value[0].numel() if value.ndim > 1 else 16) ** 0.5
        + name.endswith("modulation.bias")
        for name, value in animator.state_dict().items()
    }
    animator.load_state_dict({**weights, "dictionary.basis": orthonormal_basis(dictionary)})
    save_animator(path, raw_state(animator, dictionary), config, torch.float32)


@pytest.fixture(scope="module")
def leo(server):
    """The server with a small animator and a photo."""
    folder = server.base / "models" / "leo"
    folder.mkdir(parents=True, exist_ok=True)
    save_small_animator(folder / "small.safetensors")
    pixels = torch.randint(0, 256, (6, 6, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).numpy()
    Image.fromarray(pixels).resize((48, 40), Image.Resampling.BICUBIC).save(server.base / "input" / "photo.png")
    return server


def node(kind, **inputs):
    return {"class_type": kind, "inputs": inputs}


def source(frames=12) -> dict:
    """A photo scaled and encoded, and the motion of a clip made of it: ComfyUI's picture nodes before LEO's."""
    return {
        "photo": node("LoadImage", image="photo.png"),
        "scaled": node("ImageScale", image=["photo", 0], upscale_method="lanczos", width=64, height=64, crop="center"),
        "animator": node("LEOLoadAnimator", model="small.safetensors"),
        "encoder": node("LEOEncoder", animator=["animator", 0], image=["scaled", 0]),
        "gray": node("EmptyImage", width=64, height=64, batch_size=frames, color=0x804020),
        "faded": node("ImageBlend", image1=["gray", 0], image2=["scaled", 0], blend_factor=0.5, blend_mode="normal"),
        "codes": node("LEOMotionEncoder", animator=["animator", 0], images=["faded", 0], fps=12.5),
        "edit": node(
            "LEOEditDirections",
            motion=["codes", 0],
            edits="0: 2\n2: -1.5",
            strength=1.0,
            timing="curve",
            curve=CURVE,
            animator=["animator", 0],
            appearance=["encoder", 0],
        ),
        "transfer": node(
            "LEOTransferMotion",
            source_pose=["encoder", 1],
            driving=["edit", 0],
            mode="relative",
            reference="best match",
            reference_frame=0,
            gain=1.0,
        ),
    }


def numbered(prompt: dict) -> dict:
    """Node names as numbers, which `server.files` sorts by."""
    ids = {name: str(i) for i, name in enumerate(prompt, 1)}
    return {
        ids[name]: {
            **n,
            "inputs": {
                key: [ids[value[0]], value[1]]
                if isinstance(value, list) and len(value) == 2 and value[0] in ids
                else value
                for key, value in n["inputs"].items()
            },
        }
        for name, n in prompt.items()
    }


def video_frames(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_a_motion_passes_through_every_motion_node_and_out_as_file_and_plot(leo):
    prompt = source() | {
        "blend": node(
            "LEOBlendMotion",
            first=["transfer", 0],
            second=["codes", 0],
            weight=0.5,
            timing="curve",
            curve=CURVE,
            lengths="cut to the shorter",
        ),
        "smooth": node("LEOSmoothMotion", motion=["blend", 0], seconds=0.3),
        "amplify": node("LEOAmplifyMotion", motion=["smooth", 0], gain=1.5, direction_gains="1: 0"),
        "join": node(
            "LEOJoinMotion",
            **{"motions.motion0": ["amplify", 0], "motions.motion1": ["smooth", 0]},
            transition_frames=0,
            seed=0,
            steps=1,
            sampler="ddim",
            eta=0.0,
        ),
        "select": node(
            "LEOSelectDirections", motion=["join", 0], directions="0-1, 3", action="keep", rest="first frame"
        ),
        "retime": node(
            "LEORetimeMotion", motion=["select", 0], playback="ping-pong", timing="speed", **{"timing.speed": 0.5}
        ),
        "trim": node("LEOTrimMotion", motion=["retime", 0], start=2, frames=30),
        "save": node(
            "LEOSaveMotion", motion=["trim", 0], filename_prefix="leo/chain", description="through everything"
        ),
        "plot": node("LEOPlotMotion", motion=["trim", 0], width=400, strip=40, behind=["transfer", 0]),
        "picture": node("SaveImage", images=["plot", 0], filename_prefix="plot"),
    }
    files = leo.files(leo.run(numbered(prompt)))
    plot = next(path for path in files if path.name.startswith("plot"))
    assert Image.open(plot).size == (400, 4 * 40 + 18)
    motion, description = load_motion(leo.base / "output" / "leo" / "chain_00001_.safetensors")
    assert len(motion) == 30 and motion.fps == Fraction(25, 2) and description == "through everything"

    # and back in: listed at once, rendered, still moving
    again = {key: value for key, value in source().items() if key in ("photo", "scaled", "animator", "encoder")} | {
        "load": node("LEOLoadMotion", file="chain_00001_.safetensors"),
        "flow": node("LEOFlowGenerator", animator=["animator", 0], appearance=["encoder", 0], motion=["load", 0]),
        "decode": node(
            "LEOInpaintingDecoder",
            animator=["animator", 0],
            appearance=["encoder", 0],
            flow=["flow", 0],
            full_resolution=False,
        ),
        "video": node("CreateVideo", images=["decode", 0], fps=12.5),
        "save": node("SaveVideo", video=["video", 0], filename_prefix="loaded", format="mp4", codec="h264"),
    }
    written = [path for path in leo.files(leo.run(numbered(again))) if path.suffix == ".mp4"]
    frames = video_frames(written[0])
    assert len(frames) == 30 and any((frame != frames[0]).any() for frame in frames)


def test_edit_directions_shows_the_edited_pose_on_the_node(leo):
    prompt = source() | {
        "plot": node("LEOPlotMotion", motion=["edit", 0], width=300, strip=32),
        "picture": node("PreviewImage", images=["plot", 0]),
    }
    history = leo.run(numbered(prompt))
    edit_id = str(list(prompt).index("edit") + 1)
    shown = history["outputs"][edit_id]
    assert [row["index"] for row in shown["leo_directions"]] == [0, 1, 2, 3]
    preview = next(path for path in leo.files(history) if path.name == shown["images"][0]["filename"])
    assert Image.open(preview).size == (32, 32)


def test_a_frozen_region_stays_put_in_the_rendered_frames(leo):
    prompt = source() | {
        "wide": node("SolidMask", value=0.0, width=64, height=64),
        "spot": node("SolidMask", value=1.0, width=20, height=20),
        "region": node("MaskComposite", destination=["wide", 0], source=["spot", 0], x=0, y=0, operation="add"),
        "strong": node("LEOAmplifyMotion", motion=["transfer", 0], gain=4.0),
        "flow": node("LEOFlowGenerator", animator=["animator", 0], appearance=["encoder", 0], motion=["strong", 0]),
        "held": node(
            "LEOEditFlow",
            flow=["flow", 0],
            strength=1.0,
            blend=0.5,
            timing="constant",
            curve=CURVE,
            push_reach=0.1,
            freeze=["region", 0],
        ),
        "decode": node(
            "LEOInpaintingDecoder",
            animator=["animator", 0],
            appearance=["encoder", 0],
            flow=["held", 0],
            full_resolution=False,
        ),
        "look": node(
            "LEOVisualizeFlow",
            flow=["held", 0],
            view="arrows",
            size=64,
            full_color=0.0,
            spacing=16,
            image=["scaled", 0],
        ),
        "both": node("ImageBlend", image1=["look", 0], image2=["decode", 0], blend_factor=0.5, blend_mode="normal"),
        "frames": node("SaveImage", images=["decode", 0], filename_prefix="held"),
        "views": node("SaveImage", images=["both", 0], filename_prefix="views"),
    }
    files = leo.files(leo.run(numbered(prompt)))
    frames = np.stack([np.asarray(Image.open(path)) for path in files if path.name.startswith("held")]).astype(int)
    assert len(frames) == 12 and len([path for path in files if path.name.startswith("views")]) == 12
    change = np.abs(frames - frames[:1]).max((0, 3))
    assert change[:10, :10].max() <= 1 < change[20:, 20:].max()


def test_the_inpainted_part_composites_over_another_background(leo):
    prompt = source(3) | {
        "flow": node("LEOFlowGenerator", animator=["animator", 0], appearance=["encoder", 0], motion=["transfer", 0]),
        "look": node("LEOVisualizeFlow", flow=["flow", 0], view="color", size=64, full_color=0.0, spacing=24),
        "decode": node(
            "LEOInpaintingDecoder",
            animator=["animator", 0],
            appearance=["encoder", 0],
            flow=["flow", 0],
            full_resolution=False,
        ),
        "large": node(
            "ImageScale", image=["decode", 0], upscale_method="bilinear", width=64, height=64, crop="disabled"
        ),
        "wall": node("EmptyImage", width=64, height=64, batch_size=3, color=0xFF0000),
        "over": node(
            "ImageCompositeMasked",
            destination=["large", 0],
            source=["wall", 0],
            x=0,
            y=0,
            resize_source=False,
            mask=["look", 1],
        ),
        "save": node("SaveImage", images=["over", 0], filename_prefix="over"),
    }
    files = [path for path in leo.files(leo.run(numbered(prompt))) if path.name.startswith("over")]
    assert len(files) == 3 and np.asarray(Image.open(files[0])).std() > 1


def test_a_motion_of_another_animator_is_refused_with_both_names(leo):
    save_motion(
        leo.base / "output" / "leo" / "foreign.safetensors",
        MotionSequence(torch.zeros(3, 4), Fraction(25), AnimatorId("stranger", "f" * 64)),
    )
    prompt = source() | {
        "load": node("LEOLoadMotion", file="foreign.safetensors"),
        "blend": node(
            "LEOBlendMotion",
            first=["codes", 0],
            second=["load", 0],
            weight=0.5,
            timing="constant",
            curve=CURVE,
            lengths="retime the second",
        ),
        "plot": node("LEOPlotMotion", motion=["blend", 0], width=300, strip=32),
        "picture": node("PreviewImage", images=["plot", 0]),
    }
    with pytest.raises(ExecutionError, match="(?s)LEOBlendMotion.*small.*stranger"):
        leo.run(numbered(prompt))
