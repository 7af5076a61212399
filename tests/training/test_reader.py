"""The motion reader and the animator that it belongs to: what it learns, how controls follow resampled pictures,
files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from leo_core.__main__ import main
from leo_core.animator import Animator, lia
from leo_core.animator.checkpoint import load_animator
from leo_core.animator.reader import MotionReader
from leo_core.face import CODE_UNIT, MIRROR, NAMES, SIGN
from leo_core.training.augmentation import moved
from leo_core.training.batches import sample_batch
from leo_core.training.data import Clip
from leo_core.training.evaluate_controls import agreement
from leo_core.training.objective import TrainedAnimator, Weights, losses
from leo_core.training.reader import MOST_SCALED, WIDTHS, initialize, reading, recalibrate
from leo_core.training.reconstruction import known_codes, rebuild, transfer
from leo_core.training.train_reader import ReaderTrainer, read_reader
from leo_core.training.trainer import Trainer

ROOT = Path(__file__).resolve().parents[2]
AT = {name: k for k, name in enumerate(NAMES)}


def bright_clips(count: int = 8, size: int = 32) -> list[Clip]:
    """Gray pictures with a bar whose height says how far the jaw is open."""
    rng = np.random.default_rng(0)
    clips = []
    for k in range(count):
        controls = np.zeros((6, len(NAMES)), np.float32)
        controls[:, AT["jaw open"]] = rng.uniform(0, 1, 6)
        frames = np.full((6, size, size, 3), 120, np.uint8)
        for frame, opened in zip(frames, controls[:, AT["jaw open"]], strict=True):
            frame[size // 2 : size // 2 + 1 + round(opened * size / 3), size // 4 : -size // 4] = 0
        zeros = np.zeros((6, size, size, 2), np.float16)
        everywhere = np.ones((6, size, size), bool)
        clips.append(
            Clip(f"c{k}", f"c{k}", frames, zeros, everywhere, controls, "face", regions=9 * everywhere.astype(np.uint8))
        )
    return clips


def face_config(size: int = 32):
    return replace(
        lia(
            size,
            {r: 8 for r in (4, 8, 16, 32) if r <= size},
            style_dim=16 + 2 * len(NAMES),
            directions=len(NAMES),
            head_depth=1,
            align_corners=True,
        ),
        rgb_blocks=1,
        paint_size=size // 2,
        composite=True,
        reader={4: 16, 8: 8, 16: 8},
    )


def test_controls_follow_a_resampled_picture():
    """A dot at the head's place lands where the changed controls say."""
    controls = torch.zeros(1, len(NAMES))
    controls[0, AT["across"]], controls[0, AT["down"]] = 0.6, -0.5
    size = 129
    x, y = (0.5 + 0.15 * controls[0, AT[name]].item() for name in ("across", "down"))
    picture = torch.zeros(1, 1, size, size)
    picture[0, 0, round(y * size - 0.5), round(x * size - 0.5)] = 1
    picture = F.avg_pool2d(picture, 5, 1, 2)
    after, theta = moved(controls, torch.tensor([0.3]), torch.tensor([1.2]), torch.tensor([[0.1, -0.05]]))
    shown = F.grid_sample(picture, F.affine_grid(theta, (1, 1, size, size), align_corners=False), align_corners=False)[
        0, 0
    ]
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    found = [(2 * ((grid * shown).sum() / shown.sum() + 0.5) / size - 1).item() / 0.3 for grid in (columns, rows)]
    assert found == pytest.approx([after[0, AT["across"]].item(), after[0, AT["down"]].item()], abs=0.06)
    assert after[0, AT["nearer"]] == pytest.approx(np.log(1.2) / np.log(1.25), abs=1e-4) and after[0, AT["tilt"]] > 0.8


def test_a_reader_learns_what_it_is_shown_and_its_file_reads_the_same(tmp_path):
    clips = bright_clips()
    trainer = ReaderTrainer(tmp_path, 128, 2e-3, 0)
    big = [replace(clip, frames=clip.frames.repeat(4, 1).repeat(4, 2)) for clip in clips]
    for _ in range(30):
        trainer.train_step(big, 12, 60, bf16=False)
    found = [reading(trainer.ema_reader(), clip.frames) for clip in big]
    correlation, gain = agreement(found, [clip.controls for clip in big])["jaw open"]
    assert correlation > 0.6 and gain > 0.1
    trainer.save()
    again = ReaderTrainer(tmp_path, 128, 2e-3, 0)
    again.resume()
    assert again.step == 30 and all(
        torch.equal(a, b) for a, b in zip(trainer.ema.values(), again.ema.values(), strict=True)
    )
    trainer.export(tmp_path / "reader.safetensors")
    state, widths = read_reader(tmp_path / "reader.safetensors")
    assert widths == WIDTHS
    torch.testing.assert_close(state["code.bias"], CODE_UNIT * trainer.ema["code.bias"])


def test_what_is_read_too_small_off_strangers_is_scaled_up_about_its_mean(tmp_path):
    trainer = ReaderTrainer(tmp_path, 128, 1e-3, 0)
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (6, 128, 128, 3), np.uint8) for _ in range(3)]
    found = [reading(trainer.ema_reader(), part) for part in frames]
    true = [f.copy() for f in found]
    lids, wide, gaze = AT["close left eye"], AT["mouth wide"], AT["look up"]
    for clip, offset in zip(true, (0.5, -0.2, 0.1), strict=True):  # people differ, and that does not count
        for lid in (lids, MIRROR[lids]):
            clip[:, lid] = 1.3 * clip[:, lid] + offset
        clip[:, wide] *= 7
        clip[:, gaze] = rng.normal(0, 1, 6)
    trainer.ema, factors = recalibrate(trainer.ema, found, true)
    assert factors[lids] == pytest.approx(1.3, abs=1e-4) and factors[wide] == MOST_SCALED and factors[gaze] == 1
    assert factors[AT["turn"]] == pytest.approx(1)
    again = np.concatenate([reading(trainer.ema_reader(), part) for part in frames])
    before = np.concatenate(found)
    middle = before[:, [lids, MIRROR[lids]]].mean()
    np.testing.assert_allclose(again[:, lids], middle + 1.3 * (before[:, lids] - middle), atol=1e-4)
    np.testing.assert_allclose(again[:, gaze], before[:, gaze], atol=1e-5)


def test_a_reader_goes_on_from_an_animators_file(tmp_path):
    """A run begins again from what was exported, without the file of its reader."""
    model = ROOT / "models" / "leo-face-128.safetensors"
    state, widths = read_reader(model)
    assert widths == WIDTHS
    trainer = ReaderTrainer(tmp_path, 128, 1e-3, 0)
    trainer.init_from(model)
    frames = np.random.default_rng(0).integers(0, 255, (2, 128, 128, 3), np.uint8)
    reader = load_animator(model)[0].encoder.reader
    np.testing.assert_allclose(
        CODE_UNIT * reading(trainer.ema_reader(), frames), reading(reader, frames), rtol=1e-4, atol=1e-5
    )
    with pytest.raises(ValueError, match="is an animator without a motion reader. Name a file that train-reader"):
        read_reader(ROOT / "models" / "leo-face-64.safetensors")


def test_an_anchored_animator_gives_the_source_back_in_its_own_pose():
    """Whatever its weights are: nothing moves and all of the source is seen; in another pose something moves."""
    config = replace(face_config(), anchored=True, carry=True)
    animator = TrainedAnimator(config, torch.Generator().manual_seed(0)).animator
    for parameter in animator.flow_generator.parameters():
        parameter.data.add_(0.3)
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        code, features = animator.encoder(picture)
        anchor, pose = animator.anchor(features, code), animator.motion_head(code)
        flow, mask = animator.flow_generator(features, code + animator.dictionary(pose), anchor)
        moved, _ = animator.flow_generator(features, code + animator.dictionary(pose + 3), anchor)
    assert all((maps == 0).all() for maps in flow.values()) and all((maps > 0.98).all() for maps in mask.values())
    assert moved[32].abs().max() > 1e-3
    with pytest.raises(ValueError, match="Pass what FlowGenerator.anchor gives"):
        animator.flow_generator(features, code)


def test_an_untrained_composite_shows_its_source_where_its_mask_is_open():
    """At rest nothing moves: what the mask keeps is the picture itself."""
    animator = TrainedAnimator(face_config(), torch.Generator().manual_seed(0)).animator
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    _, features = animator.encoder(picture)
    still = {r: torch.zeros(1, 2, r, r) for r in (8, 16, 32)}
    kept = {r: torch.ones(1, 1, r, r) for r in (8, 16, 32)}
    torch.testing.assert_close(animator.decoder(features, still, kept), picture, atol=1e-5, rtol=0)


def test_the_generator_is_given_the_true_controls_and_the_reader_stays():
    model = TrainedAnimator(face_config(), torch.Generator().manual_seed(0))
    batch = sample_batch(bright_clips(), 2, np.random.default_rng(0), 0.0, 0.0)
    code, _, alpha = model.read(batch)
    torch.testing.assert_close(alpha, CODE_UNIT * batch.controls)
    torch.testing.assert_close(code[:, -len(NAMES) :], alpha[:, 0])
    parts, *_ = losses(model, batch, Weights())
    assert "region" in parts and "controls" not in parts
    sum(parts.values()).backward()
    assert all(p.grad is None for p in model.animator.encoder.reader.parameters())
    coarse, picture, _ = losses(model, batch, Weights(), finest=16)
    assert picture is None and set(coarse) == {"flow", "warp", "mask"}


def test_what_a_reader_reads_is_the_motion_code_and_motions_fit_every_size(tmp_path):
    identities = []
    for size, name in ((32, "small"), (32, "other")):
        trainer = Trainer(tmp_path, face_config(size), Weights(), 0.01, len(identities), coarse=1)
        for _ in range(2):
            trainer.train_step(bright_clips(), 1, 4)
        trainer.export(tmp_path / f"{name}.safetensors", {})
        animator, info = load_animator(tmp_path / f"{name}.safetensors")
        identities.append(info.id)
        assert [info.directions[i].name for i in range(len(NAMES))] == list(NAMES)
        picture = torch.rand(2, 3, size, size) * 2 - 1
        torch.testing.assert_close(animator.encode_motion(picture), animator.encoder.reader(picture), atol=2e-3, rtol=0)
    assert identities[0] == identities[1]


def moving_animator() -> tuple[TrainedAnimator, Animator]:
    """A reading animator whose flow follows its codes, and its inference model."""
    model = TrainedAnimator(replace(face_config(), anchored=True, carry=True), torch.Generator().manual_seed(0))
    for parameter in model.animator.flow_generator.parameters():
        parameter.data.add_(0.05)
    model.animator.dictionary.basis.data.copy_(torch.linalg.qr(model.dictionary.data + 1e-8).Q)
    return model, model.animator


def test_a_run_is_exported_with_controls_that_move_more_and_the_others_as_trained(tmp_path):
    trainer = Trainer(tmp_path, face_config(), Weights(), 0.01, 0)
    trainer.train_step(bright_clips(), 1, 4)
    trainer.save()
    main(["export-animator", str(tmp_path), str(tmp_path / "plain.safetensors")])
    stronger = ["--strengthen", '{"close left eye": 2, "brows up": 1.5}']
    main(["export-animator", str(tmp_path), str(tmp_path / "stronger.safetensors"), *stronger])
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1

    @torch.no_grad()
    def change(file: str, control: str, amount: float) -> torch.Tensor:
        animator, _ = load_animator(tmp_path / f"{file}.safetensors")
        code, _ = animator.encoder(picture)
        step = amount * torch.eye(len(NAMES))[AT[control]]
        return animator.flow_generator.levels[1].up.modulation(code + animator.dictionary(step)) - (
            animator.flow_generator.levels[1].up.modulation(code)
        )

    for control, factor in (("close left eye", 2.0), ("brows up", 1.5), ("jaw open", 1.0)):
        torch.testing.assert_close(
            change("stronger", control, 1.0), change("plain", control, factor), atol=5e-3, rtol=5e-3
        )
    with pytest.raises(ValueError, match="No direction of this animator is called wag. It has turn, nod"):
        trainer.strengthen({"wag": 2.0})
    assert main(["export-animator", str(tmp_path), str(tmp_path / "none.safetensors"), "--strengthen", "[1]"]) == 1
    assert not (tmp_path / "none.safetensors").exists()


@torch.no_grad()
def test_an_animator_is_exported_with_another_reader(tmp_path):
    for seed, name in enumerate(("own", "other")):
        (tmp_path / name).mkdir()
        Trainer(tmp_path / name, face_config(), Weights(), 0.01, seed).save()
        main(["export-animator", str(tmp_path / name), str(tmp_path / f"{name}.safetensors")])
    mixed = tmp_path / "mixed.safetensors"
    main(["export-animator", str(tmp_path / "own"), str(mixed), "--reader", str(tmp_path / "other.safetensors")])
    own, other, mixed = (load_animator(tmp_path / f"{name}.safetensors")[0] for name in ("own", "other", "mixed"))
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    torch.testing.assert_close(mixed.encode_motion(picture), other.encode_motion(picture))
    assert (mixed.encode_motion(picture) - own.encode_motion(picture)).abs().max() > 1e-4
    torch.testing.assert_close(mixed.encoder.appearance(picture)[0], own.encoder.appearance(picture)[0])


@torch.no_grad()
def test_known_controls_take_the_place_of_what_the_encoder_reads():
    _, animator = moving_animator()
    clip, times = bright_clips()[0], np.array([0, 2, 4])
    codes = known_codes(animator, clip)
    torch.testing.assert_close(codes, CODE_UNIT * torch.from_numpy(clip.controls))
    own, known = rebuild(animator, clip.frames, times)[0], rebuild(animator, clip.frames, times, codes)[0]
    assert (own - known).abs().max() > 0.05
    # relative to the first frame: a constant offset of all controls changes nothing but rounding, which warps enlarge
    torch.testing.assert_close(rebuild(animator, clip.frames, times, codes + 1.0)[0], known, atol=2e-3, rtol=0)
    photo = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    still = transfer(animator, photo, clip.frames, times, codes[:1].expand_as(codes))
    torch.testing.assert_close(still, (photo / 2 + 0.5).expand_as(still), atol=0.03, rtol=0)
    with pytest.raises(ValueError, match="has no face controls that this animator's directions follow"):
        known_codes(animator, replace(clip, controls=None))


def test_readers_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="channel count for each of 4, 8"):
        replace(face_config(), reader={4: 16, 16: 8})
    with pytest.raises(ValueError, match="20 face controls.*19 directions"):
        replace(face_config(), directions=19)
    assert Animator(face_config(), device="meta").config.appearance_dim == 16 + len(NAMES)


@pytest.mark.parametrize("batch", ["3", "10", "0", "-4", "four"])
def test_a_batch_that_is_no_multiple_of_a_clips_pictures_is_refused_at_once(batch, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["train-reader", str(tmp_path / "run"), "--data", str(tmp_path), f"--batch={batch}"])
    assert f"choose a multiple of 4, got {batch}" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_mirrored_picture_shows_the_mirrored_motion():
    reader = MotionReader(32, {16: 8, 8: 8, 4: 16}, len(NAMES)).eval()
    with torch.no_grad():
        initialize(reader, torch.Generator().manual_seed(0))
        picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
        code, mirrored = reader(picture)[0], reader(picture.flip(-1))[0]
    assert code.abs().max() > 1e-3
    torch.testing.assert_close(mirrored[list(MIRROR)] * torch.tensor(SIGN), code)
    assert mirrored[AT["turn"]] == pytest.approx(-code[AT["turn"]].item(), abs=1e-6)
