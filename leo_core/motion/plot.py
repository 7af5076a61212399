"""Motion to look at: every direction over time."""

import colorsys
from fractions import Fraction

import numpy as np
import torch
from PIL import Image, ImageDraw

from .sequence import MotionSequence, require_compatible

LARGEST_PLOT = 2**28  # pixels

PAPER, INK, GRID, GHOST = (252, 252, 252), (60, 60, 60), (225, 225, 225), (185, 185, 185)


def plot(
    motion: MotionSequence, behind: MotionSequence | None = None, width: int = 960, strip: int = 48
) -> torch.Tensor:
    """Draw every direction over time as a strip of its own, all at one scale so that sizes compare.

    :param behind: another motion to draw in gray behind it, on the same axes of time and value; a before to the
        after.
    :param width: of the picture in pixels.
    :param strip: height of one direction's strip in pixels.
    :return: [1, H, W, 3] float32 in 0..1, H = D strip + a line for the time axis.
    :raises ValueError: a motion behind that belongs to another animator, or a plot too small to read or beyond 2**28
        pixels.
    """
    if behind is not None:
        require_compatible("motion", motion, "motion behind it", behind)
    if width < 64 or strip < 8 or width * strip * motion.directions > LARGEST_PLOT:
        raise ValueError(
            f"Cannot plot {motion.directions} strips of {width}x{strip} pixels. Make the plot at least 64 pixels wide, "
            f"each strip at least 8 high, and the whole at most {LARGEST_PLOT} pixels."
        )
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
        centers = (np.arange(motion.directions) + 0.5) * strip
        tops, bottoms = (np.rint(centers - (0.5 * strip - 2) / reach * (edge - middle)) for edge in (high, low))
        for d in range(motion.directions):
            color = GHOST if m is behind else _hue(d / motion.directions)
            for x, (y0, y1) in enumerate(np.stack([tops[:, d], bottoms[:, d]], 1).tolist(), left):
                draw.line([(x, y0), (x, y1)], color)
    return torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255)[None]


def outline(motion: MotionSequence, columns: int = 120) -> list[list[float]]:
    """Each direction as a line for a screen: its deviation from its mean, all directions at one scale of -1 to 1.

    Of at most 2 * columns frames one value each; of more the lowest and the highest of every column, in turn, so
    that nothing short is lost. The values are evenly spaced in time, rounded to three decimals.
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
    """A color of the wheel that reads on paper."""
    red, green, blue = colorsys.hsv_to_rgb(turn, 0.85, 0.75)
    return round(255 * red), round(255 * green), round(255 * blue)
