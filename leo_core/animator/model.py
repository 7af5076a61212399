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
        self.scales, self.widths, self.composite = fine_to_coarse[:-1], widths, config.composite
        self.stem = operations.Conv2d(3, widths[0], 1, **kw)
        self.blocks = torch.nn.ModuleList(
            DownBlock(a, b, config.widen_first, operations, **kw) for a, b in pairwise(widths))
        self.code = operations.Conv2d(widths[-1], config.appearance_dim, 4, bias=False, **kw)
        self.reader = MotionReader(config.size, config.reader, config.directions, operations, **kw) if config.reader else None

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
        """:return: z [N, style_dim] and features {r: [N, C, r, r]} for r = 8 .. size."""
        code, features = self.appearance(pictures)
        return self._with_motion(code, pictures), features

    def appearance(self, pictures: torch.Tensor) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
        """What `forward` gives without the motion reader's codes: [N, appearance_dim], and the features."""
        *features, h = self._maps(pictures, keep=True)
        if self.composite:  # nothing but the decoder's last step reads the finest scale
            features[0] = pictures
        return self.code(h).flatten(1), dict(zip(self.scales, features, strict=True))

    def codes(self, pictures: torch.Tensor) -> torch.Tensor:
        """z alone, for many pictures: their features are dropped on the way."""
        h, = self._maps(pictures, keep=False)
        return self._with_motion(self.code(h).flatten(1), pictures)

    def _with_motion(self, code: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
        """z [N, style_dim]: the appearance code, and the reader's motion code where there is one."""
        return code if self.reader is None else torch.cat([code, self.reader(pictures)], 1)

    def _maps(self, pictures: torch.Tensor, keep: bool) -> list[torch.Tensor]:
        """[N, C, r, r] for r = size .. 4, or only the last. The fine ones are made frame by frame where that is faster."""
        pictures = channels_last(pictures)
        fine = sum(outgrows_cache(pictures, width, scale) for scale, width in zip(self.scales, self.widths[:-1], strict=True))
        each = [self._down(activate(self.stem(part)), self.blocks[:fine], keep) for part in (pictures.split(1) if fine else [pictures])]
        *done, h = (torch.cat(parts) if fine else parts[0] for parts in zip(*each, strict=True))
        return done + self._down(h, self.blocks[fine:], keep)

    @staticmethod
    def _down(h: torch.Tensor, blocks: torch.nn.ModuleList, keep: bool) -> list[torch.Tensor]:
        """h and what each block makes of it, or only the last."""
        maps = [h]
        for block in blocks:
            h = block(h)
            maps = [*maps, h] if keep else [h]
        return maps


class MotionHead(torch.nn.Module):
    """z [N, style_dim] -> motion code alpha [N, D]: linear layers with nothing between them."""

    def __init__(self, config: AnimatorConfig, operations=torch.nn, dtype=None, device=None):
        super().__init__()
        widths = [config.style_dim] * config.head_depth + [config.directions]
        self.layers = torch.nn.ModuleList(
            operations.Linear(a, b, dtype=dtype, device=device) for a, b in pairwise(widths))

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


class FlowLevel(torch.nn.Module):
    """One scale of the flow generator: upsample, refine, read flow and mask."""

    def __init__(self, in_channels, out_channels, config: AnimatorConfig, operations, dtype=None, device=None):
        super().__init__()
        kw = {"dtype": dtype, "device": device}
        self.up = StyledConv(in_channels, out_channels, config.style_dim, operations, up=True, **kw)
        if config.refine_blocks:
            refine = [StyledResidualBlock(out_channels, config.style_dim, operations, **kw)
                      for _ in range(config.refine_blocks)]
        else:
            refine = [StyledConv(out_channels, out_channels, config.style_dim, operations, **kw)]
        self.refine = torch.nn.ModuleList(refine)
        self.head = FlowHead(out_channels, config.style_dim, operations, **kw)

    def forward(self, h, latent, coarser):
        h = self.up(h, latent)
        for layer in self.refine:
            h = layer(h, latent)
        return h, self.head(h, latent, coarser)


class FlowGenerator(torch.nn.Module):
    """Latent -> flow and mask per scale. Source features enter because each scale builds on what the last one warped."""

    def __init__(self, config: AnimatorConfig, operations=torch.nn, dtype=None, device=None):
        super().__init__()
        kw = {"dtype": dtype, "device": device}
        widths = [config.channels[r] for r in sorted(config.channels)]
        self.scales, self.widths, self.align_corners = config.scales, widths[1:], config.align_corners
        self.constant = torch.nn.Parameter(torch.empty(1, widths[0], 4, 4, **kw))
        self.stem = StyledConv(widths[0], widths[0], config.style_dim, operations, **kw)
        self.levels = torch.nn.ModuleList(
            FlowLevel(a, b, config, operations, **kw) for a, b in pairwise(widths))

    def forward(self, features: dict[int, torch.Tensor], latent: torch.Tensor, finest: int | None = None
                ) -> tuple[dict[int, torch.Tensor], dict[int, torch.Tensor]]:
        """
        :param features: of the source, {r: [1 or N, C, r, r]}.
        :param latent: z + Q a, [N, style_dim].
        :param finest: stop at this scale, as some steps of training do; the animator's own by default.
        :return: displacement {r: [N, 2, r, r]} in -1..1 (x, y; 2 is the whole width) and mask {r: [N, 1, r, r]} in
            0..1 (1 keeps the warped source), both float32.
        """
        h = channels_last(self.constant.to(latent).expand(latent.shape[0], -1, -1, -1))
        return self._up(0, self.stem(h, latent), None, features, latent, finest or self.scales[-1])

    def _up(self, first: int, h, raw, features, latent, finest: int) -> tuple[dict[int, torch.Tensor], dict[int, torch.Tensor]]:
        """The levels from ``first`` on, the fine ones frame by frame where that is faster."""
        displacement, mask = {}, {}
        scales = [r for r in self.scales if r <= finest]
        for place in range(first, len(scales)):
            scale = scales[place]
            if outgrows_cache(h, self.widths[place], scale):
                frames = []
                for i in range(len(h)):
                    own = {r: maps if len(maps) == 1 else maps[i:i + 1] for r, maps in features.items()}
                    frames.append(self._up(place, h[i:i + 1], None if raw is None else raw[i:i + 1], own, latent[i:i + 1], finest))
                for r in scales[place:]:
                    displacement[r], mask[r] = (torch.cat([frame[part][r] for frame in frames]) for part in range(2))
                break
            h, raw = self.levels[place](h, latent, raw)
            displacement[scale], mask[scale] = torch.tanh(raw[:, :2]), torch.sigmoid(raw[:, 2:])
            if scale != finest:
                warped = warp(features[scale], displacement[scale], self.align_corners).to(h.dtype)
                h = torch.lerp(h, warped, mask[scale].to(h.dtype))
        return displacement, mask


class PictureLevel(torch.nn.Module):
    """One scale of the decoder: what the warped features add to the picture.

    LIA reads RGB straight from them (``blocks`` is 0); LIA-X first mixes in the coarser scale's features and refines.
    """

    def __init__(self, in_channels, out_channels, blocks: int, operations, dtype=None, device=None):
        super().__init__()
        kw = {"dtype": dtype, "device": device}
        self.bare = not blocks
        self.up = operations.Conv2d(in_channels, out_channels, 3, padding=1, **kw) if in_channels else None
        self.residuals = torch.nn.ModuleList(
            ResidualBlock(out_channels, operations, **kw) for _ in range(blocks))
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
            PictureLevel(a, b, n, operations, dtype=dtype, device=device) for a, b, n in zip(coarser, widths, blocks, strict=True))
        if self.composite:
            del self.levels[-1]

    def forward(self, features: dict[int, torch.Tensor], displacement: dict[int, torch.Tensor],
                mask: dict[int, torch.Tensor]) -> torch.Tensor:
        """:return: pictures [N, 3, S, S] float32, unbounded around -1..1: clamp before showing. S is the finest scale of the flow."""
        warped = rgb = None
        for scale, level in zip(self.scales[:len(displacement)], self.levels, strict=False):
            # LIA's RGB is linear in the warped features up to here, so its three channels are warped in their place.
            maps = level.rgb.colors(features[scale]) if level.bare else features[scale]
            visible = warp(maps, displacement[scale], self.align_corners)
            visible = visible * mask[scale].to(visible.dtype)
            if not level.bare:
                warped = level(visible, warped)
                visible = level.rgb.colors(warped)
            rgb = level.rgb(visible, rgb)
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

    def render(self, features: dict[int, torch.Tensor], latent: torch.Tensor) -> torch.Tensor:
        """Source features and latents [N, style_dim] -> pictures [N, 3, S, S], unbounded around -1..1."""
        return self.decoder(features, *self.flow_generator(features, latent))

    def encode_motion(self, pictures: torch.Tensor, batch: int = 16) -> torch.Tensor:
        """Pictures [N, 3, S, S] in -1..1 -> their motion codes [N, D], read ``batch`` at a time."""
        return torch.cat([encode_motion(self.encoder, self.motion_head, part) for part in pictures.split(batch)])
