"""Odd clips: every frame, in order, upright, with square pixels and in its colors, as FFmpeg's decoder and filters
show it."""

import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import clips
import numpy as np
import pytest
from catalog import ODD, STORED, every_combination
from clips import TURNS, Clip, number_of, picture, upright, write
from PIL import Image, ImageCms, ImageOps

from leo_core.training.data import read_clip
from leo_core.training.pictures import center_square
from leo_core.video import read_first, read_video, sound_of_file

FPS = Fraction(25)
UNDO = {"turned 90": "turned 270", "turned 270": "turned 90"}
# What is left of the four colors: YUV of 8 bits and lossy codecs; GIF has 256 colors, gray none.
NEAR = 12


def pytest_generate_tests(metafunc):
    if "any_clip" in metafunc.fixturenames:
        every = every_combination() if metafunc.config.getoption("--full") else STORED + ODD
        metafunc.parametrize("any_clip", every, ids=[clip.name for clip in every])


def numbers(frames, clip: Clip) -> list[int]:
    return [number_of(TURNS[UNDO.get(clip.turn, clip.turn)][1](frame)) for frame in frames]


def corners(frame: np.ndarray) -> np.ndarray:
    return frame[[4, 4, -5, -5], [4, -5, 4, -5]].astype(int)


def plainly_decoded(path: str, clip: Clip) -> list[np.ndarray]:
    """The frames through FFmpeg's own filters, as many as the decoder gives."""
    graph = source = None
    frames = []
    with av.open(path) as container:
        stream = max(
            (s for s in container.streams.video if s.average_rate != 1 or clip.fps == 1), key=lambda s: s.width
        )
        for frame in container.decode(stream):
            if graph is None:
                graph = av.filter.Graph()
                source = graph.add(
                    "buffer",
                    f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base={frame.time_base}:"
                    f"colorspace={int(frame.colorspace)}:range={int(frame.color_range)}",
                )
                height, width = upright(replace(clip, turn="upright"))
                turned = {
                    "turned 90": "transpose=clock",
                    "turned 180": "hflip,vflip",
                    "turned 270": "transpose=cclock",
                    "mirrored": "hflip",
                    "upside down mirrored": "vflip",
                    "transposed": "transpose=cclock_flip",
                    "transversed": "transpose=clock_flip",
                }
                steps = [f"scale={width}:{height}", "format=rgb24", *turned.get(clip.turn, "null").split(",")]
                nodes = [source, *(graph.add(*step.split("=")) for step in steps), graph.add("buffersink")]
                graph.link_nodes(*nodes).configure()
            graph.push(frame)
            frames.append(graph.pull().to_ndarray())
    return frames


def test_every_frame_is_shown_as_it_was_meant(tmp_path, any_clip):
    clip = any_clip
    stream = read_video(write(clip, tmp_path))
    frames = list(stream)
    assert numbers(frames, clip) == clip.shown
    assert stream.frame_count == len(frames) and stream.fps == clip.fps
    assert {frame.shape for frame in frames} == {(*upright(clip), 3)} and stream.size == upright(clip)
    expected = TURNS[clip.turn][1](picture(0, clip.size))
    if clip.pixels == "gray":
        expected = expected @ (0.299, 0.587, 0.114)
    if clip.codec != "gif":
        assert (
            np.abs(
                corners(frames[0])
                - corners(np.broadcast_to(expected.reshape(*expected.shape[:2], -1), (*expected.shape[:2], 3)))
            ).max()
            < NEAR
        )


def test_frames_are_those_of_ffmpegs_filters(tmp_path, any_clip):
    """Pixel for pixel, but for the last bits of scaling; HDR and interlaced frames are not left as they are."""
    clip = any_clip
    if clip.suffix == ".webp":
        return  # FFmpeg does not decode it; the test above knows what it shows
    path = write(clip, tmp_path)
    stream = read_video(path)
    shown, plain = list(stream), plainly_decoded(path, clip)
    assert len(shown) - stream.report.filled == len(plain)
    if clip.transfer or clip.interlaced or stream.report.filled:
        return
    near = 1 if clip.pixel_shape == 1 else 2.5
    for frame, reference in zip(shown, plain, strict=True):
        assert np.abs(frame.astype(int) - reference).mean() < near


@pytest.mark.parametrize(
    "clip",
    [
        Clip(frames=60, gop=250),
        Clip(".ts", frames=60, gop=250, start=1.4),
        Clip(".mpg", "mpeg2video", frames=60, gop=30),
        Clip(".avi", frames=60, gop=250),
        Clip(".mkv", frames=60, gop=10, start=2.0),
        Clip(".h264", frames=60),
        Clip(".flv", frames=60),
        Clip(".webm", "libvpx-vp9", frames=60, b_frames=0),
    ],
    ids=lambda clip: clip.name,
)
def test_a_part_is_that_part_of_the_whole(tmp_path, clip):
    """Seeking lands behind the place that was asked for, or on a frame that does not stand alone."""
    path = write(clip, tmp_path)
    whole = read_video(path)
    for begin in (0.4, 0.98, 1.52, 2.2):
        part = read_video(path, whole.start + begin, 0.2)
        first = int(np.ceil(round(begin * 25, 6)))
        assert numbers(part, clip) == list(range(first, first + 5)), begin
        assert part.start == pytest.approx(whole.start + first / 25, abs=0.002)


def test_a_video_in_memory_is_read_by_many_at_once(tmp_path):
    """Each opening has its own place in the buffer; with one for all, 20 frames became 2."""
    clip = Clip(sound=True, frames=40)
    held = io.BytesIO(open(write(clip, tmp_path), "rb").read())
    stream, sound = read_video(held), sound_of_file(held)
    with ThreadPoolExecutor(3) as threads:
        frames = threads.submit(numbers, stream, clip), threads.submit(numbers, stream, clip)
        heard = threads.submit(lambda: sum(sound.take(100).shape[1] for _ in range(40 * 20)))
        assert [future.result() for future in frames] == [clip.shown] * 2
        assert heard.result() >= 40 * 1920


@pytest.mark.parametrize(
    "clip",
    [
        Clip(turn="turned 90"),
        Clip(pixel_shape=Fraction(1, 3)),
        Clip(".ts", gop=250, start=1.4),
        Clip(cover=True),
        Clip(codec="libx265", pixels="yuv420p10le", matrix="bt2020", transfer="hlg"),
    ],
    ids=lambda clip: clip.name,
)
def test_training_sees_what_a_graph_sees(tmp_path, clip):
    path = write(clip, tmp_path)
    seen = read_clip(clips.Path(path), 32)
    assert (seen.frames == np.stack([center_square(Image.fromarray(frame), 32) for frame in read_video(path)])).all()


def test_sound_of_joined_recordings_stays_with_them(tmp_path):
    clip = Clip(".ts", joined=3, sound=True)
    heard = sound_of_file(write(clip, tmp_path)).take(10**9)
    # the AAC of each recording begins and ends with up to two frames of 21 ms more
    assert heard.shape[1] / 48000 == pytest.approx(60 / 25, abs=3 * 4 * 0.0214)


def test_what_was_done_to_the_colors_is_said(tmp_path):
    for clip, words in (
        (Clip(codec="libx265", pixels="yuv420p10le", matrix="bt2020", transfer="pq"), "HDR (PQ) converted to SDR"),
        (Clip(codec="libx265", pixels="yuv420p10le", matrix="bt2020", transfer="hlg"), "HDR (HLG) converted to SDR"),
        (Clip(interlaced=True, b_frames=0), "20 frames deinterlaced"),
        (Clip(), "every frame as in the file"),
    ):
        stream = read_video(write(clip, tmp_path))
        list(stream)
        assert str(stream.report) == words


def test_transparent_pixels_are_black_and_said_so(tmp_path):
    with av.open(str(tmp_path / "cut_out.mov"), "w") as out:
        stream = out.add_stream("qtrle", rate=25)
        stream.height, stream.width, stream.pix_fmt = 16, 32, "argb"
        rgba = np.full((16, 32, 4), 200, np.uint8)
        rgba[..., 3] = 255
        rgba[:, :16, 3], rgba[:, 16:20, 3] = 0, 128
        out.mux(stream.encode(av.VideoFrame.from_ndarray(rgba, format="rgba")))
        out.mux(stream.encode(None))
    stream = read_video(str(tmp_path / "cut_out.mov"))
    (frame,) = stream
    assert (frame[:, :16] == 0).all() and (frame[:, 16:20] == 100).all() and (frame[:, 20:] == 200).all()
    assert str(stream.report) == "1 transparent frames shown on black"


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
def test_what_a_transparent_webm_hides_does_not_come_back(tmp_path, codec):
    """FFmpeg's own decoders of VP8 and VP9 show it."""
    with av.open(str(tmp_path / "cut_out.webm"), "w") as out:
        stream = out.add_stream(codec, rate=25, options={"auto-alt-ref": "0", "crf": "4", "b": "4M"})
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuva420p"
        for index in range(5):
            rgba = np.full((64, 96, 4), 200, np.uint8)
            rgba[..., 3] = 255
            rgba[:, : 16 * index, 3] = 0
            frame = av.VideoFrame.from_ndarray(rgba, format="rgba")
            out.mux(stream.encode(frame.reformat(format="yuva420p")))
        out.mux(stream.encode(None))
    stream = read_video(str(tmp_path / "cut_out.webm"))
    shown = list(stream)
    assert len(shown) == 5 and stream.fps == 25
    for index, frame in enumerate(shown):
        assert not frame[:, : max(0, 16 * index - 4)].any() and (frame[:, 16 * index + 4 :] > 190).all()
    assert str(stream.report) == "4 transparent frames shown on black"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
def test_a_photo_stands_as_its_exif_data_say(tmp_path, suffix, orientation):
    """Also mirrored, as front cameras write."""
    exif, path = Image.Exif(), tmp_path / f"photo.{suffix}"
    exif[0x0112] = orientation
    Image.fromarray(picture(5)).save(path, exif=exif, **({} if suffix == "tiff" else {"quality": 95}))
    with Image.open(path) as stored:
        upright_photo = np.asarray(ImageOps.exif_transpose(stored).convert("RGB")).astype(int)
    for source in (str(path), io.BytesIO(path.read_bytes())):
        (frame,) = read_video(source)
        assert frame.shape == upright_photo.shape and np.abs(frame - upright_photo).mean() < 4
        assert (read_first(source)[0] == frame).all()


def test_the_first_picture_is_the_first_frame(tmp_path):
    for clip in (
        Clip(turn="turned 90"),
        Clip(".ts", start=1.4),
        Clip(".mkv", start=3.0),
        Clip(pixel_shape=Fraction(4, 3)),
    ):
        path = write(clip, tmp_path)
        pixels, transparent = read_first(path)
        assert (pixels == next(iter(read_video(path)))).all() and not transparent


def test_a_damaged_animation_says_so(tmp_path):
    path = Path(write(Clip(".webp", "webp"), tmp_path))
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(ValueError, match="WebP is damaged"):
        read_video(str(path))


def test_fields_of_an_interlaced_clip_do_not_comb(tmp_path):
    """A bar that moves by 8 pixels a field: its edge is jagged in the file and straight in what is read."""
    with av.open(str(tmp_path / "bar.mpg"), "w") as out:
        stream = out.add_stream("mpeg2video", rate=25, options={"flags": "+ildct+ilme", "b": "8M", "g": "1"})
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        for index in range(5):
            woven = np.full((64, 96, 3), 30, np.uint8)
            for field in (0, 1):
                woven[field::2, : 16 + 16 * index + 8 * field] = 220
            out.mux(stream.encode(av.VideoFrame.from_ndarray(woven, format="rgb24")))
        out.mux(stream.encode(None))
    frames = [frame.astype(int) for frame in read_video(str(tmp_path / "bar.mpg"))]
    assert len(frames) == 5
    rows = frames[2][8:-8].mean(-1)
    assert np.abs(np.diff(rows, axis=0)).max() < 60, "neighboring rows show one moment"


def test_a_picture_with_a_named_color_profile_is_let_go_of_cleanly(tmp_path):
    """Touching the side data of such a frame ends the process when the frame is collected (PyAV 18)."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(picture(5)).save(tmp_path / "profile.png", icc_profile=profile)
    code = (
        "import gc, sys; from leo_core.video import read_video; print(next(iter(read_video(sys.argv[1]))).shape); "
        "gc.collect()"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "profile.png")], capture_output=True, text=True, cwd=clips.ROOT
    )
    assert (run.returncode, run.stdout) == (0, "(64, 96, 3)\n"), run.stderr


def test_frames_of_a_folder_show_no_hidden_background_to_training(tmp_path):
    rgba = np.full((32, 32, 4), 200, np.uint8)
    rgba[:, :16, 3], rgba[:, 16:, 3] = 0, 255
    (tmp_path / "walk").mkdir()
    for number in range(2):
        Image.fromarray(rgba).save(tmp_path / "walk" / f"{number}.png")
        Image.fromarray(rgba).quantize().save(tmp_path / "walk" / f"{number + 2}.png")
    frames = read_clip(tmp_path / "walk", 32).frames
    assert len(frames) == 4 and (frames[:, :, :15] == 0).all() and (frames[:, :, 17:] == 200).all()
