"""Frame rates as exact fractions."""
import math
from fractions import Fraction

# A rate this close to an NTSC or whole one, relative to it, is that rate written down with fewer digits (our choice): 29.97 is 1e-6 away.
_ROUNDING = Fraction(1, 100_000)


def exact_rate(fps: float | Fraction) -> Fraction:
    """The frame rate that a rounded number stands for: 29.97 is 30000/1001, 25.0001 is 25; others get a denominator up to 1001.

    :raises ValueError: not a positive number.
    """
    if not 0 < fps < math.inf:
        raise ValueError(f"A frame rate is a number above 0, got {fps}.")
    fps = Fraction(fps)
    whole, ntsc = Fraction(round(fps)), Fraction(round(fps * 1001 / 1000) * 1000, 1001)
    for standard in (whole, ntsc):
        if abs(standard - fps) <= fps * _ROUNDING:
            return standard
    return fps.limit_denominator(1001) or fps
