"""What holds for an animator of any weights."""

import importlib.util
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from leo_core.animator import Animator, AnimatorConfig, layers, lia, liax, orthonormal_basis
from leo_core.animator.checkpoint import load_animator
from leo_core.animator.layers import StyledConv, fir_upsample, warp
from leo_core.identity import AnimatorId
from leo_core.motion import MotionSequence, load_motion, transfer
from leo_core.video import read_video


def load_benchmark(name: str):
    """A file of tests/benchmarks as a module."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent.parent / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def small_animator(config: AnimatorConfig | None = None, seed: int = 0) -> Animator:
    """A tiny animator with weights of the size training gives them."""
    animator = (
        Animator(config or lia(32, {4: 16, 8: 16, 16: 8, 32: 8}, style_dim=16, directions=4))
        .eval()
        .requires_grad_(False)
    )
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in animator.named_parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 16
        parameter.data = torch.randn(parameter.shape, generator=generator) / fan_in**0.5
        if name.endswith("modulation.bias"):
            parameter.data += 1
    animator.dictionary.basis.data = orthonormal_basis(animator.dictionary.basis)
    return animator


FAMILIES = {
    "LIA": lia(32, {4: 16, 8: 16, 16: 8, 32: 8}, style_dim=16, directions=4),
    "LIA-X": AnimatorConfig("LIA-X", 32, 32, 6, {4: 32, 8: 32, 16: 32, 32: 32}, 1, True, True, 2, 2),
}


@pytest.fixture(params=FAMILIES)
def animator(request):
    return small_animator(FAMILIES[request.param])


@pytest.fixture
def pictures():
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1


@torch.inference_mode()
def test_start_frame_reproduces_the_reconstruction(animator, pictures):
    """Relative motion whose driving frame is its start frame is the source's own reconstruction, bit for bit."""
    code, features = animator.encoder(pictures[:1])
    me = AnimatorId("test", "0")
    pose, driving = (
        MotionSequence(animator.motion_head(z), Fraction(25), me) for z in (code, animator.encoder(pictures[1:])[0])
    )
    motion = transfer(driving, pose, "relative", 0)
    own = animator.render(features, code + animator.dictionary(pose.codes))
    assert torch.equal(own, animator.render(features, code + animator.dictionary(motion.codes[:1])))
    assert not torch.equal(own, animator.render(features, code + animator.dictionary(motion.codes[1:])))


@torch.inference_mode()
def test_batch_size_does_not_change_frames(animator, pictures):
    code, features = animator.encoder(pictures[:1])
    latent = code + animator.dictionary(animator.motion_head(animator.encoder(pictures)[0]))
    together = animator.render(features, latent)
    one_by_one = torch.cat([animator.render(features, row[None]) for row in latent])
    torch.testing.assert_close(together, one_by_one, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_half_precision_flows_change_nothing_visible(animator, pictures):
    code, features = animator.encoder(pictures[:1])
    displacement, mask = animator.flow_generator(features, code + animator.dictionary(animator.motion_head(code)))
    exact = animator.decoder(features, displacement, mask).clamp(-1, 1)
    rounded = animator.decoder(
        features, {r: d.half() for r, d in displacement.items()}, {r: m.half() for r, m in mask.items()}
    ).clamp(-1, 1)
    assert ((exact - rounded) / 2).abs().mean() < 1 / 255


@torch.inference_mode()
def test_source_is_not_changed(animator, pictures):
    """Values on wires are shared between nodes: rendering must leave the source's features as they were."""
    code, features = animator.encoder(pictures[:1])
    before = {scale: maps.clone() for scale, maps in features.items()}
    animator.render(features, code)
    assert all(torch.equal(before[scale], maps) for scale, maps in features.items())


def test_dictionary_keeps_lengths():
    """Q is orthonormal: a code moves the appearance code by exactly its own length."""
    animator = small_animator()
    codes = torch.randn(5, 4, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(animator.dictionary(codes).norm(dim=1), codes.norm(dim=1))


def test_identity_warp():
    """With align_corners=True no displacement is the identity; LIA's convention shifts by up to half a pixel."""
    picture = torch.rand(1, 2, 9, 9, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(warp(picture, torch.zeros(1, 2, 9, 9), True), picture)
    assert not torch.allclose(warp(picture, torch.zeros(1, 2, 9, 9), False), picture, atol=1e-2)


@pytest.mark.parametrize("channels", [2, 20], ids=["few channels", "many channels"])
def test_fir_upsample_is_zero_insertion_and_blur(channels):
    picture = torch.rand(1, channels, 5, 7, generator=torch.Generator().manual_seed(4))
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    kernel = (torch.outer(taps, taps) / 16).expand(channels, 1, 4, 4)
    inserted = torch.zeros(1, channels, 10, 14)
    inserted[..., ::2, ::2] = picture
    expected = torch.nn.functional.conv2d(torch.nn.functional.pad(inserted, (2, 1, 2, 1)), kernel, groups=channels)
    torch.testing.assert_close(fir_upsample(picture), expected)


@pytest.mark.parametrize("size", [64, 128, 256, 512])
def test_published_sizes(size):
    animator = Animator(lia(size), device="meta")
    _, features = animator.encoder(torch.empty(1, 3, size, size, device="meta"))
    assert sorted(features) == [r for r in (8, 16, 32, 64, 128, 256, 512) if r <= size]


def test_published_parameter_counts():
    """45.1 M parameters of LIA 256 and 910.6 M of LIA-X, noise gains, blur kernels and LIA's unused RGB head apart."""

    def millions(config):
        return sum(p.numel() for p in Animator(config, device="meta").parameters()) / 1e6

    assert millions(lia(256)) == pytest.approx(45.1, abs=0.1)
    assert millions(liax()) == pytest.approx(910.6, abs=0.1)


@pytest.mark.parametrize(
    "change", [{"size": 100}, {"size": 8}, {"directions": 0}, {"style_dim": 10**9}, {"channels": {4: 8}}]
)
def test_impossible_configurations_are_refused(change):
    with pytest.raises(ValueError, match="animator's"):
        AnimatorConfig.from_dict({**lia(64).to_dict(), **change})


@torch.inference_mode()
def test_the_direct_formulation_is_the_same_function(pictures):
    """The benchmark's baseline, written down without any of our shortcuts, on its own: borders and all."""
    animator = small_animator()
    direct = load_benchmark("direct").DirectLIA(animator)
    code, features = animator.encoder(pictures[:1])
    motion = animator.motion_head(animator.encoder(pictures)[0])
    own_code, own_features = direct.encode(pictures[:1])
    torch.testing.assert_close(code, own_code, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(features, own_features, rtol=1e-4, atol=1e-5)
    for i in range(len(pictures)):
        own_motion = direct.motion(direct.encode(pictures[i : i + 1])[0])
        torch.testing.assert_close(motion[i : i + 1], own_motion, rtol=1e-4, atol=1e-5)
        frame = animator.render(features, code + animator.dictionary(motion[i : i + 1]))
        torch.testing.assert_close(
            frame, direct.generate(own_features, direct.latent(own_code, own_motion)), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("up", [False, True])
def test_scaling_kernel_or_maps_is_one_function(up):
    """A sample by itself, whose map is larger than the kernel, takes the one way, two of them the other: values and
    gradients."""
    torch.manual_seed(5)
    # double: sums of float32 round differently from one CPU to the next, by more than the tolerance
    conv = StyledConv(4, 6, 8, torch.nn, up=up).double()
    maps, latent = torch.randn(1, 4, 12, 12).double(), torch.randn(1, 8).double()

    def run(count: int) -> list[torch.Tensor]:
        x, style = (value.expand(count, *value.shape[1:]).clone().requires_grad_() for value in (maps, latent))
        made = conv(x, style)
        gradients = torch.autograd.grad(made.square().sum() / count, [x, style, *conv.parameters()])
        return [made[:1], *(gradient[:1] * count for gradient in gradients[:2]), *gradients[2:]]

    for one, two in zip(run(1), run(2), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


def test_frame_by_frame_is_one_function(animator, pictures, monkeypatch):
    """What outgrows the cache is computed frame by frame, with the same values, and the same gradients for training."""
    animator.requires_grad_(True)

    def run() -> list[torch.Tensor]:
        code, features = animator.encoder(pictures)
        frames = animator.render(
            features, code + animator.dictionary(animator.motion_head(animator.encoder.codes(pictures)))
        )
        return [frames, *torch.autograd.grad(frames.square().mean(), list(animator.parameters()))]

    together = run()
    monkeypatch.setattr(layers, "_CACHE_BYTES", 0)
    for one, other in zip(together, run(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("sources", [1, 3])
def test_wide_maps_are_sampled_as_narrow_ones(align_corners, sources):
    """Many channels take another way through the CPU: the same values, inside, across the border and far outside."""
    generator = torch.Generator().manual_seed(6)
    maps = torch.randn(sources, layers._WIDE, 7, 9, generator=generator)
    displacement = torch.randn(3, 2, 5, 6, generator=generator)
    displacement[:, :, 0, 0] = 50
    narrow = torch.cat([warp(part, displacement, align_corners) for part in maps.split(1, dim=1)], 1)
    torch.testing.assert_close(warp(maps, displacement, align_corners), narrow, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_bfloat16_flows_change_nothing_visible():
    """What the nodes take on CPUs that are made for it: over 40 dB against float32 with trained weights."""
    root = Path(__file__).resolve().parents[2]
    exact, fast = (
        load_animator(root / "models" / "leo-face-64.safetensors", flow_dtype=dtype)[0]
        for dtype in (None, torch.bfloat16)
    )
    photo = torch.from_numpy(next(iter(read_video(str(root / "samples" / "woman.png"))))).movedim(-1, 0)[None]
    code, features = exact.encoder(
        torch.nn.functional.interpolate(photo.float() / 127.5 - 1, (64, 64), mode="bilinear", antialias=True)
    )
    codes = load_motion(root / "models" / "leo-face-64" / "man talking.safetensors")[0].codes[::10]
    latents = code + exact.dictionary(codes - codes[:1] + exact.motion_head(code))
    rounded = fast.flow_generator({scale: maps.bfloat16() for scale, maps in features.items()}, latents.bfloat16())
    error = (exact.decoder(features, *rounded).clamp(-1, 1) - exact.render(features, latents).clamp(-1, 1)) / 2
    assert error.square().mean((1, 2, 3)).max() < 1e-4
