"""Animated GIF and WebP, read back with a decoder."""

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from leo_core.video import FrameStore, write_loop


def shades(count, size=(40, 60)):
    """Frames whose number can be read off their brightness, with a gradient across."""
    across = np.linspace(0, 30, size[1]).astype(np.uint8)[None, :, None]
    return [np.broadcast_to(across + 20 * place, (*size, 3)).copy() for place in range(count)]


def read(path):
    """Frames, seconds of each, and how many times it repeats (0 is without end)."""
    with Image.open(path) as picture:
        frames, seconds = [], []
        for place in range(picture.n_frames):
            picture.seek(place)
            frames.append(np.asarray(picture.convert("RGB")).astype(int))
            seconds.append(picture.info["duration"] / 1000)
        return frames, seconds, picture.info["loop"]


def numbers(frames):
    return [round((frame.mean() - 15) / 20) for frame in frames]


@pytest.mark.parametrize("kind", ["gif", "webp"])
@pytest.mark.parametrize("ping_pong, order", [(False, [0, 1, 2, 3, 4]), (True, [0, 1, 2, 3, 4, 3, 2, 1])])
def test_a_loop_has_every_frame_in_order_and_repeats_without_end(tmp_path, kind, ping_pong, order):
    path, given, told = str(tmp_path / f"loop.{kind}"), shades(5), []
    assert write_loop(path, given, Fraction(25), ping_pong, lambda done, total: told.append((done, total))) == len(
        order
    )
    frames, seconds, repeats = read(path)
    assert numbers(frames) == order and repeats == 0 and seconds == [0.04] * len(order)
    assert max(abs(frames[place] - given[order[place]]).mean() for place in range(len(order))) < 4
    assert told == [(done, len(order)) for done in range(len(order) + 1)]
    assert [file.name for file in tmp_path.iterdir()] == [f"loop.{kind}"]


@pytest.mark.parametrize("ping_pong", [False, True])
@pytest.mark.parametrize("count", [1, 2])
def test_the_shortest_loops(tmp_path, count, ping_pong):
    path = str(tmp_path / "loop.webp")
    assert write_loop(path, shades(count), Fraction(25), ping_pong) == count


@pytest.mark.parametrize("kind, shortest", [("gif", 0.02), ("webp", 0.011)])
@pytest.mark.parametrize("fps", [Fraction(30000, 1001), Fraction(12), Fraction(60), Fraction(120), Fraction(1000)])
def test_a_loop_of_any_rate_lasts_as_long_as_its_clip(tmp_path, fps, kind, shortest):
    """Browsers show a frame of less than the shortest time for a tenth of a second."""
    path, count = str(tmp_path / f"loop.{kind}"), 66
    write_loop(path, [frame // 5 for frame in shades(11)] * 6, fps)
    _, seconds, _ = read(path)
    assert sum(seconds) == pytest.approx(count / fps, abs=0.03) and min(seconds) >= shortest


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_nothing_is_left_of_a_loop_that_was_interrupted(tmp_path, kind):
    def stop(done, total):
        if done == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        write_loop(str(tmp_path / f"loop.{kind}"), shades(5), Fraction(25), on_frame=stop)
    assert list(tmp_path.iterdir()) == []


def test_frames_come_back_from_disk_in_any_order_and_large_ones_smaller(tmp_path):
    given = shades(4)
    with FrameStore(str(tmp_path), (40, 60)) as store:
        for frame in given:
            store.write(frame)
        assert len(store) == 4 and all((store[place] == given[place]).all() for place in (3, 0, 2, 1))
        with pytest.raises(IndexError):
            store[4]
    assert list(tmp_path.iterdir()) == []
    with FrameStore(str(tmp_path), (1000, 1500)) as store:
        store.write(np.full((1000, 1500, 3), 90, np.uint8))
        assert store[0].shape == (480, 720, 3) and abs(store[0].astype(int) - 90).max() <= 1


def test_what_is_no_loop_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one frame"):
        write_loop(str(tmp_path / "a.gif"), [], Fraction(25))
    with pytest.raises(ValueError, match="not as '.mp4'"):
        write_loop(str(tmp_path / "a.mp4"), shades(1), Fraction(25))
