"""Frame rates as exact fractions."""

import math
from fractions import Fraction

# A rate this close to a whole or NTSC one is that rate written down with fewer digits (our choice): 29.97 is 1e-6 away.
ROUNDING = Fraction(1, 100_000)


def exact_rate(fps: float | Fraction, rounding: Fraction = ROUNDING) -> Fraction:
    """The frame rate that a rounded number stands for: 29.97 is 30000/1001, 25.0001 is 25; others get a denominator
    up to 1001.

    :param rounding: how far from the nearest whole or NTSC rate it may be, relative to it.
    :raises ValueError: not a positive number.
    """
    if not 0 < fps < math.inf:
        raise ValueError(f"A frame rate is a number above 0, got {fps}.")
    fps = Fraction(fps)
    standard = min(
        Fraction(round(fps)), Fraction(round(fps * 1001 / 1000) * 1000, 1001), key=lambda known: abs(known - fps)
    )
    return standard if abs(standard - fps) <= fps * rounding else fps.limit_denominator(1001) or fps
