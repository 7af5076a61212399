"""LIA as it is usually written down, the baseline that `tests/benchmarks/animator.py` compares with. Our own code
from the paper's description, on the weights of our animator; nothing here is tuned, and nothing here is slowed down.

One frame at a time; the equalized learning rate multiplied in at run time; one kernel per sample in a grouped
convolution; blur as zero insertion, padding and a 2-D kernel, on channels turned into samples; upsampling by
transposed convolution.
"""

import math

import torch
import torch.nn.functional as F

from leo_core.animator import Animator

FIR = torch.outer(torch.tensor([1.0, 3.0, 3.0, 1.0]), torch.tensor([1.0, 3.0, 3.0, 1.0])) / 64


def activate(x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return F.leaky_relu(x + bias[:, None, None], 0.2) * math.sqrt(2)


def fir(x: torch.Tensor, padding: tuple[int, int], up: int = 1, gain: float = 1.0) -> torch.Tensor:
    """Insert up - 1 zeros after every pixel, pad (before, after), blur."""
    count, channels, height, width = x.shape
    x = x.reshape(count * channels, 1, height, 1, width, 1)
    x = F.pad(x, (0, up - 1, 0, 0, 0, up - 1))
    x = x.reshape(count * channels, 1, height * up, width * up)
    x = F.conv2d(F.pad(x, padding * 2), (FIR * gain)[None, None])
    return x.reshape(count, channels, *x.shape[-2:])


class DirectLIA:
    """The networks of an `Animator` of family LIA, in float32 on the CPU, for one picture at a time."""

    def __init__(self, animator: Animator):
        self.config = animator.config
        # As training leaves them, up-convolutions [out, in, 3, 3]; `weight` multiplies the learning rate's factor in.
        self.stored = {}
        for name, value in animator.state_dict().items():
            value = value.transpose(0, 1).contiguous() if ".up.conv." in name else value.contiguous()
            self.stored[name] = value * math.sqrt(math.prod(value.shape[1:])) if name.endswith(".weight") else value

    def weight(self, name: str) -> torch.Tensor:
        value = self.stored[name + ".weight"]
        return value * (1 / math.sqrt(math.prod(value.shape[1:])))

    def linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(x, self.weight(name), self.stored[name + ".bias"])

    def encode(self, picture: torch.Tensor) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
        """[1, 3, S, S] -> appearance code [1, style_dim], features {r: [1, C, r, r]}."""
        h = activate(F.conv2d(picture, self.weight("encoder.stem")), self.stored["encoder.stem.bias"])
        features = {}
        for i, scale in enumerate(reversed(self.config.scales)):
            features[scale] = h
            h = self.down(h, f"encoder.blocks.{i}")
        return F.conv2d(h, self.weight("encoder.code")).flatten(1), features

    def down(self, x: torch.Tensor, name: str) -> torch.Tensor:
        h = activate(F.conv2d(x, self.weight(f"{name}.conv1"), padding=1), self.stored[f"{name}.conv1.bias"])
        h = activate(
            F.conv2d(fir(h, (2, 2)), self.weight(f"{name}.conv2"), stride=2), self.stored[f"{name}.conv2.bias"]
        )
        return (h + F.conv2d(fir(x, (1, 1)), self.weight(f"{name}.skip"), stride=2)) / math.sqrt(2)

    def motion(self, code: torch.Tensor) -> torch.Tensor:
        """Appearance code [1, style_dim] -> motion code [1, D]."""
        for i in range(self.config.head_depth):
            code = self.linear(code, f"motion_head.layers.{i}")
        return code

    def latent(self, code: torch.Tensor, motion: torch.Tensor) -> torch.Tensor:
        return code + motion @ self.stored["dictionary.basis"].T

    def modulated(
        self, x: torch.Tensor, latent: torch.Tensor, name: str, up: bool = False, demodulate: bool = True
    ) -> torch.Tensor:
        count, channels, height, width = x.shape
        kernels = self.weight(f"{name}.conv") * self.linear(latent, f"{name}.modulation")[:, None, :, None, None]
        if demodulate:
            kernels = kernels * torch.rsqrt(kernels.square().sum((2, 3, 4), keepdim=True) + 1e-8)
        side = kernels.shape[-1]
        x = x.reshape(1, count * channels, height, width)
        if up:
            kernels = kernels.transpose(1, 2).reshape(count * channels, -1, side, side)
            h = F.conv_transpose2d(x, kernels, stride=2, groups=count)
        else:
            h = F.conv2d(x, kernels.flatten(0, 1), padding=side // 2, groups=count)
        h = h.reshape(count, -1, *h.shape[-2:])
        return fir(h, (1, 1), gain=4) if up else h

    def styled(self, x: torch.Tensor, latent: torch.Tensor, name: str, up: bool = False) -> torch.Tensor:
        return activate(self.modulated(x, latent, name, up), self.stored[f"{name}.bias"])

    def warp(self, features: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
        """Sample where the identity grid plus tanh(flow) [1, 2, r, r] points."""
        axis = torch.linspace(-1, 1, flow.shape[-1])
        grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"))[None] + torch.tanh(flow)
        return F.grid_sample(
            features, grid.permute(0, 2, 3, 1), "bilinear", "zeros", align_corners=self.config.align_corners
        )

    def generate(self, features: dict[int, torch.Tensor], latent: torch.Tensor) -> torch.Tensor:
        """Features of the source and a latent [1, style_dim] -> picture [1, 3, S, S], unbounded around -1..1."""
        h = self.styled(self.stored["flow_generator.constant"], latent, "flow_generator.stem")
        raw = rgb = None
        for i, scale in enumerate(self.config.scales):
            level, picture = f"flow_generator.levels.{i}", f"decoder.levels.{i}.rgb"
            h = self.styled(h, latent, f"{level}.up", up=True)
            h = self.styled(h, latent, f"{level}.refine.0")
            head = (
                self.modulated(h, latent, f"{level}.head", demodulate=False)
                + self.stored[f"{level}.head.bias"][:, None, None]
            )
            raw = head if raw is None else head + fir(raw, (2, 1), up=2, gain=4)
            mask = torch.sigmoid(raw[:, 2:])
            warped = self.warp(features[scale], raw[:, :2]) * mask
            colors = activate(F.conv2d(warped, self.weight(f"{picture}.conv")), self.stored[f"{picture}.conv.bias"])
            colors = colors + self.stored[f"{picture}.bias"][:, None, None]
            rgb = colors if rgb is None else colors + fir(rgb, (2, 1), up=2, gain=4)
            h = warped + h * (1 - mask)
        return rgb
