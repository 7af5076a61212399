"""Synthetic people: MakeHuman bodies in random motion, rendered with the exact flow to a clip's first frame.

Needs MakeHuman's CC0 assets in a folder, the package moderngl and an EGL driver; nothing else in leo_core depends on
this.
"""

from .motion import Motion, sample_motion
from .people import Figure, HumanLibrary, Person
from .render import Clip, render_clip

__all__ = ["Clip", "Figure", "HumanLibrary", "Motion", "Person", "render_clip", "sample_motion"]
