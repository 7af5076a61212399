"""The linear motion condition."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from leo_core.animator.checkpoint import load_animator
from leo_core.lmdm.condition import CodeScale, denoiser_input, linear_motion_condition, to_residual

shapes = st.tuples(st.integers(1, 3), st.integers(2, 20), st.integers(1, 8), st.integers(0, 2**31))


def codes_of(shape) -> torch.Tensor:
    batch, length, directions, seed = shape
    return 4 * torch.rand(batch, length, directions, generator=torch.Generator().manual_seed(seed)) - 2


@given(shapes)
def test_splitting_and_conditioning_is_the_identity(shape):
    codes = codes_of(shape)
    first, residual = to_residual(codes)
    assert residual.shape[1] == codes.shape[1] - 1
    back = linear_motion_condition(residual, first)
    assert (back - codes).abs().max() <= 1e-6
    assert torch.equal(back[:, 0], codes[:, 0])


@given(shapes)
def test_no_residual_is_a_still(shape):
    first, residual = to_residual(codes_of(shape))
    still = linear_motion_condition(torch.zeros_like(residual), first)
    assert torch.equal(still, first.unsqueeze(1).expand_as(still))


def test_no_residual_renders_a_still_video(animator_file):
    animator, _ = load_animator(animator_file)
    picture = 2 * torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) - 1
    with torch.inference_mode():
        look, features = animator.encoder(picture)
        pose = animator.motion_head(look)

        def render(codes):
            latents = (look + animator.dictionary(code) for code in codes.split(1))
            return torch.cat(
                [animator.decoder(features, *animator.flow_generator(features, latent)) for latent in latents]
            )

        still = render(linear_motion_condition(torch.zeros(6, 4), pose[0]))
        moving = render(linear_motion_condition(torch.linspace(0, 1, 6).unsqueeze(1).expand(6, 4), pose[0]))
    assert torch.equal(still, still[:1].expand_as(still)) and torch.equal(still[0], moving[0])
    assert (moving[-1] - moving[0]).abs().max() > 0.01


@given(shapes)
def test_one_scale_keeps_the_condition_linear(shape):
    codes = codes_of(shape)
    scale = CodeScale(torch.full((codes.shape[2],), 0.3), torch.linspace(0.5, 2, codes.shape[2]))
    first, residual = to_residual(codes)
    conditioned = linear_motion_condition(scale.residual(residual), scale.codes(first))
    assert torch.allclose(conditioned, scale.codes(codes), atol=1e-5)


def test_the_denoiser_sees_clean_known_codes_and_noisy_absolute_ones():
    codes = codes_of((1, 6, 3, 0))
    noisy, guess = torch.randn(2, 1, 5, 3, generator=torch.Generator().manual_seed(1))
    is_known = torch.tensor([[True, True, False, False, False, True]])
    seen = denoiser_input(noisy, guess, codes, is_known)
    assert seen.shape == (1, 7, 6)
    seen, guessed, mask = seen.transpose(1, 2).split([3, 3, 1], dim=-1)
    assert torch.equal(mask[0, :, 0] > 0, is_known[0])
    for shown, residual in ((seen, noisy), (guessed, guess)):
        assert torch.equal(shown[is_known], codes[is_known])
        assert torch.equal(shown[:, 2:5], codes[:, :1] + residual[:, 1:4])


def test_the_ablation_sees_residuals_beside_the_start():
    codes, noisy = codes_of((2, 6, 3, 0)), torch.zeros(2, 5, 3)
    seen = denoiser_input(noisy, noisy, codes, torch.arange(6).expand(2, 6) < 1, lmc=False)
    assert seen.shape == (2, 10, 6)
    assert torch.equal(seen[:, :6], torch.zeros(2, 6, 6))
    assert torch.equal(seen[:, 6:9], codes[:, 0].unsqueeze(-1).expand(2, 3, 6))


def test_a_direction_that_never_moves_does_not_divide_by_zero():
    windows = codes_of((3, 10, 4, 2))
    windows[..., 2] = 0.7
    scale = CodeScale.measure(windows)
    assert torch.isfinite(scale.codes(windows)).all() and (scale.scale > 0).all()
    assert scale.codes(windows)[..., 2].abs().max() < 1e-3


def test_the_scale_is_the_size_of_the_movement_and_the_mean_that_of_the_codes():
    windows = torch.tensor([[[1.0, 0.0], [4.0, 0.0], [5.0, 10.0]], [[0.0, 2.0], [0.0, 2.0], [0.0, 2.0]]])
    scale = CodeScale.measure(windows)
    assert torch.allclose(scale.mean, torch.tensor([10 / 6, 16 / 6]))
    assert torch.allclose(scale.scale, torch.tensor([(9 + 16) / 4, 100 / 4]).sqrt())
    still = CodeScale.measure(torch.cat([windows, torch.ones(2, 3, 1)], dim=2))
    assert still.scale[2].item() == pytest.approx(0.01 * (2.5 + 5) / 3)
    assert CodeScale.measure(torch.ones(2, 3, 1)).scale.item() == pytest.approx(1e-6)
    moved = scale.to("cpu")
    assert torch.equal(moved.mean, scale.mean) and torch.equal(moved.scale, scale.scale)
