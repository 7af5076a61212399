"""Render Video as a graph would call it: on disk, on time, in place, in flat memory."""

import gc
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
import torch
from comfy_api.latest import InputImpl, Types
from leo_pack.nodes import animator as animator_nodes
from leo_pack.nodes import photo, video
from leo_pack.nodes.support import fullres, rendering
from leo_pack.nodes.support.handles import AnimatorHandle
from leo_pack.nodes.support.streams import open_video
from PIL import Image

from leo_core.motion import MotionSequence
from leo_core.video import VideoWriter, read_video, sound_of_file, sound_of_tensor

SETTINGS = {
    "full_resolution": False,
    "crf": 18,
    "feather": 0.1,
    "region": "box",
    "length": "motion",
    "broken_frames": "hold",
}
FPS = Fraction(25)
SHIPPED = Path(__file__).resolve().parents[2] / "models" / "leo-face-64.safetensors"


@pytest.fixture(autouse=True)
def folders(comfy_folders):
    return comfy_folders


@pytest.fixture
def photograph():
    """A smooth picture of odd sides, as H.264 likes and dislikes them."""
    y, x = torch.linspace(0, 3, 121)[:, None], torch.linspace(0, 3, 161)
    return torch.stack([torch.sin(x + y), torch.cos(x - y), torch.sin(2 * x) * torch.cos(y)], -1)[None] * 0.3 + 0.5


@pytest.fixture
def appearance(handle, photograph):
    return rendering.encode_appearance(handle, photograph)


def motion(handle, frames, fps=FPS, reach=1.0):
    steps = torch.randn((frames, handle.config.directions), generator=torch.Generator().manual_seed(0))
    return MotionSequence(steps * reach, fps, handle.id)


def render(handle, appearance, moves, **changes):
    return video.LEORenderVideo.execute(handle, appearance, moves, **{**SETTINGS, **changes}).result[0]


def encode_clip(handle, driving, **changes):
    return animator_nodes.LEOMotionEncoder.execute(handle, 25.0, video=driving, **changes).result[0]


def frames_of(rendered):
    return [torch.from_numpy(frame).float() / 255 for frame in read_video(rendered.get_stream_source())]


def clip(path, frames, fps=FPS, size=(120, 160), sound=None):
    """A VIDEO whose frame number can be read off its brightness."""
    with VideoWriter(str(path), size, fps, crf=1, sound=sound) as writer:
        for index in range(frames):
            writer.write(np.full((*size, 3), 40 + 5 * (index % 43), np.uint8))
    return InputImpl.VideoFromFile(str(path))


def brightness(frame):
    """The frame number of `clip`, from a corner that nothing is pasted over."""
    return round((float(frame[:8, :8].mean()) * 255 - 40) / 5)


def noise(seconds, rate=44100):
    return torch.randn((1, 2, round(seconds * rate)), generator=torch.Generator().manual_seed(0)) * 0.1


def test_it_explains_itself():
    schema = video.LEORenderVideo.GET_SCHEMA()
    assert (
        schema.node_id == "LEORenderVideo"
        and schema.display_name == "LEO Render Video"
        and schema.category == "LEO/core"
    )
    assert schema.description and schema.search_aliases
    for port in [*schema.inputs, *schema.outputs]:
        assert port.tooltip and port.tooltip.endswith("."), port.id


def test_it_shows_what_the_four_stages_show(handle, appearance):
    moves = motion(handle, 9)
    flow = animator_nodes.LEOFlowGenerator.execute(handle, appearance, moves).result[0]
    expected = animator_nodes.LEOInpaintingDecoder.execute(handle, appearance, flow, full_resolution=False).result[0]
    rendered = render(handle, appearance, moves, crf=0)
    assert rendered.get_dimensions() == (32, 32) and rendered.get_frame_rate() == FPS
    shown = torch.stack(frames_of(rendered))
    assert shown.shape == expected.shape
    # what colour at half resolution leaves of noise
    assert (shown.mean(-1) - expected.mean(-1)).abs().mean() < 0.03


@pytest.mark.parametrize("fps", [Fraction(24000, 1001), Fraction(30000, 1001), Fraction(25, 2)])
def test_rate_duration_and_sound_are_exact(handle, appearance, fps):
    waveform = noise(4)
    rendered = render(handle, appearance, motion(handle, 40, fps), audio={"waveform": waveform, "sample_rate": 44100})
    assert (rendered.get_frame_rate(), rendered.get_frame_count()) == (fps, 40)
    assert rendered.get_duration() == pytest.approx(40 / fps, abs=float(1 / fps))
    components = rendered.get_components()
    heard = components.audio["waveform"][0, 0].numpy()
    lag = np.correlate(heard[2000:22000], waveform[0, 0, 3000:21000].numpy(), "valid").argmax() - 1000
    assert abs(lag) / 44100 < 0.02
    assert len(components.images) == 40


@pytest.mark.parametrize("loop, count", [("GIF", 6), ("WebP ping-pong", 10)])
def test_a_loop_is_saved_and_shown_beside_the_video(handle, appearance, folders, loop, count):
    moves = motion(handle, 6)
    made = video.LEORenderVideo.execute(handle, appearance, moves, crf=0, loop=loop, loop_prefix="mine/loop")
    (shown,) = made.ui.as_dict()["images"]
    assert shown == {"filename": f"loop_00001_.{loop[:4].strip().lower()}", "subfolder": "mine", "type": "output"}
    (path,) = (folders / "output" / "mine").iterdir()
    assert path.name == shown["filename"]
    plain = frames_of(render(handle, appearance, moves, crf=0))
    with Image.open(path) as saved:
        assert saved.n_frames == count and saved.size == (32, 32)
        saved.seek(count - 1)
        last = torch.from_numpy(np.array(saved.convert("RGB"))) / 255
    assert (last - plain[5 if loop == "GIF" else 1]).abs().mean() < 0.1
    assert len(made.result[0].get_components().images) == 6  # the video stays as it is
    assert render(handle, appearance, moves).get_frame_count() == 6 and len(list(path.parent.iterdir())) == 1


def test_a_loop_that_cannot_be_saved_is_refused_before_anything_is_rendered(handle, appearance, monkeypatch):
    monkeypatch.setattr(video, "rendered_faces", lambda *_: pytest.fail("rendered"))
    with pytest.raises(ValueError, match="not a location in ComfyUI's output folder"):
        render(handle, appearance, motion(handle, 6), loop="GIF", loop_prefix="../loop")


def test_save_video_takes_it_as_it_is(handle, appearance, tmp_path):
    rendered = render(handle, appearance, motion(handle, 5), audio={"waveform": noise(1), "sample_rate": 44100})
    rendered.save_to(str(tmp_path / "saved.mp4"), format=Types.VideoContainer("mp4"), codec="h264")
    with av.open(str(tmp_path / "saved.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]
    assert len(read_video(str(tmp_path / "saved.mp4"))) == 5


def test_the_photo_keeps_its_size_and_what_is_around_the_crop(handle, photograph):
    cut, crop, *_ = photo.LEOCropSubject.execute(
        photograph,
        0.0,
        1.0,
        "edge",
        "largest",
        0,
        0.5,
        0.5,
        "still",
        5.0,
        "hold",
        boxes={"x": 60, "y": 40, "width": 60, "height": 60},
    ).result
    seen = rendering.encode_appearance(handle, cut)
    rendered = render(handle, seen, motion(handle, 6), crop=crop, picture=photograph)
    assert rendered.get_dimensions() == (162, 122), "an odd side has one pixel more"
    shown = frames_of(rendered)
    around = torch.ones(121, 161, dtype=torch.bool)
    around[36:104, 56:124] = False  # the box, and the blocks of H.264 that touch it
    for frame in shown:
        assert (frame[:121, :161] - photograph[0])[around].abs().mean() < 2 / 255
    assert (shown[3][:121, :161] - photograph[0])[50:90, 70:110].abs().mean() > 0.05


def test_a_whole_picture_comes_back_at_its_own_shape(handle, appearance, photograph):
    rendered = render(handle, appearance, motion(handle, 2), picture=photograph)
    assert rendered.get_dimensions() == (162, 122)
    alone = render(handle, appearance, motion(handle, 2))
    small = torch.nn.functional.interpolate(frames_of(rendered)[1].movedim(-1, 0)[None], (32, 32), mode="area")[
        0
    ].movedim(0, -1)
    assert (small.mean(-1) - frames_of(alone)[1].mean(-1)).abs().mean() < 0.06


def test_full_resolution_shows_the_photo_itself_in_its_own_pose(handle, appearance, photograph):
    own = MotionSequence(appearance.pose.expand(3, -1).contiguous(), FPS, handle.id)
    sharp = frames_of(render(handle, appearance, own, picture=photograph, full_resolution=True, crf=1))
    assert (sharp[1][:121, :161] - photograph[0]).abs().mean() < 2 / 255
    plain = frames_of(render(handle, appearance, own, picture=photograph))
    assert (plain[1][:121, :161] - photograph[0]).abs().mean() > 10 / 255
    with pytest.raises(ValueError, match="no picture is connected"):
        render(handle, appearance, own, full_resolution=True)


def test_full_resolution_goes_on_when_memory_runs_out(handle, appearance, photograph, monkeypatch):
    warp = fullres.FullResolutionFrames(handle, appearance, photograph[0])
    chunk = next(rendering.render_chunks(handle, appearance, motion(handle, 1)))
    values = torch.rand(32, 32, 3), chunk.displacement, chunk.mask
    expected = warp(*values)
    warp._device = torch.device("cuda")

    def full(*_):
        raise torch.OutOfMemoryError("no room")

    warp._warp = full
    assert torch.equal(warp(*values), expected)
    warp._warp = full
    with pytest.raises(torch.OutOfMemoryError):
        warp(*values)


@pytest.mark.parametrize("length, count", [("motion", 6), ("hold", 15), ("loop", 15), ("ping-pong", 15), ("cut", 6)])
def test_a_motion_shorter_than_the_sound_follows_the_policy(handle, appearance, length, count):
    moves = motion(handle, 6)
    rendered = render(handle, appearance, moves, length=length, audio={"waveform": noise(0.6), "sample_rate": 44100})
    shown = frames_of(rendered)
    assert len(shown) == count
    order = {
        "motion": "012345",
        "cut": "012345",
        "hold": "012345555555555",
        "loop": "012345012345012",
        "ping-pong": "012345432101234",
    }[length]
    for frame, place in zip(shown, order, strict=True):
        distances = [(frame - shown[i]).abs().mean() for i in range(6)]
        assert int(torch.stack(distances).argmin()) == int(place)


def test_a_motion_longer_than_the_sound_is_cut_only_when_asked(handle, appearance):
    sound = {"waveform": noise(0.2), "sample_rate": 44100}
    assert render(handle, appearance, motion(handle, 20), audio=sound).get_frame_count() == 20
    assert render(handle, appearance, motion(handle, 20), audio=sound, length="loop").get_frame_count() == 20
    assert render(handle, appearance, motion(handle, 20), audio=sound, length="cut").get_frame_count() == 5


def small_crop(source, size=(120, 160), frames=1, **changes):
    _, crop = photo.LEOCropSubject.execute(
        torch.zeros(frames, *size, 3),
        **{
            "margin": 0.0,
            "aspect": 1.0,
            "border": "edge",
            "person": "largest",
            "index": 0,
            "point_x": 0.5,
            "point_y": 0.5,
            "track": "still",
            "smooth": 5.0,
            "missing": "hold",
            "boxes": source,
            **changes,
        },
    ).result
    return crop


BOX = {"x": 60, "y": 40, "width": 60, "height": 60}


def test_it_pastes_into_the_frames_of_a_clip_with_its_sound(handle, appearance, tmp_path):
    waveform = noise(3)
    driving = clip(tmp_path / "clip.mp4", 40, sound=sound_of_tensor(waveform, 44100)).as_trimmed(0.4, 1.0)
    rendered = render(handle, appearance, motion(handle, 30), crop=small_crop(BOX), video=driving)
    shown = [brightness(frame) for frame in frames_of(rendered)]
    assert shown == [10 + min(i, 24) for i in range(30)]
    heard = rendered.get_components().audio["waveform"][0, 0].numpy()
    start = round(0.4 * 44100)
    lag = np.correlate(heard[2000:22000], waveform[0, 0, start + 3000 : start + 21000].numpy(), "valid").argmax() - 1000
    assert abs(lag) / 44100 < 0.02


def test_a_clip_of_another_rate_behind_keeps_its_own_time(handle, appearance, tmp_path):
    rendered = render(
        handle,
        appearance,
        motion(handle, 20, Fraction(50)),
        crop=small_crop(BOX),
        video=clip(tmp_path / "clip.mp4", 30),
    )
    assert [brightness(frame) for frame in frames_of(rendered)] == [i // 2 for i in range(20)]


def variable_clip(path, waveform):
    """A VIDEO of 60 frames, shown 20 to 80 ms each, with sound of the same length: (it, when each frame begins in
    seconds)."""
    begins = np.concatenate([[0], np.cumsum(np.random.default_rng(5).integers(20, 81, 59))])
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.height, stream.width, stream.pix_fmt = 120, 160, "yuv420p"
        stream.codec_context.time_base, stream.codec_context.max_b_frames = Fraction(1, 1000), 0
        audio = container.add_stream("pcm_s16le", rate=44100, layout="stereo")
        for index, at in enumerate(begins):
            frame = av.VideoFrame.from_ndarray(np.full((120, 160, 3), 40 + 5 * (index % 43), np.uint8), format="rgb24")
            frame.pts, frame.time_base = int(at), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        samples = (waveform[0].T.reshape(1, -1) * 32767).round().to(torch.int16).numpy()
        block = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
        block.sample_rate, block.pts, block.time_base = 44100, 0, Fraction(1, 44100)
        container.mux(audio.encode(block))
        container.mux(audio.encode(None))
    return InputImpl.VideoFromFile(str(path)), begins / 1000


def test_a_clip_of_variable_rate_keeps_its_duration_its_timing_and_its_sound(handle, appearance, tmp_path):
    waveform = noise(3.2)
    driving, begins = variable_clip(tmp_path / "clip.mkv", waveform)
    moves = encode_clip(handle, driving)
    rendered = render(handle, appearance, moves, crop=small_crop(BOX), video=driving)
    shown = [brightness(frame) for frame in frames_of(rendered)]
    assert rendered.get_frame_count() == len(shown) == len(moves)
    step = float(1 / moves.fps)
    assert abs(rendered.get_duration() - (begins[-1] + 0.04)) <= step
    for place, index in enumerate(shown):
        nearest = min((i for i in range(60) if i % 43 == index), key=lambda i: abs(begins[i] - place * step))
        assert (
            begins[nearest] <= (place + 1) * step
            and place * step <= (begins[nearest + 1] if nearest < 59 else np.inf) + step
        )
    heard = rendered.get_components().audio["waveform"][0, 0].numpy()
    lag = np.correlate(heard[2000:22000], waveform[0, 0, 3000:21000].numpy(), "valid").argmax() - 1000
    assert abs(lag) / 44100 < 0.02


def test_a_silent_clip_gives_a_silent_video(handle, appearance, tmp_path):
    rendered = render(handle, appearance, motion(handle, 4), video=clip(tmp_path / "clip.mp4", 4))
    assert sound_of_file(rendered.get_stream_source()) is None


def test_a_video_in_memory_gives_its_frames_and_sound(handle, appearance):
    frames = torch.arange(10)[:, None, None, None].expand(10, 120, 160, 3) / 255
    held = InputImpl.VideoFromComponents(
        Types.VideoComponents(
            images=(frames * 5 + 40 / 255), audio={"waveform": noise(1), "sample_rate": 44100}, frame_rate=FPS
        )
    )
    rendered = render(handle, appearance, motion(handle, 10), crop=small_crop(BOX), video=held)
    assert [brightness(frame) for frame in frames_of(rendered)] == list(range(10))
    assert sound_of_file(rendered.get_stream_source()) is not None


def test_a_file_in_memory_gives_its_frames_and_sound_at_once(handle, appearance, tmp_path):
    """As Create Video and Trim Video hand it on: frames and sound are read by different threads."""
    path = clip(tmp_path / "clip.mp4", 60, sound=sound_of_tensor(noise(3), 44100)).get_stream_source()
    held = InputImpl.VideoFromFile(BytesIO(Path(path).read_bytes()), start_time=0.4, duration=1.6)
    rendered = render(handle, appearance, motion(handle, 40), crop=small_crop(BOX), video=held)
    assert [brightness(frame) for frame in frames_of(rendered)] == [(10 + i) % 43 for i in range(40)]
    assert rendered.get_components().audio["waveform"].shape[-1] == pytest.approx(1.6 * 44100, abs=2048)


def test_edits_that_a_video_holds_are_honored(handle, tmp_path):
    """Crop Video and Resize Video of newer ComfyUIs; the file behind them has the whole picture."""

    class Edited(InputImpl.VideoFromFile):
        def has_pending_frame_edits(self):
            return True

        def get_components(self):
            whole = super().get_components()
            return Types.VideoComponents(
                images=whole.images[:, 20:84, 30:126], audio=whole.audio, frame_rate=whole.frame_rate
            )

    path = clip(tmp_path / "clip.mp4", 5).get_stream_source()
    assert open_video(Edited(path)).size == (64, 96) and open_video(InputImpl.VideoFromFile(path)).size == (120, 160)


def test_the_alpha_that_edited_frames_come_with_is_shown_on_black(tmp_path):
    images, alpha = torch.full((2, 64, 96, 3), 0.8), torch.ones(2, 64, 96, 1)
    alpha[:, :, :48] = 0

    class Edited(InputImpl.VideoFromFile):
        def has_pending_frame_edits(self):
            return True

        def get_components(self):
            return Types.VideoComponents(images=images, audio=None, frame_rate=Fraction(25), alpha=alpha)

    stream = open_video(Edited(""))
    for frame in stream:
        assert (frame[:, :48] == 0).all() and (frame[:, 48:] == 204).all()
    assert stream.report == "transparent frames shown on black"


def test_a_rate_that_went_through_a_float_joins_with_the_same_clip():
    held = InputImpl.VideoFromComponents(
        Types.VideoComponents(images=torch.rand(2, 32, 32, 3), audio=None, frame_rate=Fraction(29.97))
    )
    assert open_video(held).fps == Fraction(30000, 1001)


@pytest.mark.parametrize("length", ["motion", "cut", "hold"])
def test_a_clip_shorter_than_a_frame_behind_is_one_frame(handle, appearance, tmp_path, length):
    rendered = render(
        handle,
        appearance,
        motion(handle, 3),
        crop=small_crop(BOX),
        video=clip(tmp_path / "clip.mp4", 2, Fraction(120)),
        length=length,
    )
    assert rendered.get_frame_count() == (1 if length == "cut" else 3)


def test_nothing_is_said_of_frames_that_nobody_looked_at(handle, appearance, tmp_path, caplog):
    caplog.set_level("INFO")
    driving = clip(tmp_path / "clip.mp4", 5, sound=sound_of_tensor(noise(1), 44100))
    render(handle, appearance, motion(handle, 5), video=driving)
    assert "5 frames at 25 fps" in caplog.text and "every frame" not in caplog.text


def test_a_rendered_clip_is_deleted_with_the_last_video_that_reads_it(handle, appearance, folders):
    rendered = render(handle, appearance, motion(handle, 25))
    part = rendered.as_trimmed(0.2, 0.4)
    del rendered
    gc.collect()
    assert len(list(open_video(part))) == 10
    del part
    gc.collect()
    assert not list((folders / "temp").iterdir())


def test_a_rendered_clip_that_somebody_deleted_is_rendered_again(handle, appearance, folders):
    before = video.LEORenderVideo.fingerprint_inputs()
    rendered = render(handle, appearance, motion(handle, 2))
    assert video.LEORenderVideo.fingerprint_inputs() == before, "it is there"
    Path(rendered.get_stream_source()).unlink()
    after = video.LEORenderVideo.fingerprint_inputs()
    assert after != before and video.LEORenderVideo.fingerprint_inputs() == after


@pytest.mark.parametrize("missing", ["hold", "interpolate", "pass through"])
def test_frames_without_a_subject_keep_the_length(handle, appearance, tmp_path, missing):
    crop = small_crop([[] if 3 <= t < 6 else [BOX] for t in range(10)], frames=10, missing=missing, track="follow")
    rendered = render(handle, appearance, motion(handle, 10), crop=crop, video=clip(tmp_path / "clip.mp4", 10))
    shown = frames_of(rendered)
    assert [brightness(frame) for frame in shown] == list(range(10))
    untouched = [float(frame[50:90, 70:110].std()) < 0.01 for frame in shown]
    assert untouched == [missing == "pass through" and 3 <= t < 6 for t in range(10)]


def broken_clip(path):
    """The frames of `clip`, 20 of them, with the 9th to 11th damaged in the file."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1", "g": "1", "bf": "0"})
        stream.height, stream.width, stream.pix_fmt = 120, 160, "yuv420p"
        for index in range(20):
            container.mux(
                stream.encode(
                    av.VideoFrame.from_ndarray(np.full((120, 160, 3), 40 + 5 * index, np.uint8), format="rgb24")
                )
            )
        container.mux(stream.encode(None))
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        for packet in [p for p in container.demux(video=0) if p.size][8:11]:
            data[packet.pos + 5 : packet.pos + packet.size] = bytes(
                (b * 7 + 93) & 255 for b in data[packet.pos + 5 : packet.pos + packet.size]
            )
    path.write_bytes(data)
    return InputImpl.VideoFromFile(str(path))


@pytest.mark.parametrize("policy", ["hold", "interpolate", "pass through"])
def test_a_broken_clip_keeps_its_length_and_says_so(handle, appearance, tmp_path, policy, caplog):
    caplog.set_level("INFO")
    broken = broken_clip(tmp_path / "clip.mp4")
    rendered = render(handle, appearance, motion(handle, 20), crop=small_crop(BOX), video=broken, broken_frames=policy)
    shown = [brightness(frame) for frame in frames_of(rendered)]
    assert len(shown) == 20 and shown[:8] + shown[11:] == [*range(8), *range(11, 20)]
    if policy != "pass through":
        assert shown[8:11] == ([7, 7, 7] if policy == "hold" else [8, 9, 10])
        assert "3 broken frames replaced" in caplog.text


@pytest.mark.parametrize("policy", ["hold", "interpolate", "pass through"])
def test_the_motion_of_a_broken_clip_keeps_its_length_and_says_so(handle, tmp_path, policy, caplog):
    caplog.set_level("INFO")
    moves = encode_clip(handle, broken_clip(tmp_path / "clip.mp4"), broken_frames=policy)
    assert len(moves) == 20
    if policy == "hold":
        assert torch.equal(moves.codes[8:11], moves.codes[7:8].expand(3, -1))
    if policy == "interpolate":
        assert (moves.codes[8:11].diff(dim=0) != 0).any(1).all()
    if policy != "pass through":
        assert "3 broken frames replaced" in caplog.text


def test_the_motion_of_one_person_is_read_through_their_crop(handle, tmp_path):
    """From the clip itself, with the crop of its first frame or of every frame, as from the cropped frames."""
    driving = clip(tmp_path / "clip.mp4", 12)
    frames = torch.stack(frames_of(driving))
    for source, track in ((BOX, "still"), ([[{**BOX, "x": 20 + 5 * t}] for t in range(12)], "follow")):
        crop = small_crop(source, frames=12, track=track)
        cut = torch.stack([crop.cut(frame, place) for place, frame in enumerate(frames)])
        expected = animator_nodes.LEOMotionEncoder.execute(handle, 25.0, images=cut).result[0]
        assert torch.equal(encode_clip(handle, driving, crop=crop).codes, expected.codes)
        assert torch.equal(
            animator_nodes.LEOMotionEncoder.execute(handle, 25.0, images=frames, crop=crop).result[0].codes,
            expected.codes,
        )
    with pytest.raises(ValueError, match="made from pictures of 100x100, but this one is 160x120"):
        encode_clip(handle, driving, crop=small_crop(BOX, (100, 100)))


@pytest.mark.parametrize("missing", ["hold", "interpolate", "pass through"])
def test_the_motion_of_frames_without_a_subject_follows_the_policy(handle, tmp_path, missing, caplog):
    caplog.set_level("INFO")
    driving = clip(tmp_path / "clip.mp4", 12)
    crop = small_crop([[] if 4 <= t < 7 else [BOX] for t in range(12)], frames=12, missing=missing)
    codes, whole = (
        encode_clip(handle, driving, crop=crop).codes,
        encode_clip(handle, driving, crop=small_crop(BOX)).codes,
    )
    known = [t for t in range(12) if not 4 <= t < 7]
    assert len(codes) == 12 and torch.equal(codes[known], whole[known])
    shares = (torch.arange(1, 4) / 4)[:, None] if missing == "interpolate" else torch.zeros(3, 1)
    assert torch.allclose(codes[4:7], torch.lerp(whole[3:4], whole[7:8], shares), atol=1e-5)
    assert "nobody found in 3" in caplog.text
    nobody_yet = small_crop([[] if t < 7 else [BOX] for t in range(12)], frames=12)
    with pytest.raises(ValueError, match="nobody in the first 5 frames"):
        encode_clip(handle, driving.as_trimmed(0, 0.2), crop=nobody_yet)


def test_an_interrupt_leaves_nothing_behind(handle, appearance, folders, monkeypatch):
    import comfy.model_management as mm

    write = VideoWriter.write

    def interrupted(self, frame):
        write(self, frame)
        mm.interrupt_current_processing(self.frame_count == 7)

    monkeypatch.setattr(VideoWriter, "write", interrupted)
    with pytest.raises(mm.InterruptProcessingException):
        render(handle, appearance, motion(handle, 40))
    assert not list((folders / "temp").iterdir())


def test_a_motion_of_another_animator_is_refused(handle, appearance):
    from leo_core.identity import AnimatorId

    with pytest.raises(ValueError, match="belongs to animator 'walker'"):
        render(handle, appearance, MotionSequence(torch.zeros(2, 4), FPS, AnimatorId("walker", "a" * 64)))


class Memory:
    """Resident memory in MB early in a long run and the most of it afterwards. A sample of the full count has a bound
    so much tighter that holding its frames as an IMAGE would break it."""

    def __init__(self, full: bool):
        self.since, self.bound = (500, 150) if full else (100, 25)
        self.process, self.count, self.early, self.most = psutil.Process(), 0, 0.0, 0.0

    def __call__(self):
        self.count += 1
        if self.count == self.since:
            gc.collect()
            self.early = self.process.memory_info().rss / 2**20
        if self.count > self.since and self.count % 20 == 0:
            self.most = max(self.most, self.process.memory_info().rss / 2**20)

    def check(self):
        said = (
            f"{self.early:.0f} MB at frame {self.since}, at most {self.most:.0f} MB in the "
            f"{self.count - self.since} after it"
        )
        print(said)
        assert self.most - self.early < self.bound, said


LONG_WITH_FULL_COUNTS = pytest.mark.timeout(3 * 3600)


@pytest.fixture
def measured_handle(handle, full):
    """The animator that is measured: at full counts the one that comes with the pack."""
    return AnimatorHandle(str(SHIPPED)) if full else handle


@LONG_WITH_FULL_COUNTS
@pytest.mark.parametrize("behind", ["a photo", "a clip"])
def test_memory_does_not_grow_with_the_length(measured_handle, photograph, tmp_path, monkeypatch, full, behind):
    frames, memory, write = 20_000 if full else 300, Memory(full), VideoWriter.write
    if behind == "a photo":
        around = {"picture": photograph, "audio": {"waveform": noise(frames / 25), "sample_rate": 44100}}
    else:
        around = {
            "crop": small_crop(BOX),
            "video": clip(tmp_path / "long.mp4", frames, sound=sound_of_tensor(noise(frames / 25), 44100)),
        }
    seen, moves = rendering.encode_appearance(measured_handle, photograph), motion(measured_handle, frames, reach=0.3)

    def measured(self, frame):
        write(self, frame)
        memory()

    monkeypatch.setattr(VideoWriter, "write", measured)
    rendered = render(measured_handle, seen, moves, **around)
    assert rendered.get_frame_count() == frames == memory.count
    memory.check()


@LONG_WITH_FULL_COUNTS
def test_reading_a_long_clip_does_not_hold_it(measured_handle, tmp_path, monkeypatch, full):
    frames, memory, convert = 5000 if full else 300, Memory(full), rendering.to_animator
    driving = clip(tmp_path / "long.mp4", frames, size=(240, 320))

    def measured(image, side):
        memory()
        return convert(image, side)

    monkeypatch.setattr(rendering, "to_animator", measured)
    moves = encode_clip(measured_handle, driving)
    assert len(moves) == frames == memory.count and moves.fps == FPS
    memory.check()


@LONG_WITH_FULL_COUNTS
def test_every_real_clip_renders(measured_handle, media, full):
    seconds = 0 if full else 1.5
    for path in sorted((media / "clips").iterdir()):
        driving = InputImpl.VideoFromFile(str(path), duration=seconds)
        stream = read_video(str(path), duration=seconds)
        first = torch.from_numpy(next(iter(stream))).float()[None] / 255
        cut, crop = photo.LEOCropSubject.execute(
            first, 0.0, 1.0, "edge", "automatic", 0, 0.5, 0.5, "still", 5.0, "hold"
        ).result
        moves = encode_clip(measured_handle, driving)
        seen = rendering.encode_appearance(measured_handle, cut)
        rendered = render(measured_handle, seen, moves, crop=crop, picture=first, video=driving)
        height, width = stream.size
        assert rendered.get_frame_count() == stream.frame_count, path.name
        assert rendered.get_dimensions() == (width + width % 2, height + height % 2), path.name
        assert rendered.get_frame_rate() == stream.fps, path.name
        assert (sound_of_file(rendered.get_stream_source()) is None) == (sound_of_file(str(path)) is None), path.name
