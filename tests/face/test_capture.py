"""Recordings of face capture: read as they were written, told what is wrong with them, and written for other rigs."""

import json
from fractions import Fraction

import numpy as np
import pytest

from leo_core import face
from leo_core.face.capture import EYES, HEAD, SHAPES

FPS = Fraction(60)


def row(stamp, values=None, extra=()):
    values = values or {}
    return ",".join([stamp, str(52 + len(extra)), *(f"{values.get(name, 0.0)}" for name in SHAPES), *map(str, extra)])


def names(extra=()):
    return ",".join(["Timecode", "BlendShapeCount", *(name[0].upper() + name[1:] for name in SHAPES), *extra])


def recording(tmp_path, lines, name="take.csv"):
    path = tmp_path / name
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def talk(track):
    return face.calibrated(face.measure(track, 256), "automatic")


@pytest.mark.parametrize("fps", [Fraction(25), Fraction(30), Fraction(60)])
def test_what_is_written_is_read_back(talk, tmp_path, fps):
    face.save_capture(tmp_path / "take.csv", talk, fps)
    read = face.load_capture(tmp_path / "take.csv")
    known = [i for i in range(20) if i not in (3, 4, 5)]  # the head's place has no column
    assert read.fps == fps and read.missing == 0
    assert np.abs(read.controls()[:, known] - talk[:, known]).max() < 1e-3
    assert np.isnan(read.controls()[:, 3:6]).all()


def test_a_smile_is_one_of_both_corners(tmp_path):
    controls = np.zeros((1, 20), np.float32)
    controls[0, face.NAMES.index("smile")], controls[0, face.NAMES.index("mouth wide")] = 0.5, 0.35
    face.save_capture(tmp_path / "take.csv", controls, FPS)
    shapes = dict(zip(SHAPES, face.load_capture(tmp_path / "take.csv").shapes[0], strict=True))
    assert shapes["mouthSmileLeft"] == shapes["mouthSmileRight"] == pytest.approx(0.5) and min(shapes.values()) > -1e-6


def test_both_layouts_of_the_csv(tmp_path):
    angles = [0.35, -0.1, 0.2, *[0.0] * 6]
    short = face.load_capture(
        recording(tmp_path, [names(), row("10:00:00:00.000", {"jawOpen": 0.5}), row("10:00:00:59.100")], "short.csv")
    )
    long = face.load_capture(
        recording(tmp_path, [names((*HEAD, *EYES)), row("10:00:00:00.000", {"jawOpen": 0.5}, angles)], "long.csv"), 60
    )
    assert short.head is None and short.fps == 60 and len(short.shapes) == 60
    assert short.controls()[0, face.NAMES.index("jaw open")] == pytest.approx(0.5)
    assert np.isnan(short.controls()[0, :3]).all() and not np.isnan(short.controls()[0, 6:]).any()
    assert np.allclose(long.controls()[0, :3], np.array([0.35, -0.1, -0.2]) / face.ANGLE_UNITS)


def test_columns_are_found_by_name(tmp_path):
    weights = ("0.25" if name == "mouthPucker" else "0" for name in reversed(SHAPES))
    shuffled = [["timecode", "BlendShapeCount", *reversed(SHAPES)], ["00:00:01:00", "52", *weights]]
    read = face.load_capture(recording(tmp_path, [",".join(line) for line in shuffled]), 30)
    assert read.shapes[0, SHAPES.index("mouthPucker")] == 0.25 and read.shapes.sum() == 0.25


def test_dropped_rows_are_counted_and_a_rate_is_told_by_its_frame_numbers(tmp_path):
    stamps = [f"23:59:59:{frame:02}.500" for frame in range(0, 30) if frame not in (10, 11)] + ["00:00:00:00.500"]
    read = face.load_capture(recording(tmp_path, [names(), *(row(stamp) for stamp in stamps)]))
    assert read.fps == 30 and len(read.shapes) == 31 and read.missing == 2, "past midnight too"


@pytest.mark.parametrize(
    "lines, message",
    [
        ([""], "lacks 53 of the 53"),
        (["a,b,c", "1,2,3"], "begins with 'a,b,c'"),
        ([names()], "nothing was recorded"),
        ([names(), row("10:00:00:00", {"jawOpen": "nan"})], "value nan in line 2"),
        ([names(), row("10:00:00:00", {"jawOpen": "wide"})], "not a number in line 2"),
        ([names(), row("-1:00:00:00")], "timecode '-1:00:00:00' in line 2"),
        ([names(), row("10:00:05:00"), row("10:00:01:00")], "goes back in time in line 3"),
        ([names(), row("10:00:00:00"), row("10:05:00:00")], "jumps by 300 seconds before line 3"),
        ([names(), row("10:00:00:00"), "10:00:00:01,52,0"], "3 columns in line 3"),
        ([names(), row("10:00:00:130")], "more than 120 fps"),
    ],
)
def test_a_damaged_csv_says_what_is_wrong_with_it(tmp_path, lines, message):
    with pytest.raises(ValueError, match=message):
        face.load_capture(recording(tmp_path, lines))


def test_a_csv_that_is_no_text_or_far_too_long_is_refused_unread(tmp_path):
    path = tmp_path / "take.csv"
    path.write_bytes(bytes(range(128, 256)))
    with pytest.raises(ValueError, match="not a text file"):
        face.load_capture(path)
    with path.open("wb") as file:
        file.truncate(2**30)  # ten hours, as a hole in the file system
    with pytest.raises(ValueError, match="Cut it into takes"):
        face.load_capture(path)


FRAMES = [{"jawOpen": 0.1, "_neutral": 0.9}, None, {"jawOpen": 0.3}]


@pytest.mark.parametrize(
    "content",
    [
        {"fps": 30, "frames": FRAMES},
        {"frameRate": 30, "frames": [{"time": 0, "blendshapes": frame} for frame in FRAMES]},
        {
            "fps": 30,
            "frames": [
                frame and [{"categoryName": name, "score": value} for name, value in frame.items()] for frame in FRAMES
            ],
        },
        {"exportFps": 30, "facsNames": ["jawOpen", "tongueOut"], "weightMat": [[0.1, 0], None, [0.3, 0]]},
    ],
)
def test_forms_of_json(tmp_path, content):
    path = tmp_path / "take.json"
    path.write_text(json.dumps(content))
    read = face.load_capture(path)
    jaw = read.controls()[:, face.NAMES.index("jaw open")]
    assert read.fps == 30 and read.missing == 1 and np.allclose(jaw[[0, 2]], [0.1, 0.3]) and np.isnan(jaw[1])


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "not a JSON file"),
        ("[" * 100_000, "not a JSON file"),
        ("{}", "no list of frames"),
        ('{"fps": 30, "frames": [3]}', "not a set of named weights"),
        ('[{"jawOpen": 0.1}]', "Set fps"),
        ('{"fps": -3, "frames": [{"jawOpen": 0.1}]}', "Set fps"),
        ('{"fps": 30, "frames": [{"a": 1}]}', "none of ARKit's"),
        ('{"fps": 30, "frames": [{"jawOpen": "1"}]}', "not a number in frame 0"),
        ('{"fps": 30, "frames": [{"jawOpen": 1e999}]}', "value inf in frame 0"),
        ('{"fps": 30, "frames": [{"jawOpen": NaN}]}', "value nan in frame 0"),
    ],
)
def test_a_damaged_json_says_what_is_wrong_with_it(tmp_path, text, message):
    path = tmp_path / "take.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        face.load_capture(path)
