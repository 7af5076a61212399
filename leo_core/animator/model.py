"""LEO's image animator (it is LIA): encoder, motion head, motion dictionary, flow generator, inpainting decoder.

A picture is read once: `Encoder` gives its appearance code z and features. A frame of motion is one effective code
vector a; its latent is z + Q a (`MotionDictionary`). `FlowGenerator` turns the latent into a flow and a mask per
scale, `InpaintingDecoder` warps the source's features by them and paints the picture. The modules share nothing but
tensors. Pictures are [N, 3, S, S] in -1..1; z is [N, style_dim]; codes are [N, D].
"""

from dataclasses import dataclass
from itertools import pairwise

import torch

from ..identity import AnimatorId
from .config import AnimatorConfig
from .layers import (
    DownBlock,
    FlowHead,
    ResidualBlock,
    RGBHead,
    StyledConv,
    StyledResidualBlock,
    activate,
    channels_last,
    fir_upsample,
    frame_by_frame,
    outgrows_cache,
    warp,
)
from .reader import MotionReader


@dataclass(frozen=True)
class Appearance:
    """What one source picture looks like to an animator. Immutable.

    :param code: z [1, style_dim].
    :param features: resolution -> [1, C, r, r] for 8 .. size.
    :param pose: motion code of the picture, [1, D] float32 on the CPU.
    :param animator: the animator that read it.
    """

    code: torch.Tensor
    features: dict[int, torch.Tensor]
    pose: torch.Tensor
    animator: AnimatorId


class Encoder(torch.nn.Module):
    """Picture -> appearance code z and features per scale."""

    def __init__(self, config: AnimatorConfig, operations=torch.nn, dtype=None, device=None):
        super().__init__()
        kw = {"dtype": dtype, "device": device}
        fine_to_coarse = sorted(config.channels, reverse=True)
        widths = [config.channels[r] for r in fine_to_coarse]
        self.scales, self.widths = fine_to_coarse[:-1], widths[:-1]
        self.size, self.composite = config.size, config.composite
        self.stem = operations.Conv2d(3, widths[0], 1, **kw)
        self.blocks = torch.nn.ModuleList(
            DownBlock(a, b, config.widen_first, operations, **kw) for a, b in pairwise(widths)
        )
        self.code = operations.Conv2d(widths[-1], config.appearance_dim, 4, bias=False, **kw)
        self.reader = (
            MotionReader(config.size, config.reader, config.directions, operations, **kw) if config.reader else None
        )

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
        """:return: z [N, style_dim] and features {r: [N, C, r, r]} for r = 8 .. size."""
        code, features = self.appearance(pictures)
        return self._with_motion(code, pictures), features

    def appearance(self, pictures: torch.Tensor) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
        """What `forward` gives without the motion reader's codes: [N, appearance_dim], and the features."""
        features = {}
        h = self._stem(pictures)  # [N, C, S, S]
        for scale, width, block in zip(self.scales, self.widths, self.blocks, strict=True):
            features[scale] = h  # [N, C, r, r]
            h = frame_by_frame(block, width, scale, h)  # [N, C', r / 2, r / 2]
        if self.composite:  # nothing but the decoder's last step reads the finest scale
            features[self.size] = pictures
        return self.code(h).flatten(1), features

    def codes(self, pictures: torch.Tensor) -> torch.Tensor:
        """z alone, for many pictures: scales that run frame by frame hold the maps of one frame at a time."""
        pictures = channels_last(pictures)
        fine = sum(
            outgrows_cache(pictures, width, scale) for scale, width in zip(self.scales, self.widths, strict=True)
        )

        def finest(part: torch.Tensor) -> torch.Tensor:
            h = activate(self.stem(part))  # [n, C, S, S]
            for block in self.blocks[:fine]:
                h = block(h)  # [n, C', r / 2, r / 2]
            return h

        h = frame_by_frame(finest, self.widths[0], self.size, pictures)
        for block in self.blocks[fine:]:
            h = block(h)  # [N, C', r / 2, r / 2]
        return self._with_motion(self.code(h).flatten(1), pictures)

    def _stem(self, pictures: torch.Tensor) -> torch.Tensor:
        return frame_by_frame(lambda x: activate(self.stem(x)), self.widths[0], self.size, channels_last(pictures))

    def _with_motion(self, code: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
        """z [N, style_dim]: the appearance code, and the reader's motion code where there is one."""
        return code if self.reader is None else torch.cat([code, self.reader(pictures)], 1)


class MotionHead(torch.nn.Module):
    """z [N, style_dim] -> motion code alpha [N, D]: linear layers with nothing between them."""

    def __init__(self, config: AnimatorConfig, operations=torch.nn, dtype=None, device=None):
        super().__init__()
        widths = [config.style_dim] * config.head_depth + [config.directions]
        self.layers = torch.nn.ModuleList(
            operations.Linear(a, b, dtype=dtype, device=device) for a, b in pairwise(widths)
        )

    def forward(self, code: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            code = layer(code)
        return code


def encode_motion(encoder: Encoder, motion_head: MotionHead, pictures: torch.Tensor) -> torch.Tensor:
    """Pictures [N, 3, S, S] in -1..1 -> their motion codes [N, D]."""
    return motion_head(encoder.codes(pictures))


def orthonormal_basis(weight: torch.Tensor) -> torch.Tensor:
    """Q [style_dim, D] of the reduced QR of weight + 1e-8, in float32 on the CPU: motion codes depend on its signs."""
    return torch.linalg.qr(weight.detach().to("cpu", torch.float32) + 1e-8).Q.contiguous()


class MotionDictionary(torch.nn.Module):
    """Motion codes [N, D] -> displacements Q a [N, style_dim] of the appearance code, Q orthonormal."""

    def __init__(self, config: AnimatorConfig, dtype=None, device=None):
        super().__init__()
        self.basis = torch.nn.Parameter(torch.empty(config.style_dim, config.directions, dtype=dtype, device=device))

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        return codes @ self.basis.to(codes).T


# The mask logit of an anchored animator in the source's own pose: 98 % of the source is seen.
_ALL_SEEN = 4.0


class FlowLevel(torch.nn.Module):
    """One scale of the flow generator: upsample, refine, read flow and mask, warp the source's features."""

    def __init__(
        self, in_channels, out_channels, config: AnimatorConfig, finest: bool, operations, dtype=None, device=None
    ):
        super().__init__()
        kw = {"dtype": dtype, "device": device}
        self.up = StyledConv(in_channels, out_channels, config.style_dim, operations, up=True, **kw)
        refine: list[torch.nn.Module]
        if config.refine_blocks:
            refine = [
                StyledResidualBlock(out_channels, config.style_dim, operations, **kw)
                for _ in range(config.refine_blocks)
            ]
        else:
            refine = [StyledConv(out_channels, out_channels, config.style_dim, operations, **kw)]
        self.refine = torch.nn.ModuleList(refine)
        self.head = FlowHead(out_channels, config.style_dim, operations, **kw)
        self.align_corners, self.anchored = config.align_corners, config.anchored
        # No scale builds on the finest one.
        carries = config.carry and not finest
        self.carry = torch.nn.Parameter(torch.zeros(out_channels, **kw)) if carries else None

    def forward(
        self,
        h: torch.Tensor,
        latent: torch.Tensor,
        coarser: torch.Tensor | None,
        anchor: torch.Tensor | None,
        features: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """
        :param coarser: raw maps of the scale before, [N, 3, r / 2, r / 2].
        :param anchor: of an anchored animator: raw maps of the source's own pose, [1 or N, 3, r, r], or None where
            these are them.
        :param features: of the source, [1 or N, C, r, r]; None at the finest scale, where nothing builds on what is
            warped.
        """
        h = self.up(h, latent)  # [N, C, r, r]
        for layer in self.refine:
            h = layer(h, latent)  # [N, C, r, r]
        raw = moved = self.head(h, latent, coarser)  # [N, 3, r, r]
        if self.anchored:
            moved = raw - (raw if anchor is None else anchor)  # [N, 3, r, r]
        displacement = torch.tanh(moved[:, :2])  # [N, 2, r, r]
        mask = torch.sigmoid(moved[:, 2:] + (_ALL_SEEN if self.anchored else 0.0))  # [N, 1, r, r]
        if features is not None:
            warped = warp(features, displacement, self.align_corners).to(h.dtype)  # [N, C, r, r]
            known = h
            h = torch.lerp(h, warped, mask.to(h.dtype))  # [N, C, r, r]
            if self.carry is not None:
                h = h + self.carry.to(h)[:, None, None] * known  # [N, C, r, r]
        else:
            h = h[:, :0]  # [N, 0, r, r]: nothing reads these maps, so concatenated frames need no copy
        return h, raw, displacement, mask


class FlowGenerator(torch.nn.Module):
    """Latent -> flow and mask per scale. Source features enter because each scale builds on what the last one
    warped."""

    def __init__(self, config: AnimatorConfig, operations=torch.nn, dtype=None, device=None):
        super().__init__()
        kw = {"dtype": dtype, "device": device}
        widths = [config.channels[r] for r in sorted(config.channels)]
        self.scales, self.widths, self.anchored = config.scales, widths[1:], config.anchored
        self.constant = torch.nn.Parameter(torch.empty(1, widths[0], 4, 4, **kw))
        self.stem = StyledConv(widths[0], widths[0], config.style_dim, operations, **kw)
        self.levels = torch.nn.ModuleList(
            FlowLevel(a, b, config, r == config.size, operations, **kw)
            for r, (a, b) in zip(config.scales, pairwise(widths), strict=True)
        )

    def forward(
        self,
        features: dict[int, torch.Tensor],
        latent: torch.Tensor,
        anchor: dict[int, torch.Tensor] | None = None,
        finest: int | None = None,
    ) -> tuple[dict[int, torch.Tensor], dict[int, torch.Tensor]]:
        """
        :param features: of the source, {r: [1 or N, C, r, r]}.
        :param latent: z + Q a, [N, style_dim].
        :param anchor: what `anchor` gives for the source, {r: [1 or N, 3, r, r]}; only an anchored animator has one.
        :param finest: stop at this scale, as some steps of training do; the animator's own by default.
        :return: displacement {r: [N, 2, r, r]} in -1..1 (x, y; 2 is the whole width) and mask {r: [N, 1, r, r]} in
            0..1 (1 keeps the warped source), both float32.
        """
        if self.anchored and anchor is None:
            raise ValueError(
                "This animator's flow counts from the source's own pose. Pass what FlowGenerator.anchor gives for the "
                "source."
            )
        _, displacement, mask = self._generate(features, latent, anchor, finest or self.scales[-1])
        return displacement, mask

    def anchor(
        self, features: dict[int, torch.Tensor], latent: torch.Tensor, finest: int | None = None
    ) -> dict[int, torch.Tensor] | None:
        """Raw flow and mask of the source's own pose, from which an anchored animator's count; None of any other.

        :param latent: z + Q a with the source's own a, [N, style_dim].
        :return: {r: [N, 3, r, r]} float32.
        """
        return self._generate(features, latent, None, finest or self.scales[-1])[0] if self.anchored else None

    def _generate(
        self, features, latent, anchor, finest
    ) -> tuple[dict[int, torch.Tensor], dict[int, torch.Tensor], dict[int, torch.Tensor]]:
        """Raw maps, displacement and mask of every scale."""
        raw, displacement, mask, coarser = {}, {}, {}, None
        h = channels_last(self.constant.to(latent).expand(latent.shape[0], -1, -1, -1))  # [N, C, 4, 4]
        h = self.stem(h, latent)  # [N, C, 4, 4]
        for scale, width, level in zip(self.scales, self.widths, self.levels, strict=True):
            below = features[scale] if scale < finest else None  # [1 or N, C, r, r]
            own = None if anchor is None else anchor[scale]  # [1 or N, 3, r, r]
            h, coarser, displacement[scale], mask[scale] = frame_by_frame(
                level, width, scale, h, latent, coarser, own, below
            )
            raw[scale] = coarser  # [N, 3, r, r]
            if scale == finest:
                break
        return raw, displacement, mask


class PictureLevel(torch.nn.Module):
    """One scale of the decoder: what the warped features add to the picture.

    LIA reads RGB straight from them (``blocks`` is 0); LIA-X first mixes in the coarser scale's features and refines.
    """

    def __init__(self, in_channels, out_channels, blocks: int, operations, dtype=None, device=None):
        super().__init__()
        kw = {"dtype": dtype, "device": device}
        self.bare = not blocks
        self.up = operations.Conv2d(in_channels, out_channels, 3, padding=1, **kw) if in_channels else None
        self.residuals = torch.nn.ModuleList(ResidualBlock(out_channels, operations, **kw) for _ in range(blocks))
        self.rgb = RGBHead(out_channels, operations, **kw)

    def forward(self, warped, coarser_features):
        """:return: refined features, of which RGB is read."""
        if self.up is not None:
            warped = warped + activate(self.up(fir_upsample(coarser_features)))
        for block in self.residuals:
            warped = block(warped)
        return warped


class InpaintingDecoder(torch.nn.Module):
    """Warp the source's features, keep them where the mask says so, paint. RGB reads nothing else: what the masks
    leave out is painted by the coarser scales."""

    def __init__(self, config: AnimatorConfig, operations=torch.nn, dtype=None, device=None):
        super().__init__()
        self.scales, self.align_corners, self.composite = config.scales, config.align_corners, config.composite
        widths = [config.channels[r] for r in config.scales]
        blocks = [config.rgb_blocks if r <= (config.paint_size or config.size) else 0 for r in config.scales]
        coarser = [c if b else 0 for c, b in zip([0, *widths[:-1]], blocks, strict=True)]
        self.levels = torch.nn.ModuleList(
            PictureLevel(a, b, n, operations, dtype=dtype, device=device)
            for a, b, n in zip(coarser, widths, blocks, strict=True)
        )
        if self.composite:
            del self.levels[-1]

    def forward(
        self, features: dict[int, torch.Tensor], displacement: dict[int, torch.Tensor], mask: dict[int, torch.Tensor]
    ) -> torch.Tensor:
        """:return: pictures [N, 3, S, S] float32, unbounded around -1..1: clamp before showing. S is the finest
        scale of the flow."""
        warped: torch.Tensor | None = None
        rgb: torch.Tensor | None = None
        for scale, level in zip(self.scales[: len(displacement)], self.levels, strict=False):
            # LIA's RGB is linear in the warped features up to here, so its three channels are warped in their place.
            maps = level.rgb.colors(features[scale]) if level.bare else features[scale]
            visible = warp(maps, displacement[scale], self.align_corners)
            visible = visible * mask[scale].to(visible.dtype)
            if not level.bare:
                warped = level(visible, warped)
                visible = level.rgb.colors(warped)
            rgb = level.rgb(visible, rgb)
        if rgb is None:
            raise ValueError("The flow has no scale that can be painted. Include at least the coarsest.")
        finest = self.scales[-1]
        if self.composite and finest in displacement:
            seen = warp(features[finest], displacement[finest], self.align_corners).float()
            rgb = torch.lerp(fir_upsample(rgb).float(), seen, mask[finest].float())
        return rgb


class Animator(torch.nn.Module):
    """The five modules together, for loading, training and tests. ComfyUI manages them one by one."""

    def __init__(self, config: AnimatorConfig, operations=torch.nn, dtype=None, device=None):
        super().__init__()
        kw = {"operations": operations, "dtype": dtype, "device": device}
        self.config = config
        self.encoder = Encoder(config, **kw)
        self.motion_head = MotionHead(config, **kw)
        self.dictionary = MotionDictionary(config, dtype=dtype, device=device)
        self.flow_generator = FlowGenerator(config, **kw)
        self.decoder = InpaintingDecoder(config, **kw)

    def anchor(self, features: dict[int, torch.Tensor], code: torch.Tensor) -> dict[int, torch.Tensor] | None:
        """`FlowGenerator.anchor` of a source with these features and this z [1, style_dim]."""
        return self.flow_generator.anchor(features, code + self.dictionary(self.motion_head(code)))

    def render(
        self, features: dict[int, torch.Tensor], latent: torch.Tensor, anchor: dict[int, torch.Tensor] | None = None
    ) -> torch.Tensor:
        """Source features, latents [N, style_dim] and `anchor` -> pictures [N, 3, S, S], unbounded around -1..1."""
        return self.decoder(features, *self.flow_generator(features, latent, anchor))

    def encode_motion(self, pictures: torch.Tensor, batch: int = 16) -> torch.Tensor:
        """Pictures [N, 3, S, S] in -1..1 -> their motion codes [N, D], read ``batch`` at a time."""
        return torch.cat([encode_motion(self.encoder, self.motion_head, part) for part in pictures.split(batch)])
