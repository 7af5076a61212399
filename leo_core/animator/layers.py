"""Layers shared by LIA and LIA-X: FIR resampling, residual blocks, modulated convolutions, warping.

Sources: leo_spec "Image animator in numbers" for the arithmetic (paper); how it is computed is our choice. Weights
arrive with the equalised-learning-rate factor already multiplied in (`leo_core.checkpoints`), so every layer here is a
plain convolution or linear layer of the injected `operations` (torch.nn, or comfy.ops inside ComfyUI). Raw parameters
are cast where they are used, because ComfyUI moves only leaf modules when a model does not fit.
"""
import math

import torch
import torch.nn.functional as F
from kornia.geometry.transform import remap

FIR_TAPS = (1.0, 3.0, 3.0, 1.0)


def activate(x: torch.Tensor) -> torch.Tensor:
    """Leaky ReLU 0.2, times sqrt(2) to keep the variance."""
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


def fir_blur(x: torch.Tensor, padding: tuple[int, int], gain: float = 1.0) -> torch.Tensor:
    """Blur [N, C, H, W] with outer([1, 3, 3, 1]) / 64 * gain, after zero padding (before, after) on both axes.

    Separable: two passes of four taps cost half of one pass of sixteen.
    """
    channels = x.shape[1]
    taps = x.new_tensor(FIR_TAPS) * (math.sqrt(gain) / sum(FIR_TAPS))
    x = F.pad(x, padding * 2)
    x = F.conv2d(x, taps.view(1, 1, 1, 4).expand(channels, 1, 1, 4), groups=channels)
    return F.conv2d(x, taps.view(1, 1, 4, 1).expand(channels, 1, 4, 1), groups=channels)


def fir_upsample(x: torch.Tensor) -> torch.Tensor:
    """Double [N, C, H, W] by zero insertion and FIR blur (times 4), written as one transposed convolution."""
    channels = x.shape[1]
    taps = x.new_tensor(FIR_TAPS) * (2 / sum(FIR_TAPS))
    kernel = torch.outer(taps, taps).expand(channels, 1, 4, 4)
    return F.conv_transpose2d(x, kernel, stride=2, padding=1, groups=channels)


def warp(source: torch.Tensor, displacement: torch.Tensor, align_corners: bool) -> torch.Tensor:
    """Sample source [N or 1, C, H, W] where the identity grid plus displacement [N, 2, h, w] points; zero outside.

    The grid is linspace(-1, 1) per axis in both families; LIA samples it with align_corners=False (a half-pixel shift
    its weights were trained with). Computed in float32: half precision loses sub-pixel accuracy.

    :return: [N, C, h, w] in the dtype of source.
    """
    count, _, height, width = displacement.shape
    x = torch.linspace(-1, 1, width, device=displacement.device) + displacement[:, 0].float()
    y = torch.linspace(-1, 1, height, device=displacement.device).unsqueeze(-1) + displacement[:, 1].float()
    pictures = source.float().expand(count, -1, -1, -1)
    return remap(pictures, x, y, "bilinear", "zeros", align_corners, normalized_coordinates=True).to(source.dtype)


class DownBlock(torch.nn.Module):
    """Residual block that halves [N, in, 2r, 2r] -> [N, out, r, r]: 3x3, then blur and 3x3 of stride 2, over sqrt(2)."""

    def __init__(self, in_channels, out_channels, widen_first, operations, dtype=None, device=None):
        super().__init__()
        kw = {"dtype": dtype, "device": device}
        middle = out_channels if widen_first else in_channels
        self.conv1 = operations.Conv2d(in_channels, middle, 3, padding=1, **kw)
        self.conv2 = operations.Conv2d(middle, out_channels, 3, stride=2, **kw)
        self.skip = operations.Conv2d(in_channels, out_channels, 1, stride=2, bias=False, **kw)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = activate(self.conv1(x))
        h = activate(self.conv2(fir_blur(h, (2, 2))))
        return (h + self.skip(fir_blur(x, (1, 1)))) / math.sqrt(2)


class ResidualBlock(torch.nn.Module):
    """Two activated 3x3 convolutions beside the identity, over sqrt(2); [N, C, r, r] stays in shape (LIA-X)."""

    def __init__(self, channels, operations, dtype=None, device=None):
        super().__init__()
        self.conv1 = operations.Conv2d(channels, channels, 3, padding=1, dtype=dtype, device=device)
        self.conv2 = operations.Conv2d(channels, channels, 3, padding=1, dtype=dtype, device=device)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (activate(self.conv2(activate(self.conv1(x)))) + x) / math.sqrt(2)


class ModulatedConv(torch.nn.Module):
    """Convolution whose input channels are scaled per sample by a latent (StyleGAN2), then demodulated.

    Scaling the input and rescaling the output is the same function as building one kernel per sample, and lets the
    whole batch run as one ordinary convolution. ``up`` doubles the size: transposed convolution, then FIR blur.
    """

    def __init__(self, in_channels, out_channels, kernel, style_dim, operations, *, up=False, demodulate=True,
                 dtype=None, device=None):
        super().__init__()
        kw = {"dtype": dtype, "device": device}
        self.up, self.demodulate = up, demodulate
        self.modulation = operations.Linear(style_dim, in_channels, **kw)
        if up:
            self.conv = operations.ConvTranspose2d(in_channels, out_channels, kernel, stride=2, bias=False, **kw)
        else:
            self.conv = operations.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False, **kw)

    def forward(self, x: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
        style = self.modulation(latent)
        if not self.demodulate:
            return self.conv(x * style[:, :, None, None])
        # Demodulation cancels the size of the style. Dividing by its peak first keeps half precision in range, and
        # float32 keeps the squares of the weights from underflowing.
        peak = style.abs().amax(1, keepdim=True).clamp_min(1e-4)
        h = self.conv(x * (style / peak)[:, :, None, None])
        energy = self.conv.weight.to(x.device, torch.float32).square().sum((2, 3))
        energy = style.float().square() @ (energy if self.up else energy.T)
        h = h * (torch.rsqrt(energy + 1e-8) * peak.float()).to(h.dtype)[:, :, None, None]
        return fir_blur(h, (1, 1), gain=4.0) if self.up else h


class StyledConv(ModulatedConv):
    """Modulated 3x3 convolution, bias, activation."""

    def __init__(self, in_channels, out_channels, style_dim, operations, *, up=False, dtype=None, device=None):
        super().__init__(in_channels, out_channels, 3, style_dim, operations, up=up, dtype=dtype, device=device)
        self.bias = torch.nn.Parameter(torch.zeros(out_channels, dtype=dtype, device=device))

    def forward(self, x: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
        return activate(super().forward(x, latent) + self.bias.to(x)[:, None, None])


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


class FlowHead(ModulatedConv):
    """Modulated 1x1 convolution to raw (x, y, mask), added to the upsampled raw output of the coarser scale."""

    def __init__(self, in_channels, style_dim, operations, dtype=None, device=None):
        super().__init__(in_channels, 3, 1, style_dim, operations, demodulate=False, dtype=dtype, device=device)
        self.bias = torch.nn.Parameter(torch.zeros(3, dtype=dtype, device=device))

    def forward(self, x: torch.Tensor, latent: torch.Tensor, coarser: torch.Tensor | None) -> torch.Tensor:
        raw = super().forward(x, latent) + self.bias.to(x)[:, None, None]
        return raw if coarser is None else raw + fir_upsample(coarser)


class RGBHead(torch.nn.Module):
    """Activated 1x1 convolution to RGB with a second bias, added to the upsampled picture of the coarser scale."""

    def __init__(self, in_channels, operations, dtype=None, device=None):
        super().__init__()
        self.conv = operations.Conv2d(in_channels, 3, 1, dtype=dtype, device=device)
        self.bias = torch.nn.Parameter(torch.zeros(3, dtype=dtype, device=device))

    def forward(self, x: torch.Tensor, coarser: torch.Tensor | None) -> torch.Tensor:
        rgb = activate(self.conv(x)) + self.bias.to(x)[:, None, None]
        return rgb if coarser is None else rgb + fir_upsample(coarser)
