"""A network of its own that reads motion from a picture (our choice; LIA reads it from the appearance encoder's
code).

What warps well need not read well: lids are four pixels high at 128 px, and the encoder's widths there serve
painting. The reader is trained by itself on faces whose controls are known, cheaply, without generator or flow.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F

from .. import face
from .layers import channels_last


class ReaderBlock(torch.nn.Module):
    """x + conv(relu(conv(relu(x)))), [N, C, r, r] stays in shape. Plainer than the animator's blocks: on a CPU what
    they do between their convolutions takes as long as these."""

    def __init__(self, channels, operations, dtype=None, device=None):
        super().__init__()
        self.conv1 = operations.Conv2d(channels, channels, 3, padding=1, dtype=dtype, device=device)
        self.conv2 = operations.Conv2d(channels, channels, 3, padding=1, dtype=dtype, device=device)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv2(F.relu(self.conv1(F.relu(x)), inplace=True))


class MotionReader(torch.nn.Module):
    """Picture [N, 3, S, S] in -1..1 -> motion code [N, D], which are the controls of `leo_core.face`.

    The code is the mean of two readings, of the picture and of its mirror image: averaging cancels errors that they
    do not share (our choice; docs/training.md says what it gains).

    :param size: S, the side of the pictures.
    :param widths: resolution -> channels, for the resolutions r0, r0 / 2, .. 4; the picture is first averaged to 2 *
        r0 pixels.
    """

    def __init__(
        self, size: int, widths: dict[int, int], directions: int, operations=torch.nn, dtype=None, device=None
    ):
        super().__init__()
        kw = {"dtype": dtype, "device": device}
        channels = [widths[r] for r in sorted(widths, reverse=True)]
        self.shrink = size // (2 * max(widths))
        self.stem = operations.Conv2d(3, channels[0], 5, stride=2, padding=2, **kw)
        self.downs = torch.nn.ModuleList(
            operations.Conv2d(a, b, 3, stride=2, padding=1, **kw) for a, b in pairwise(channels)
        )
        self.blocks = torch.nn.ModuleList(
            torch.nn.Sequential(ReaderBlock(c, operations, **kw), ReaderBlock(c, operations, **kw))
            for c in channels[1:]
        )
        self.hidden = operations.Linear(16 * channels[-1], 256, **kw)
        self.code = operations.Linear(256, directions, **kw)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        straight, mirrored = self.read(pictures), self.read(pictures.flip(-1))
        return (straight + mirrored[:, face.MIRROR] * mirrored.new_tensor(face.SIGN)) / 2

    def read(self, pictures: torch.Tensor) -> torch.Tensor:
        """A single reading, [N, D]; this is what is trained."""
        if self.shrink > 1:
            pictures = F.avg_pool2d(pictures, self.shrink)
        h = self.stem(channels_last(pictures))  # [N, C, r0, r0]
        for down, block in zip(self.downs, self.blocks, strict=True):
            h = block(down(F.relu(h, inplace=True)))  # [N, C', r / 2, r / 2]
        h = self.hidden(F.relu(h, inplace=True).flatten(1))
        return self.code(F.relu(h, inplace=True))  # [N, D]
