"""Layers shared by LIA and LIA-X: FIR resampling, residual blocks, modulated convolutions, warping.

The arithmetic is that of the papers and of the released weights (docs/paper.md); how it is computed is our choice.
Weights arrive with the equalized-learning-rate factor already multiplied in (`leo_core.animator.checkpoint`), so
every layer here is a plain convolution or linear layer of the injected `operations` (torch.nn, or comfy.ops inside
ComfyUI). Raw parameters are cast where they are used, because ComfyUI moves only leaf modules when a model does not
fit.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from kornia.geometry.transform import remap

# A batch whose maps are larger than this runs frame by frame on a CPU: they would leave its cache, and what is freed of
# that size the C library keeps in pieces, so that the process grows (our choice).
_CACHE_BYTES = 4 << 20


# From this many channels on, sampling all channels of a pixel together wins on a CPU.
_WIDE = 16


def fast_bfloat16() -> bool:
    """Whether this machine's CPU multiplies bfloat16 natively, about twice as fast as float32. Others emulate it,
    slowly.

    False with a torch that does not tell (before 2.10).
    """
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def activate(x: torch.Tensor) -> torch.Tensor:
    """Leaky ReLU 0.2, times sqrt(2) to keep the variance. Overwrites x, of which no layer's gradient needs the
    value."""
    h = F.leaky_relu(x, 0.2, inplace=True)
    return h * math.sqrt(2) if h.requires_grad else h.mul_(math.sqrt(2))


def _fir_kernel(x: torch.Tensor, total: float) -> torch.Tensor:
    """outer([1, 3, 3, 1]) that sums to ``total``, one for each channel of x: [C, 1, 4, 4]. Made on the device,
    because a copy to it would wait for all its work."""
    place = torch.arange(4, device=x.device, dtype=x.dtype)
    taps = (1 + place * (3 - place)) * (math.sqrt(total) / 8)
    return torch.outer(taps, taps).expand(x.shape[1], 1, 4, 4)


def fir_blur(
    x: torch.Tensor, padding: int, gain: float = 1.0, stride: int = 1, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """Blur [N, C, H, W] with outer([1, 3, 3, 1]) / 64 * gain after zero padding, keep every ``stride``-th pixel, add
    a bias.

    One pass of sixteen taps: two of four make half the operations but go through memory twice, which costs more.
    """
    return F.conv2d(x, _fir_kernel(x, gain), bias, stride=stride, padding=padding, groups=x.shape[1])


def fir_upsample(x: torch.Tensor) -> torch.Tensor:
    """Double [N, C, H, W] by zero insertion and FIR blur (times 4), written as one transposed convolution. Few
    channels on a CPU are doubled by two matrix products instead, in a sixth of the time."""
    if x.is_cpu and torch.is_autocast_enabled("cpu"):
        # oneDNN has no fast kernel for this in bfloat16: float32 takes a sixth of its time.
        with torch.autocast("cpu", enabled=False):
            return fir_upsample(x.float()).to(x.dtype)
    if x.is_cpu and x.shape[1] < _WIDE:
        down, across = (_doubling(x, side) for side in x.shape[2:])
        return down @ (x @ across.T)
    return F.conv_transpose2d(x, _fir_kernel(x, 4.0), stride=2, padding=1, groups=x.shape[1])


def _doubling(x: torch.Tensor, side: int) -> torch.Tensor:
    """Matrix [2 * side, side] of `fir_upsample` along one axis: every new pixel lies a quarter of a pixel from an old
    one."""
    old, new = (torch.arange(n, device=x.device, dtype=x.dtype) for n in (side, 2 * side))
    return (1 - (new[:, None] / 2 - 0.25 - old).abs()).clamp_(min=0)


def outgrows_cache(x: torch.Tensor, channels: int, side: int) -> bool:
    """Whether maps [N, channels, side, side] of the N frames of x are better made one by one."""
    # Training keeps every map for its gradients anyway, and many small operations cost it a quarter of its time.
    return (
        x.is_cpu
        and len(x) > 1
        and len(x) * channels * side**2 * x.itemsize > _CACHE_BYTES
        and not torch.is_grad_enabled()
    )


def frame_by_frame(
    block: Callable[..., torch.Tensor | tuple[torch.Tensor, ...]],
    channels: int,
    side: int,
    x: torch.Tensor,
    *others: torch.Tensor | None,
):
    """What block makes of batches, at once, or frame by frame where its maps [N, channels, side, side] outgrow a
    CPU's cache.

    :param block: maps the batches to a tensor or a tuple of tensors, which is returned.
    :param x: the first batch, of N frames.
    :param others: the other batches have N frames, one that serves all, or are None.
    """
    if not outgrows_cache(x, channels, side):
        return block(x, *others)
    frames = [
        block(*(rows if rows is None or len(rows) == 1 else rows[i : i + 1] for rows in (x, *others)))
        for i in range(len(x))
    ]
    parts = zip(*(frame if isinstance(frame, tuple) else (frame,) for frame in frames), strict=True)
    whole = tuple(torch.cat(part) for part in parts)
    return whole if isinstance(frames[0], tuple) else whole[0]


def channels_last(x: torch.Tensor) -> torch.Tensor:
    """x [N, C, H, W] in the layout in which convolutions run fastest; all that is made of it keeps to it."""
    return x.contiguous(memory_format=torch.channels_last) if x.device.type in ("cpu", "cuda") else x


def pointwise(kernels: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """1x1 convolution to few channels by kernels of each sample: [1 or N, out, C] and [N, C, H, W] -> [N, out, H,
    W]."""
    if torch.is_grad_enabled():
        # Pixel by pixel, so that the gradient comes back channels-last as x is: layouts that mix cost a third of a
        # training step.
        return (x.movedim(1, -1).flatten(1, 2) @ kernels.mT).mT.unflatten(2, x.shape[2:])
    return (kernels @ x.flatten(2)).unflatten(2, x.shape[2:])


def warp(source: torch.Tensor, displacement: torch.Tensor, align_corners: bool) -> torch.Tensor:
    """Sample source [N or 1, C, H, W] where the identity grid plus displacement [N, 2, h, w] points; zero outside.

    The grid is linspace(-1, 1) per axis in both families; LIA samples it with align_corners=False (a half-pixel shift
    its weights were trained with). Computed in float32: half precision loses sub-pixel accuracy.

    :return: [N, C, h, w] in the dtype of source.
    """
    count, _, height, width = displacement.shape
    x = torch.linspace(-1, 1, width, device=displacement.device) + displacement[:, 0].float()
    y = torch.linspace(-1, 1, height, device=displacement.device).unsqueeze(-1) + displacement[:, 1].float()
    learns = torch.is_grad_enabled() and (source.requires_grad or displacement.requires_grad)
    if source.is_cpu and source.shape[1] >= _WIDE and not learns:
        return _sample_wide(source.float(), x, y, align_corners).to(source.dtype)
    pictures = source.float().expand(count, -1, -1, -1)
    return remap(pictures, x, y, "bilinear", "zeros", align_corners, normalized_coordinates=True).to(source.dtype)


def _sample_wide(source: torch.Tensor, x: torch.Tensor, y: torch.Tensor, align_corners: bool) -> torch.Tensor:
    """`remap` on a CPU for maps of many channels: each pixel is a weighted sum of four rows of a table [pixels,
    channels].

    Half the time of sampling channel by channel, and channels-last like the convolutions around it.
    """
    count, channels, height, width = source.shape

    def neighbors(place: torch.Tensor, side: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Of places in -1..1 along a side: both neighboring pixels [..., 2], and their shares, 0 outside."""
        place = (place + 1) * (side - 1) / 2 if align_corners else ((place + 1) * side - 1) / 2
        before = place.nan_to_num(-2).floor()
        pixels = torch.stack([before, before + 1], -1)
        shares = (1 - (place.unsqueeze(-1) - pixels).abs()) * ((pixels >= 0) & (pixels < side))
        return pixels.clamp_(0, side - 1).long(), shares

    (columns, across), (rows, down) = neighbors(x, width), neighbors(y, height)
    rows = rows * width + (torch.arange(count) * height * width).view(-1, 1, 1, 1)
    places = (rows.unsqueeze(-1) + columns.unsqueeze(-2)).view(-1, 4)
    shares = (down.unsqueeze(-1) * across.unsqueeze(-2)).view(-1, 4)
    table = source.permute(0, 2, 3, 1).reshape(-1, channels)
    sampled = F.embedding_bag(places, table, mode="sum", per_sample_weights=shares)
    return sampled.unflatten(0, x.shape).permute(0, 3, 1, 2)


class DownBlock(torch.nn.Module):
    """Residual block that halves [N, in, 2r, 2r] -> [N, out, r, r]: 3x3, then blur and 3x3 of stride 2, over
    sqrt(2)."""

    def __init__(self, in_channels, out_channels, widen_first, operations, dtype=None, device=None):
        super().__init__()
        kw = {"dtype": dtype, "device": device}
        middle = out_channels if widen_first else in_channels
        self.conv1 = operations.Conv2d(in_channels, middle, 3, padding=1, **kw)
        self.conv2 = operations.Conv2d(middle, out_channels, 3, stride=2, **kw)
        self.skip = operations.Conv2d(in_channels, out_channels, 1, bias=False, **kw)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # The factors sqrt(2) of the activations and 1 / sqrt(2) of the sum are the blurs' gains; the skip's convolution
        # sees one pixel in four, so only those are blurred.
        h = F.leaky_relu(self.conv1(x), 0.2, inplace=True)
        h = F.leaky_relu(self.conv2(fir_blur(h, 2, gain=math.sqrt(2))), 0.2, inplace=True)
        return self.skip(fir_blur(x, 1, gain=math.sqrt(0.5), stride=2)) + h


class ResidualBlock(torch.nn.Module):
    """Two activated 3x3 convolutions beside the identity, over sqrt(2); [N, C, r, r] stays in shape (LIA-X)."""

    def __init__(self, channels, operations, dtype=None, device=None):
        super().__init__()
        self.conv1 = operations.Conv2d(channels, channels, 3, padding=1, dtype=dtype, device=device)
        self.conv2 = operations.Conv2d(channels, channels, 3, padding=1, dtype=dtype, device=device)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (activate(self.conv2(activate(self.conv1(x)))) + x) / math.sqrt(2)


class StyledConv(torch.nn.Module):
    """3x3 convolution whose input channels are scaled per sample by a latent (StyleGAN2), demodulated; bias,
    activation.

    ``up`` doubles the size: transposed convolution, then FIR blur. One function, computed in two ways: a batch
    scales its input and its output and runs as one ordinary convolution; one sample whose map is larger than the
    kernel scales the kernel.
    """

    def __init__(self, in_channels, out_channels, style_dim, operations, *, up=False, dtype=None, device=None):
        super().__init__()
        kw = {"dtype": dtype, "device": device}
        self.up = up
        self.modulation = operations.Linear(style_dim, in_channels, **kw)
        if up:
            self.conv = operations.ConvTranspose2d(in_channels, out_channels, 3, stride=2, bias=False, **kw)
        else:
            self.conv = operations.Conv2d(in_channels, out_channels, 3, padding=1, bias=False, **kw)
        self.bias = torch.nn.Parameter(torch.zeros(out_channels, **kw))

    def forward(self, x: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
        style = self.modulation(latent)
        bias = self.bias.to(x) * math.sqrt(2)
        # Off the CPU the weights may lie elsewhere, and their module knows how to fetch them.
        one = x.shape[0] == 1 and x.is_cpu and x.numel() > self.conv.weight.numel()
        h = self._with_scaled_kernel(x, style[0], bias) if one else self._with_scaled_maps(x, style, bias)
        return F.leaky_relu(h, 0.2, inplace=True)

    def _with_scaled_kernel(self, x: torch.Tensor, style: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        inputs, outputs = ((-1, 1, 1, 1), (1, -1, 1, 1)) if self.up else ((1, -1, 1, 1), (-1, 1, 1, 1))
        kernel = self.conv.weight.float() * style.float().view(inputs)
        energy = kernel.square().sum((0 if self.up else 1, 2, 3))
        kernel = (kernel * (math.sqrt(2) * torch.rsqrt(energy + 1e-8)).view(outputs)).to(x.dtype)
        if self.up:
            return fir_blur(F.conv_transpose2d(x, kernel, stride=2), 1, gain=4.0, bias=bias)
        return F.conv2d(x, kernel, bias, padding=1)

    def _with_scaled_maps(self, x: torch.Tensor, style: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        # Demodulation cancels the size of the style. Dividing by its peak first keeps half precision in range, and
        # float32 keeps the squares of the weights from underflowing.
        peak = style.abs().amax(1, keepdim=True).clamp_min(1e-4)
        h = self.conv(x * (style / peak)[:, :, None, None])
        if self.up:
            h = fir_blur(h, 1)
        # row by row: copies of the whole kernel are as large as the maps
        energy = sum(row.float().square().sum(2) for row in self.conv.weight.to(x.device).unbind(2))
        energy = style.float().square() @ (energy if self.up else energy.T)
        scale = torch.rsqrt(energy + 1e-8) * peak.float() * (math.sqrt(2) * (4 if self.up else 1))
        # In the convolution's precision: under autocast a bias of float32 would make float32 maps, to be rounded again.
        return torch.addcmul(bias.to(h.dtype)[:, None, None], h, scale.to(h.dtype)[:, :, None, None])


class StyledResidualBlock(torch.nn.Module):
    """x -> s + gamma * styled(GroupNorm(s)) with s = styled(x); [N, C, r, r] stays in shape (LIA-X)."""

    def __init__(self, channels, style_dim, operations, dtype=None, device=None):
        super().__init__()
        kw = {"dtype": dtype, "device": device}
        self.conv1 = StyledConv(channels, channels, style_dim, operations, **kw)
        self.norm = operations.GroupNorm(32, channels, **kw)
        self.conv2 = StyledConv(channels, channels, style_dim, operations, **kw)
        self.gamma = torch.nn.Parameter(torch.zeros(channels, dtype=dtype, device=device))

    def forward(self, x: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
        h = self.conv1(x, latent)
        return h + self.gamma.to(x)[:, None, None] * self.conv2(self.norm(h), latent)


class FlowHead(torch.nn.Module):
    """Modulated 1x1 convolution to raw (x, y, mask) in float32, added to the upsampled raw output of the coarser
    scale."""

    def __init__(self, in_channels, style_dim, operations, dtype=None, device=None):
        super().__init__()
        kw = {"dtype": dtype, "device": device}
        self.modulation = operations.Linear(style_dim, in_channels, **kw)
        self.conv = operations.Conv2d(in_channels, 3, 1, bias=False, **kw)
        self.bias = torch.nn.Parameter(torch.zeros(3, **kw))

    def forward(self, x: torch.Tensor, latent: torch.Tensor, coarser: torch.Tensor | None) -> torch.Tensor:
        # Three outputs per sample: a kernel for each is small, scaled maps are not.
        kernels = self.conv.weight.to(x).flatten(1) * self.modulation(latent)[:, None]
        raw = pointwise(kernels, x).float() + self.bias.to(x.device, torch.float32)[:, None, None]
        return raw if coarser is None else raw + fir_upsample(coarser)


class RGBHead(torch.nn.Module):
    """Activated 1x1 convolution to RGB with a second bias, added to the upsampled picture of the coarser scale."""

    def __init__(self, in_channels, operations, dtype=None, device=None):
        super().__init__()
        self.conv = operations.Conv2d(in_channels, 3, 1, dtype=dtype, device=device)
        self.bias = torch.nn.Parameter(torch.zeros(3, dtype=dtype, device=device))

    def colors(self, x: torch.Tensor) -> torch.Tensor:
        """The convolution without its bias, [N, C, r, r] -> [N, 3, r, r] float32: it may change places with warp and
        mask."""
        return pointwise(self.conv.weight.to(x).flatten(1)[None], x).float()

    def forward(self, colors: torch.Tensor, coarser: torch.Tensor | None) -> torch.Tensor:
        bias, second = (b.to(colors)[:, None, None] for b in (self.conv.bias, self.bias))
        rgb = activate(colors + bias) + second
        return rgb if coarser is None else rgb + fir_upsample(coarser)
