"""Clips against figures worked out by hand: light of HDR, sound with gaps, what a written file says of itself, what is
refused."""

import io
import threading
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from leo_core.video import VideoWriter, read_video, sound_of_file, sound_of_tensor
from leo_core.video.order import AHEAD, ahead
from leo_core.video.picture import to_sdr
from leo_core.video.read import ReadReport
from leo_core.video.source import open_container, video_stream

SIZE = (48, 64)
PQ, HLG = 16, 18


def flat(value, size=SIZE):
    return np.full((*size, 3), value, np.uint8)


def pq(nits):
    """16-bit signal of a display's light (SMPTE ST 2084)."""
    power = (np.asarray(nits) / 10_000) ** 0.1593017578125
    return np.rint(65535 * ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375).astype(np.uint16)


def shown(signal, transfer):
    return to_sdr(np.asarray(signal, np.uint16).reshape(1, -1, 3), transfer)[0].astype(int)


def test_white_and_grays_of_pq_are_those_of_a_screen():
    """SDR white is 203 cd/m2; below 0.8 of it light is kept, above it is pressed together."""
    grays = shown(np.repeat(pq([0, 20.3, 101.5, 162.4, 203, 406, 10_000]), 3), PQ)
    assert np.ptp(grays, axis=1).max() <= 1
    light = np.array([0, 0.1, 0.5, 0.8, 0.9, 0.8 + 0.2 * 6 / 7, 0.8 + 0.2 * 241.3 / 242.3])
    assert np.abs(grays[:, 0] - 255 * light ** (1 / 2.4)).max() <= 1.5


def test_hlg_is_the_light_of_a_display_of_1000_candela():
    """Signal 0.75 is reference white (BT.2408), 0.5 a twelfth of the scene's peak."""
    grays = shown(np.rint(np.repeat([0, 0.25, 0.5, 0.75, 1], 3) * 65535), HLG)
    light = np.array([0, (1 / 48) ** 1.2, (1 / 12) ** 1.2]) * 1000 / 203
    assert np.abs(grays[:3, 0] - 255 * light ** (1 / 2.4)).max() <= 1.5
    assert abs(grays[3, 0] - 255 * 0.9 ** (1 / 2.4)) <= 2 and 250 < grays[4, 0] <= 255


def test_colors_of_hdr_keep_their_hue():
    red, green, blue = np.array([[0.6274, 0.0691, 0.0164], [0.3293, 0.9195, 0.0880], [0.0433, 0.0114, 0.8956]])
    for index, primary in enumerate((red, green, blue)):  # those of BT.709 in BT.2020
        seen = shown(pq(101.5 * primary), PQ)[0]
        assert abs(seen[index] - 191) <= 2 and np.delete(seen, index).max() <= 12
    orange = shown(pq(2030 * (red + 0.25 * green)), PQ)[0]
    assert ((orange[1] / orange[0]) ** 2.4) == pytest.approx(0.25, abs=0.02)


def test_frames_are_made_ahead_in_order_by_another_thread_and_not_too_many():
    made = []

    def items():
        for number in range(20):
            made.append((number, threading.get_ident()))
            yield number

    seen = []
    for number in ahead(items()):
        seen.append(number)
        assert len(made) <= number + 1 + AHEAD
    assert seen == list(range(20)) and threading.get_ident() not in {thread for _, thread in made}
    assert list(ahead([])) == []

    def breaking():
        yield 1
        raise OSError("disk")

    frames = ahead(breaking())
    assert next(frames) == 1
    with pytest.raises(OSError, match="disk"):
        next(frames)


def test_all_that_was_done_is_said_with_its_count():
    assert str(ReadReport()) == "every frame as in the file"
    said = str(ReadReport(1, 2, 3, 4, 5, 6, "PQ")).split(", ")
    assert [note.split()[0] for note in said] == ["1", "2", "3", "4", "5", "6", "HDR"]
    report = ReadReport()
    report.count_gap(range(3, 8), frozenset({4, 7, 9}))
    assert (report.broken, report.filled) == (2, 3)


def test_sound_is_taken_piece_by_piece_without_a_sample_lost():
    original = torch.randn(1, 2, 25_000, generator=torch.Generator().manual_seed(0))
    sound = sound_of_tensor(original, 8000)
    pieces = [sound.take(count) for count in (0, 1, 7999, 12_000, 4000, 5000, 10)]
    assert [piece.shape for piece in pieces] == [(2, count) for count in (0, 1, 7999, 12_000, 4000, 1000, 0)]
    assert np.array_equal(np.concatenate(pieces, 1), original[0]) and pieces[0].dtype == np.float32
    many = torch.arange(30.0).reshape(2, 3, 5).double()
    assert sound_of_tensor(many, 8000).take(9).tolist() == [[5, 6, 7, 8, 9]], "the first of a batch, mixed"
    assert (sound_of_tensor(many, 8000).channels, sound_of_tensor(many, 8000).sample_rate) == (1, 8000)


def with_sound(path, blocks, rate=8000):
    """A clip of 2 s with blocks of flat sound: (begin in seconds, length in seconds, value)."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.height, video.width = SIZE
        audio = container.add_stream("pcm_s16le", rate=rate, layout="mono")
        for index in range(50):
            frame = av.VideoFrame.from_ndarray(flat(50), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for begin, length, value in blocks:
            samples = np.full((1, round(length * rate)), value * 32768, np.int16)
            block = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            block.sample_rate, block.pts, block.time_base = rate, round(begin * rate), Fraction(1, rate)
            container.mux(audio.encode(block))
        container.mux(audio.encode(None))
    return str(path)


def test_gaps_in_sound_are_silent_and_small_strays_are_not_gaps(tmp_path):
    path = with_sound(tmp_path / "gap.mkv", [(0, 0.5, 0.25), (0.505, 0.5, 0.5), (1.5, 0.25, 0.75)])
    heard = sound_of_file(path).take(10**9)[0]
    assert len(heard) == pytest.approx(1.75 * 8000, abs=8)
    for begin, end, value in ((0, 0.499, 0.25), (0.501, 0.999, 0.5), (1.001, 1.499, 0), (1.501, 1.749, 0.75)):
        part = heard[round(begin * 8000) : round(end * 8000)]
        assert np.allclose(part, value, atol=1e-3), (begin, end)


def test_sound_from_a_moment_on_leaves_out_what_came_before(tmp_path):
    path = with_sound(tmp_path / "parts.mkv", [(0.1 * n, 0.1, 0.05 * n) for n in range(20)])
    for start in (0.0, 0.33, 1.25):
        heard = sound_of_file(path, start).take(10**9)[0]
        assert len(heard) == pytest.approx((2 - start) * 8000, abs=8)
        place = start + np.array([20, 500]) / 8000
        assert np.allclose(heard[[20, 500]], 0.05 * np.floor(place * 10 + 1e-6), atol=1e-3)


@pytest.mark.parametrize("rate, written", [(48000, 48000), (37000, 32000), (45000, 44100), (192_000, 96000)])
def test_sound_is_written_at_the_nearest_rate_there_is(tmp_path, rate, written):
    path = str(tmp_path / "clip.mp4")
    with VideoWriter(path, SIZE, Fraction(25), sound=sound_of_tensor(torch.zeros(1, 1, rate), rate)) as writer:
        for _ in range(10):
            writer.write(flat(9))
    assert sound_of_file(path).sample_rate == written


def test_a_written_file_says_what_it_is_and_plays_before_it_is_whole(tmp_path):
    path = tmp_path / "clip.mp4"
    with VideoWriter(str(path), (48, 63), Fraction(25)) as writer:
        assert (writer.size, writer.padded, writer.frame_count) == ((48, 63), (0, 1), 0)
        for _ in range(12):
            writer.write(flat(90, (48, 63)))
        assert writer.frame_count == 12
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt, stream.frames) == ("h264", "yuv420p", 12)
        frame = next(container.decode(video=0))
        assert (int(frame.colorspace), int(frame.color_range)) == (5, 1)
    with pytest.raises(ValueError, match="Expected a uint8 frame"):
        with VideoWriter(str(path), SIZE, Fraction(25)) as writer:
            writer.write(flat(90).astype(np.float32))
    assert path.read_bytes() == content


def test_quality_is_a_choice(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (4, *SIZE, 3), dtype=np.uint8)
    sizes = []
    for crf in (1, 18, 45):
        with VideoWriter(str(tmp_path / f"{crf}.mp4"), SIZE, Fraction(25), crf) as writer:
            for frame in pictures:
                writer.write(frame)
        sizes.append((tmp_path / f"{crf}.mp4").stat().st_size)
    assert sizes[0] > 1.3 * sizes[1] > 2 * sizes[2]


@pytest.mark.parametrize("fps", [Fraction(1, 1000), Fraction(10_000)])
def test_the_slowest_and_the_fastest_rate_are_written(tmp_path, fps):
    path = str(tmp_path / "clip.mp4")
    with VideoWriter(path, SIZE, fps) as writer:
        for value in (10, 200):
            writer.write(flat(value))
    with av.open(path) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert times == pytest.approx([0, 1 / fps], rel=1e-3)


def test_descriptions_that_open_other_files_are_refused(tmp_path):
    path = tmp_path / "clip.mp4"
    with VideoWriter(str(path), SIZE, Fraction(25)) as writer:
        writer.write(flat(9))
    (tmp_path / "list.ffconcat").write_text("ffconcat version 1.0\nfile clip.mp4\n")
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nclip.mp4\n#EXT-X-ENDLIST\n")
    for name in ("list.ffconcat", "list.m3u8"):
        with pytest.raises(ValueError, match=f"{name} holds no video that can be read"):
            read_video(str(tmp_path / name))
    with pytest.raises(ValueError, match="^the video holds no video that can be read"):
        read_video(io.BytesIO(b"nothing"))


@pytest.mark.parametrize("default, shown_size", [(None, (64, 96)), (0, (32, 48))])
def test_of_several_streams_the_default_one_is_shown_or_else_the_largest(tmp_path, default, shown_size):
    path = str(tmp_path / "two.mkv")
    with av.open(path, "w") as container:
        streams = []
        for size in ((32, 48), (64, 96)):
            stream = container.add_stream("libx264", rate=25)
            (stream.height, stream.width), stream.pix_fmt = size, "yuv420p"
            streams.append(stream)
        for index, stream in enumerate(streams):
            stream.disposition = av.stream.Disposition.default if index == default else av.stream.Disposition(0)
        for stream in streams:
            for packet in (*stream.encode(av.VideoFrame(stream.width, stream.height, "yuv420p")), *stream.encode(None)):
                container.mux(packet)
    with open_container(path) as container:
        stream = video_stream(container)
        assert (stream.height, stream.width) == shown_size
