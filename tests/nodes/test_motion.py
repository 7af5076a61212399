"""The motion nodes as a graph would call them."""

from fractions import Fraction

import pytest
import torch
from leo_pack.nodes import motion as nodes
from leo_pack.nodes import motion_files

from leo_core.animator import Direction
from leo_core.identity import AnimatorId
from leo_core.motion import MotionSequence

# isort: split
# after comfy_api.latest, which it imports in a circle
from comfy_api.input import LinearCurve

ANIMATOR = AnimatorId("walker", "a" * 64)
OTHER = AnimatorId("talker", "b" * 64)
RAMP = {"points": [[0, 0], [1, 1]], "interpolation": "linear"}


def make(frames=12, directions=5, seed=0, fps=Fraction(25), animator=ANIMATOR) -> MotionSequence:
    return MotionSequence(torch.randn(frames, directions, generator=torch.Generator().manual_seed(seed)), fps, animator)


class NamedAnimator:
    """What the motion nodes read of an AnimatorHandle."""

    id = ANIMATOR
    directions = {1: Direction("turn", -4.0, 4.0), 3: Direction("smile", -0.4, 0.4)}


def run(node, *args, **kwargs):
    return node.execute(*args, **kwargs).result[0]


@pytest.fixture
def leo_folder(comfy_folders, monkeypatch):
    import folder_paths

    folder = comfy_folders / "output" / "leo"
    folder.mkdir()
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "leo", ([str(folder)], {".safetensors"}))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return folder


@pytest.mark.parametrize("node", [*nodes.NODES, *motion_files.NODES], ids=lambda node: node.__name__)
def test_everything_explains_itself(node, leo_folder):
    schema = node.GET_SCHEMA()
    assert schema.node_id == node.__name__ and schema.category == "LEO/motion"
    assert schema.description and schema.search_aliases
    # the words of the id
    assert schema.display_name.replace(" ", "") == schema.node_id
    for port in [*schema.inputs, *schema.outputs]:
        assert port.tooltip and port.tooltip.endswith("."), port.id


class TestTransfer:
    def test_a_driver_at_rest_gives_the_source(self):
        pose, still = make(1, seed=3), make(1, seed=4)
        moved = run(nodes.LEOTransferMotion, pose, still, "relative", "first frame", 0, 1.0)
        assert torch.equal(moved.codes, pose.codes)

    @pytest.mark.parametrize("reference,frame", [("first frame", 0), ("frame index", 5), ("best match", 7)])
    def test_the_reference_frame_shows_the_source_pose(self, reference, frame):
        driving = make(12)
        pose = MotionSequence(driving.codes[7:8] + 0.01, Fraction(25), ANIMATOR)
        moved = run(nodes.LEOTransferMotion, pose, driving, "relative", reference, 5, 1.0)
        assert torch.equal(moved.codes[frame], pose.codes[0])

    def test_gains_by_name(self):
        pose, driving = make(1, seed=3), make(6)
        moved = run(
            nodes.LEOTransferMotion,
            pose,
            driving,
            "relative",
            "first frame",
            0,
            2.0,
            "smile: 0\n0: 0.5",
            NamedAnimator(),
        )
        assert torch.equal(moved.codes[:, 3], pose.codes[:, 3].expand(6))
        torch.testing.assert_close(moved.codes[:, 0] - pose.codes[:, 0], driving.codes[:, 0] - driving.codes[0, 0])


class TestEditDirections:
    def edit(self, motion, edits, strength=1.0, timing="constant", curve=RAMP, **links):
        return nodes.LEOEditDirections.execute(motion, edits, strength, timing, curve, **links)

    def test_no_edit_is_exactly_the_input(self):
        motion = make()
        assert torch.equal(self.edit(motion, "").result[0].codes, motion.codes)
        assert torch.equal(self.edit(motion, "2: 1.5", strength=0.0).result[0].codes, motion.codes)

    def test_amounts_are_standard_deviations_where_the_animator_is_known(self):
        motion = make()
        named = self.edit(motion, "Smile: 1\n1: -0.5", animator=NamedAnimator()).result[0].codes - motion.codes
        torch.testing.assert_close(named, torch.tensor([0, -1.0, 0, 0.2, 0]).expand(12, 5))
        bare = self.edit(motion, "3: 1").result[0].codes - motion.codes
        torch.testing.assert_close(bare, torch.tensor([0, 0, 0, 1.0, 0]).expand(12, 5))

    @pytest.mark.parametrize("curve", [RAMP, LinearCurve([(0, 0), (1, 1)])], ids=["typed", "linked"])
    def test_a_curve_fades_the_edit_in(self, curve):
        motion = make(11)
        change = self.edit(motion, "0: 2", timing="curve", curve=curve).result[0].codes - motion.codes
        torch.testing.assert_close(change[:, 0], torch.linspace(0, 2, 11))

    def test_the_names_reach_the_frontend(self):
        told = self.edit(make(), "", animator=NamedAnimator()).ui["leo_directions"]
        assert [row["name"] for row in told] == ["", "turn", "", "smile", ""]
        assert told[1]["high"] == 2 and told[3]["low"] == -2

    @pytest.mark.parametrize(
        "edits,message",
        [
            ("smile", "not a direction and an amount"),
            ("9: 1", "from 0 to 4"),
            ("grin: 1", r"turn \(1\), smile \(3\)"),
            ("1: big", "not a direction and an amount"),
        ],
    )
    def test_rows_that_cannot_be_read_say_so(self, edits, message):
        with pytest.raises(ValueError, match=message):
            self.edit(make(), edits, animator=NamedAnimator())

    def test_names_without_an_animator_ask_for_it(self):
        with pytest.raises(ValueError, match="connect the animator"):
            self.edit(make(), "smile: 1")

    def test_another_animator_is_refused(self):
        with pytest.raises(ValueError, match="(?s)talker.*walker"):
            self.edit(make(animator=OTHER), "", animator=NamedAnimator())


class TestBlend:
    def blend(self, first, second, weight=0.5, timing="constant", lengths="cut to the shorter"):
        return run(nodes.LEOBlendMotion, first, second, weight, timing, RAMP, lengths)

    def test_a_crossfade(self):
        first, second = make(9, seed=1), make(9, seed=2)
        mixed = self.blend(first, second, 1.0, "curve")
        assert torch.equal(mixed.codes[0], first.codes[0]) and torch.equal(mixed.codes[-1], second.codes[-1])

    def test_different_lengths_and_rates(self):
        first, second = make(20, seed=1), make(60, seed=2, fps=Fraction(50))
        assert len(self.blend(first, second)) == 20 and len(self.blend(second, first)) == 40
        stretched = self.blend(first, make(60, seed=2), 1.0, lengths="retime the second")
        torch.testing.assert_close(stretched.codes[-1], make(60, seed=2).codes[-1])

    def test_with_a_pose(self):
        assert len(self.blend(make(9), make(1))) == len(self.blend(make(1), make(9))) == 9


class TestRetime:
    def retime(self, motion, playback="forward", **timing):
        return run(nodes.LEORetimeMotion, motion, playback, {"timing": "as it is", **timing})

    def test_speed_length_rate_and_direction(self):
        motion = make(40)
        assert len(self.retime(motion, timing="speed", speed=2.0)) == 20
        assert len(self.retime(motion, timing="frames", frames=99)) == 99
        faster = self.retime(motion, timing="frame rate", fps=29.97)
        assert faster.fps == Fraction(30000, 1001) and len(faster) == 48
        assert torch.equal(self.retime(motion, "reverse").codes, motion.codes.flip(0))
        assert len(self.retime(motion, "ping-pong")) == 78
        assert torch.equal(self.retime(motion).codes, motion.codes)


class TestSelect:
    def test_keep_hold_names_ranges_and_rest(self):
        motion, rest = make(), make(1, seed=9)
        kept = run(nodes.LEOSelectDirections, motion, "smile, 0-1", "keep", "first frame", None, NamedAnimator())
        assert torch.equal(kept.codes[:, [0, 1, 3]], motion.codes[:, [0, 1, 3]])
        assert torch.equal(kept.codes[:, [2, 4]], motion.codes[:1, [2, 4]].expand(12, 2))
        held = run(nodes.LEOSelectDirections, motion, "2; 4", "hold", "mean pose")
        torch.testing.assert_close(held.codes[:, 2], motion.codes[:, 2].mean().expand(12))
        resting = run(nodes.LEOSelectDirections, motion, "2\n4", "hold", "mean pose", rest)
        assert torch.equal(resting.codes[:, 2], rest.codes[:, 2].expand(12))


class TestOthers:
    def test_trim_smooth_amplify_plot(self):
        motion = make(30)
        assert len(run(nodes.LEOTrimMotion, motion, 5, 0)) == 25 and len(run(nodes.LEOTrimMotion, motion, 5, 1)) == 1
        assert run(nodes.LEOSmoothMotion, motion, 0.5).codes.diff(dim=0).std() < 0.5 * motion.codes.diff(dim=0).std()
        assert torch.equal(run(nodes.LEOAmplifyMotion, motion, 1.0).codes, motion.codes)
        wide = run(nodes.LEOAmplifyMotion, motion, 2.0, "0: 0.5")
        torch.testing.assert_close(wide.codes[:, 0], motion.codes[:, 0])
        assert run(nodes.LEOPlotMotion, motion, 400, 32, behind=wide).shape == (1, 5 * 32 + 18, 400, 3)


class TestFiles:
    def test_saved_motions_are_numbered_and_come_back(self, leo_folder):
        for seed in (1, 2):
            text = motion_files.LEOSaveMotion.execute(make(seed=seed), "leo/wave", "waves").ui
        names = sorted(path.name for path in leo_folder.iterdir())
        assert names == ["wave_00001_.safetensors", "wave_00002_.safetensors"]
        assert "wave_00002_" in str(text.as_dict()) and "0.48 s at 25 fps" in str(text.as_dict())
        loaded = motion_files.LEOLoadMotion.execute("wave_00002_.safetensors")
        assert torch.equal(loaded.result[0].codes, make(seed=2).codes) and "waves" in str(loaded.ui.as_dict())

    @pytest.mark.parametrize(
        "prefix", ["../../wave", "leo/../../wave", "/wave", "link/wave", "link/deeper/wave", "leo\\..\\..\\wave"]
    )
    def test_a_prefix_that_leads_out_of_the_output_folder_is_refused(self, leo_folder, tmp_path, prefix):
        (tmp_path / "elsewhere").mkdir()
        (leo_folder.parent / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
        with pytest.raises(ValueError, match="not a location in ComfyUI's output folder"):
            motion_files.LEOSaveMotion.execute(make(), prefix)
        assert not list((tmp_path / "elsewhere").iterdir())

    def test_a_file_that_is_not_listed_is_refused(self, leo_folder):
        with pytest.raises(ValueError, match="not in LEO's folders"):
            motion_files.LEOLoadMotion.execute("../secret.safetensors")
