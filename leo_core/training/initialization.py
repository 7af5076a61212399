"""How the weights of an animator begin: untrained, near the identity; restarted as a copy; or grown from a smaller
model."""

import math

import torch
import torch.nn.functional as F

from ..animator import Animator
from ..animator.checkpoint import is_transposed, learning_rate_scale
from ..animator.layers import activate


def stored_shape(name: str, value: torch.Tensor) -> tuple[int, ...]:
    return tuple(value.transpose(0, 1).shape if is_transposed(name) else value.shape)


def initial_value(name: str, parameter: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The published initialization (normal weights, style biases 1, other biases 0), with flow heads near zero and
    masks open so that the untrained network is near the identity (our choice)."""
    if name.endswith("modulation.bias") or name.endswith("norm.weight"):
        return torch.ones_like(parameter)
    if name.endswith("head.bias"):
        return torch.tensor([0.0, 0.0, 1.0])
    if name.endswith(".carry"):
        return torch.full_like(parameter, 0.3)
    if name.endswith(".bias") or name.endswith("gamma"):
        return torch.zeros_like(parameter)
    value = torch.randn(parameter.shape, generator=generator) * learning_rate_scale(name, stored_shape(name, parameter))
    return value * 0.01 if name.endswith("head.conv.weight") else value


@torch.no_grad()
def start_as_copy(animator: Animator) -> None:
    """Let the finest scale hand the warped picture through and the coarser ones add little, so that the untrained
    network repeats its source and every step goes into motion (our choice). Six channels of the stem carry +-RGB."""
    stem, finest = animator.encoder.stem, animator.decoder.levels[-1].rgb
    for level in animator.decoder.levels:
        level.rgb.conv.weight *= 0.02
    stem.weight[:6] = (
        torch.eye(3).repeat_interleave(2, 0)[:, :, None, None]
        * torch.tensor([1.0, -1.0]).repeat(3)[:, None, None, None]
    )
    stem.weight += 0.0  # no -0.0, which averaging turns into 0.0: the fingerprint would tell them apart
    # activate(c) - activate(-c) = 1.2 sqrt(2) c, and the head's own activation is linear above 0: there 2 is added and
    # taken away
    finest.conv.weight.zero_()
    finest.conv.weight[:, :6] = (
        torch.eye(3).repeat_interleave(2, 1)[..., None, None]
        * torch.tensor([1.0, -1.0]).repeat(3)[None, :, None, None]
        / 2.4
    )
    finest.conv.bias.fill_(math.sqrt(2))
    finest.bias.fill_(-2.0)


@torch.no_grad()
def start_reading(animator: Animator, dictionary: torch.Tensor) -> None:
    """Let the motion head hand the reader's codes through, and the dictionary use numbers of z that nothing else
    fills yet (our choice): the generator then sees appearance, the source's pose and the wanted pose side by side."""
    count, read = animator.config.directions, animator.config.appearance_dim
    head = animator.motion_head.layers[-1].weight
    head.zero_()
    head[:, read:] = torch.eye(count)
    free = slice(read - count, read)
    dictionary.zero_()
    dictionary[free] = torch.eye(count)
    animator.encoder.code.weight[free] = 0


@torch.no_grad()
def restart_as_copy(animator: Animator) -> None:
    """The same for a trained animator, whatever its stem and masks have become: its flow is kept, its painting
    begins again (our choice). On softly painted pictures a short training then gets further than going on does."""
    chance = torch.Generator().manual_seed(0)
    colors = torch.rand(4096, 3, 1, 1, generator=chance) * 2 - 1
    features = activate(animator.encoder.stem(colors)).flatten(1)
    *weight, bias = torch.linalg.lstsq(F.pad(features, (0, 1), value=1.0), colors.flatten(1)).solution
    pictures = F.interpolate(torch.rand(8, 3, 4, 4, generator=chance) * 2 - 1, animator.config.size, mode="bilinear")
    code, features = animator.encoder(pictures)
    _, mask = animator.flow_generator(
        features, code + animator.dictionary(animator.motion_head(code)), animator.anchor(features, code)
    )
    for level in animator.decoder.levels[:-1]:
        for parameter in level.rgb.parameters():
            parameter *= 0.02
    finest = animator.decoder.levels[-1].rgb
    finest.conv.weight.copy_(torch.stack(weight, 1)[..., None, None] / mask[animator.config.size].mean() / math.sqrt(2))
    finest.conv.bias.copy_((bias + 2) / math.sqrt(2))
    finest.bias.fill_(-2.0)


def grown_state(small: dict[str, torch.Tensor], large: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Start a model of twice the size from a trained one (progressive growing, our choice).

    The old stem reads the larger picture, a new first encoder block passes its halved output on unchanged, the coarser
    scales keep their weights and the new finest scale starts like an untrained one.

    :param small: state of the trained `TrainedAnimator`; large: initial state of the one to fill.
    """
    state = dict(large)
    for name, value in small.items():
        head, separator, index = name.partition("encoder.blocks.")
        if separator:
            block, _, rest = index.partition(".")
            name = f"{head}{separator}{int(block) + 1}.{rest}"
        state[name] = value
    first = "animator.encoder.blocks.0"
    skip = state[f"{first}.skip.weight"]
    # the block divides its sum by sqrt(2)
    state[f"{first}.skip.weight"] = torch.eye(skip.shape[0])[:, :, None, None] * math.sqrt(2)
    state[f"{first}.conv2.weight"] = torch.zeros_like(state[f"{first}.conv2.weight"])
    return state
