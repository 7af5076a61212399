"""Motion as data: a sequence of motion codes, a few numbers per frame, and what can be done with it before
rendering.

Every operation is a pure function of MotionSequence values: nothing is changed in place, nothing is random, and an
operation that has nothing to do (a gain of one, a zero edit, a blend weight of zero) returns its input's codes bit
for bit. The motion dictionary is linear and orthonormal (LIA, LEO), so sums and differences of codes are sums and
differences of displacements of the latent code, and distances between codes are distances between latents.
"""

from .edit import (
    amplify,
    blend,
    closest_frame,
    concatenate,
    edit_directions,
    mean_pose,
    ping_pong,
    repeat,
    reverse,
    select_directions,
    smooth,
    transfer,
    trim,
    whittaker,
)
from .files import load_motion, save_motion
from .plot import outline, plot
from .resample import change_rate, change_speed, fill_missing, stretch
from .sequence import FPS, MOST_FRAMES, MotionSequence, pose_code, require_compatible, require_directions

__all__ = [
    "FPS",
    "MOST_FRAMES",
    "MotionSequence",
    "amplify",
    "blend",
    "change_rate",
    "change_speed",
    "closest_frame",
    "concatenate",
    "edit_directions",
    "fill_missing",
    "load_motion",
    "mean_pose",
    "outline",
    "ping_pong",
    "repeat",
    "plot",
    "pose_code",
    "require_compatible",
    "require_directions",
    "reverse",
    "save_motion",
    "select_directions",
    "smooth",
    "stretch",
    "transfer",
    "trim",
    "whittaker",
]
