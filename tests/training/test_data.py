"""Reading clips for training: folders of videos, of frames, grids and renders; what cannot be read; holding people
out."""

import json
import resource
import weakref
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from leo_core.training import data
from leo_core.training.data import Clip, read_source, split_by_identity


def write_video(path: Path, frames: np.ndarray) -> None:
    """[T, H, W, 3] uint8, without loss."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "bgr0"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def gray(*levels: int, height: int = 24, width: int = 32) -> np.ndarray:
    return np.stack([np.full((height, width, 3), level, np.uint8) for level in levels])


def test_videos_and_frame_folders_become_square_clips_named_after_them(tmp_path):
    frames = gray(10, 20, 30)
    frames[:, :, :4] = frames[:, :, -4:] = 255  # outside the middle square
    write_video(tmp_path / "b.mkv", frames)
    (tmp_path / "a").mkdir()
    for number, frame in enumerate(frames[:2]):
        Image.fromarray(frame).save(tmp_path / "a" / f"{number:02d}.png")
    (tmp_path / "notes.txt").write_text("no clip")

    clips = read_source(f"SET={tmp_path}", 16)
    assert [(clip.name, clip.identity) for clip in clips] == [("SET/a", "SET/a"), ("SET/b", "SET/b")]
    assert clips[1].frames.shape == (3, 16, 16, 3) and clips[1].frames.dtype == np.uint8
    np.testing.assert_allclose(clips[1].frames[:, 2:-2, 2:-2].mean((1, 2, 3)), [10, 20, 30], atol=1)
    np.testing.assert_allclose(clips[0].frames[:, 2:-2, 2:-2].mean((1, 2, 3)), [10, 20], atol=1)


def test_a_folder_of_more_pictures_than_a_process_may_hold_open_loads_as_they_count(tmp_path):
    (tmp_path / "long").mkdir()
    for number in range(300):
        Image.new("L", (4, 4), number % 256).save(tmp_path / "long" / f"frame_{number}.png")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        (clip,) = read_source(str(tmp_path), 4)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert clip.frames[:, 0, 0, 0].tolist() == [number % 256 for number in range(300)]


@pytest.mark.parametrize("suffix", ["", "@8"])
def test_only_a_few_full_size_pictures_are_in_memory_at_once(tmp_path, monkeypatch, suffix):
    write_video(tmp_path / "long.mkv", gray(*range(60), height=16, width=16))
    given, most = [], 0
    decode = data.decode

    def counted(pictures):
        nonlocal most
        for picture in pictures:
            given.append(weakref.ref(picture))
            most = max(most, sum(reference() is not None for reference in given))
            yield picture

    monkeypatch.setattr(data, "decode", lambda path: (counted(decode(path)[0]), None))
    clips = read_source(f"{tmp_path / 'long.mkv'}{suffix}" if suffix else str(tmp_path), 4)
    assert all(len(clip.frames) == 60 for clip in clips)
    assert 1 <= most <= 3


def test_what_cannot_be_read_is_named_and_left_out(tmp_path, caplog):
    write_video(tmp_path / "good.mkv", gray(1, 2, 3))
    write_video(tmp_path / "single.mkv", gray(1))
    (tmp_path / "broken.mp4").write_bytes(b"no video at all" * 100)
    with av.open(str(tmp_path / "sound.mov"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        sound.rate = 8000
        container.mux(stream.encode(sound))
    (tmp_path / "damaged").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "damaged" / "0.png")
    (tmp_path / "damaged" / "1.png").write_bytes((tmp_path / "damaged" / "0.png").read_bytes()[:40])

    assert [clip.name for clip in read_source(str(tmp_path), 8)] == ["good"]
    for name in ("single.mkv", "broken.mp4", "sound.mov", "damaged"):
        assert name in caplog.text
    assert "good.mkv" not in caplog.text


def test_cells_of_a_grid_are_clips_without_their_neighbors(tmp_path):
    frames = np.zeros((2, 16, 32, 3), np.uint8)
    frames[:, :, :16], frames[0, :, 16:], frames[1, :, 16:] = 200, 0, 100
    write_video(tmp_path / "g.mkv", frames)
    clips = read_source(f"{tmp_path / 'g.mkv'}@16", 8)
    assert [clip.name for clip in clips] == ["g_r0c0", "g_r0c1"]
    assert (clips[0].frames == 200).all()
    assert (clips[1].frames[0] == 0).all() and (clips[1].frames[1] == 100).all()


@pytest.mark.parametrize("cell", ["64", "0", "big"])
def test_a_grid_with_a_wrong_cell_is_refused(tmp_path, cell):
    write_video(tmp_path / "g.mkv", gray(1, 2))
    with pytest.raises(ValueError, match=r"grid\.mp4@128"):
        read_source(f"{tmp_path / 'g.mkv'}@{cell}", 8)


def test_empty_and_missing_folders_are_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no clip"):
        read_source(str(tmp_path), 8)
    with pytest.raises(ValueError, match="is not a folder"):
        read_source(str(tmp_path / "absent"), 8)


def write_renders(folder: Path, size: int) -> None:
    rng = np.random.default_rng(0)
    visible = np.ones((2, size, size), bool)
    visible[1, 0, 0] = False
    flow = np.full((2, size, size, 2), 0.25, np.float16)
    flow[1, 0, 0] = 9  # of a hidden point: means nothing
    np.savez(
        folder / "c.npz",
        frames=rng.integers(0, 256, (2, size, size, 3), np.uint8),
        backward_flow=flow,
        visible=visible,
        controls=np.zeros((2, 10), np.float32),
        fps=15.0,
    )
    (folder / "manifest.json").write_text(json.dumps({"clips": [{"file": "c.npz", "identity": 7, "framing": "body"}]}))


def test_renders_shrink_with_their_flow_and_hidden_points_have_no_say(tmp_path):
    write_renders(tmp_path, 8)
    (clip,) = read_source(str(tmp_path), 4)
    assert (
        clip.identity == f"{tmp_path.name}-7"
        and clip.frames.shape == (2, 4, 4, 3)
        and clip.controls.shape == (2, 10)
        and clip.framing == "body"
    )
    np.testing.assert_allclose(clip.flow, 0.25, atol=1e-3)  # normalized units do not depend on the size
    assert clip.visible.all()
    with pytest.raises(ValueError, match="--size 3"):
        read_source(str(tmp_path), 3)


def test_people_are_held_out_by_a_part_of_their_identity():
    clips = [
        Clip(f"clip {name[0]}{take}", name, np.zeros((2, 4, 4, 3), np.uint8))
        for name in ("ann", "ben", "joanna")
        for take in (1, 2)
    ]
    kept, out = split_by_identity(clips, ["ann"])
    assert [clip.name for clip in kept] == ["clip b1", "clip b2"]
    assert {clip.identity for clip in out} == {"ann", "joanna"}
    kept, out = split_by_identity(clips, [])
    assert len(kept) == 6 and not out
