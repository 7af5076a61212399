"""Every node with values at and beyond the ends of what its inputs allow: a result of the promised shape, or one
readable line.

The inputs are read off the schemas, so a new node or input is covered as soon as it exists. Values beyond a widget's
range come in by links, which ComfyUI does not check. What would run on for ever is interrupted after a second, as a
user would.
"""

import json
import time
import traceback
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from comfy_api.latest import InputImpl, Types
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from leo_core.crop import Crop, crop_subject
from leo_core.flow import FlowField
from leo_core.identity import AnimatorId
from leo_core.motion import MotionSequence, save_motion

LONGEST_MESSAGE = 1500
# Of the processor's time, to which other work on the machine does not add: a call that is still not interrupted hangs.
SECONDS = 60
NODES = sorted(json.loads((Path(__file__).parents[1] / "data" / "schema.json").read_text()))
CURVES = tuple(
    {"points": points, "interpolation": how}
    for points in ([[0, 0], [1, 1]], [[0, 1], [0.5, 0], [1, 1]], [[0, 0.5], [1, 0.5]])
    for how in ("linear", "monotone_cubic")
)


def box(x, y, width, height) -> dict:
    return {"x": x, "y": y, "width": width, "height": height}


BOXES = (
    box(4, 4, 20, 30),
    box(-50, 9.5, 1000.5, 3),
    [],
    [[]],
    box(0, 0, 0, 0),
    box(5000, 5000, 10, 10),
    box(4, 4, -20, 30),
    box(float("nan"), 0, 9, 9),
    box(0, 0, float("inf"), 9),
    [box(4, 4, 20, 30), box(1, 1, 9, 9)],
    [[], [box(1, 1, 9, 9)]],
)
TEXTS = (
    "",
    "0: 1",
    "1: -0.5; 2: 3",
    "nod: 1",
    "0-3",
    "3, 1",
    "0: 1e9",
    "9999: 1",
    "\u0662: 1",
    ": :",
    "0: 1" * 999,
    "0: " + "9" * 400,
    "\x00",
    "../../out",
    "/etc/leo",
    "..\\..\\x",
    "C:\\x",
    "CON",
    "nul.txt",
    "a/../../../b",
    "~/x",
    "%date:yyyy%",
    "x" * 300,
    "leo/motion",
    "name\n",
    " ",
    "motion\u202egnp",
)


class Sockets:
    """Strategies for what may come over a wire."""

    def __init__(self, handle, prior, folder):
        self.handle, self.prior, self.folder = handle, prior, folder
        self.ids = [*[handle.id] * 8, AnimatorId("stranger", "e" * 64)]
        from leo_pack.nodes.support.rendering import encode_appearance

        self.appearance = encode_appearance(
            handle, torch.rand(1, 40, 48, 3, generator=torch.Generator().manual_seed(1))
        )

    def motion(self):
        def make(frames, fps, animator, scale, directions):
            codes = torch.randn(frames, directions, generator=torch.Generator().manual_seed(frames)) * scale
            return MotionSequence(codes, fps, animator)

        rates = [
            Fraction(25),
            Fraction(25),
            Fraction(30000, 1001),
            Fraction(1, 10**12),
            Fraction(10**12),
            Fraction(1000),
            Fraction(1, 100),
        ]
        scales = [0.0, 1.0, 1.0, 1e6, 3e37]
        return st.builds(
            make,
            st.sampled_from([1, 1, 2, 3, 4, 40]),
            st.sampled_from(rates),
            st.sampled_from(self.ids),
            st.sampled_from(scales),
            st.sampled_from([4] * 8 + [1, 7]),
        )

    def image(self):
        def make(count, height, width, channels, kind):
            image = torch.rand(count, height, width, channels, generator=torch.Generator().manual_seed(0))
            if kind == "nan" and image.numel():
                image[0, height // 2, width // 2] = float("nan")
            if kind == "half":
                image = image.half()
            return image * 1e30 if kind == "huge" else image - 3 if kind == "negative" else image

        heights, widths = [1, 2, 15, 16, 33, 40, 64, 97, 700], [1, 7, 16, 32, 48, 65, 128, 801]
        return st.builds(
            make,
            st.sampled_from([1, 1, 1, 2, 2, 0, 5]),
            st.sampled_from(heights),
            st.sampled_from(widths),
            st.sampled_from([3] * 8 + [4, 4, 1, 2, 5]),
            st.sampled_from([""] * 8 + ["nan", "half", "huge", "negative"]),
        )

    def mask(self):
        def make(count, height, width, value):
            return torch.full((count, height, width), value)

        sides = st.sampled_from([1, 16, 40, 48, 64])
        return st.builds(
            make,
            st.sampled_from([1, 1, 0, 2, 40]),
            sides,
            sides,
            st.sampled_from([0.0, 1.0, 0.5, float("nan"), -1.0, 9.0]),
        )

    def flow(self):
        def make(frames, reach, animator):
            scales = (8, 16, 32)  # no file holds a flow: one of other scales cannot come
            draw = torch.Generator().manual_seed(frames)
            return FlowField(
                {r: (reach * torch.randn(frames, 2, r, r, generator=draw)).half() for r in scales},
                {r: torch.rand(frames, 1, r, r, generator=draw).half() for r in scales},
                False,
                animator,
            )

        return st.builds(
            make, st.sampled_from([1, 1, 2, 3]), st.sampled_from([0.0, 0.1, 2.0, 1e4]), st.sampled_from(self.ids)
        )

    def crop(self):
        def make(frames, box, mask, source):
            return crop_subject(frames, source, [[box]] * frames, torch.ones(1, *source) if mask else None)

        return st.builds(
            make,
            st.sampled_from([1, 3]),
            st.sampled_from(BOXES[:2]),
            st.booleans(),
            st.sampled_from([(40, 48), (64, 65), (97, 128)]),
        )

    def video(self):
        def make(image, rate, audio):
            return InputImpl.VideoFromComponents(Types.VideoComponents(images=image, audio=audio, frame_rate=rate))

        rates = [Fraction(25), Fraction(1, 100), Fraction(1000), Fraction(10**6)]
        return st.builds(make, self.image(), st.sampled_from(rates), st.none() | self.audio())

    def audio(self):
        return st.builds(
            lambda channels, samples, rate: {"waveform": torch.zeros(1, channels, samples), "sample_rate": rate},
            st.sampled_from([1, 2, 3, 6]),
            st.sampled_from([0, 1, 999, 50_000]),
            st.sampled_from([1, 8000, 44100, 192_000]),
        )

    def of(self, item):
        from comfy_api.latest import io

        kind = item.get_io_type()
        if isinstance(item, io.Autogrow.Input):
            names = [f"motion{i}" for i in range(4)]
            return self.motion().map(lambda one: dict.fromkeys(names[:2], one)) | st.dictionaries(
                st.sampled_from(names), self.motion() | st.none()
            )
        if isinstance(item, io.DynamicCombo.Input):
            return st.one_of(
                *[
                    st.fixed_dictionaries(
                        {item.id: st.just(option.key), **{inner.id: self.of(inner) for inner in option.inputs}}
                    )
                    for option in item.options
                ]
            )
        sockets = {
            "LEO_ANIMATOR": lambda: st.just(self.handle),
            "LEO_LMDM": lambda: st.just(self.prior),
            "LEO_APPEARANCE": lambda: st.just(self.appearance),
            "LEO_MOTION": self.motion,
            "LEO_FLOW": self.flow,
            "LEO_CROP": self.crop,
            "IMAGE": self.image,
            "MASK": self.mask,
            "VIDEO": self.video,
            "AUDIO": self.audio,
            "BOUNDING_BOX": lambda: st.sampled_from(BOXES),
            "CURVE": lambda: st.sampled_from(CURVES),
            "BOOLEAN": st.booleans,
            "FACE_LANDMARKS": lambda: st.sampled_from([None, {}, [], {"frames": []}, {"frames": [None]}, "faces"]),
            "WEBCAM": lambda: st.sampled_from(["", "gone.png [temp]", "../../x.png", "a\0b", "\n" * 9]),
            "STRING": lambda: (
                st.just(item.default or "")
                | st.just(item.default or "")
                | st.sampled_from(TEXTS)
                | st.text(max_size=40)
            ),
        }
        if kind in sockets:
            return sockets[kind]()
        if kind == "COMBO":
            return st.sampled_from(item.options or ["nothing.safetensors"])
        low, high = item.min, item.max
        if kind == "INT":
            ends = [low, high, low - 1, high + 1, 0, 1, 2**63, 2**64, -(2**63)]
            return (
                st.just(item.default)
                | st.just(item.default)
                | st.sampled_from(ends)
                | st.integers(low, min(high, low + 100))
            )
        assert kind == "FLOAT", kind
        ends = [low, high, low - 1.0, high + 1.0, 0.0, 1e30, -1e30, float("nan"), float("inf")]
        return st.just(item.default) | st.just(item.default) | st.sampled_from(ends) | st.floats(low, high)

    def inputs(self, schema):
        needed = {item.id: self.of(item) for item in schema.inputs if not item.optional}
        optional = {item.id: self.of(item) for item in schema.inputs if item.optional}
        return st.fixed_dictionaries(needed, optional=optional)


def check(kind: str, value) -> None:
    """What a socket promises."""
    if kind == "IMAGE":
        assert value.ndim == 4 and value.shape[-1] in (3, 4) and 0 not in value.shape and torch.isfinite(value).all()
    elif kind == "MASK":
        assert value.ndim == 3 and 0 not in value.shape and torch.isfinite(value).all()
    elif kind == "LEO_MOTION":
        assert isinstance(value, MotionSequence)
    elif kind == "LEO_FLOW":
        assert all(torch.isfinite(maps).all() for maps in (*value.displacement.values(), *value.mask.values()))
    elif kind == "LEO_CROP":
        assert isinstance(value, Crop) and min(value.size) > 0
    elif kind == "VIDEO":
        assert value.get_frame_count() > 0


def files_outside(folder) -> set:
    """Everything on disk below the test's folder that does not lie in ComfyUI's output, temp, input or models."""
    return {
        path
        for path in folder.rglob("*")
        if path.relative_to(folder).parts[0] not in ("output", "temp", "input", "models")
    }


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("node_id", NODES)
def test_any_input_gives_a_result_or_a_readable_line(
    node_id, pack, handle, prior_file, comfy_folders, monkeypatch, full
):
    import comfy.model_management as mm
    from leo_pack.nodes import lmdm

    began = [0.0]

    def interrupted_after_a_second():
        if time.thread_time() - began[0] > 1:
            raise mm.InterruptProcessingException

    leo = comfy_folders / "output" / "leo"
    leo.mkdir()
    save_motion(leo / "motion.safetensors", MotionSequence(torch.zeros(3, 4), Fraction(25), handle.id))
    save_file({"codes": torch.zeros(2, 2)}, leo / "broken.safetensors", {"leo.kind": "motion"})
    node = pack[node_id]
    schema = node.GET_SCHEMA()
    sockets = Sockets(handle, lmdm.MotionPriorHandle.load(prior_file), comfy_folders)
    monkeypatch.setattr(mm, "throw_exception_if_processing_interrupted", interrupted_after_a_second)
    outcomes = {"result": 0, "refused": 0, "interrupted": 0}
    before = files_outside(comfy_folders)

    @settings(
        max_examples=200 if full else 12,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(sockets.inputs(schema))
    def run(inputs):
        began[0] = time.thread_time()
        try:
            with torch.inference_mode():
                results = node.execute(**inputs).result or ()
            for output, value in zip(schema.outputs, results, strict=True):
                check(output.get_io_type(), value)
            outcomes["result"] += 1
        except mm.InterruptProcessingException:
            outcomes["interrupted"] += 1
        except ValueError as error:
            message = str(error)
            assert message.isprintable() and 0 < len(message) < LONGEST_MESSAGE, (
                f"not a readable line: {message[:300]!r}"
            )
            # ours say what to do; torch's, numpy's and Python's own do not
            raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
            assert "/leo_core/" in raised_in or "/nodes/" in raised_in, (
                f"{type(error).__name__} of {raised_in}: {message[:300]}"
            )
            outcomes["refused"] += 1
        assert time.thread_time() - began[0] < SECONDS

    run()
    if full:  # a dozen may all be refused
        assert outcomes["result"] or outcomes["interrupted"], outcomes
    assert files_outside(comfy_folders) == before


def test_the_ends_of_the_seed(handle, prior_file):
    """Both ends of 64 bits draw, and draw different motions."""
    from leo_pack.nodes import lmdm

    prior = lmdm.MotionPriorHandle.load(prior_file)
    drawn = [
        lmdm.LEOLMDMSampler.execute(prior, 8, seed, 2, "dpmpp_2m", 0.0).result[0].codes for seed in (0, 2**64 - 1, 0)
    ]
    assert torch.equal(drawn[0], drawn[2]) and not torch.equal(drawn[0], drawn[1])
    assert np.isfinite(drawn[1].numpy()).all()
