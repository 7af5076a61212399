"""Ready-made motions: gestures that any animator with the names can make, and those that come with the pack."""

from pathlib import Path

import pytest
import torch

from leo_core.__main__ import main
from leo_core.animator import Direction
from leo_core.animator.checkpoint import load_animator, write_directions
from leo_core.motion import load_motion
from leo_core.training.motion_library import GESTURES, draw_gesture

ROOT = Path(__file__).resolve().parents[1]
NAMES = sorted({name for gesture in GESTURES.values() for name in gesture.tracks})
KNOWN = {i: Direction(name, -3.0, 3.0) for i, name in enumerate(NAMES)}
REST = torch.linspace(-1, 1, len(NAMES) + 2)


@pytest.mark.parametrize("name", GESTURES)
def test_a_gesture_leaves_rest_and_comes_back_to_it_smoothly(name):
    codes = draw_gesture(GESTURES[name], KNOWN, REST)
    torch.testing.assert_close(codes[[0, -1]], REST.expand(2, -1))
    moves = (codes - REST).abs().amax(0)
    moving = {i for i, direction in KNOWN.items() if direction.name in GESTURES[name].tracks}
    assert set(moves.nonzero().flatten().tolist()) == moving
    assert 1.5 <= moves.max() <= 3.0  # seen, and inside the useful range of 3 code units
    assert codes.diff(dim=0).abs().max() < 0.75 * moves.max()  # no jump


def test_an_animator_without_the_direction_goes_without_the_gesture():
    named = {i: direction for i, direction in KNOWN.items() if direction.name != "turn"}
    assert draw_gesture(GESTURES["shake no"], named, REST) is None
    assert draw_gesture(GESTURES["nod yes"], named, REST) is not None


def test_the_command_writes_motions_of_names_and_of_clips(animator_file, tmp_path):
    model = tmp_path / "mine.safetensors"
    model.write_bytes(Path(animator_file).read_bytes())
    write_directions(model, {2: Direction("nod", -3.0, 3.0)})
    assert (
        main(
            [
                "motion-library",
                str(model),
                str(tmp_path / "mine"),
                "--rest",
                str(ROOT / "samples" / "woman.png"),
                "--clips",
                str(ROOT / "samples" / "man_talking.mp4"),
                "--credit",
                "Ours.",
            ]
        )
        == 0
    )
    assert sorted(path.stem for path in (tmp_path / "mine").iterdir()) == ["look down and up", "man talking", "nod yes"]
    nod, about = load_motion(tmp_path / "mine" / "nod yes.safetensors")
    assert about == "Nods twice." and nod.animator == load_animator(model)[1].id
    clip, about = load_motion(tmp_path / "mine" / "man talking.safetensors")
    assert len(clip) == 96 and about == "The motion of man_talking.mp4. Ours."


SHIPPED = sorted((ROOT / "models").glob("*/*.safetensors"))


def test_the_shipped_motions_are_of_the_shipped_animators_and_offered_at_once(pack):
    offered = pack["LEOLoadMotion"].GET_SCHEMA().inputs[0].options
    assert SHIPPED and {f"{path.parent.name}/{path.name}" for path in SHIPPED} <= set(offered)
    for path in SHIPPED:
        motion, description = load_motion(path)
        assert motion.animator == load_animator(path.parent.with_suffix(".safetensors"))[1].id, path
        assert description and path.stat().st_size < 16_000
