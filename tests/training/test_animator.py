"""Training an animator: targets, losses, resuming, growing, export. Tiny networks on pictures that slide."""

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from leo_core.animator import Direction, lia
from leo_core.animator.checkpoint import load_animator
from leo_core.training.augmentation import recolored
from leo_core.training.batches import DRIVINGS, sample_batch, sample_clip
from leo_core.training.data import Clip, before_backdrop, read_clip
from leo_core.training.humans.motion import CONTROLS, REACH
from leo_core.training.initialization import grown_state
from leo_core.training.losses import (
    Discriminator,
    discriminator_loss,
    generator_adversarial,
    open_backbone,
    perceptual_l1,
)
from leo_core.training.objective import TrainedAnimator, Weights, losses
from leo_core.training.pictures import to_pictures
from leo_core.training.reconstruction import held_out_score, rebuild, warp_by_known_flow
from leo_core.training.tracking import DETAIL, track
from leo_core.training.train_animator import SMALL_CHANNELS, add_commands, choose_precision
from leo_core.training.trainer import Trainer, read_checkpoint

ROOT = Path(__file__).resolve().parents[2]
HEAD, BODY = CONTROLS["head"], CONTROLS["body"]


def tiny(size: int = 16, directions: int = 12):
    widths = {4: 16, 8: 16, 16: 12, 32: 12, 64: 12}
    return lia(
        size,
        {r: c for r, c in widths.items() if r <= size},
        style_dim=16,
        directions=directions,
        head_depth=1,
        align_corners=True,
    )


def texture(size: int, seed: int = 0) -> np.ndarray:
    """Smooth colored noise over all of 0..255, [size, size, 3] uint8."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).random((size, size, 3)), (0, 0), 2.5)
    return (255 * (noise - noise.min()) / np.ptp(noise)).astype(np.uint8)


def sliding_clip(
    size: int = 16, frames: int = 5, velocity: tuple[int, int] = (1, -1), exact: bool = True, controls: bool = False
) -> Clip:
    """A window that moves by ``velocity`` (x, y) pixels per frame over a texture, with its flow to frame 0 if
    ``exact``."""
    canvas = texture(3 * size)
    shifts = np.arange(frames)[:, None] * np.array(velocity)
    pictures = np.stack([canvas[size + y : 2 * size + y, size + x : 2 * size + x] for x, y in shifts])
    x, y = shifts[:, 0, None, None], shifts[:, 1, None, None]
    rows, columns = np.mgrid[:size, :size]
    flow = np.broadcast_to((shifts * 2 / size)[:, None, None], (frames, size, size, 2)).astype(np.float16)
    visible = (columns + x >= 0) & (columns + x < size) & (rows + y >= 0) & (rows + y < size)
    known = np.linspace(-1, 1, frames * len(HEAD.names), dtype=np.float32).reshape(frames, -1) if controls else None
    return Clip("sliding", "sliding", pictures, flow if exact else None, visible if exact else None, known)


def look_up(source: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """source [N, 3, S, S] seen where the pixel centers plus flow [N, 2, S, S] point."""
    size = source.shape[-1]
    centers = (torch.arange(size) * 2 + 1) / size - 1
    grid = torch.stack(torch.meshgrid(centers, centers, indexing="xy"), -1) + flow.permute(0, 2, 3, 1)
    return F.grid_sample(source, grid, align_corners=False)


@pytest.mark.parametrize("exact", [True, False])
def test_flow_targets_survive_flips_zooms_and_recoloring(exact):
    clip = sliding_clip(64, velocity=(3, -2), exact=exact)
    if not exact:
        clip = track(
            [replace(clip, frames=np.stack([cv2.resize(frame, (DETAIL, DETAIL)) for frame in clip.frames]))], 64
        )[1]
    ours, still, mirrored = [], [], 0
    for seed in range(16):
        views, flow, weight, visible, known, *_ = sample_clip(clip, np.random.default_rng(seed), 1.0, 0.0, HEAD)
        source, driving = views[:1].expand(DRIVINGS, -1, -1, -1), views[1:]
        trusted = (weight > 0.99) & (visible > 0.99)
        assert bool(known[0]) == exact
        mirrored += int((flow[:, 0] * trusted[:, 0]).sum() * (flow[:, 1] * trusted[:, 0]).sum() > 0)
        for moved, errors in ((look_up(source, flow), ours), (source, still)):
            errors.append(((moved - driving).abs() * trusted).sum().item() / trusted.sum().item() / 3)
    assert 2 < mirrored < 14
    assert np.mean(ours) < 0.08 * np.mean(still)


def test_the_source_is_the_frame_that_flow_leads_to():
    clip = sliding_clip(64, velocity=(3, -2), exact=True)
    views, flow, weight, _, exact, *_ = sample_clip(clip, np.random.default_rng(0), 0.0, 0.0, HEAD)
    assert torch.allclose(views[0], to_pictures(clip.frames[clip.reference][None])[0], atol=1e-5)
    assert (exact > 0).all() and (weight.mean((1, 2, 3)) > 0.5).all()


def test_a_rendered_person_is_put_before_another_backdrop():
    """Where the person covers a pixel it stays, where not it shows the other backdrop, in every view the same one."""
    rng = np.random.default_rng(0)
    size = 16
    backdrop, other = rng.integers(0, 256, (2, size, size, 3), np.uint8)
    coverage = np.zeros((3, size, size), np.uint8)
    for t in range(3):
        coverage[t, 4:12, 3 + t : 8 + t] = 255
    person = rng.integers(0, 256, (size, size, 3), np.uint8)
    frames = np.where(coverage[..., None] > 0, person, backdrop)
    clip = replace(sliding_clip(size, 3), frames=frames, coverage=coverage, backdrop=backdrop)
    changed = 0
    for seed in range(40):
        shown, own = (
            sample_clip(clip, np.random.default_rng(seed), 1.0, 0.0, HEAD, [it])[0] for it in (other, backdrop)
        )
        changed += not torch.equal(shown, own)
    assert 18 < changed < 38
    for t in range(3):
        shown = before_backdrop(clip, np.array([t]), other)[0]
        np.testing.assert_array_equal(shown, np.where(coverage[t, ..., None] > 0, person, other))


def test_backdrops_take_every_color():
    """Official portraits mostly have blue backdrops; training must not."""
    blue = np.full((4, 4, 3), (40, 80, 160), np.uint8)
    seen = np.stack([recolored(blue, np.random.default_rng(seed)) for seed in range(60)])
    assert seen.min() >= 0 and seen.max() <= 255 and (seen == seen[:, :1, :1]).all()
    strongest = seen[:, 0, 0].argmax(1)
    assert set(strongest) == {0, 1, 2} and (strongest == 2).sum() < 40
    assert (seen.mean((1, 2, 3)) < 60).any() and (seen.mean((1, 2, 3)) > 150).any()


def test_paint_counts_more_where_the_source_shows_nothing():
    model = TrainedAnimator(tiny(), torch.Generator().manual_seed(0))
    batch = sample_batch([sliding_clip()], 1, np.random.default_rng(0), 0.0, 0.0)
    assert 0 < batch.visible.mean() < 1
    error = losses(model, batch, Weights())[0]["uncovered"]
    assert losses(model, batch, Weights(uncovered=6))[0]["uncovered"].item() == pytest.approx(2 * error.item())
    assert "uncovered" not in losses(model, replace(batch, visible=torch.ones_like(batch.visible)), Weights())[0]
    assert "uncovered" not in losses(model, replace(batch, exact=torch.zeros_like(batch.exact)), Weights())[0]


def test_known_flow_warps_the_first_frame_to_where_the_clip_goes():
    clip, times = sliding_clip(velocity=(1, -1)), np.array([1, 3])
    pictures, truth = warp_by_known_flow(clip, times)
    torch.testing.assert_close(truth, torch.from_numpy(clip.frames[times]).permute(0, 3, 1, 2) / 255)
    seen = torch.from_numpy(clip.visible[times])[:, None].expand_as(truth)
    torch.testing.assert_close(pictures[seen], truth[seen], atol=5e-3, rtol=0)  # flow is stored in half precision
    with pytest.raises(ValueError, match="sliding comes without flow"):
        warp_by_known_flow(replace(clip, flow=None), times)


def test_flow_matters_more_the_further_it_goes_and_in_pairs_that_hold_still():
    """Where half of a picture slides, the same error costs more there than where it stands still. Between pairs it is
    the other way round: one that hardly moves, as a face that acts, counts more than a head that turns."""
    model = TrainedAnimator(tiny(), torch.Generator().manual_seed(0))
    batch = sample_batch([sliding_clip()], 1, np.random.default_rng(0), 0.0, 0.0)
    scales, size = model.animator.config.scales, batch.flow.shape[-1]

    def cost(left: float, right: float, left_error: float, right_error: float) -> float:
        def halves(side: int, left: float, right: float) -> torch.Tensor:
            return torch.tensor([left, right]).repeat_interleave(side // 2).expand(side, side)

        flow = torch.zeros_like(batch.flow)
        flow[:, :, 0] = halves(size, left, right)
        shown = {
            r: F.pad(halves(r, left + left_error, right + right_error)[None], (0, 0, 0, 0, 0, 1)) * r / (r - 1)
            for r in scales
        }
        model.animator.flow_generator.forward = lambda features, latent, anchor, finest: (
            {r: maps.expand(len(latent), -1, -1, -1) for r, maps in shown.items()},
            {r: torch.ones(len(latent), 1, r, r) for r in scales},
        )
        known = replace(batch, flow=flow, weight=torch.ones_like(batch.weight))
        return losses(model, known, Weights())[0]["flow"].item()

    assert cost(0.2, 0, 0.05, 0) > 2 * cost(0.2, 0, 0, 0.05) > 0
    assert cost(0, 0, 0, 0.05) > 2 * cost(0.2, 0, 0, 0.05)


def test_places_of_joints_move_with_the_picture():
    """The hip stands on the one light pixel of a dark picture; flips and zooms take both along, and left becomes
    right."""
    size, pixel = 64, (40, 22)
    frames = np.zeros((2, size, size, 3), np.uint8)
    cv2.circle(frames[0], pixel, 2, (255, 255, 255), -1)
    frames[1] = frames[0]
    places = np.array(BODY.rest).reshape(-1, 2)
    places[0] = (np.array(pixel) * 2 + 1) / size - 1
    left = BODY.names.index("left hand across")
    places[left // 2, 0] = 0.5  # the right one stays at -0.27
    known = np.repeat(((places.flatten() - BODY.rest) / REACH)[None], 2, 0).astype(np.float32)
    clip = Clip(
        "body", "body", frames, np.zeros((2, size, size, 2), np.float16), np.ones((2, size, size), bool), known, "body"
    )
    flipped = set()
    for seed in range(8):
        views, *_, controls, _, _ = sample_clip(clip, np.random.default_rng(seed), 1.0, 0.0, BODY)
        seen = views[0].mean(0)
        seen = seen - seen.min()
        rows, columns = torch.meshgrid(*[(torch.arange(size) * 2 + 1) / size - 1] * 2, indexing="ij")
        center = torch.stack([(seen * columns).sum(), (seen * rows).sum()]) / seen.sum()
        found = controls[0] * REACH + torch.tensor(BODY.rest)
        torch.testing.assert_close(found[:2], center, atol=0.02, rtol=0)
        flipped.add(bool(found[0] < 0))
        assert (found[left] - found[0] > 0.45) == (
            found[0] < 0
        )  # in the mirror, what was the right hand is the left one
    assert flipped == {True, False}


def test_heads_and_bodies_do_not_mix():
    head = sliding_clip(controls=True)
    with pytest.raises(ValueError, match="Renders of heads and renders of bodies"):
        sample_batch([head, replace(head, framing="body")], 1, np.random.default_rng(0), 0.0, 0.0)


def test_what_the_zoom_cut_off_is_not_visible_in_the_source():
    clip = sliding_clip(32, velocity=(3, 0))
    for seed in range(8):
        views, flow, _, visible, *_ = sample_clip(clip, np.random.default_rng(seed), 1.0, 0.0, HEAD)
        seen = look_up(torch.ones(DRIVINGS, 1, 32, 32), flow)
        assert visible[seen < 0.4].sum() == 0


def test_without_augmentation_clips_are_shown_as_they_are():
    clip = sliding_clip()
    views, *_ = sample_clip(clip, np.random.default_rng(0), 0.0, 0.0, HEAD)
    shown = ((views + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    assert all(any((view == frame).all() for frame in clip.frames) for view in shown)


def small(size: int):
    """What ``train-animator --size`` makes."""
    return lia(
        size,
        {r: c for r, c in SMALL_CHANNELS.items() if r <= size},
        style_dim=128,
        directions=20,
        head_depth=1,
        align_corners=True,
    )


def test_an_untrained_animator_repeats_its_source():
    """Copying is not learned: every step goes into motion."""
    animator, _ = Trainer(Path(), small(64), Weights(), 0.01, 0).ema_animator()
    score = held_out_score(animator, [read_clip(ROOT / "samples" / "woman_talking.mp4", 64)])
    assert score["ratio"] < 1.2


@torch.no_grad()
def test_repainting_keeps_the_flow_and_copies_what_is_seen(tmp_path):
    file = ROOT / "models" / "leo-face-64.safetensors"
    shipped, _ = load_animator(file)
    shipped.decoder.levels[-1].rgb.conv.weight *= 0.8  # a softly painted one, however well the shipped one paints
    trainer = Trainer(tmp_path, small(64), Weights(), 0.01, 0)
    trainer.init_from(file, reset_decoder=True)
    repainted, _ = trainer.ema_animator()
    clip = read_clip(ROOT / "samples" / "man_talking.mp4", 64)
    copies = [rebuild(animator, clip.frames, np.array([0])) for animator in (shipped, repainted)]
    before, after = ((generated - truth).abs().mean().item() for generated, truth in copies)
    assert after < 0.03 and after < 0.7 * before
    code, features = shipped.encoder(copies[0][1] * 2 - 1)
    flows = [animator.flow_generator(features, code)[0][64] for animator in (shipped, repainted)]
    torch.testing.assert_close(*flows)


def test_one_clip_is_overfitted(request, tmp_path):
    """The learning path as a whole, on a bundled clip: frames rebuilt from the first one, L1 in 0..1. With --full at
    64 px."""
    size, steps = (64, 700) if request.config.getoption("--full") else (32, 480)
    clips = track([read_clip(ROOT / "samples" / "woman_talking.mp4", DETAIL)], size)
    trainer = Trainer(tmp_path, small(size), Weights(), 0.02, 0)
    for _ in range(steps):
        trainer.train_step(clips, 1, steps, augment=0.0)
    score = held_out_score(trainer.ema_animator()[0], clips[:1], frames=16)
    print(score)
    assert score["l1"] < 0.02 and score["ratio"] < 0.5


def test_forty_steps_on_one_clip_lower_the_losses(tmp_path):
    clips = [sliding_clip()]
    trainer = Trainer(tmp_path, tiny(), Weights(), 0.03, 0)
    batch = sample_batch(clips, 4, np.random.default_rng(99), 0.0, 0.0)

    def total() -> float:
        with torch.no_grad():
            return sum(losses(trainer.model, batch, trainer.weights)[0].values()).item()

    before = total()
    for _ in range(40):
        trainer.train_step(clips, 1, 1000, augment=0.0)
    assert total() < 0.6 * before


def test_a_loss_of_weight_zero_is_switched_off():
    model = TrainedAnimator(tiny(), torch.Generator().manual_seed(0))
    batch = sample_batch([sliding_clip(controls=True)], 1, np.random.default_rng(0), 0.0, 0.0)
    assert set(losses(model, batch, Weights())[0]) == {
        "pixels",
        "uncovered",
        "gradients",
        "warp",
        "flow",
        "mask",
        "controls",
    }
    assert set(losses(model, batch, Weights(uncovered=0, gradients=0, warp=0, flow=0, mask=0, controls=0))[0]) == {
        "pixels"
    }


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_resumed_run_is_the_unbroken_one_bit_for_bit(tmp_path):
    clips = [sliding_clip(controls=True), sliding_clip(velocity=(-1, 0), exact=False)]
    config = tiny()
    unbroken = Trainer(tmp_path, config, Weights(), 0.01, 3)
    for _ in range(6):
        unbroken.train_step(clips, 2, 6)

    first = Trainer(tmp_path, config, Weights(), 0.01, 3)
    for _ in range(3):
        first.train_step(clips, 2, 6)
    first.save()
    torch.manual_seed(12345)
    second = Trainer(tmp_path, config, Weights(), 0.01, 3)
    second.resume()
    assert second.step == 3 and second.controls
    for _ in range(3):
        second.train_step(clips, 2, 6)
    assert same(unbroken.model.state_dict(), second.model.state_dict())
    assert same(unbroken.ema, second.ema)


def test_a_run_with_a_discriminator_resumes_bit_for_bit_and_both_sides_learn(tmp_path):
    clips, weights = [sliding_clip()], Weights(ssim=0.5, adversarial=0.1)
    unbroken, first, second = (Trainer(tmp_path, tiny(), weights, 0.01, 3) for _ in range(3))
    start = {name: value.clone() for name, value in unbroken.discriminator.state_dict().items()}
    for _ in range(4):
        parts = unbroken.train_step(clips, 1, 4)
    assert {"ssim", "adversarial", "discriminator"} <= parts.keys()
    assert not same(start, unbroken.discriminator.state_dict())

    for _ in range(2):
        first.train_step(clips, 1, 4)
    first.save()
    second.resume()
    for _ in range(2):
        second.train_step(clips, 1, 4)
    assert same(unbroken.model.state_dict(), second.model.state_dict())
    assert same(unbroken.discriminator.state_dict(), second.discriminator.state_dict())


def test_the_adversarial_loss_is_what_fools_and_the_discriminators_what_tells_apart():
    discriminator = Discriminator(tiny(), torch.Generator().manual_seed(0))
    target, generated = (
        torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1,
        torch.zeros(8, 3, 16, 16),
    )
    optimizer = torch.optim.Adam(discriminator.parameters(), 2e-3)
    for _ in range(30):
        optimizer.zero_grad()
        discriminator_loss(discriminator, target, generated, penalize=False).backward()
        optimizer.step()
    assert discriminator(target).mean() > discriminator(generated).mean() + 1
    assert generator_adversarial(discriminator(target)) < generator_adversarial(discriminator(generated))
    with_penalty = discriminator_loss(discriminator, target, generated, penalize=True)
    assert with_penalty > discriminator_loss(discriminator, target, generated, penalize=False)


class Halves(torch.nn.Module):
    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        return [torch.nn.functional.avg_pool2d(pictures, 2), torch.nn.functional.avg_pool2d(pictures, 4)]


def test_the_perceptual_loss_takes_the_users_network_and_asks_for_it(tmp_path):
    torch.jit.script(Halves()).save(tmp_path / "halves.pt")
    backbone = open_backbone(tmp_path / "halves.pt", "cpu")
    a = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    assert perceptual_l1(backbone, a, a) == 0
    assert perceptual_l1(backbone, a + 0.5, a) == pytest.approx(1.0, rel=1e-5)  # both outputs differ by half
    arguments = [
        "train-animator",
        tmp_path / "run",
        "--data",
        frame_folder(tmp_path / "data"),
        "--size",
        16,
        "--batch",
        1,
        "--directions",
        4,
        "--steps",
        1,
        "--weights",
        '{"perceptual": 1}',
    ]
    with pytest.raises(ValueError, match="--backbone"):
        command(*arguments)
    command(*arguments, "--backbone", tmp_path / "halves.pt")


def test_half_precision_and_event_files(tmp_path):
    """In a process of its own: Accelerate keeps one precision a process."""
    run = tmp_path / "run"
    arguments = [
        sys.executable,
        "-m",
        "leo_core",
        "train-animator",
        run,
        "--data",
        frame_folder(tmp_path / "data"),
        "--size",
        "16",
        "--batch",
        "1",
        "--directions",
        "4",
        "--steps",
        "2",
        "--validate-every",
        "1",
        "--precision",
        "bf16",
        "--device",
        "cpu",
        "--tensorboard",
    ]
    subprocess.run(arguments, check=True, cwd=Path(__file__).parents[2])
    state = torch.load(run / "last.pt", weights_only=True)
    assert state["step"] == 2 and all(value.dtype == torch.float32 for value in state["model"].values())
    assert list(run.glob("events.out.tfevents.*"))


@pytest.mark.parametrize("native", [False, True])
def test_bfloat16_is_for_processors_that_have_it(native, monkeypatch, caplog):
    monkeypatch.setattr("leo_core.training.train_animator.fast_bfloat16", lambda: native)
    assert choose_precision("auto", "cpu") == ("bf16" if native else "no")
    assert choose_precision("no", "cpu") == "no" and not caplog.messages
    assert choose_precision("bf16", "cpu") == "bf16"
    assert bool(caplog.messages) is not native


def test_resuming_another_configuration_is_refused(tmp_path):
    Trainer(tmp_path, tiny(), Weights(), 0.01, 0).save()
    with pytest.raises(ValueError, match=r"size 16, not 32"):
        Trainer(tmp_path, tiny(32), Weights(), 0.01, 0).resume()
    with pytest.raises(ValueError, match=r"directions 12, not 11.*another run folder"):
        Trainer(tmp_path, tiny(directions=11), Weights(), 0.01, 0).resume()


@torch.no_grad()
def test_a_grown_animator_reads_and_moves_as_the_smaller_one():
    small, large, fresh = (
        TrainedAnimator(tiny(size), torch.Generator().manual_seed(seed)) for size, seed in ((32, 0), (64, 1), (64, 1))
    )
    large.load_state_dict(grown_state(small.state_dict(), large.state_dict()))
    picture = F.interpolate(
        torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(0)), 64, mode="bicubic"
    ).clamp(-1, 1)
    code, features = small.animator.encoder(F.avg_pool2d(picture, 2))

    def difference(other: TrainedAnimator) -> float:
        found = other.animator.encoder(picture)[1]
        return max(((found[r] - features[r]).norm() / features[r].norm()).item() for r in (8, 16, 32))

    assert difference(large) < 0.25
    assert difference(fresh) > 1
    # the same latent moves the same features alike at every old scale
    known = {**features, 64: large.animator.encoder(picture)[1][64]}
    flow, mask = small.animator.flow_generator(features, code)
    grown_flow, grown_mask = large.animator.flow_generator(known, code)
    for scale in (8, 16, 32):
        torch.testing.assert_close(grown_flow[scale], flow[scale])
        torch.testing.assert_close(grown_mask[scale], mask[scale])
    torch.testing.assert_close(large.latents(code, code[:, :12]), small.latents(code, code[:, :12]))


def test_a_run_begins_from_one_of_its_size_or_half_and_from_no_other(tmp_path):
    clip = sliding_clip(32, controls=True)
    small = Trainer(tmp_path, tiny(32), Weights(), 0.01, 0)
    small.train_step([clip], 1, 10)
    small.save()

    def begin(config, source=tmp_path) -> Trainer:
        trainer = Trainer(tmp_path / "grown", config, Weights(), 0.01, 0)
        trainer.init_from(source)
        return trainer

    grown = begin(tiny(64))
    assert grown.step == 0 and grown.controls
    assert torch.equal(grown.ema["dictionary"], small.ema["dictionary"])
    again = begin(tiny(32))
    assert again.step == 0 and all(
        torch.equal(value, small.ema[name]) for name, value in again.model.state_dict().items()
    )
    small.export(tmp_path / "small.safetensors", {})
    from_file = begin(tiny(64), tmp_path / "small.safetensors")
    assert from_file.controls == HEAD.names
    for name, value in from_file.model.named_parameters():
        if value.requires_grad:
            torch.testing.assert_close(value.detach(), grown.ema[name], atol=5e-3, rtol=2e-3)  # the file holds float16
    with pytest.raises(ValueError, match="size 32, not 16.*half of it"):
        begin(tiny(16))
    with pytest.raises(ValueError, match="directions 12, not 14"):
        begin(tiny(64, directions=14))
    with pytest.raises(ValueError, match="finest features"):
        begin(replace(tiny(64), channels={**tiny(64).channels, 64: 6}))
    with pytest.raises(ValueError, match=r"holds no last\.pt"):
        Trainer(tmp_path, tiny(64), Weights(), 0.01, 0).init_from(tmp_path / "absent")


def test_a_still_clip_has_a_score_but_no_ratio():
    animator, _ = Trainer(Path(), tiny(), Weights(), 0.01, 0).ema_animator()
    still = Clip("still", "still", np.repeat(sliding_clip().frames[:1], 3, 0))
    score = held_out_score(animator, [still])
    assert score["repeat"] == 0 and score["l1"] > 0 and score["ratio"] is None
    moving = held_out_score(animator, [sliding_clip()])
    assert moving["ratio"] == pytest.approx(moving["l1"] / moving["repeat"])
    assert held_out_score(animator, [still, sliding_clip()])["ratio"] == moving["ratio"]


@pytest.mark.parametrize("broken", ["pictures", "masks", "gradients"])
def test_a_diverged_run_stops_and_says_what_to_do(tmp_path, broken):
    trainer = Trainer(tmp_path, tiny(), Weights(), 0.01, 0)
    if broken == "gradients":
        trainer.model.dictionary.register_hook(lambda gradient: gradient * torch.nan)
    else:
        part = (
            trainer.model.animator.decoder.levels[0].rgb
            if broken == "pictures"
            else trainer.model.animator.flow_generator.levels[0].head
        )
        part.bias.data[2] = torch.nan
    before = trainer.model.state_dict()["dictionary"].clone()
    with pytest.raises(ValueError, match="lower --lr"):
        trainer.train_step([sliding_clip()], 1, 10)
    assert torch.equal(trainer.model.state_dict()["dictionary"], before)


def command(*arguments) -> None:
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers(required=True))
    options = parser.parse_args([str(argument) for argument in arguments])
    options.run(options)


def frame_folder(folder: Path) -> Path:
    (folder / "clip").mkdir(parents=True)
    for number, picture in enumerate(sliding_clip().frames):
        Image.fromarray(picture).save(folder / "clip" / f"{number}.png")
    return folder


def render_folder(folder: Path) -> Path:
    folder.mkdir()
    clip = sliding_clip(controls=True)
    np.savez(
        folder / "c.npz", frames=clip.frames, backward_flow=clip.flow, visible=clip.visible, controls=clip.controls
    )
    (folder / "manifest.json").write_text(json.dumps({"clips": [{"file": "c.npz", "identity": 7, "framing": "head"}]}))
    return folder


def test_train_resume_and_export_on_the_command_line(tmp_path):
    run = tmp_path / "run"
    arguments = [
        "train-animator",
        run,
        "--data",
        frame_folder(tmp_path / "data"),
        "--size",
        16,
        "--batch",
        1,
        "--directions",
        4,
        "--validate-every",
        2,
    ]
    command(*arguments, "--steps", 2)
    command(*arguments, "--steps", 3)
    assert torch.load(run / "last.pt", weights_only=True)["step"] == 3
    assert Image.open(run / "sheet.png").size == (8 * 16, 2 * 16)
    journal = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in journal if "validation" in entry] == [2]
    command("export-animator", run, tmp_path / "out.safetensors", "--note", "license=CC0", "data=a=b")
    _, info = load_animator(tmp_path / "out.safetensors")
    assert info.notes == {"license": "CC0", "data": "a=b", "steps": "3"}
    assert info.directions == {}  # nothing tied them to a meaning
    with pytest.raises(ValueError, match="directions 4, not 5"):
        command(*arguments, "--steps", 4, "--directions", 5)


def test_a_run_killed_at_a_random_moment_has_the_loss_curve_of_an_unbroken_one(tmp_path):
    data = frame_folder(tmp_path / "data")

    def start(run: Path) -> subprocess.Popen:
        arguments = [
            "--data",
            data,
            "--size",
            16,
            "--batch",
            1,
            "--steps",
            60,
            "--directions",
            4,
            "--log",
            1,
            "--validate-every",
            7,
            "--save-minutes",
            0,
        ]
        return subprocess.Popen(
            [sys.executable, "-m", "leo_core", "train-animator", run, *map(str, arguments)],
            cwd=ROOT,
            stderr=subprocess.DEVNULL,
        )

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert start(whole).wait() == 0
    process, journal = start(broken), broken / "log.jsonl"
    moment = random.SystemRandom().randrange(3, 40)
    while process.poll() is None and not (journal.is_file() and len(journal.read_text().splitlines()) >= moment):
        time.sleep(0.002)
    process.kill()
    assert process.wait() < 0, "it ended before it could be killed"
    for leftover in broken.glob(".last-*"):  # what was being written when it died
        leftover.unlink()
    assert start(broken).wait() == 0
    assert journal.read_text() == (whole / "log.jsonl").read_text(), f"killed after line {moment}"
    assert same(*(read_checkpoint(run)["average"] for run in (whole, broken)))


def test_a_full_disk_leaves_the_last_checkpoint_and_is_named(tmp_path):
    trainer = Trainer(tmp_path, tiny(), Weights(), 0.01, 0)
    trainer.save()
    trainer.train_step([sliding_clip()], 1, 10)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limit[1]))  # files end there, as where the disk does
    try:
        with pytest.raises(OSError, match=r"last\.pt could not be written.*disk full"):
            trainer.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert read_checkpoint(tmp_path)["step"] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_a_run_that_keeps_the_codes_trains_the_rest_and_is_exported(tmp_path):
    first, run, data = tmp_path / "first", tmp_path / "run", render_folder(tmp_path / "renders")
    arguments = ["--data", data, "--size", 16, "--batch", 1, "--steps", 2, "--directions", 10]
    command("train-animator", first, *arguments)
    command("train-animator", run, *arguments, "--init-from", first, "--keep-codes")
    for folder in (first, run):
        command("export-animator", folder, folder / "a.safetensors")
    (before, old), (after, new) = (load_animator(folder / "a.safetensors") for folder in (first, run))
    assert old.id == new.id and old.directions == new.directions  # priors and saved motions stay valid
    assert not torch.equal(before.decoder.levels[0].rgb.conv.weight, after.decoder.levels[0].rgb.conv.weight)
    with pytest.raises(ValueError, match="begun with another choice of --keep-codes"):
        command("train-animator", run, *arguments)

    chosen = tmp_path / "chosen.safetensors"
    Trainer(first, tiny(), Weights(), 0.01, 0).export(chosen, {}, {3: Direction("wink", -1.0, 2.0)})
    command("export-animator", run, run / "c.safetensors", "--directions-of", chosen)
    assert load_animator(run / "c.safetensors")[1].directions == {3: Direction("wink", -1.0, 2.0)}

    # the exported file is as good a beginning as the run
    command("train-animator", tmp_path / "on", *arguments, "--init-from", first / "a.safetensors", "--keep-codes")
    command("export-animator", tmp_path / "on", tmp_path / "b.safetensors")
    _, on = load_animator(tmp_path / "b.safetensors")
    assert on.id == old.id and on.directions == old.directions
    with pytest.raises(ValueError, match="directions 10, not 11"):
        command("train-animator", tmp_path / "other", *arguments[:-1], 11, "--init-from", first / "a.safetensors")


def test_a_run_that_keeps_the_flow_trains_the_decoder_alone(tmp_path):
    trainer = Trainer(tmp_path, tiny(), Weights(), 0.01, 0, keep_flow=True)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train_step([sliding_clip()], 1, 10)
    changed = {name for name, value in trainer.model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith("animator.decoder.") for name in changed)


def test_a_run_is_exported_with_the_flow_that_it_began_from(tmp_path):
    first, run, data = tmp_path / "first", tmp_path / "run", render_folder(tmp_path / "renders")
    arguments = ["--data", data, "--size", 16, "--batch", 1, "--steps", 2, "--directions", 10]
    command("train-animator", first, *arguments)
    command("train-animator", run, *arguments, "--init-from", first)
    for folder, file, *options in ((first, "first"), (run, "run"), (run, "mixed", "--flow-of", first)):
        command("export-animator", folder, tmp_path / f"{file}.safetensors", *options)
    first, run, mixed = (load_animator(tmp_path / f"{name}.safetensors")[0] for name in ("first", "run", "mixed"))

    def same_weights(a, b) -> bool:
        return same(a.state_dict(), b.state_dict())

    for part in ("flow_generator", "dictionary"):
        assert same_weights(getattr(mixed, part), getattr(first, part))
        assert not same_weights(getattr(mixed, part), getattr(run, part))
    assert same_weights(mixed.decoder, run.decoder) and not same_weights(mixed.decoder, first.decoder)
    assert same_weights(mixed.encoder, run.encoder)
    with pytest.raises(ValueError, match="Name the animator that this run began from"):
        command("train-animator", tmp_path / "wide", *arguments[:-1], 11)
        command("export-animator", tmp_path / "run", tmp_path / "no.safetensors", "--flow-of", tmp_path / "wide")


def test_names_are_exported_where_controls_were_supervised(tmp_path):
    run, data = tmp_path / "run", render_folder(tmp_path / "renders")
    arguments = ["train-animator", run, "--data", data, "--size", 16, "--batch", 1, "--steps", 1]
    with pytest.raises(ValueError, match="--directions 9 is too few for the 10 controls"):
        command(*arguments, "--directions", 9)
    command(*arguments, "--directions", 9, "--weights", '{"controls": 0}')
    command("export-animator", run, tmp_path / "plain.safetensors")
    assert load_animator(tmp_path / "plain.safetensors")[1].directions == {}

    run = arguments[1] = tmp_path / "tied"
    command(*arguments, "--directions", 10)
    command("export-animator", run, tmp_path / "named.safetensors")
    assert [d.name for d in load_animator(tmp_path / "named.safetensors")[1].directions.values()] == list(HEAD.names)


def test_without_the_controls_loss_the_generator_is_given_the_encoders_codes(tmp_path):
    """Known controls in place of codes that nothing teaches the encoder would train a generator for codes it never
    gets."""
    clips = [sliding_clip(controls=True)]
    blind = [replace(clips[0], controls=None)]
    with_controls, without = (Trainer(tmp_path, tiny(), Weights(controls=0), 0.01, 0) for _ in range(2))
    assert with_controls.train_step(clips, 2, 10) == without.train_step(blind, 2, 10)
    assert not with_controls.controls


def test_an_exported_animator_makes_the_same_pictures(tmp_path):
    clip = sliding_clip()
    trainer = Trainer(tmp_path, tiny(), Weights(), 0.03, 0)
    for _ in range(5):
        trainer.train_step([clip], 1, 100)
    trainer.export(tmp_path / "a.safetensors", {})
    loaded, info = load_animator(tmp_path / "a.safetensors")
    assert loaded.config == trainer.config and info.notes == {"steps": "5"}
    with torch.no_grad():
        times = np.arange(1, 5)
        ours, theirs = (rebuild(animator, clip.frames, times)[0] for animator in (trainer.ema_animator()[0], loaded))
    assert ours.std() > 0.05
    torch.testing.assert_close(theirs, ours, atol=5e-3, rtol=0)


@pytest.mark.parametrize("weights", ['{"pixel": 1}', "flow=1", '{"flow": "much"}', '{"flow": -1}', "[1]"])
def test_weights_that_are_none_are_refused_with_what_there_is(tmp_path, weights):
    with pytest.raises(ValueError, match="pixels, gradients, warp, flow, mask, controls"):
        command("train-animator", tmp_path / "run", "--data", tmp_path, "--size", 16, "--weights", weights)


@pytest.mark.parametrize("note", ["CC0", "=CC0"])
def test_notes_without_a_key_are_refused(tmp_path, note):
    with pytest.raises(ValueError, match="KEY=TEXT"):
        command("export-animator", tmp_path, tmp_path / "out.safetensors", "--note", note)


def test_exporting_a_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"holds no last\.pt"):
        command("export-animator", tmp_path, tmp_path / "out.safetensors")


def test_holding_everybody_out_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Every clip is held out"):
        command(
            "train-animator",
            tmp_path / "run",
            "--data",
            frame_folder(tmp_path / "data"),
            "--size",
            16,
            "--hold-out",
            "clip",
        )
