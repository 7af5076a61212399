"""Clips go in and out frame by frame, on time and with their sound, whatever the file is like."""

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from leo_core.rates import exact_rate
from leo_core.video import VideoWriter, continued_index, read_video, sound_of_file, sound_of_tensor

SIZE = (48, 64)


def grey(value, size=SIZE):
    return np.full((*size, 3), value, np.uint8)


def value_of(frame):
    return float(frame.mean())


def write(
    path, values, fps=Fraction(25), stamps=None, tick=None, size=SIZE, options=None, codec="libx264", rotation=None
):
    """A clip of flat grey frames; stamps (in ticks) make its frame rate variable."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options=options or {"crf": "1"})
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        if stamps is not None:
            stream.codec_context.time_base = tick
            stream.codec_context.max_b_frames = 0
        for index, value in enumerate(values):
            frame = av.VideoFrame.from_ndarray(grey(value, size), format="rgb24")
            frame.pts, frame.time_base = (index, 1 / fps) if stamps is None else (stamps[index], tick)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return str(path)


def noise(seconds, rate, channels=1):
    return np.random.default_rng(0).normal(0, 0.1, (channels, round(seconds * rate))).astype(np.float32)


def offset_ms(heard, original, rate):
    """How much later ``heard`` runs than ``original`` where they correlate best."""
    count = min(len(heard), len(original))
    size = 2 * count
    correlation = np.fft.irfft(np.fft.rfft(heard[:count], size) * np.conj(np.fft.rfft(original[:count], size)), size)
    lag = int(correlation.argmax())
    return (lag if lag < count else lag - size) / rate * 1000


def break_packets(path, out, which):
    """Copy a clip with the payload of some packets (in presentation order) overwritten."""
    with av.open(path) as container:
        packets = [(p.pts, p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(open(path, "rb").read())
    for index in which:
        _, position, size = sorted(packets)[index]
        data[position + 5 : position + size] = bytes((b * 7 + 93) & 255 for b in data[position + 5 : position + size])
    out.write_bytes(data)
    return str(out)


@pytest.mark.parametrize("fps", [Fraction(24000, 1001), Fraction(30000, 1001), Fraction(25, 2), Fraction(15)])
def test_written_clip_keeps_rate_count_and_duration(tmp_path, fps):
    path = str(tmp_path / "clip.mp4")
    with VideoWriter(path, SIZE, fps) as writer:
        for index in range(50):
            writer.write(grey(5 * index))
    clip = read_video(path)
    assert (clip.fps, clip.frame_count, clip.size, clip.variable) == (fps, 50, SIZE, False)
    assert [round(value_of(frame)) for frame in clip] == pytest.approx([5 * index for index in range(50)], abs=2)
    with av.open(path) as container:
        assert container.duration / av.time_base == pytest.approx(50 / fps, abs=1e-3)


@pytest.mark.parametrize("rate", [44100, 48000, 37000])
@pytest.mark.parametrize("fps", [Fraction(24000, 1001), Fraction(30000, 1001), Fraction(25, 2)])
def test_sound_stays_in_step_and_ends_with_the_frames(tmp_path, fps, rate):
    original = noise(6, rate)
    path = str(tmp_path / "clip.mp4")
    with VideoWriter(path, SIZE, fps, sound=sound_of_tensor(torch.from_numpy(original)[None], rate)) as writer:
        for _ in range(50):
            writer.write(grey(100))
    sound = sound_of_file(path)
    heard = sound.take(10**9)[0]
    assert len(heard) / sound.sample_rate == pytest.approx(50 / fps, abs=0.05)
    same_rate = np.interp(np.arange(len(heard)) / sound.sample_rate, np.arange(original.shape[1]) / rate, original[0])
    assert abs(offset_ms(heard, same_rate, sound.sample_rate)) < 1


def test_sound_of_a_trimmed_clip_starts_at_its_first_frame(tmp_path):
    original, path = noise(5, 44100, 2), str(tmp_path / "clip.mp4")
    with VideoWriter(
        path, SIZE, Fraction(25), sound=sound_of_tensor(torch.from_numpy(original)[None], 44100)
    ) as writer:
        for index in range(100):
            writer.write(grey(2 * index))
    clip = read_video(path, start=1.01, duration=2)
    assert clip.frame_count == 50
    assert value_of(next(iter(clip))) == pytest.approx(2 * 26, abs=2)
    heard = sound_of_file(path, clip.start).take(44100)[0]
    assert abs(offset_ms(heard, original[0, round(1.04 * 44100) :], 44100)) < 1


@pytest.mark.parametrize("start", (0.1, 0.32, 1.04, 3.0))
def test_sound_of_a_trimmed_clip_is_that_of_the_whole_from_the_first_sample(tmp_path, start):
    """A decoder that begins in the middle of coded sound leaves its first frame out, or damages it."""
    original, path = noise(5, 44100, 1), str(tmp_path / "clip.mp4")
    with VideoWriter(
        path, SIZE, Fraction(25), sound=sound_of_tensor(torch.from_numpy(original)[None], 44100)
    ) as writer:
        for index in range(100):
            writer.write(grey(2 * index))
    whole, begins = sound_of_file(path).take(10**9), round(start * 44100)
    assert np.abs(sound_of_file(path, start).take(22050) - whole[:, begins : begins + 22050]).max() < 1e-3


def test_sound_that_begins_late_is_preceded_by_silence(tmp_path):
    path = str(tmp_path / "late.mkv")
    with av.open(path, "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.height, video.width = SIZE
        audio = container.add_stream("pcm_s16le", rate=44100, layout="mono")
        for index in range(50):
            frame = av.VideoFrame.from_ndarray(grey(50), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        block = av.AudioFrame.from_ndarray((noise(1, 44100) * 30000).astype(np.int16), format="s16", layout="mono")
        block.sample_rate, block.pts, block.time_base = 44100, 22050, Fraction(1, 44100)
        container.mux(audio.encode(block))
        container.mux(audio.encode(None))
    heard = sound_of_file(path).take(10**9)[0]
    assert abs(np.flatnonzero(np.abs(heard) > 1e-3)[0] / 44100 - 0.5) < 0.005


def test_a_frame_of_an_impossible_size_is_told_of_as_damage(tmp_path):
    """FFmpeg runs out of memory over it."""
    path = Path(write(tmp_path / "clip.mp4", [1] * 5))
    content = bytearray(path.read_bytes())
    sizes = content.index(b"stsz") + 16  # of the first track's frames
    content[sizes : sizes + 4] = b"\x20\x00\x00\x10"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="clip.mp4 is damaged and cannot be read to its end"):
        read_video(str(path))


def test_silent_clip_has_no_sound(tmp_path):
    assert sound_of_file(write(tmp_path / "clip.mp4", [1] * 5)) is None


def test_surround_and_odd_channel_counts_are_accepted(tmp_path):
    for channels, expected in ((1, 1), (2, 2), (3, 1), (6, 6)):
        path = str(tmp_path / f"{channels}.mp4")
        with VideoWriter(
            path, SIZE, Fraction(25), sound=sound_of_tensor(torch.from_numpy(noise(1, 48000, channels))[None], 48000)
        ) as writer:
            for _ in range(10):
                writer.write(grey(1))
        assert sound_of_file(path).channels == expected


def test_odd_sides_get_one_pixel_of_their_edge(tmp_path):
    path = str(tmp_path / "odd.mp4")
    picture = np.zeros((33, 47, 3), np.uint8)
    picture[:, 24:] = 200
    with VideoWriter(path, (33, 47), Fraction(25)) as writer:
        writer.write(picture)
    assert writer.padded == (1, 1)
    shown = next(iter(read_video(path)))
    assert shown.shape == (34, 48, 3)
    assert shown[33, 47].tolist() == pytest.approx([200] * 3, abs=6)


def test_colours_survive_at_small_and_large_sizes(tmp_path):
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 64, 200)]
    for size in (SIZE, (720, 1280)):
        picture = np.repeat(np.array(colours, np.uint8)[None], size[1] // 4, 1).repeat(size[0], 0)
        path = str(tmp_path / "colours.mp4")
        with VideoWriter(path, size, Fraction(25)) as writer:
            writer.write(picture)
        shown = next(iter(read_video(path)))
        step = size[1] // 4
        for index, colour in enumerate(colours):
            assert shown[10, index * step + step // 2].tolist() == pytest.approx(colour, abs=4)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupted_render_leaves_nothing_and_spares_the_old_file(tmp_path, error):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"old")
    with pytest.raises(error):
        with VideoWriter(
            str(path), SIZE, Fraction(25), sound=sound_of_tensor(torch.from_numpy(noise(3, 44100))[None], 44100)
        ) as writer:
            for _ in range(30):
                writer.write(grey(9))
            raise error
    assert [p.name for p in tmp_path.iterdir()] == ["clip.mp4"]
    assert path.read_bytes() == b"old"


@pytest.fixture
def small_disk():
    """Files of this process end at 20 kB."""
    import resource
    import signal

    ignored, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, ignored)


@pytest.mark.parametrize(
    "count, size", [(5, (64, 96)), (60, (64, 96)), (200, SIZE)], ids=["at its end", "late", "early"]
)
def test_a_full_disk_leaves_nothing_behind(tmp_path, small_disk, count, size):
    """Whether it is found out only when the file is closed, or in writing a frame, after which closing it fails too."""
    random = np.random.default_rng(0)
    with pytest.raises(OSError, match="too large|full|space"):
        with VideoWriter(str(tmp_path / "clip.mp4"), size, Fraction(25), crf=1) as writer:
            for _ in range(count):
                writer.write(random.integers(0, 256, (*size, 3), dtype=np.uint8))
    assert not list(tmp_path.iterdir())


def test_a_clip_deleted_while_it_is_written_is_given_up_at_once(tmp_path):
    with pytest.raises(FileNotFoundError, match="another ComfyUI.*--temp-directory"):
        with VideoWriter(str(tmp_path / "clip.mp4"), SIZE, Fraction(25)) as writer:
            writer.write(grey(1))
            next(tmp_path.iterdir()).unlink()
            writer.write(grey(2))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "given, exact",
    [
        (29.97, (30000, 1001)),
        (Fraction(1054476685978981, 35184372088832), (30000, 1001)),
        (23.976, (24000, 1001)),
        (59.94, (60000, 1001)),
        (25.0, (25, 1)),
        (24.99999, (25, 1)),
        (12.5, (25, 2)),
        (Fraction(1, 3000), (1, 3000)),
    ],
)
def test_a_rate_written_with_fewer_digits_is_recovered(given, exact):
    assert exact_rate(given) == Fraction(*exact)


def test_wrong_frames_are_refused(tmp_path):
    with pytest.raises(ValueError, match="48, 64"):
        with VideoWriter(str(tmp_path / "clip.mp4"), SIZE, Fraction(25)) as writer:
            writer.write(np.zeros((48, 63, 3), np.uint8))
    with pytest.raises(ValueError, match="at least one frame"):
        with VideoWriter(str(tmp_path / "clip.mp4"), SIZE, Fraction(25)):
            pass


@pytest.mark.parametrize("fps", [Fraction(10**12), Fraction(1, 10**12)])
def test_rates_without_a_number_in_mp4_are_refused(tmp_path, fps):
    with pytest.raises(ValueError, match="0.001 to 10000"):
        VideoWriter(str(tmp_path / "clip.mp4"), SIZE, fps)
    assert not list(tmp_path.iterdir())


def test_variable_rate_on_a_grid_keeps_every_frame_and_holds_between(tmp_path):
    stamps = [0, 1, 2, 3, 5, 7, 9, 10, 11, 12]  # 30 fps, every second one missing in the middle
    path = write(
        tmp_path / "v.mkv",
        [20 * i for i in range(10)],
        Fraction(30),
        [round(1000 * s / 30) for s in stamps],
        Fraction(1, 1000),
    )
    clip = read_video(path)
    assert clip.variable and clip.fps == 30
    assert abs(clip.frame_count - 13) <= 1
    shown = [round(value_of(f) / 20) for f in clip][:13]
    assert shown == [0, 1, 2, 3, 3, 4, 4, 5, 5, 6, 7, 8, 9]
    assert "filled" in str(clip.report)


def test_irregular_rate_keeps_duration_and_timing(tmp_path):
    random = np.random.default_rng(3)
    gaps = random.integers(13, 97, 80)
    stamps = np.concatenate([[0], np.cumsum(gaps)]).tolist()
    path = write(tmp_path / "v.mkv", [3 * i for i in range(81)], Fraction(25), stamps, Fraction(1, 1000))
    clip = read_video(path)
    assert clip.variable
    shown = [round(value_of(f) / 3) for f in clip]
    assert len(shown) == clip.frame_count
    length = (stamps[-1] + 40) / 1000
    assert abs(clip.frame_count / clip.fps - length) < 1 / clip.fps + 0.05
    for slot, index in enumerate(shown):
        begins, ends = stamps[index] / 1000, (stamps[index + 1] if index < 80 else 1e9) / 1000
        assert begins - 1 / clip.fps <= slot / clip.fps <= ends + 1 / clip.fps


def few_frames(path, codec, rate, shown):
    """A clip of frames that are decoded one after the other and shown in these slots."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = SIZE[1], SIZE[0], "yuv420p"
        stream.codec_context.max_b_frames = 0
        packets = []
        for k in range(len(shown)):
            frame = av.VideoFrame.from_ndarray(grey(4 * k)).reformat(format="yuv420p")
            frame.pts = k
            packets += stream.encode(frame)
        for k, packet in enumerate([*packets, *stream.encode()]):
            packet.dts, packet.pts, packet.duration, packet.time_base = k, shown[k], 1, 1 / Fraction(rate)
            out.mux(packet)
    return str(path)


def test_frames_that_a_cut_took_are_not_filled_in(tmp_path):
    """An editor that cuts five frames out leaves a leap on screen, though all that is there is decoded evenly."""
    path = few_frames(tmp_path / "cut.mp4", "libx264", 25, [*range(10), *range(15, 25)])
    clip = read_video(path)
    assert (clip.fps, clip.frame_count, clip.variable) == (25, 20, False)
    assert [value_of(frame) for frame in clip] == pytest.approx([4 * k for k in range(20)], abs=3)


@pytest.mark.parametrize("rate", [Fraction(247, 10), Fraction(243, 10), Fraction(126, 10)])
def test_a_short_clip_of_an_unusual_rate_keeps_it(tmp_path, rate):
    """Times in whole milliseconds leave room for the rate, and none for another that is more usual."""
    stamps = [round(1000 * k / rate) for k in range(5)]
    clip = read_video(write(tmp_path / "v.mkv", [0, 9, 18, 27, 36], rate, stamps, Fraction(1, 1000)))
    assert float(clip.fps) == pytest.approx(float(rate), rel=0.004) and clip.frame_count == 5


@pytest.mark.parametrize("told, fps", [(True, 10), (False, 25)])
def test_a_single_frame_has_the_rate_that_the_file_says_or_25(tmp_path, told, fps):
    """What a browser records says no frame's length: the millisecond that times count in is none."""
    path = Path(few_frames(tmp_path / "one.webm", "libvpx", 10, [0]))
    if not told:
        content = path.read_bytes()
        at = content.index(b"\x23\xe3\x83\x84")  # Matroska's DefaultDuration, in four bytes
        path.write_bytes(content[:at] + b"\xec\x86" + bytes(6) + content[at + 8 :])  # is made void
    clip = read_video(str(path))
    assert (clip.fps, clip.frame_count, len(list(clip))) == (fps, 1, 1)


@pytest.mark.parametrize("broken", ["hold", "interpolate", "pass through"])
def test_broken_frames_keep_the_length(tmp_path, broken):
    good = write(tmp_path / "good.mp4", [4 * i for i in range(40)], options={"crf": "1", "bf": "0", "g": "1"})
    bad = break_packets(good, tmp_path / "bad.mp4", [20, 21, 22])
    clip = read_video(bad, broken=broken)
    shown = [value_of(frame) for frame in clip]
    assert len(shown) == clip.frame_count == 40
    assert shown[:20] + shown[23:] == pytest.approx([4 * i for i in range(40) if i not in (20, 21, 22)], abs=2)
    if broken == "hold":
        assert shown[20:23] == pytest.approx([76] * 3, abs=2)
    if broken == "interpolate":
        assert shown[20:23] == pytest.approx([80, 84, 88], abs=2)
    if broken != "pass through":
        assert clip.report.broken == 3 and "3 broken" in str(clip.report)


def test_what_was_done_is_told_while_the_frames_are_read(tmp_path):
    good = write(tmp_path / "good.mp4", [4 * i for i in range(12)], options={"crf": "1", "bf": "0", "g": "1"})
    clip = read_video(break_packets(good, tmp_path / "bad.mp4", [5, 11]))
    frames = iter(clip)
    for _ in range(12):
        next(frames)
    assert clip.report.broken == 2, "a reader that takes no more than the frames there are hears of all of them"


def test_a_clip_that_starts_broken_begins_with_its_first_good_frame(tmp_path):
    good = write(tmp_path / "good.mp4", [4 * i for i in range(20)], options={"crf": "1", "bf": "0", "g": "1"})
    shown = [value_of(f) for f in read_video(break_packets(good, tmp_path / "bad.mp4", [0, 1]))]
    assert shown[:3] == pytest.approx([8, 8, 8], abs=2) and len(shown) == 20


def test_a_wholly_broken_clip_says_what_to_do(tmp_path):
    good = write(tmp_path / "good.mp4", [4 * i for i in range(5)], options={"crf": "1", "bf": "0", "g": "1"})
    with pytest.raises(ValueError, match="None of the 5 frames.*convert it"):
        read_video(break_packets(good, tmp_path / "bad.mp4", range(5)))


def test_frames_that_change_size_are_scaled_to_the_first(tmp_path):
    first = write(tmp_path / "a.ts", [50] * 10, options={"g": "5"})
    second = write(tmp_path / "b.ts", [200] * 10, size=(64, 80), options={"g": "5"})
    path = tmp_path / "both.h264"
    with av.open(str(path), "w", format="h264") as out:
        for part in (first, second):
            with av.open(part) as source:
                video = source.streams.video[0]
                stream = out.streams.video[0] if out.streams.video else out.add_stream_from_template(video)
                for packet in source.demux(video):
                    if packet.size:
                        packet.stream = stream
                        packet.pts = packet.dts = None
                        out.mux(packet)
    clip = read_video(str(path))
    frames = list(clip)
    assert len(frames) == clip.frame_count == 20
    assert {frame.shape for frame in frames} == {(*SIZE, 3)}
    assert value_of(frames[-1]) == pytest.approx(200, abs=3)
    assert clip.report.resized == 10


def test_a_stream_can_be_read_twice_and_from_memory(tmp_path):
    clip = read_video(io.BytesIO(open(write(tmp_path / "clip.mp4", [10, 60, 110]), "rb").read()))
    assert (
        [round(value_of(f)) for f in clip] == [round(value_of(f)) for f in clip] == pytest.approx([10, 60, 110], abs=2)
    )


def test_a_trim_outside_the_clip_says_when_it_is_shown(tmp_path):
    with pytest.raises(ValueError, match="from 0.000 s to 1.000 s and has no frame from 3.000 s"):
        read_video(write(tmp_path / "clip.mp4", [1] * 25), start=3.0)


@pytest.mark.parametrize("name, words", [("sound.mov", "no video stream"), ("sound.wav", "no video that can be read")])
def test_a_file_without_video_says_so(tmp_path, name, words):
    path = str(tmp_path / name)
    with av.open(path, "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        block = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        block.sample_rate = 8000
        container.mux(stream.encode(block))
    with pytest.raises(ValueError, match=words):
        read_video(path)


def test_continuations():
    assert [continued_index(i, 3, "hold") for i in range(7)] == [0, 1, 2, 2, 2, 2, 2]
    assert [continued_index(i, 3, "loop") for i in range(7)] == [0, 1, 2, 0, 1, 2, 0]
    assert [continued_index(i, 3, "ping-pong") for i in range(7)] == [0, 1, 2, 1, 0, 1, 2]


@given(st.integers(0, 500), st.integers(1, 50), st.sampled_from(["hold", "loop", "ping-pong"]))
def test_continuations_step_by_one_frame_at_most_but_for_the_loop(frame, count, policy):
    here, after = (continued_index(f, count, policy) for f in (frame, frame + 1))
    assert 0 <= here < count
    assert policy == "loop" or abs(after - here) <= 1


@pytest.mark.parametrize("turn, matrix", [(90, (0, 1, -1, 0)), (180, (-1, 0, 0, -1)), (270, (0, -1, 1, 0))])
def test_frames_are_turned_the_way_the_camera_was_held(tmp_path, turn, matrix):
    picture = np.zeros((*SIZE, 3), np.uint8)
    picture[:8] = 250  # a bright bar at the top of the file's frame
    path = str(tmp_path / "turned.mp4")
    with VideoWriter(path, SIZE, Fraction(25), crf=1) as writer:
        writer.write(picture)
    data = bytearray(open(path, "rb").read())
    place = data.find(b"tkhd") + 4 + 40
    a, b, c, d = (value % 2**16 * 2**16 for value in matrix)
    data[place : place + 36] = np.array([a, b, 0, c, d, 0, 0, 0, 2**30], ">u4").tobytes()
    open(path, "wb").write(data)
    clip = read_video(path)
    frame = next(iter(clip))
    assert clip.size == frame.shape[:2] == (SIZE if turn == 180 else SIZE[::-1])
    bright = {90: frame[:, -8:], 180: frame[-8:], 270: frame[:, :8]}[turn]  # turned clockwise
    assert bright.mean() > 240 and frame.mean() < 60


@pytest.mark.parametrize("format", ["gray", "gray16be", "rgba", "rgb48be", "rgb24"])
def test_pictures_of_any_depth_are_read_as_rgb(tmp_path, format):
    path = str(tmp_path / "picture.png")
    with av.open(path, "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream("png", rate=1)
        stream.height, stream.width = SIZE
        stream.pix_fmt = format
        container.mux(stream.encode(av.VideoFrame.from_ndarray(grey(120), format="rgb24").reformat(format=format)))
        container.mux(stream.encode(None))
    clip = read_video(path)
    assert clip.frame_count == 1
    assert np.abs(next(iter(clip)).astype(int) - 120).max() <= 1
