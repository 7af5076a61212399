"""Synthetic people. The tests that render need `--humans FOLDER` (MakeHuman's CC0 assets) and are not collected
without it."""

import argparse
import json

import numpy as np
import pytest

from leo_core.training.data import read_source
from leo_core.training.humans import HumanLibrary, render_clip, sample_motion
from leo_core.training.humans.assets import read_mhclo, read_obj, rotation, rotation_vector
from leo_core.training.humans.commands import add_commands, warp
from leo_core.training.humans.motion import CONTROLS, JOINTS, REACH
from leo_core.training.humans.render import background


@pytest.fixture(scope="module")
def library(request):
    return HumanLibrary(request.config.getoption("--humans"))


def psnr(a, b):
    return 10 * np.log10(255.0**2 / np.mean((a.astype(float) - b.astype(float)) ** 2))


def test_a_folder_without_assets_is_named_with_what_was_looked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"looked for mesh/base\.obj"):
        HumanLibrary(tmp_path)


def test_rotation_vectors_round_trip():
    vectors = np.random.default_rng(0).normal(0.0, 0.7, (50, 3))
    matrices = rotation(vectors)
    np.testing.assert_allclose(matrices @ np.swapaxes(matrices, -1, -2), np.tile(np.eye(3), (50, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(rotation_vector(matrices), vectors, atol=1e-9)
    np.testing.assert_allclose(rotation(np.array([0.0, np.pi / 2, 0.0])) @ [0.0, 0.0, 1.0], [1.0, 0.0, 0.0], atol=1e-12)


def test_obj_splits_corners_where_the_texture_has_a_seam(tmp_path):
    (tmp_path / "a.obj").write_text(
        "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0.25\ng body\nf 1/1 2/1 3/2 4/2\ng other\nf 1/2 2/1 3/1\n"
    )
    mesh = read_obj(tmp_path / "a.obj", group="body")
    assert mesh.triangles.tolist() == [[0, 1, 2], [0, 2, 3]] and mesh.vertex.tolist() == [0, 1, 2, 3]
    assert mesh.uv[2].tolist() == [1.0, 0.75]
    assert len(read_obj(tmp_path / "a.obj").vertex) == 6


def test_mhclo_places_vertices_by_weights_and_scaled_offsets(tmp_path):
    (tmp_path / "a.mhclo").write_text(
        "basemesh hm08\nx_scale 0 1 2.0\ny_scale 0 1 1.0\nz_scale 0 1 1.0\nverts 0\nmaterial a.mhmat\n"
        "2\n 0 1 2 0.5 0.5 0 1 0 0\ndelete_verts\n3 - 5 8\n"
    )
    fit = read_mhclo(tmp_path / "a.mhclo")
    base = np.array([[0.0, 0, 0], [4, 1, 1], [7, 8, 9]])
    np.testing.assert_allclose(fit.place(base), [[7, 8, 9], [2 + 2, 0.5, 0.5]])
    assert fit.deleted.tolist() == [3, 4, 5, 8]
    (tmp_path / "b.mhclo").write_text("basemesh other\n")
    with pytest.raises(ValueError, match="'other'"):
        read_mhclo(tmp_path / "b.mhclo")


def test_backgrounds_vary_and_stay_in_range():
    pictures = [background(np.random.default_rng(seed), 32) for seed in range(20)]
    assert all(p.shape == (32, 32, 3) and p.min() >= 0 and p.max() <= 1 for p in pictures)
    assert np.std([p.mean((0, 1)) for p in pictures], axis=0).min() > 0.05


@pytest.mark.parametrize("identity, motion", [(0, 1), (3, 2), (7, 7), (12, 4)])
def test_flow_reproduces_every_frame_where_it_is_visible(library, identity, motion):
    clip = render_clip(library, identity, motion, size=128, frames=6, fps=3)
    assert clip.frames.dtype == np.uint8 and clip.backward_flow.dtype == np.float16 and clip.visible.dtype == bool
    assert np.abs(clip.backward_flow[0]).max() < 1e-6 and clip.visible[0].mean() > 0.9
    for t in range(1, 6):
        seen = clip.visible[t]
        moving = seen & (np.abs(clip.backward_flow[t].astype(np.float32)).max(-1) > 0.25 / 128)
        assert moving.mean() > 0.1 and seen.mean() > 0.5
        assert psnr(warp(clip, t)[seen], clip.frames[t][seen]) > 30
        # What moves is reproduced, too, and far better than by standing still.
        assert (
            psnr(warp(clip, t)[moving], clip.frames[t][moving])
            > psnr(clip.frames[0][moving], clip.frames[t][moving]) + 6
        )


def test_joints_of_bodies_are_where_the_flow_says_they_came_from(library):
    clip = render_clip(library, 3, 6, "body", size=64, frames=5, fps=2)
    places = clip.controls.reshape(5, -1, 2) * REACH + np.array(CONTROLS["body"].rest).reshape(-1, 2)
    assert np.abs(places).max() < 1.1
    moved = 0
    for joint in ("left knee", "right knee"):  # the skin before a knee moves nearly as the knee does
        place = places[:, list(JOINTS).index(joint)]
        for t in range(1, 5):
            column, row = ((place[t] + 1) / 2 * 64).astype(int)
            if clip.visible[t, row, column]:
                assert np.abs(place[t] + clip.backward_flow[t, row, column] - place[0]).max() < 0.05
                moved += np.abs(place[t] - place[0]).max() > 0.06
    assert moved > 2


def test_the_same_seeds_give_the_same_bytes(library):
    one, two, other = (render_clip(library, 5, seed, size=64, frames=3) for seed in (9, 9, 10))
    assert all(
        np.array_equal(getattr(one, name), getattr(two, name)) for name in ("frames", "backward_flow", "visible")
    )
    assert not np.array_equal(one.frames, other.frames)
    assert library.sample_person(np.random.default_rng(3)) == library.sample_person(np.random.default_rng(3))


@pytest.mark.parametrize("framing", ["head", "upper", "body"])
def test_one_motion_moves_every_identity_by_the_same_joint_rotations(library, framing):
    motion = sample_motion(library, 4, framing, 12, 15)
    again = sample_motion(library, 4, framing, 12, 15)
    assert np.array_equal(motion.rotations, again.rotations) and np.array_equal(motion.root, again.root)
    eye = np.eye(3)
    assert np.abs(motion.rotations @ np.swapaxes(motion.rotations, -1, -2) - eye).max() < 1e-5
    # The skull is rigid, so a vertex on it shows the joints' motion on any person.
    turns = []
    for seed in (1, 2):
        figure = library.build(library.sample_person(np.random.default_rng(seed)))
        head = np.flatnonzero(figure.weights[:, library.rig.index("head")] > 0.999)[:400]
        placed = [figure.pose(r, np.zeros(3))[0][head] for r in motion.rotations[[0, -1]]]
        a, b = (p - p.mean(0) for p in placed)
        u, _, v = np.linalg.svd(a.T @ b)
        turns.append(v.T @ np.diag([1, 1, np.linalg.det(v.T @ u.T)]) @ u.T)
    np.testing.assert_allclose(turns[0], turns[1], atol=1e-3)


def test_settled_motion_starts_and_ends_neutral(library):
    motion = sample_motion(library, 4, "head", 30, 15, settled=True)
    head = library.rig.index("head")
    for t in (0, -1):
        np.testing.assert_allclose(motion.rotations[t, head], motion.neutral[head], atol=1e-6)
        np.testing.assert_allclose(motion.root[t], 0.0, atol=1e-6)


def test_a_head_that_hardly_turns_leaves_the_face_as_lively(library):
    lively, still = (sample_motion(library, 4, "head", 60, 15, turns=turns).controls for turns in (1.0, 0.1))
    np.testing.assert_allclose(still[:, :3], 0.1 * lively[:, :3], atol=1e-6)
    assert np.ptp(lively[:, 0]) > 0.5 and np.array_equal(still[:, 3:], lively[:, 3:])


def test_heads_are_framed_and_whole(library):
    for identity in range(4):
        clip = render_clip(library, identity, 0, size=64, frames=1, settled=True)
        nothing = render_clip(library, identity, 0, size=64, frames=2, fps=0.5).backward_flow[1]
        moved = np.abs(nothing.astype(np.float32)).max(-1) > 1e-6
        rows = np.flatnonzero(moved.any(1))
        assert rows[0] > 2 and rows[-1] == 63, "the crown is in the picture and the shoulders reach its lower edge"
        assert clip.frames.std() > 15


def test_render_humans_resumes_and_its_manifest_names_every_clip(library, request, tmp_path):
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers())
    command = [
        "render-humans",
        "--assets",
        str(request.config.getoption("--humans")),
        "--out",
        str(tmp_path),
        "--identities",
        "2",
        "--clips-per-identity",
        "1",
        "--size",
        "32",
        "--frames",
        "2",
    ]
    arguments = parser.parse_args(command)
    arguments.run(arguments)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert [clip["split"] for clip in manifest["clips"]] == ["train", "val"]
    assert len({clip["identity"] for clip in manifest["clips"]}) == 2
    files = [tmp_path / clip["file"] for clip in manifest["clips"]]
    with np.load(files[0]) as data:
        assert data["frames"].shape == (2, 32, 32, 3) and data["backward_flow"].shape == (2, 32, 32, 2)
    files[1].unlink()
    before = files[0].stat().st_mtime_ns
    arguments.run(arguments)
    assert files[1].exists() and files[0].stat().st_mtime_ns == before
    assert {path.name for path in tmp_path.iterdir()} == {"manifest.json", *(path.name for path in files)}

    whole = read_source(str(tmp_path), 32)
    video = parser.parse_args([*command, "--format", "mp4"])
    video.run(video)
    for clip, packed in zip(whole, read_source(str(tmp_path), 32), strict=True):
        assert (packed.name, packed.identity, packed.exact) == (clip.name, clip.identity, True)
        assert np.abs(packed.frames.astype(int) - clip.frames).mean() < 6
        for name in ("flow", "visible", "coverage"):
            np.testing.assert_array_equal(getattr(packed, name)[:, ::2, ::2], getattr(clip, name)[:, ::2, ::2])
        assert np.array_equal(packed.controls, clip.controls) and np.array_equal(packed.backdrop, clip.backdrop)
