"""Widgets that several nodes have, and how their values are read."""

import numpy as np
import torch
from comfy_api.latest import io

# isort: split
# after comfy_api.latest, which it imports in a circle
from comfy_api.input import CurveInput

from ...leo_core.identity import require_same_animator
from ...leo_core.lmdm.prior import Sampling
from ...leo_core.lmdm.samplers import SAMPLERS
from ...leo_core.motion import MotionSequence
from .handles import AnimatorHandle

# The curve of a widget that nobody touched.
RAMP = {"points": [[0.0, 0.0], [1.0, 1.0]], "interpolation": "monotone_cubic"}
NAMES_TOOLTIP = "Connect the animator to refer to its directions by name; numbers always work."


def seed_input(tooltip: str = "The same seed gives the same motion on every device.") -> io.Input:
    return io.Int.Input(
        "seed", default=0, optional=True, min=0, max=2**64 - 1, control_after_generate=True, tooltip=tooltip
    )


def steps_input(steps: int, advanced: bool | None = None) -> io.Input:
    return io.Int.Input(
        "steps",
        default=steps,
        optional=True,
        min=1,
        max=1000,
        advanced=advanced,
        tooltip="Denoising steps per window of motion; 20 to 50 are enough.",
    )


def sampling_inputs(steps: int = 50) -> list[io.Input]:
    return [
        seed_input(),
        steps_input(steps),
        io.Combo.Input(
            "sampler",
            options=list(SAMPLERS),
            default=Sampling.sampler,
            optional=True,
            tooltip="dpmpp_2m needs the fewest steps; ddim uses eta; ddpm adds fresh noise at every step.",
        ),
        io.Float.Input(
            "eta",
            default=0.0,
            optional=True,
            min=0.0,
            max=1.0,
            step=0.01,
            advanced=True,
            tooltip="Fraction of fresh noise in ddim: 0 is deterministic, 1 matches ddpm; other samplers ignore it.",
        ),
    ]


def paste_inputs() -> list[io.Input]:
    """How a picture is put into its place: the same two widgets wherever that is done."""
    return [
        io.Float.Input(
            "feather",
            default=0.1,
            optional=True,
            min=0.0,
            max=0.5,
            step=0.01,
            tooltip="Width of the soft edge, as a fraction of the crop's shorter side.",
        ),
        io.Combo.Input(
            "region",
            options=["box", "subject"],
            default="box",
            optional=True,
            tooltip="What to replace: the whole box, or only the subject within the mask that made the crop.",
        ),
    ]


def choice_inputs(index_tooltip: str) -> list[io.Input]:
    """The number and the point that choose one of several people, for a widget with the options nearest and index."""
    return [
        io.Int.Input("index", default=0, optional=True, min=0, max=999, advanced=True, tooltip=index_tooltip),
        *(
            io.Float.Input(
                name,
                default=0.5,
                optional=True,
                min=0.0,
                max=1.0,
                step=0.01,
                advanced=True,
                tooltip=f"The point for 'nearest', from {low} (0) to {high} (1).",
            )
            for name, low, high in (("point_x", "left", "right"), ("point_y", "top", "bottom"))
        ),
    ]


def known_directions(animator: AnimatorHandle | None, motion: MotionSequence) -> dict:
    """What the connected animator says about its directions; nothing without one."""
    if animator is None:
        return {}
    require_same_animator("motion", motion.animator, "LEO_ANIMATOR", animator.id)
    return animator.directions


def sample_curve(curve, frames: int) -> torch.Tensor:
    """A curve widget's value, typed (a dict) or linked (a CurveInput), as one weight per frame."""
    return torch.from_numpy(CurveInput.from_raw(curve).interp_array(np.linspace(0, 1, frames))).float()


def over_time(timing: str, curve, strength: float, frames: int) -> torch.Tensor:
    """One weight per frame, held or along the curve."""
    if timing == "constant":
        return torch.full((frames,), strength)
    return strength * sample_curve(curve, frames)


def timing_inputs(what: str) -> list[io.Input]:
    return [
        io.Combo.Input(
            "timing",
            options=["constant", "curve"],
            default="constant",
            optional=True,
            tooltip=f"Whether {what} stays constant or follows the curve.",
        ),
        io.Curve.Input(
            "curve",
            optional=True,
            socketless=False,
            tooltip="Keyframes from the first frame to the last, from none at the bottom to the full amount at the "
            "top; used when timing is 'curve'.",
        ),
    ]
