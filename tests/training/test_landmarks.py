"""Finding landmarks of photos and clips, with a finder that knows a few pictures in MediaPipe's place, and files of
landmarks."""

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from leo_core.__main__ import main
from leo_core.face import HeadPose, angles, head_pose, rotation_of
from leo_core.training import landmarks
from leo_core.training.decoding import read_photo
from leo_core.training.landmarks import check_portrait, find_clip, read_clip_landmarks, read_landmarks, save_arrays

ROOT = Path(__file__).resolve().parent.parent.parent
FACE = read_landmarks(ROOT / "tests" / "data" / "astronaut_landmarks.npz")["astronaut.png"][0]


def turned(degrees: float, axis: int) -> np.ndarray:
    """The face, turned (0), nodding (1) or tilted (2) by so much more."""
    pose = head_pose(FACE[None])
    wanted = angles(pose.rotation)
    wanted[0, axis] += np.radians(degrees)
    return (
        HeadPose(rotation_of(*wanted.T), pose.scale, pose.origin)
        .to_picture(pose.to_head(FACE[None]))[0]
        .astype(np.float32)
    )


class Known:
    """Finds faces by a picture's first pixel: as many as its red is of 100, sideways where it is blue."""

    def __init__(self, video: bool = False):
        self.seen = []

    def faces(self, picture):
        assert picture.dtype == np.uint8 and picture.shape[2:] == (3,)
        self.seen.append(picture)
        red, _, blue = (int(value) for value in picture[0, 0])
        face = turned(60, 0) if blue > 128 and red < 128 else FACE
        return [face * picture.shape[1] / 256] * round(red / 100)

    def person(self, picture):
        return np.tile(np.linspace(0, 1, picture.shape[1]), (picture.shape[0], 1))


@pytest.fixture(autouse=True)
def known(monkeypatch):
    monkeypatch.setattr(landmarks, "MediaPipe", Known)


def solid(color, size=256) -> Image.Image:
    return Image.new("RGB", (size, size), color)


def test_photos_that_cannot_be_used_are_named_and_the_rest_goes_on(tmp_path, caplog, capsys):
    photos, out = tmp_path / "photos", tmp_path / "out.npz"
    photos.mkdir()
    solid((100, 0, 0)).save(photos / "a good one.png")
    solid((0, 0, 0)).save(photos / "no face.png")
    solid((200, 0, 0)).save(photos / "two faces.png")
    solid((100, 0, 255)).save(photos / "sideways.png")
    solid((100, 0, 0), 10).save(photos / "ten pixels.png")
    whole = (photos / "a good one.png").read_bytes()
    (photos / "cut short.png").write_bytes(whole[: len(whole) // 2])
    (photos / "text.jpg").write_text("no picture")
    (photos / "notes.txt").write_text("none of our business")
    solid((100, 100, 100)).convert("L").save(photos / "gray.png")
    solid((100, 0, 0), 512).save(photos / "large.png")

    assert main(["portrait-landmarks", str(photos), str(out)]) == 0
    assert "3 faces" in capsys.readouterr().out
    reasons = {record.args[0]: str(record.args[1]) for record in caplog.records}
    assert reasons == {
        "no face.png": "it shows no face",
        "two faces.png": "it shows 2 faces, expected one",
        "sideways.png": reasons["sideways.png"],
        "ten pixels.png": reasons["ten pixels.png"],
        "cut short.png": "it is not a picture that can be read",
        "text.jpg": "it is not a picture that can be read",
    }
    assert "degrees sideways" in reasons["sideways.png"] and "px high" in reasons["ten pixels.png"]

    found = read_landmarks(out)
    assert list(found) == ["a good one.png", "gray.png", "large.png"]
    np.testing.assert_array_equal(found["a good one.png"][0], FACE)
    np.testing.assert_array_equal(found["large.png"][0], 2 * FACE)
    for _, mask in found.values():
        assert mask.shape == (256, 256) and mask[0, 0] == 0 and mask[0, -1] == 255


def test_a_folder_without_a_usable_photo_writes_nothing(tmp_path, capsys):
    solid((0, 0, 0)).save(tmp_path / "empty.png")
    assert main(["portrait-landmarks", str(tmp_path), str(tmp_path / "out.npz")]) == 1
    assert "no photo of one face" in capsys.readouterr().err and not (tmp_path / "out.npz").exists()


def test_what_is_transparent_becomes_white_and_photos_stand_upright(tmp_path):
    picture = Image.new("RGBA", (4, 2), (255, 0, 0, 0))
    picture.putpixel((0, 0), (0, 0, 255, 255))
    picture.putpixel((1, 0), (0, 0, 0, 128))
    picture.save(tmp_path / "alpha.png")
    pixels = read_photo(tmp_path / "alpha.png")
    assert pixels.shape == (2, 4, 3) and pixels[0, 0].tolist() == [0, 0, 255] and pixels[1, 2].tolist() == [255] * 3
    assert abs(int(pixels[0, 1, 0]) - 127) <= 1

    exif = Image.Exif()
    exif[274] = 6  # taken with the camera on its side
    solid((9, 9, 9)).resize((40, 20)).save(tmp_path / "side.jpg", exif=exif)
    assert read_photo(tmp_path / "side.jpg").shape == (40, 20, 3)


@pytest.mark.parametrize("axis, most", [(0, landmarks.MOST_TURN), (1, landmarks.MOST_NOD)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_faces_turned_too_far_are_refused_and_tilted_ones_are_not(axis, most, sign):
    now = np.degrees(angles(head_pose(FACE[None]).rotation))[0, axis]
    check_portrait(turned(sign * (most - 3) - now, axis))
    with pytest.raises(ValueError, match="turned"):
        check_portrait(turned(sign * (most + 3) - now, axis))
    check_portrait(turned(60, 2))


def test_clips_keep_a_row_per_frame_also_where_no_face_is_found(tmp_path, caplog, capsys):
    clips, out = tmp_path / "clips", tmp_path / "out.npz"
    clips.mkdir()
    with av.open(str(clips / "one.mp4"), "w") as container:
        stream = container.add_stream("libx264", 25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 128, 64, "yuv420p"
        for red in (100, 0, 100):
            frame = av.VideoFrame.from_ndarray(np.full((64, 128, 3), (red, 0, 0), np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    (clips / "broken.mp4").write_bytes(b"nothing")
    assert main(["clip-landmarks", str(clips), str(out)]) == 0
    assert "one.mp4: 3 frames, 1 without a face" in capsys.readouterr().out
    assert [record.args[0] for record in caplog.records] == ["broken.mp4"]
    track = read_clip_landmarks(out)["one.mp4"]
    assert track.shape == (3, 478, 3) and np.isnan(track[1]).all()
    np.testing.assert_array_equal(track[2], FACE / 2)


def test_one_kind_of_file_is_not_taken_for_the_other(tmp_path):
    photos, clips = tmp_path / "photos.npz", tmp_path / "clips.npz"
    save_arrays(photos, {"names": np.array(["a"]), "landmarks": FACE[None]})
    save_arrays(clips, {"a.mp4": find_clip([np.full((8, 8, 3), 100, np.uint8)], Known())})
    assert read_landmarks(photos)["a"][1] is None
    with pytest.raises(ValueError, match=r"a\.mp4; expected names and landmarks.*portrait-landmarks"):
        read_landmarks(clips)
    with pytest.raises(ValueError, match="names, landmarks; expected landmarks.*clip-landmarks"):
        read_clip_landmarks(photos)
    with pytest.raises(ValueError, match="out.npz"):
        save_arrays(tmp_path / "out.dat", {})


def test_without_mediapipe_the_command_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.undo()  # the real finder
    monkeypatch.setitem(__import__("sys").modules, "mediapipe.python.solutions", None)
    solid((100, 0, 0)).save(tmp_path / "a.png")
    assert main(["portrait-landmarks", str(tmp_path), str(tmp_path / "out.npz")]) == 1
    assert 'pip install "mediapipe==0.10.14"' in capsys.readouterr().err
