"""The animator families as configurations of shared layers."""

from dataclasses import asdict, dataclass, field

from .. import face
from ..identity import Direction

LIA_CHANNELS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 256, 128: 128, 256: 64, 512: 32}
LIAX_CHANNELS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128, 512: 64}


# Published names and useful ranges of LIA-X's directions, by index.
LIAX_DIRECTIONS = {
    **{i: Direction(name, -1.0, 0.5) for i, name in ((37, "yaw"), (39, "yaw 2"), (28, "pitch"))},
    **{i: Direction(name, -0.5, 0.5) for i, name in ((15, "roll"), (33, "roll 2"), (31, "neck"))},
    **{
        i: Direction(name, -0.4, 0.4)
        for i, name in (
            (6, "pout"),
            (25, "mouth open(-) close(+)"),
            (16, "O mouth"),
            (19, "smile"),
            (13, "eyes closed(-) open(+)"),
            (24, "eyebrows"),
        )
    },
    **{i: Direction(name, -0.2, 0.2) for i, name in ((17, "eyeballs"), (26, "eyeballs 2"))},
}


@dataclass(frozen=True)
class AnimatorConfig:
    """Everything that fixes an animator's shapes and arithmetic.

    :param family: name shown to people; the fields below decide, never this.
    :param size: side of its pictures in pixels, a power of two, at least 16.
    :param style_dim: width of the appearance code z.
    :param directions: number D of motion directions.
    :param channels: resolution -> feature channels, for 4, 8, .. size.
    :param head_depth: linear layers in the motion head.
    :param align_corners: how warps sample the identity grid.
    :param widen_first: whether the first or the second convolution of an encoder block changes the width.
    :param refine_blocks: styled residual blocks per flow scale; 0 is LIA's single styled convolution.
    :param rgb_blocks: residual blocks per picture scale; 0 is LIA's bare RGB head.
    :param paint_size: scales above this have bare RGB heads whatever `rgb_blocks` says; 0 means no limit (our choice).
    :param composite: at the finest scale the picture itself is warped, and the mask blends what coarser scales
        painted into it: what is seen stays as sharp as the picture. Without it the finest scale's features are
        warped and RGB is read from them (our choice).
    :param anchored: flow and masks count from those of the source's own pose, in which nothing moves and everything
        is seen: the source comes back as it is whatever the networks have learned (our choice).
    :param carry: a scale of the flow generator hands on what it has computed beside the source's warped features,
        which elsewhere take its place wherever the source is seen: what is an eye is known at coarse scales, how a
        lid moves is drawn at fine ones (our choice).
    :param reader: resolution -> channels of a `MotionReader`, whose codes then are the last D numbers of z; empty is
        none (our choice).
    """

    family: str
    size: int
    style_dim: int
    directions: int
    channels: dict[int, int]
    head_depth: int
    align_corners: bool
    widen_first: bool
    refine_blocks: int
    rgb_blocks: int
    paint_size: int = 0
    composite: bool = False
    anchored: bool = False
    carry: bool = False
    reader: dict[int, int] = field(default_factory=dict)

    def __post_init__(self):
        limits = {
            "size": (16, 2048),
            "style_dim": (8, 8192),
            "directions": (1, self.style_dim),
            "head_depth": (1, 16),
            "refine_blocks": (0, 16),
            "rgb_blocks": (0, 16),
            "paint_size": (0, self.size),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise ValueError(f"An animator's {name} is a whole number in {low}..{high}, got {value!r}.")
        for name in ("align_corners", "widen_first", "composite", "anchored", "carry"):
            if type(getattr(self, name)) is not bool:
                raise ValueError(f"An animator's {name} is true or false, got {getattr(self, name)!r}.")
        resolutions = [4 << i for i in range(self.size.bit_length() - 2)]
        if resolutions[-1] != self.size or sorted(self.channels) != resolutions:
            raise ValueError(
                f"An animator's size is a power of two with a channel count for each of 4, 8, .. size; "
                f"got size {self.size} with channels for {sorted(self.channels)}."
            )
        step = 32 if self.refine_blocks else 1  # the blocks normalize groups of 32
        if not all(type(c) is int and 1 <= c <= 8192 and c % step == 0 for c in self.channels.values()):
            raise ValueError(
                f"An animator's channel counts are whole numbers in 1..8192, multiples of {step}; got {self.channels}."
            )

        ladder = sorted(self.reader)
        if ladder and not (
            ladder == [4 << i for i in range(len(ladder))]
            and 8 <= ladder[-1] <= self.size // 2
            and all(type(c) is int and 1 <= c <= 8192 for c in self.reader.values())
            and self.style_dim > self.directions == len(face.NAMES)
        ):
            raise ValueError(
                "A motion reader has a channel count for each of 4, 8, .. up to half the animator's size, and reads "
                f"{len(face.NAMES)} face controls, which fit into style_dim; got {self.reader} at size {self.size}, "
                f"{self.directions} directions and style_dim {self.style_dim}."
            )

    @property
    def appearance_dim(self) -> int:
        """How many of z's numbers say what somebody looks like: all, or all but those of the motion reader."""
        return self.style_dim - (self.directions if self.reader else 0)

    @property
    def scales(self) -> list[int]:
        """Resolutions with features and flows, coarse to fine: 8 .. size."""
        return [r for r in sorted(self.channels) if r >= 8]

    def memory_per_frame(self, itemsize: int) -> int:
        """Bytes of activations that one frame needs at most in any of the networks: six maps at every scale are alive
        at once, counted on LIA 256 (our choice)."""
        return 6 * itemsize * sum(c * r * r for r, c in self.channels.items())

    def to_dict(self) -> dict:
        """Plain JSON types; `from_dict` reads it back."""
        values = asdict(self)
        return {**values, **{name: {str(r): c for r, c in values[name].items()} for name in ("channels", "reader")}}

    @classmethod
    def from_dict(cls, values: dict) -> "AnimatorConfig":
        tables = {
            name: {int(r): c for r, c in values[name].items()} for name in ("channels", "reader") if name in values
        }
        return cls(**{**values, **tables})


def lia(
    size: int = 256,
    channels: dict[int, int] | None = None,
    style_dim: int = 512,
    directions: int = 20,
    head_depth: int = 5,
    align_corners: bool = False,
) -> AnimatorConfig:
    """LIA (ICLR 2022), LEO's animator. The published geometry by default.

    Other channel tables, and align_corners=True, with which a displacement of zero is the identity, are our choice for
    models that we train.
    """
    table = channels or {r: c for r, c in LIA_CHANNELS.items() if r <= size}
    return AnimatorConfig(
        "LIA",
        size,
        style_dim,
        directions,
        table,
        head_depth,
        align_corners=align_corners,
        widen_first=False,
        refine_blocks=0,
        rgb_blocks=0,
    )


def liax(scale: float = 2.0) -> AnimatorConfig:
    """LIA-X (2025) at 512 px; the released file has scale 2."""
    table = {r: round(c * scale) for r, c in LIAX_CHANNELS.items()}
    return AnimatorConfig(
        "LIA-X",
        512,
        round(512 * scale),
        40,
        table,
        1,
        align_corners=True,
        widen_first=True,
        refine_blocks=4,
        rgb_blocks=4,
    )
