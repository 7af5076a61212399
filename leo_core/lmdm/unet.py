"""LMDM's denoiser: a 1-D U-Net over time with temporal self-attention in both halves.

The structure is LEO's; widths, depth, heads and the rotary position of the attention are our choice. Layers come from
``operations`` (torch.nn, or ComfyUI's comfy.ops, which lets ComfyUI manage the memory). No buffers, no raw parameters.
"""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn


def time_embedding(t: torch.Tensor, width: int) -> torch.Tensor:
    """[B] noise levels 0 .. 1000 -> [B, width] sines and cosines of geometrically spaced frequencies (Ho et al.
    2020)."""
    half = width // 2
    frequencies = torch.exp(-math.log(10000.0) * torch.arange(half, device=t.device, dtype=torch.float32) / half)
    angles = t.float().unsqueeze(1) * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def rotary(x: torch.Tensor) -> torch.Tensor:
    """Turn pairs of channels of [B, heads, L, C] by angles that grow along L, so that attention sees distances in
    frames (Su et al. 2021)."""
    half = x.shape[-1] // 2
    frequencies = torch.exp(-math.log(1000.0) * torch.arange(half, device=x.device, dtype=torch.float32) / half)
    angles = torch.arange(x.shape[-2], device=x.device, dtype=torch.float32).unsqueeze(1) * frequencies
    cos, sin = angles.cos().to(x), angles.sin().to(x)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


class ResidualBlock(nn.Module):
    """Two normalized convolutions over time; the noise level scales and shifts what lies between them."""

    def __init__(self, in_channels: int, out_channels: int, time_width: int, operations, dtype=None, device=None):
        super().__init__()
        made = {"dtype": dtype, "device": device}
        self.norm1 = operations.GroupNorm(8, in_channels, **made)
        self.conv1 = operations.Conv1d(in_channels, out_channels, 3, padding=1, **made)
        self.time = operations.Linear(time_width, 2 * out_channels, **made)
        self.norm2 = operations.GroupNorm(8, out_channels, **made)
        self.conv2 = operations.Conv1d(out_channels, out_channels, 3, padding=1, **made)
        self.skip = operations.Conv1d(in_channels, out_channels, 1, **made) if in_channels != out_channels else None

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.time(time).unsqueeze(-1).chunk(2, dim=1)
        h = self.conv2(F.silu(self.norm2(h) * (1 + scale) + shift))
        return h + (x if self.skip is None else self.skip(x))


class TemporalAttention(nn.Module):
    """Every frame looks at every other frame of the window."""

    def __init__(self, channels: int, head_width: int, operations, dtype=None, device=None):
        super().__init__()
        self.head_width = math.gcd(channels, head_width)
        self.norm = operations.GroupNorm(8, channels, dtype=dtype, device=device)
        self.qkv = operations.Conv1d(channels, 3 * channels, 1, dtype=dtype, device=device)
        self.out = operations.Conv1d(channels, channels, 1, dtype=dtype, device=device)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = rearrange(self.qkv(self.norm(x)), "b (three h c) l -> three b h l c", three=3, c=self.head_width)
        h = F.scaled_dot_product_attention(rotary(q), rotary(k), v)
        return x + self.out(rearrange(h, "b h l c -> b (h c) l"))


class Stage(nn.Module):
    """Residual block, then temporal attention: one per level and half."""

    def __init__(
        self, in_channels: int, out_channels: int, time_width: int, head_width: int, operations, dtype=None, device=None
    ):
        super().__init__()
        self.block = ResidualBlock(in_channels, out_channels, time_width, operations, dtype, device)
        self.attention = TemporalAttention(out_channels, head_width, operations, dtype, device)

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        return self.attention(self.block(x, time))


class UNet(nn.Module):
    """[B, in_channels, L] and noise levels [B] -> [B, out_channels, L], any L.

    :param channels: width per level, finest first; each level halves the number of frames. Multiples of 8.
    :param head_width: channels per attention head, or the greatest divisor that the level shares with it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        channels: tuple[int, ...] = (64, 128, 256),
        head_width: int = 32,
        operations=nn,
        dtype=None,
        device=None,
    ):
        super().__init__()
        made = {"dtype": dtype, "device": device}
        self.time_width = 4 * channels[0]
        self.time1 = operations.Linear(channels[0], self.time_width, **made)
        self.time2 = operations.Linear(self.time_width, self.time_width, **made)
        stage = (self.time_width, head_width, operations, dtype, device)
        finer = list(zip(channels[:-1], channels[1:], strict=True))

        self.stem = operations.Conv1d(in_channels, channels[0], 3, padding=1, **made)
        self.down_stages = nn.ModuleList(Stage(width, width, *stage) for width in channels[:-1])
        self.downs = nn.ModuleList(
            operations.Conv1d(width, wider, 3, stride=2, padding=1, **made) for width, wider in finer
        )
        self.middle1 = Stage(channels[-1], channels[-1], *stage)
        self.middle2 = Stage(channels[-1], channels[-1], *stage)
        self.ups = nn.ModuleList(
            operations.Conv1d(wider, width, 3, padding=1, **made) for width, wider in reversed(finer)
        )
        self.up_stages = nn.ModuleList(Stage(2 * width, width, *stage) for width, _ in reversed(finer))
        self.norm = operations.GroupNorm(8, channels[0], **made)
        self.head = operations.Conv1d(channels[0], out_channels, 3, padding=1, **made)

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        length = x.shape[-1]
        x = F.pad(x, (0, -length % 2 ** len(self.downs)), mode="replicate")
        time = self.time1(time_embedding(t, self.time1.in_features).to(x))
        time = F.silu(self.time2(F.silu(time)))

        x = self.stem(x)
        skips = []
        for stage, down in zip(self.down_stages, self.downs, strict=True):
            x = stage(x, time)
            skips.append(x)
            x = down(x)
        x = self.middle2(self.middle1(x, time), time)
        for up, stage in zip(self.ups, self.up_stages, strict=True):
            x = up(x.repeat_interleave(2, dim=-1))
            x = stage(torch.cat([x, skips.pop()], dim=1), time)
        return self.head(F.silu(self.norm(x)))[..., :length]

    def initialize(self, generator: torch.Generator) -> "UNet":
        """Fresh weights from a private generator: Kaiming fans, the last layer of each block and the head at zero,
        so that every block starts as identity."""
        for name, module in self.named_modules():
            if not hasattr(module, "weight"):
                continue
            if module.weight.ndim == 1:
                nn.init.ones_(module.weight)
            elif name.endswith(("conv2", "attention.out", "head")):
                nn.init.zeros_(module.weight)
            else:
                nn.init.kaiming_uniform_(module.weight, a=math.sqrt(5), generator=generator)
            nn.init.zeros_(module.bias)
        return self
