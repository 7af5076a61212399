"""Recordings of face capture: read as they were written, told what is wrong with them, and written for other rigs."""

import gzip
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
    with pytest.raises(ValueError, match="Split it into takes"):
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
        ('{"fps": NaN, "frames": [{"jawOpen": 0.1}]}', "Set fps"),
        pytest.param('{"fps": 30, "frames": [{"jawOpen": 1%s}]}' % ("0" * 400), "value 1000", id="400 digits"),
        pytest.param('{"fps": 30, "frames": [{"jawOpen": 1%s}]}' % ("0" * 9999), "not a JSON file", id="9999 digits"),
        pytest.param('{"fps": 30, "frames": [%s{}]}' % ("{}," * 500_000), "more than 500000 frames", id="long"),
        pytest.param('{"fps": 30, "frames": [%s{}]}' % ("[]," * 2_000_000), "2000003 lists and", id="bomb of lists"),
    ],
)
def test_a_damaged_json_says_what_is_wrong_with_it(tmp_path, text, message):
    path = tmp_path / "take.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        face.load_capture(path)


@pytest.mark.parametrize("name", ["take.csv", "take.json"])
def test_a_compressed_recording_is_not_unpacked(tmp_path, name):
    (tmp_path / name).write_bytes(gzip.compress(b"[" * 10**7))
    with pytest.raises(ValueError, match="is not a (text|JSON) file"):
        face.load_capture(tmp_path / name)


def test_an_enormous_json_is_refused_unread(tmp_path):
    with (tmp_path / "take.json").open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(ValueError, match="1024 MB; .* Split it into takes"):
        face.load_capture(tmp_path / "take.json")


def test_hours_between_few_rows_are_refused_before_they_are_filled(tmp_path):
    """Ten hours, a row every ten seconds."""
    stamps = (f"{s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}:59" for s in range(0, 36_000, 10))
    with pytest.raises(ValueError, match="more than 500000 frames"):
        face.load_capture(recording(tmp_path, [names(), *(row(stamp) for stamp in stamps)]))


@pytest.mark.parametrize("fps", [float("nan"), float("inf"), -1.0, 1e9])
def test_a_rate_that_is_none_is_refused(tmp_path, fps):
    with pytest.raises(ValueError, match="0 to 1000 frames per second"):
        face.load_capture(recording(tmp_path, [names(), row("10:00:00:00")]), fps)


@pytest.mark.parametrize(
    "written, fps", [(29.97, Fraction(30000, 1001)), (59.94, Fraction(60000, 1001)), (1e-6, Fraction(1e-6))]
)
def test_a_rate_is_the_one_that_its_digits_stand_for_and_never_zero(tmp_path, written, fps):
    (tmp_path / "take.json").write_text(json.dumps({"fps": written, "frames": [{"jawOpen": 0.1}]}))
    assert face.load_capture(tmp_path / "take.json").fps == fps
    assert face.load_capture(recording(tmp_path, [names(), row("10:00:00:00")]), written).fps == fps
