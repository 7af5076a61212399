"""Motion as data: a sequence of motion codes, a few numbers per frame, and what can be done with it before rendering.

Every operation is a pure function of MotionSequence values: nothing is changed in place, nothing is random, and an
operation that has nothing to do (a gain of one, a zero edit, a blend weight of zero) returns its input's codes bit for bit.
The motion dictionary is linear and orthonormal (LIA, LEO), so sums and differences of codes are sums and differences of
displacements of the latent code, and distances between codes are distances between latents.
"""
import colorsys
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageDraw
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from scipy import linalg, sparse
from scipy.interpolate import CubicSpline

from .files import quoted, write_atomically
from .identity import AnimatorId, require_same_animator

MAX_FILE_BYTES = 2**30
MAX_HEADER_BYTES = 2**16
MAX_DESCRIPTION = 2000
FPS = re.compile(r"[1-9]\d{0,11}(/[1-9]\d{0,11})?", re.ASCII)
MOST_FRAMES = 10_000_000  # four days at 25 fps
LARGEST_PLOT = 2**28  # pixels
MAX_PERIOD = 2000  # frames; the smoother's equations lose their digits beyond
PIECE = 2**16  # numbers that resampling works on at once
SPLINE_MEMORY = 32  # frames: a spline forgets by 0.27 a frame, and this is beyond double precision


@dataclass(frozen=True)
class MotionSequence:
    """Motion codes of one subject over time (LEO's a = [alpha_1 .. alpha_L]). Immutable: operations return new ones.

    :param codes: [T, D] float32 on the CPU, finite, T >= 1; T == 1 is a pose.
    :param fps: frames per second, exact and positive.
    :param animator: the animator whose codes these are.
    :raises ValueError: codes of another shape or dtype, not finite, or fps not positive.
    """

    codes: torch.Tensor
    fps: Fraction
    animator: AnimatorId

    def __post_init__(self):
        if self.codes.ndim != 2 or 0 in self.codes.shape:
            raise ValueError(f"A motion needs codes of shape [frames, directions], got {list(self.codes.shape)}.")
        if self.codes.dtype != torch.float32 or self.codes.device.type != "cpu":
            raise ValueError(f"Motion codes are float32 on the CPU, got {self.codes.dtype} on {self.codes.device}.")
        if not torch.isfinite(self.codes).all():
            raise ValueError("The motion holds codes that are not finite (NaN or infinite). Encode or sample it again.")
        if self.fps <= 0:
            raise ValueError(f"A motion needs a positive frame rate, got {self.fps}.")

    def __len__(self) -> int:
        return self.codes.shape[0]

    @property
    def directions(self) -> int:
        return self.codes.shape[1]


def transfer(
    driving: MotionSequence,
    source_pose: MotionSequence,
    mode: Literal["relative", "absolute"] = "relative",
    reference: int = 0,
    gain: float | torch.Tensor = 1.0,
) -> MotionSequence:
    """Put the motion of one subject on another: the effective codes to render the source picture with (LIA's two modes).

    Relative: source + gain (driving_t - driving_reference). A driving frame equal to the reference gives exactly the
    source's codes. Absolute: source + gain (driving_t - source), which at gain 1 is exactly driving_t.
    Gain 0 holds the source's pose in both modes (the gain is our choice; LIA's is 1).

    :param driving: the motion to follow; the result has its length and frame rate.
    :param source_pose: a motion of one frame, the source picture's own code.
    :param reference: index of the driving frame that corresponds to the source's pose; negative counts from the end.
    :param gain: how far to follow, a number or one per direction [D].
    :raises ValueError: another animator, a source pose of more than one frame, or a reference outside the driving motion.
    """
    require_compatible("driving motion", driving, "source pose", source_pose)
    pose = _pose_code(source_pose)
    gain = torch.as_tensor(gain, dtype=torch.float32)
    if mode == "absolute":
        return replace(driving, codes=torch.lerp(pose.expand_as(driving.codes), driving.codes, gain.expand_as(driving.codes)))
    if mode != "relative":
        raise ValueError(f"Motion is transferred 'relative' or 'absolute', got '{mode}'.")
    if not -len(driving) <= reference < len(driving):
        raise ValueError(
            f"The reference frame {reference} is outside the driving motion, which has {len(driving)} frames. "
            f"Choose 0 to {len(driving) - 1}."
        )
    return replace(driving, codes=pose + gain * (driving.codes - driving.codes[reference]))


def closest_frame(motion: MotionSequence, pose: MotionSequence) -> int:
    """Index of the frame whose pose is nearest to a given one, the first of equals.

    The Euclidean distance of codes is that of latents, since the dictionary is orthonormal. As a reference for relative
    transfer it starts the two subjects from the same pose (our choice, after the best-frame search of first-order motion models).

    :raises ValueError: another animator, or a pose of more than one frame.
    """
    require_compatible("motion", motion, "pose", pose)
    return int((motion.codes - _pose_code(pose)).square().sum(1).argmin())


def edit_directions(motion: MotionSequence, amounts: torch.Tensor, weight: float | torch.Tensor = 1.0) -> MotionSequence:
    """Add a fixed displacement along the motion directions, all the time or along a curve.

    :param amounts: [D] in code units; zero leaves a direction exactly as it is.
    :param weight: how much of it applies, a number or one per frame [T].
    :raises ValueError: amounts or weights of another length than the motion's directions or frames.
    """
    if amounts.shape != (motion.directions,):
        raise ValueError(f"The edit has {amounts.numel()} amounts, but the motion has {motion.directions} directions.")
    return replace(motion, codes=motion.codes + _per_frame(weight, motion) * amounts)


def blend(first: MotionSequence, second: MotionSequence, weight: float | torch.Tensor) -> MotionSequence:
    """Mix two motions: weight 0 is exactly the first, 1 exactly the second. A pose blends with every frame of the other.

    :param weight: a number or one per frame [T].
    :raises ValueError: another animator, or clips of different lengths or frame rates.
    """
    require_compatible("first motion", first, "second motion", second)
    if len(first) != 1 and len(second) != 1 and (len(first) != len(second) or first.fps != second.fps):
        raise ValueError(
            f"The first motion has {len(first)} frames at {first.fps} fps, the second {len(second)} at {second.fps}. "
            f"Make them alike with LEO Retime Motion or LEO Trim Motion."
        )
    longest = max(first, second, key=len)
    ends = torch.broadcast_tensors(first.codes, second.codes)
    return replace(longest, codes=torch.lerp(*ends, _per_frame(weight, longest)))


def trim(motion: MotionSequence, start: int = 0, frames: int | None = None) -> MotionSequence:
    """The frames start .. start + frames of a motion; None for all that follow.

    :raises ValueError: nothing is left, or the range reaches beyond the motion.
    """
    stop = len(motion) if frames is None else start + frames
    if not 0 <= start < stop <= len(motion):
        raise ValueError(f"Frames {start} to {stop - 1} were asked for, but the motion has the frames 0 to {len(motion) - 1}.")
    return replace(motion, codes=motion.codes[start:stop])


def stretch(motion: MotionSequence, frames: int) -> MotionSequence:
    """Play the motion in another number of frames at its own frame rate, from the same first to the same last pose.

    The same number of frames gives exactly the input. See `_resample` for the method.

    :raises ValueError: no frames, or a pose stretched: it has no movement to stretch, so only its one frame is repeated.
    """
    _require_possible(frames)
    if frames == len(motion):
        return motion
    if len(motion) == 1:
        return replace(motion, codes=motion.codes.repeat(frames, 1))
    if frames == 1:
        return trim(motion, 0, 1)
    codes = _resample(motion.codes, Fraction(len(motion) - 1, frames - 1), frames)
    codes[-1] = motion.codes[-1]
    return replace(motion, codes=codes)


def change_speed(motion: MotionSequence, speed: float) -> MotionSequence:
    """The same movement faster or slower at the same frame rate: 2 takes half the time; one frame at least is left.

    :raises ValueError: a speed that is not a positive number, or so low that the motion gets too long.
    """
    if not 0 < speed < math.inf:
        raise ValueError(f"A motion plays at a speed above 0, got {speed}. Use 1 for its own speed, and reverse it to play it backwards.")
    return stretch(motion, max(1, round(min(len(motion) / speed, MOST_FRAMES + 1))))


def exact_rate(fps: float) -> Fraction:
    """Frames per second as a fraction with a denominator of at most 1001, that of the NTSC rates.

    :raises ValueError: not a positive number.
    """
    if not 0 < fps < math.inf:
        raise ValueError(f"A frame rate is a number above 0, got {fps}.")
    return Fraction(fps).limit_denominator(1001)


def change_rate(motion: MotionSequence, fps: Fraction) -> MotionSequence:
    """The same movement in the same time at another frame rate; frame i shows time i / fps, so sound stays in step.

    The same rate gives exactly the input. See `_resample` for the method. The result has round(T new / old) frames; when
    that reaches past the last frame, by less than one of its intervals, the movement runs on as it ended.

    :raises ValueError: a frame rate that is not positive.
    """
    if fps <= 0:
        raise ValueError(f"A motion needs a positive frame rate, got {fps}.")
    if fps == motion.fps:
        return motion
    frames = max(1, math.floor(len(motion) * fps / motion.fps + Fraction(1, 2)))
    _require_possible(frames)
    if len(motion) == 1:
        return replace(motion, codes=motion.codes.repeat(frames, 1), fps=fps)
    return replace(motion, codes=_resample(motion.codes, motion.fps / fps, frames), fps=fps)


def _require_possible(frames: int) -> None:
    if not 1 <= frames <= MOST_FRAMES:
        raise ValueError(f"The motion would have {frames} frames; 1 to {MOST_FRAMES} are possible. Choose another length, speed or frame rate.")


def reverse(motion: MotionSequence) -> MotionSequence:
    """The motion backwards."""
    return replace(motion, codes=motion.codes.flip(0))


def ping_pong(motion: MotionSequence) -> MotionSequence:
    """There and back as one period of a loop: the turning frames are not doubled, so T frames become 2 T - 2."""
    return replace(motion, codes=torch.cat([motion.codes, motion.codes.flip(0)[1:-1]]))


def smooth(motion: MotionSequence, seconds: float) -> MotionSequence:
    """Remove fast movement without delay, keeping each direction's mean and its first and last pose.

    A Whittaker-Henderson smoother (the trend of a Hodrick-Prescott filter): the codes y that minimise
    |y - x|^2 + lambda |second difference of y|^2, here under the conditions that the ends and the mean stay (our choice).
    It is linear, zero-phase and solved for the whole clip at once, in time and memory proportional to it.

    :param seconds: period whose amplitude is halved; slower movement passes, faster is removed. 0 changes nothing.
        Periods above MAX_PERIOD frames act like that many.
    :raises ValueError: a negative period.
    """
    if not seconds >= 0:
        raise ValueError(f"The smoothing period is 0 seconds or more, got {seconds}.")
    frames = len(motion)
    if seconds == 0 or frames < 4:  # the conditions alone fix three frames
        return motion
    period = min(seconds * float(motion.fps), MAX_PERIOD)
    penalty = (period / (2 * math.pi)) ** 4  # gain 1 / (1 + penalty w^4) is one half at w = 2 pi / period
    bands = np.zeros((3, frames))
    for offset, products in enumerate(([1.0, 4.0, 1.0], [-2.0, -2.0], [1.0])):  # of the second difference [1, -2, 1]
        for i, product in enumerate(products):
            bands[offset, i : i + frames - 2] += penalty * product
    bands[0] += 1

    codes = motion.codes.numpy().astype(np.float64)
    conditions = np.zeros((frames, 3))
    conditions[0, 0] = conditions[-1, 1] = 1
    conditions[:, 2] = 1 / frames
    solved = linalg.solveh_banded(bands, np.concatenate([codes, conditions], 1), lower=True, overwrite_ab=True, overwrite_b=True)
    free, responses = solved[:, :-3], solved[:, -3:]
    multipliers = np.linalg.solve(conditions.T @ responses, conditions.T @ (free - codes))
    result = torch.from_numpy((free - responses @ multipliers).astype(np.float32))
    result[[0, -1]] = motion.codes[[0, -1]]
    return replace(motion, codes=result)


def amplify(motion: MotionSequence, gain: float | torch.Tensor) -> MotionSequence:
    """Scale the movement around its mean pose: 0 holds the mean, 1 is exactly the input, more exaggerates.

    :param gain: a number or one per direction [D].
    """
    mean = mean_pose(motion).codes.expand_as(motion.codes)
    return replace(motion, codes=torch.lerp(mean, motion.codes, torch.as_tensor(gain, dtype=torch.float32).expand_as(mean)))


def mean_pose(motion: MotionSequence) -> MotionSequence:
    """The average pose, a motion of one frame."""
    return replace(motion, codes=motion.codes.mean(0, keepdim=True, dtype=torch.float64).float())


def select_directions(motion: MotionSequence, chosen: torch.Tensor, rest: MotionSequence | None = None) -> MotionSequence:
    """Keep the movement in some directions and hold the others still.

    :param chosen: bool [D], True keeps the direction.
    :param rest: the pose that the others hold; the motion's first by default.
    :raises ValueError: another animator, a rest of more than one frame, or a choice of another length.
    """
    rest = rest or trim(motion, 0, 1)
    require_compatible("motion", motion, "rest pose", rest)
    if chosen.shape != (motion.directions,):
        raise ValueError(f"The choice covers {chosen.numel()} directions, but the motion has {motion.directions}.")
    return replace(motion, codes=torch.where(chosen, motion.codes, _pose_code(rest)))


def concatenate(motions: Sequence[MotionSequence]) -> MotionSequence:
    """One motion after the other, as they are.

    :raises ValueError: another animator or frame rate, or nothing to join.
    """
    if not motions:
        raise ValueError("There are no motions to join. Connect at least one.")
    first = motions[0]
    for number, motion in enumerate(motions[1:], 2):
        require_compatible("first motion", first, f"motion {number}", motion)
        if motion.fps != first.fps:
            raise ValueError(
                f"The first motion has {first.fps} fps, motion {number} has {motion.fps}. Bring them to one rate with LEO Retime Motion."
            )
    return replace(first, codes=torch.cat([motion.codes for motion in motions]))


def save_motion(path: str | os.PathLike, motion: MotionSequence, description: str = "") -> None:
    """Write a motion as .safetensors, atomically: 4 bytes per direction and frame, and who it belongs to.

    :param description: a line or two for people about what is to be seen, at most MAX_DESCRIPTION characters.
    :raises ValueError: a longer description.
    """
    if len(description) > MAX_DESCRIPTION:
        raise ValueError(f"The description has {len(description)} characters; {MAX_DESCRIPTION} fit in a motion file. Shorten it.")
    metadata = {
        "leo.kind": "motion",
        "leo.fps": str(motion.fps),
        "leo.fingerprint": motion.animator.fingerprint,
        "leo.animator": motion.animator.name,
        "leo.description": description,
    }
    write_atomically(path, lambda temporary: save_file({"codes": motion.codes.contiguous()}, temporary, metadata))


def load_motion(path: str | os.PathLike) -> tuple[MotionSequence, str]:
    """Read a file of `save_motion`.

    :return: the motion and its description.
    :raises ValueError: not a motion file, damaged, or too large to be one. Nothing is allocated for such a file.
    """
    path = Path(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if size > MAX_FILE_BYTES or header > MAX_HEADER_BYTES:
        raise ValueError(
            f"{path.name} is no motion file: {size} bytes with a header of {header}, where a motion has at most "
            f"{MAX_FILE_BYTES} and {MAX_HEADER_BYTES}. Choose a file that LEO Save Motion wrote."
        )
    try:
        with safe_open(path, "pt") as file:
            metadata, keys = file.metadata() or {}, list(file.keys())
            if metadata.get("leo.kind") != "motion" or keys != ["codes"]:
                kind = metadata.get("leo.kind", "unknown contents")
                raise ValueError(f"{path.name} holds {quoted(kind)}, not a motion. Choose a file that LEO Save Motion wrote.")
            entry = file.get_slice("codes")
            if entry.get_dtype() != "F32" or len(entry.get_shape()) != 2:
                raise ValueError(
                    f"{path.name} holds codes of type {entry.get_dtype()} and shape {quoted(entry.get_shape())}; a motion has float32 "
                    f"[frames, directions]. Save it again with LEO Save Motion."
                )
            # cloned: the mapped file may be replaced while the motion is in use
            codes = file.get_tensor("codes").clone()
    except SafetensorError as error:
        raise ValueError(f"{path.name} is not a readable safetensors file ({quoted(error)}). Copy or save it again.") from None
    fps, identity, name = (metadata.get(f"leo.{key}", "") for key in ("fps", "fingerprint", "animator"))
    if not FPS.fullmatch(fps) or not re.fullmatch(r"[0-9a-f]{64}", identity) or not 0 < len(name) <= 200:
        raise ValueError(
            f"{path.name} does not say whose motion it is: frame rate '{quoted(fps)}', animator '{quoted(name)}', fingerprint '{quoted(identity)}'. "
            f"Save it again with LEO Save Motion."
        )
    return MotionSequence(codes, Fraction(fps), AnimatorId(name, identity)), metadata.get("leo.description", "")[:MAX_DESCRIPTION]


PAPER, INK, GRID, GHOST = (252, 252, 252), (60, 60, 60), (225, 225, 225), (185, 185, 185)


def plot(motion: MotionSequence, behind: MotionSequence | None = None, width: int = 960, strip: int = 48) -> torch.Tensor:
    """Draw every direction over time as a strip of its own, all at one scale so that sizes compare.

    :param behind: another motion to draw in grey behind it, on the same axes of time and value; a before to the after.
    :param width: of the picture in pixels.
    :param strip: height of one direction's strip in pixels.
    :return: [1, H, W, 3] float32 in 0..1, H = D strip + a line for the time axis.
    :raises ValueError: a motion behind that belongs to another animator, or a plot too small to read or beyond 2**28 pixels.
    """
    if behind is not None:
        require_compatible("motion", motion, "motion behind it", behind)
    if width < 64 or strip < 8 or width * strip * motion.directions > LARGEST_PLOT:
        raise ValueError(f"A plot {width} pixels wide, of {motion.directions} strips {strip} pixels high. Make it at least 64 wide, strips at least "
                         f"8 high, and all of it at most {LARGEST_PLOT} pixels.")
    shown = [m for m in (behind, motion) if m is not None]
    duration = max(len(m) / m.fps for m in shown)
    middle = motion.codes.double().mean(0).numpy()
    reach = max(float(np.abs(m.codes.numpy() - middle).max()) for m in shown) or 1.0
    left, axis = 36, 18
    picture = Image.new("RGB", (width, motion.directions * strip + axis), PAPER)
    draw = ImageDraw.Draw(picture)
    bottom = motion.directions * strip
    for tick in range(5):
        x = left + tick * (width - left - 1) / 4
        label = f"{float(duration) * tick / 4:.1f} s"
        draw.line([(x, 0), (x, bottom)], GRID)
        draw.text((min(x, width - 6 * len(label)), bottom + 3), label, INK)
    for d in range(motion.directions):
        draw.line([(left, (d + 0.5) * strip), (width, (d + 0.5) * strip)], GRID)
        draw.text((4, (d + 0.5) * strip - 6), str(d), INK)
    for m in shown:
        low, high = _envelope(m.codes.numpy(), (width - left) * len(m) / m.fps / duration)
        centres = (np.arange(motion.directions) + 0.5) * strip
        tops, bottoms = (np.rint(centres - (0.5 * strip - 2) / reach * (edge - middle)) for edge in (high, low))
        for d in range(motion.directions):
            colour = GHOST if m is behind else _hue(d / motion.directions)
            for x, (y0, y1) in enumerate(np.stack([tops[:, d], bottoms[:, d]], 1).tolist(), left):
                draw.line([(x, y0), (x, y1)], colour)
    return torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255)[None]


def outline(motion: MotionSequence, columns: int = 120) -> list[list[float]]:
    """Each direction as a line for a screen: its deviation from its mean, all directions at one scale of -1 to 1.

    Of at most 2 * columns frames one value each; of more the lowest and the highest of every column, in turn, so that nothing
    short is lost. The values are evenly spaced in time, rounded to three decimals.
    """
    values = motion.codes.numpy()
    if len(motion) > 2 * columns:
        values = np.stack(_envelope(values, Fraction(columns)), 1).reshape(2 * columns, motion.directions)
    values = values - motion.codes.mean(0, dtype=torch.float64).numpy()
    return np.round(values / max(np.abs(values).max(), 1e-9), 3).T.tolist()


def _envelope(values: np.ndarray, columns: Fraction) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest value [columns, D] of values [T, D] under each pixel column, with no gaps between columns."""
    count = max(1, round(columns))
    edges = np.linspace(0, len(values) - 1, count + 1)
    i = np.minimum(edges.astype(int), max(len(values) - 2, 0))
    j = np.minimum(i + 1, len(values) - 1)
    share = (edges - i)[:, None]
    at_edges = values[i] * (1 - share) + values[j] * share
    low, high = np.minimum(at_edges[:-1], at_edges[1:]), np.maximum(at_edges[:-1], at_edges[1:])
    if len(values) > count:  # frames inside the columns
        starts = np.ceil(edges[:-1]).astype(int)
        low = np.minimum(low, np.minimum.reduceat(values, starts))
        high = np.maximum(high, np.maximum.reduceat(values, starts))
    return low, high


def _hue(turn: float) -> tuple[int, int, int]:
    """A colour of the wheel that reads on paper."""
    red, green, blue = colorsys.hsv_to_rgb(turn, 0.85, 0.75)
    return round(255 * red), round(255 * green), round(255 * blue)


def _resample(codes: torch.Tensor, step: Fraction, frames: int) -> torch.Tensor:
    """Codes [T, D] at the positions 0, step, 2 step, .. as [frames, D], with T >= 2.

    When the rate rises: a cubic spline through the frames (natural ends), which returns a frame unchanged where a position
    meets it. When it falls (step > 1): a Hann-windowed sinc of ten zero crossings to a side, which passes only what the
    new rate can carry (the usual filter of sound resamplers), with the motion continued point-symmetrically beyond its
    ends so that the ends stay. Both in double precision and piece by piece: in time proportional to the longer motion,
    and in hardly more memory than the result takes.
    """
    values = codes.numpy()
    half_width = min(10 * float(step), len(values) - 1)
    reach = SPLINE_MEMORY if step <= 1 else math.ceil(half_width)
    piece = max(1, PIECE // (values.shape[1] if step <= 1 else 2 * reach + 2))
    result = torch.empty(frames, values.shape[1])
    for start in range(0, frames, piece):
        # multiplied before divided: positions that meet a frame are whole numbers exactly
        positions = np.arange(start, min(start + piece, frames), dtype=np.float64) * step.numerator / step.denominator
        first, last = math.floor(positions[0]) - reach, math.floor(positions[-1]) + reach + 1
        if step <= 1:
            first, last = max(first, 0), min(last, len(values) - 1)
            part = CubicSpline(np.arange(first, last + 1), values[first : last + 1].astype(np.float64), bc_type="natural")(positions)
        else:
            part = _filter(_continued(values, first, last), positions - first, float(step), half_width, reach)
        result[start : start + piece] = torch.from_numpy(part)
    return result


def _filter(values: np.ndarray, positions: np.ndarray, step: float, half_width: float, reach: int) -> np.ndarray:
    """Values [T, D] at positions [P], through a windowed sinc that passes what every step-th frame can carry: [P, D]."""
    nearest = np.floor(positions).astype(np.int64)
    taps = nearest[:, None] + np.arange(-reach, reach + 2)
    distance = taps - positions[:, None]
    weights = np.sinc(distance / step) * np.cos(0.5 * np.pi * np.clip(distance / half_width, -1, 1)) ** 2
    weights /= weights.sum(1, keepdims=True)
    rows = np.arange(len(positions) + 1) * taps.shape[1]
    return sparse.csr_array((weights.ravel(), taps.ravel(), rows), shape=(len(positions), len(values))) @ values


def _continued(values: np.ndarray, first: int, last: int) -> np.ndarray:
    """Values [T, D] from frame first to last in double precision, point-symmetric beyond their ends by up to T frames."""
    end = len(values) - 1
    frame = np.arange(first, last + 1)
    rows = values[np.clip(np.where(frame > end, 2 * end - frame, np.abs(frame)), 0, end)].astype(np.float64)
    for beyond, pole in ((frame < 0, 0), (frame > end, end)):
        rows[beyond] = 2 * values[pole].astype(np.float64) - rows[beyond]
    return rows


def _per_frame(weight: float | torch.Tensor, motion: MotionSequence) -> torch.Tensor:
    """A weight as a column [1 or T, 1] beside the motion's codes."""
    weight = torch.as_tensor(weight, dtype=torch.float32).reshape(-1, 1)
    if len(weight) not in (1, len(motion)):
        raise ValueError(f"There are {len(weight)} weights for {len(motion)} frames; give one for all or one for each.")
    return weight


def _pose_code(pose: MotionSequence) -> torch.Tensor:
    """The [D] code of a motion of one frame."""
    if len(pose) != 1:
        raise ValueError(
            f"A pose is a motion of one frame, got {len(pose)} frames. Use the pose of LEO Encoder, or cut one frame with LEO Trim Motion."
        )
    return pose.codes[0]


def require_compatible(first_what: str, first: MotionSequence, second_what: str, second: MotionSequence) -> None:
    """Raise ValueError unless two motions speak the codes of one animator."""
    require_same_animator(first_what, first.animator, second_what, second.animator)
    if first.directions != second.directions:
        raise ValueError(
            f"The {first_what} has {first.directions} directions and the {second_what} {second.directions}, though both name "
            f"animator {first.animator}: one of them is damaged. Encode it again."
        )
