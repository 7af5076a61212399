"""Adapting an animator to a clip and scoring it: tiny networks on folders of sliding pictures."""

import json

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from leo_core.__main__ import main
from leo_core.animator import lia
from leo_core.animator.checkpoint import load_animator
from leo_core.training import evaluate
from leo_core.training.adapt import split_by_time
from leo_core.training.data import Clip
from leo_core.training.evaluate import Score, align_affine, frechet_distance, kernel_distance
from leo_core.training.landmarks import save_arrays
from leo_core.training.objective import Weights
from leo_core.training.trainer import Trainer

CONFIG = lia(16, {4: 16, 8: 16, 16: 12}, style_dim=16, directions=12, head_depth=1, align_corners=True)


def texture(size: int, seed: int) -> np.ndarray:
    noise = cv2.GaussianBlur(np.random.default_rng(seed).random((size, size, 3)), (0, 0), 2.5)
    return (255 * (noise - noise.min()) / np.ptp(noise)).astype(np.uint8)


@pytest.fixture
def clip(tmp_path):
    """A folder of 20 frames: a window that swings over a texture."""
    folder, canvas = tmp_path / "person", texture(32, 1)
    folder.mkdir()
    for t in range(20):
        left = 8 + round(3 * np.sin(t))
        Image.fromarray(canvas[8:24, left : left + 16]).save(folder / f"{t:02d}.png")
    return folder


@pytest.fixture
def model(tmp_path):
    """An animator that paints with too little contrast, which adapting can fix."""
    path = tmp_path / "start.safetensors"
    trainer = Trainer(tmp_path, CONFIG, Weights(), 0.01, 0)
    trainer.ema[f"animator.decoder.levels.{len(CONFIG.scales) - 1}.rgb.conv.weight"] *= 0.4
    trainer.export(path, {"license": "CC0"})
    return path


def test_adapting_rebuilds_unseen_frames_better_and_keeps_the_codes(tmp_path, clip, model, capsys):
    target, sheet = tmp_path / "adapted.safetensors", tmp_path / "sheet.png"
    assert (
        main(
            [
                "adapt",
                str(model),
                str(target),
                str(clip),
                "--steps",
                "60",
                "--validate-every",
                "10",
                "--augment",
                "0",
                "--lr",
                "0.01",
                "--note",
                "license=mine",
                "--sheet",
                str(sheet),
            ]
        )
        == 0
    )
    assert "of before" in capsys.readouterr().out
    before, after = load_animator(model), load_animator(target)
    assert before[1].id == after[1].id  # priors and saved motions of the one fit the other
    assert after[1].notes["license"] == "mine" and after[1].notes["adapted"] == "from start on person"
    assert Image.open(sheet).height == 2 * 16

    figures = []
    for path in (model, target):
        report = tmp_path / "report.json"
        assert main(["evaluate", str(path), "--data", str(clip.parent), "--json", str(report)]) == 0
        figures.append(json.loads(report.read_text())["clips"]["person"]["ours"]["l1"])
    assert figures[1] < 0.9 * figures[0]


def test_nothing_is_written_when_nothing_gets_better(tmp_path, clip, model, capsys):
    target = tmp_path / "adapted.safetensors"
    assert (
        main(["adapt", str(model), str(target), str(clip), "--steps", "10", "--validate-every", "5", "--lr", "0"]) == 1
    )
    assert "no better" in capsys.readouterr().err and not target.exists()


def test_what_cannot_be_adapted_is_refused_by_name(tmp_path, clip, model, capsys):
    assert main(["adapt", str(model), str(model), str(clip)]) == 1
    assert "name of its own" in capsys.readouterr().err
    wrong = tmp_path / "notes.txt"
    wrong.write_text("no video")
    assert main(["adapt", str(model), str(tmp_path / "a.safetensors"), str(wrong)]) == 1
    assert "notes.txt" in capsys.readouterr().err


def test_the_last_frames_validate_and_never_trained_on():
    frames = np.arange(20, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    trained, validation = split_by_time(Clip("c", "c", frames), 0.2)
    assert trained.frames[:, 0, 0, 0].tolist() == list(range(16))
    assert validation.frames[:, 0, 0, 0].tolist() == [0, 16, 17, 18, 19]
    with pytest.raises(ValueError, match="has 5 frames"):
        split_by_time(Clip("c", "c", frames[:5]), 0.2)


def test_scores_of_known_differences():
    truth = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 0.8
    same, brighter = Score.of(truth, truth), Score.of(truth + 0.1, truth)
    assert same.l1 == 0 and same.ssim == pytest.approx(1)
    assert (
        brighter.l1 == pytest.approx(0.1, rel=1e-4)
        and brighter.psnr == pytest.approx(20, rel=1e-3)
        and brighter.ssim < 1
    )


def test_the_affine_baseline_undoes_a_shift_and_keeps_what_it_cannot_align():
    canvas = texture(80, 2)
    source, target = canvas[8:72, 8:72], canvas[10:74, 6:70]
    error = np.abs(align_affine(source, target).astype(int) - target)[4:-4, 4:-4].mean()
    assert error < 0.2 * np.abs(source.astype(int) - target)[4:-4, 4:-4].mean()
    flat = np.full((64, 64, 3), 128, np.uint8)
    assert (align_affine(flat, target) == flat).all()


def test_distances_of_feature_sets():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(1000, 3)), random.normal(size=(1000, 3))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(a, a + [3, 0, 4]) == pytest.approx(25)  # squared distance of the means
    assert frechet_distance(2 * a, b) == pytest.approx(3, rel=0.2)  # (2 - 1)^2 per axis
    assert abs(kernel_distance(a, b)) < 0.05 < kernel_distance(a, b + 1)


class Differences(torch.nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a - b).abs().mean((1, 2, 3))


class Averages(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x.flatten(1).mean(1), x.flatten(1).std(1)], 1)


def test_networks_of_the_user_score_too(tmp_path, clip, model, capsys):
    torch.jit.script(Differences()).save(tmp_path / "lpips.pt")
    torch.jit.script(Averages()).save(tmp_path / "features.pt")
    arguments = [
        "evaluate",
        str(model),
        "--data",
        str(clip.parent),
        f"twin={clip.parent}",
        "--lpips",
        str(tmp_path / "lpips.pt"),
        "--video-features",
        str(tmp_path / "features.pt"),
        "--identity-features",
        str(tmp_path / "features.pt"),
        "--json",
        str(tmp_path / "report.json"),
        "--sheet",
        str(tmp_path / "sheet.png"),
        "--cross-sheet",
        str(tmp_path / "cross.png"),
        "--pictures",
        str(clip / "00.png"),
    ]
    assert main(arguments) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["LPIPS"] == pytest.approx(
        2 * report["clips"]["person"]["ours"]["l1"], rel=1e-4
    )  # -1..1 is twice 0..1
    assert report["ACD-I"] > 0 and np.isfinite([report["FVD"], report["KVD"], report["ACD"]]).all()
    assert Image.open(tmp_path / "cross.png").size == (8 * 16, 2 * 16)
    (tmp_path / "lpips.pt").write_bytes(b"no network")
    assert main(arguments) == 1 and "TorchScript" in capsys.readouterr().err


def test_evaluate_writes_recordings_for_the_other_python_and_reads_its_landmarks(tmp_path, model, clip, capsys):
    photo = tmp_path / "photo.png"
    Image.fromarray(texture(64, 2)).save(photo)
    kept, wanted = (
        tmp_path / "kept",
        ["evaluate", str(model), "--data", str(clip.parent), "--frames", "2", "--cross", str(photo)],
    )
    assert main([*wanted, "--write", str(kept), "--landmark-frames", "11"]) == 0
    assert f"evaluate-landmarks {kept}" in capsys.readouterr().out
    with np.load(kept / "000 person.npz") as own, np.load(kept / "000 person on 00 photo.npz") as cross:
        assert own["driving"].shape == own["rendered"].shape == cross["rendered"].shape == (11, 16, 16, 3)
        assert str(cross["driver"]) == "000 person"
        # Whatever it knows of motion, the photo's result looks like the photo, the clip's like the clip.
        own_result, cross_result, first, shown = (
            v.astype(float) for v in (own["rendered"], cross["rendered"], own["driving"][0], cross["photo"][0])
        )
        for result, itself, other in ((own_result, first, shown), (cross_result, shown, first)):
            assert (
                np.corrcoef(result[0].ravel(), itself.ravel())[0, 1]
                > np.corrcoef(result[0].ravel(), other.ravel())[0, 1] + 0.3
            )

    assert main([*wanted, "--write", str(kept)]) == 1
    assert "Name an empty folder" in capsys.readouterr().err
    track = np.random.default_rng(0).normal(128, 40, (11, 478, 3)).astype(np.float32)
    save_arrays(
        tmp_path / "found.npz",
        {
            "000 person/driving": track,
            "000 person/rendered": track + [3, 4, 0],
            "000 person on 00 photo/rendered": track,
            "000 person on 00 photo/photo": track[:1],
        },
    )
    assert (
        main(
            [
                *wanted,
                "--landmark-frames",
                "11",
                "--landmarks",
                str(tmp_path / "found.npz"),
                "--json",
                str(tmp_path / "r.json"),
            ]
        )
        == 0
    )
    assert "AKD 5.00 px" in capsys.readouterr().out
    assert json.loads((tmp_path / "r.json").read_text())["landmarks"]["self"]["AKD"] == pytest.approx(5, abs=1e-3)


def test_what_landmarks_need_is_said_before_anything_is_rendered(tmp_path, model, clip, monkeypatch, capsys):
    photo = tmp_path / "photo.png"
    Image.fromarray(texture(64, 2)).save(photo)

    def missing():
        raise OSError("MediaPipe is missing")

    monkeypatch.setattr(evaluate, "score_clip", None)
    monkeypatch.setattr(evaluate, "MediaPipe", missing)
    assert main(["evaluate", str(model), "--data", str(clip.parent), "--cross", str(photo)]) == 1
    assert "--landmarks" in capsys.readouterr().err
    assert main(["evaluate", str(model), "--data", str(clip.parent), "--landmarks"]) == 1
    assert "MediaPipe is missing" in capsys.readouterr().err
