"""The denoiser."""

import pytest
import torch

from leo_core.lmdm.unet import ResidualBlock, TemporalAttention, UNet, rotary, time_embedding


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


def test_noise_levels_become_waves_of_ten_thousand_lengths():
    embedded = time_embedding(torch.tensor([0, 10, 1000]), 8)
    frequencies = 10000.0 ** (-torch.arange(4) / 4)
    angles = torch.tensor([[0.0], [10.0], [1000.0]]) * frequencies
    assert torch.allclose(embedded, torch.cat([angles.cos(), angles.sin()], 1), atol=1e-3)


def test_turned_channels_tell_how_far_apart_two_frames_are_and_nothing_else():
    query, key = torch.randn(2, 8, generator=torch.Generator().manual_seed(0)).expand(50, 2, 8).transpose(0, 1)
    turned = [rotary(x[None, None])[0, 0] for x in (query, key)]
    alike = turned[0] @ turned[1].T
    assert torch.allclose(turned[0].norm(dim=1), query.norm(dim=1), atol=1e-5)
    for apart in (-20, 0, 3):
        assert torch.allclose(alike.diagonal(apart), alike.diagonal(apart)[:1], atol=1e-3)
    assert (alike.diagonal(3)[0] - alike.diagonal(0)[0]).abs() > 0.1 and torch.equal(turned[0][0], query[0])
    angles = 1000.0 ** (-torch.arange(4) / 4) * 7
    turns = torch.complex(query[7, :4], query[7, 4:]) * torch.polar(torch.ones(4), angles)
    assert torch.allclose(turned[0][7], torch.cat([turns.real, turns.imag]), atol=1e-4)


@torch.no_grad()
def test_a_fresh_denoiser_says_nothing_and_its_blocks_hand_on_what_they_get():
    unet = UNet(7, 6, (16, 32), head_width=16, device="meta").to_empty(device="cpu")
    assert unet.initialize(torch.Generator().manual_seed(0)) is unet
    x = torch.randn(2, 7, 20, generator=torch.Generator().manual_seed(1))
    assert (unet(x, torch.tensor([3, 900])) == 0).all()
    wide = torch.randn(2, 32, 20, generator=torch.Generator().manual_seed(1))
    assert torch.equal(unet.middle1(wide, torch.ones(2, 64)), wide)
    for layer in (unet.stem, unet.time1, unet.middle1.block.conv1):
        bound = 1 / layer.weight[0].numel() ** 0.5
        assert layer.weight.abs().max() <= bound and layer.weight.std() > 0.5 * bound and (layer.bias == 0).all()
    assert (unet.norm.weight == 1).all() and (unet.norm.bias == 0).all()


@torch.no_grad()
def test_attention_has_heads_of_the_width_that_the_level_shares_with_it():
    for channels, asked, width in ((32, 16, 16), (24, 16, 8), (48, 32, 16)):
        assert TemporalAttention(channels, asked, torch.nn).head_width == width


@torch.no_grad()
def test_a_block_is_two_convolutions_that_the_noise_level_scales_and_shifts():
    block = ResidualBlock(8, 16, 4, torch.nn)
    x, time = (torch.randn(shape, generator=torch.Generator().manual_seed(2)) for shape in ((3, 8, 10), (3, 4)))
    silu, scale, shift = torch.nn.functional.silu, *block.time(time)[..., None].split(16, dim=1)
    expected = block.conv2(silu(block.norm2(block.conv1(silu(block.norm1(x)))) * (1 + scale) + shift)) + block.skip(x)
    assert torch.allclose(block(x, time), expected, atol=1e-6)
    assert ResidualBlock(16, 16, 4, torch.nn).skip is None


def test_the_layers_are_made_as_asked():
    unet = UNet(7, 6, (16, 32, 48), head_width=16, dtype=torch.float64, device="meta")
    assert {(p.dtype, p.device.type) for p in unet.parameters()} == {(torch.float64, "meta")}
    assert [tuple(layer.weight.shape) for layer in (unet.stem, unet.head, *unet.downs, *unet.ups)] == [
        (16, 7, 3),
        (6, 16, 3),
        (32, 16, 3),
        (48, 32, 3),
        (32, 48, 3),
        (16, 32, 3),
    ]
    assert {layer.stride for layer in unet.downs} == {(2,)} and unet.time_width == 64
