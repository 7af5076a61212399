"""Flow of real clips, estimated from frame to frame."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from leo_core.training import tracking
from leo_core.training.data import Clip
from leo_core.training.tracking import DETAIL, SPAN, follow, track


def texture(size: int, seed: int = 0) -> np.ndarray:
    """Smooth colored noise, [size, size, 3] uint8."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).random((size, size, 3)), (0, 0), 2.5)
    return (255 * (noise - noise.min()) / np.ptp(noise)).astype(np.uint8)


def sliding(size: int, frames: int, step: int) -> np.ndarray:
    """A window that moves right by ``step`` pixels a frame."""
    canvas = texture(size + frames * step)[:size]
    return np.stack([canvas[:, step * t : step * t + size] for t in range(frames)])


@pytest.mark.parametrize("reference", [0, 6])
def test_what_moves_half_the_width_is_followed_from_frame_to_frame(reference):
    flow, believed = follow(sliding(64, 13, 3), reference)
    assert not flow[reference].any() and believed[reference].all()
    for t in (0, 3, 12):
        shift = 3 * (t - reference)  # what frame t shows at x, the reference shows that far to the right
        seen = np.arange(6, 58)[(np.arange(6, 58) + shift >= 4) & (np.arange(6, 58) + shift < 60)]
        assert believed[t][6:58][:, seen].mean() > 0.9
        np.testing.assert_allclose(flow[t][6:58][:, seen].mean((0, 1)), [shift * 2 / 64, 0], atol=0.4 * 2 / 64)


def test_another_scene_is_not_believed():
    frames = np.stack([texture(64, 1)] * 2 + [texture(64, 2)] * 2)
    _, believed = follow(frames, 0)
    assert believed[1].all() and believed[3].mean() < 0.5


def test_each_piece_of_a_long_clip_is_followed_from_two_frames(monkeypatch):
    asked = []

    def noted(frames: np.ndarray, reference: int):
        asked.append((len(frames), reference))
        return np.zeros((*frames.shape[:3], 2), np.float16), np.ones(frames.shape[:3], bool)

    monkeypatch.setattr(tracking, "follow", noted)
    frames = np.random.default_rng(0).integers(0, 256, (SPAN + 2, DETAIL, DETAIL, 3), np.uint8)
    known = Clip(
        "known", "known", frames[:2, :64, :64], np.zeros((2, 64, 64, 2), np.float16), np.ones((2, 64, 64), bool)
    )
    clips = track([Clip("long", "ann", frames), known], 64)
    half = SPAN // 2 + 1
    assert asked == [(half, 0), (half, half // 2)] * 2
    assert len(clips) == 5 and clips[0] is known
    assert {clip.identity for clip in clips[1:]} == {"ann"} and not any(clip.exact for clip in clips[1:])
    assert [clip.reference for clip in clips[1:]] == [0, half // 2] * 2
    assert all(clip.frames.shape == (half, 64, 64, 3) and clip.flow.shape == (half, 64, 64, 2) for clip in clips[1:])


def test_what_was_followed_once_is_kept(tmp_path, monkeypatch):
    clip = Clip("clip", "clip", sliding(DETAIL, 3, 2))
    first = track([clip], DETAIL, tmp_path / "tracks")
    assert len(list((tmp_path / "tracks").iterdir())) == 2
    monkeypatch.setattr(tracking, "follow", None)
    again = track([clip], DETAIL, tmp_path / "tracks")
    assert all(
        np.array_equal(a.flow, b.flow) and np.array_equal(a.visible, b.visible)
        for a, b in zip(first, again, strict=True)
    )
    assert all(path.suffix == ".npz" for path in Path(tmp_path / "tracks").iterdir())
