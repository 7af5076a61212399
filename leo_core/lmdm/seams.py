"""Seams between known and generated motion (our choice).

Codes read from pictures jitter from frame to frame, and so do sampled ones. A seam that is sampled as well as
everything else still has its share of the sharpest corners, and that is where people look for them. Easing takes the
corner out of the seam and spreads it over the frames that follow; known codes stay as they are.
"""

import torch

# Generated frames next to known ones over which the corner of a seam is spread.
EXTENT = 8
# Weight of the bending they take on, against that of the corner that is left. At 10, independent jitter keeps 0.4 of
# its corner at the seam, and grows by at most 0.6 % in the frames that follow.
STIFFNESS = 10.0


def ease_seams(codes: torch.Tensor, is_known: torch.Tensor) -> torch.Tensor:
    """The same window with half the second difference, or less, where known codes meet others.

    The correction c of the generated frames minimizes |second differences of codes + c that reach across a seam|^2 +
    STIFFNESS |other second differences of c|^2; c is 0 on known frames, farther than EXTENT from them and beyond the
    window.

    :param codes: [L, D], at least three frames.
    :param is_known: [L] bool; these codes come back bit for bit.
    :return: [L, D] float32.
    """
    length = len(codes)
    near = torch.nn.functional.max_pool1d(is_known[None].double(), 2 * EXTENT + 1, 1, EXTENT)[0] > 0
    free = near & ~is_known
    across = is_known.unfold(0, 3, 1)
    across = across.any(1) & ~across.all(1)

    # two more frames than the window has: behind its end, too, the correction is 0
    second = torch.zeros(length, length + 2, dtype=torch.float64)
    for offset, factor in enumerate((1.0, -2.0, 1.0)):
        second.diagonal(offset).fill_(factor)
    second = second[:, :length]
    corners = second[: length - 2][across]
    bends = second[torch.cat([~across, across.new_ones(2)])]

    corner, bend = corners[:, free], bends[:, free]
    correction = torch.linalg.solve(
        corner.T @ corner + STIFFNESS * bend.T @ bend, -corner.T @ (corners @ codes.double())
    )
    eased = codes.clone()
    eased[free] += correction.float()
    return eased
