"""The denoiser."""

import pytest
import torch

from leo_core.lmdm.unet import UNet


def fresh(in_channels=7, out_channels=6, channels=(16, 32, 48), seed=0):
    unet = UNet(in_channels, out_channels, channels, head_width=16, device="meta").to_empty(device="cpu")
    unet.initialize(torch.Generator().manual_seed(seed))
    for parameter in unet.parameters():
        if not parameter.any():  # what training would have filled
            torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(1))
    return unet.eval()


@pytest.mark.parametrize("length", [1, 2, 7, 24, 64, 129])
@pytest.mark.parametrize("directions", [1, 20, 40])
def test_any_length_and_any_number_of_directions(length, directions):
    x = torch.randn(2, directions + 1, length, generator=torch.Generator().manual_seed(2))
    out = fresh(directions + 1, directions)(x, torch.tensor([1, 900]))
    assert out.shape == (2, directions, length)
    assert torch.isfinite(out).all()


@torch.no_grad()
def test_every_frame_sees_every_other_and_the_noise_level():
    unet = fresh()
    x = torch.randn(1, 7, 64, generator=torch.Generator().manual_seed(2))
    changed = x.clone()
    changed[..., 0] += 1
    out = unet(x, torch.tensor([500]))
    assert (unet(changed, torch.tensor([500])) - out).abs().amax(1).min() > 0
    assert (unet(x, torch.tensor([10])) - out).abs().max() > 1e-3


@torch.no_grad()
def test_motions_of_a_batch_do_not_touch_each_other():
    unet = fresh()
    x = torch.randn(3, 7, 20, generator=torch.Generator().manual_seed(2))
    t = torch.tensor([3, 500, 900])
    alone = torch.cat([unet(x[i : i + 1], t[i : i + 1]) for i in range(3)])
    assert torch.allclose(unet(x, t), alone, atol=1e-5)


def test_fresh_weights_come_from_the_given_generator_alone():
    state = torch.random.get_rng_state()
    first, second = fresh(seed=4), fresh(seed=4)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
