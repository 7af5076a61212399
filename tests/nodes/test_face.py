"""The nodes that let a face drive LEO, as a graph would call them."""

import importlib.util
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from comfy_api.latest import InputImpl, Types
from leo_pack.nodes import face as nodes

from leo_core import face
from leo_core.animator import LIAX_DIRECTIONS, Direction
from leo_core.identity import AnimatorId

spec = importlib.util.spec_from_file_location("face_helpers", Path(__file__).parents[1] / "face" / "conftest.py")
helpers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(helpers)
TRACK = np.load(helpers.DATA)["track"].astype(np.float32)
SETTINGS = {
    "calibration": "automatic",
    "neutral_frame": 0,
    "smooth": 0.2,
    "missing": "interpolate",
    **dict.fromkeys(face.GROUPS, 1.0),
}
WHO = {"person": "largest", "index": 0, "point_x": 0.5, "point_y": 0.5}


class Animator:
    """What the nodes read of an AnimatorHandle: the newest of ours."""

    id = AnimatorId("ours", "a" * 64)
    directions = {i: Direction(name, -3.0, 3.0) for i, name in enumerate(face.NAMES)}

    class config:
        directions = 20


class LIAX(Animator):
    directions = LIAX_DIRECTIONS

    class config:
        directions = 40


class Unnamed(Animator):
    directions = {}


@pytest.fixture(autouse=True)
def folders(comfy_folders):
    return comfy_folders


def from_face(value, animator=Animator, fps=25.0, **changes):
    return nodes.LEOMotionFromFace.execute(animator, value, fps, **{**SETTINGS, **WHO, **changes}).result[0]


def clip(count=75, height=256, width=256, fps=Fraction(30000, 1001)):
    return InputImpl.VideoFromComponents(
        Types.VideoComponents(images=torch.zeros(count, height, width, 3), audio=None, frame_rate=fps)
    )


@pytest.mark.parametrize("node", nodes.NODES, ids=lambda node: node.__name__)
def test_everything_explains_itself(node):
    schema = node.GET_SCHEMA()
    assert schema.node_id == node.__name__ and schema.category == "LEO/motion"
    assert schema.description and schema.search_aliases and schema.display_name.replace(" ", "") == schema.node_id
    for port in [*schema.inputs, *schema.outputs]:
        assert port.tooltip and port.tooltip.endswith("."), port.id


def test_landmarks_become_motion():
    motion = from_face(helpers.detected(TRACK, (256, 256)), calibration="absolute", smooth=0.0)
    assert motion.animator == Animator.id and motion.fps == 25
    assert np.abs(motion.codes.numpy() - 3 * face.measure(TRACK, 256)).max() < 0.06


def test_gains_of_groups_and_of_single_controls():
    value = helpers.detected(TRACK, (256, 256))
    whole = from_face(value).codes
    only = from_face(value, head=0.0, mouth=2.0, control_gains="smile: 0\njaw open: 0.5").codes
    index = face.NAMES.index
    assert not only[:, :3].any() and not only[:, index("smile")].any()
    assert torch.allclose(only[:, index("mouth wide")], 2 * whole[:, index("mouth wide")], atol=1e-5)
    assert torch.allclose(only[:, index("jaw open")], whole[:, index("jaw open")], atol=1e-5)


def test_the_rate_is_the_videos_and_its_size_is_looked_at():
    value = helpers.detected(TRACK, (256, 256))
    assert from_face(value, video=clip()).fps == Fraction(30000, 1001)
    with pytest.raises(ValueError, match="pictures of 256x256, the video has 64x32"):
        from_face(value, video=clip(2, 32, 64))


def test_a_clip_that_lies_on_its_side_in_its_file_is_that_of_the_upright_pictures():
    """ComfyUI turns the pictures, and gives the size of the file."""
    value = helpers.detected(TRACK, (320, 256))
    assert from_face(value, video=clip(2, 256, 320)).fps == Fraction(30000, 1001)


def test_animators_with_other_names_and_without():
    value = helpers.detected(TRACK, (256, 256))
    assert from_face(value, LIAX).codes[:, 25].min() < -0.05, "the mouth opens"
    with pytest.raises(ValueError, match="Use leo-face-128 or LIA-X"):
        from_face(value, Unnamed)


def test_a_recording_goes_out_and_comes_back(folders):
    motion = from_face(helpers.detected(TRACK, (256, 256)), smooth=0.0)
    text = nodes.LEOSaveFaceCapture.execute(Animator, motion, "leo/talk").ui.as_dict()["text"][0]
    assert "talk_00001_.csv: 75 frames at 25 fps" in text
    (folders / "output" / "leo" / "talk_00001_.csv").rename(folders / "input" / "talk.csv")
    back = nodes.LEOLoadFaceCapture.execute(
        Animator, "talk.csv", 0.0, **{**SETTINGS, "calibration": "absolute", "smooth": 0.0}
    ).result[0]
    known = [i for i in range(20) if i not in (3, 4, 5)]
    assert back.fps == 25 and (back.codes - motion.codes)[:, known].abs().max() < 3e-3 and not back.codes[:, 3:6].any()


def test_recordings_are_listed_wherever_they_lie_and_no_other_file_is_read(folders):
    (folders / "input" / "takes").mkdir()
    (folders / "input" / "takes" / "a.csv").write_text("")
    (folders / "secret.csv").write_text("")
    (folders / "input" / "gone.csv").symlink_to(folders / "nowhere.csv")
    assert "takes/a.csv" in nodes.recordings() and "gone.csv" not in nodes.recordings()
    with pytest.raises(ValueError, match="Put the .csv or .json file into"):
        nodes.recording("../secret.csv")


@pytest.mark.parametrize(
    "change", [{"image_size": 256}, {"image_size": (float("nan"), 256)}, {"frames": [None]}, {"frames": [[{}]]}]
)
def test_landmarks_of_another_structure_say_where_they_should_come_from(change):
    with pytest.raises(ValueError, match="not those of Detect Face Landmarks .* Connect that output"):
        from_face({**helpers.detected(TRACK[:2], (256, 256)), **change})
