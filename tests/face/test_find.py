"""The face finder without its weights: what its maps mean, how pictures get to it, and that training learns where a
face is."""

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from leo_core.__main__ import main
from leo_core.find import (
    CONFIDENT,
    DOUBT,
    GRID,
    SMALL,
    STRIDE,
    FaceFinder,
    decode,
    find_faces,
    load_finder,
    overlap,
    shrunk,
)
from leo_core.training.train_finder import folded, targets


class Shown(torch.nn.Module):
    """In place of a trained finder: says that every bright blob is a face of 40 x 50 pixels of the picture that it
    sees."""

    def forward(self, pictures):
        bright = torch.nn.functional.avg_pool2d(pictures.mean(1, keepdim=True), STRIDE)
        maps = torch.zeros(1, 5, *bright.shape[2:])
        maps[:, 0] = torch.where(bright[:, 0] > 0.5, 4.0, -8.0) + bright[:, 0]
        maps[:, 3], maps[:, 4] = np.log(40 / STRIDE), np.log(50 / STRIDE)
        return maps


def test_targets_decode_to_the_boxes_they_were_made_of():
    boxes = [np.array([[20, 30, 60, 80], [100, 90, 124, 120]], np.float32)]
    heat, wanted = targets(boxes, 24)
    assert (heat == 1).sum() == 2
    maps = torch.zeros(1, 5, 24, 24)
    maps[:, 0] = torch.where(heat == 1, 5.0, -5.0)
    cells = (torch.arange(24) + 0.5) * STRIDE
    maps[0, 1] = ((wanted[0, ..., 0] + wanted[0, ..., 2]) / 2 - cells[None, :]) / STRIDE
    maps[0, 2] = ((wanted[0, ..., 1] + wanted[0, ..., 3]) / 2 - cells[:, None]) / STRIDE
    maps[0, 3:] = ((wanted[0, ..., 2:] - wanted[0, ..., :2]) / STRIDE).clamp(min=1e-3).log().movedim(-1, 0)
    found, scores = decode(maps)
    assert {tuple(box) for box in found[scores > 0.5].round().int().tolist()} == {
        tuple(box) for box in boxes[0].astype(int).tolist()
    }


@pytest.mark.parametrize("size", [(256, 256), (1080, 1920), (3000, 4000), (700, 300)])
@pytest.mark.parametrize("kind", [torch.float32, torch.uint8])
def test_places_are_those_of_the_picture_whatever_its_size(size, kind):
    picture = torch.zeros(*size, 3)
    y, x, side = size[0] // 3, size[1] // 2, max(8, size[0] // 12)
    picture[y : y + side, x : x + side] = 1
    faces = find_faces(Shown(), picture if kind == torch.float32 else (picture * 255).to(kind))
    middles = [((face.box[0] + face.box[2]) / 2, (face.box[1] + face.box[3]) / 2) for face in faces]
    assert faces and all(abs(mx - x - side / 2) < side and abs(my - y - side / 2) < side for mx, my in middles)
    assert all(overlap(a.box, b.box) < 0.4 for a in faces for b in faces if a is not b)


@pytest.mark.parametrize("sure, sizes", [(CONFIDENT + DOUBT / 2, [30]), (CONFIDENT + 1.5 * DOUBT, [30, 16])])
def test_a_small_find_has_to_be_surer(sure, sizes):
    """Beside a larger one of the same confidence; 5 % of the picture's height lie between them."""

    class Two(torch.nn.Module):
        def forward(self, pictures):
            maps = torch.zeros(1, 5, *(side // STRIDE for side in pictures.shape[2:]))
            maps[:, 0] = -8
            if pictures.shape[3] == 448:  # the first look; 432 pixels square
                for column, side in ((10, 30), (30, 16)):
                    maps[0, 0, 20, column] = np.log(sure / (1 - sure))
                    maps[0, 3:, 20, column] = np.log(side / STRIDE)
            return maps

    assert 16 < SMALL * 432 < 30
    faces = find_faces(Two(), torch.zeros(432, 432, 3))
    assert [round(face.box[3] - face.box[1]) for face in faces] == sizes


def test_a_still_counts_what_is_seen_in_its_mirror_image_too():
    """What is taken for a face on the left of a picture alone is none; a face is found wherever it is."""

    class Fooled(Shown):
        def forward(self, pictures):
            maps = super().forward(pictures)
            maps[:, 0, 20:30, 5] = 2.0
            return maps

    picture = torch.zeros(432, 432, 3)
    picture[100:140, 300:340] = 1

    def columns(thorough: bool) -> set[int]:
        faces = find_faces(Fooled(), picture, thorough=thorough)
        return {round((face.box[0] + face.box[2]) / 2 / 108) for face in faces}

    assert columns(False) > {3} and columns(True) == {3}


def test_gray_pictures_and_alpha_are_seen_too():
    bright = torch.zeros(300, 300, 1)
    bright[100:140, 100:140] = 1
    three = find_faces(Shown(), bright.expand(-1, -1, 3))
    assert (
        find_faces(Shown(), bright)
        == three
        == find_faces(Shown(), torch.cat([bright.expand(-1, -1, 3), torch.ones(300, 300, 1)], 2))
    )


def test_shrinking_averages():
    fine = (torch.arange(960) % 2).float().expand(1, 3, 960, 960)
    small = shrunk(fine, [100, 120])
    assert small.shape == (1, 3, 100, 120) and (small - 0.5).abs().max() < 0.05
    assert (shrunk((fine * 255).to(torch.uint8), [100, 120]) - 0.5).abs().max() < 0.05


def test_the_head_is_an_eighth_larger_on_each_side():
    picture = torch.zeros(GRID, GRID, 3)
    picture[20:30, 20:30] = 1
    face = find_faces(Shown(), picture)[0]
    head = face.head()
    assert (
        head["width"] == pytest.approx(1.25 * (face.box[2] - face.box[0]))
        and head["x"] < face.box[0]
        and head["score"] == face.confidence
    )


def test_normalizations_fold_into_the_convolutions():
    finder = FaceFinder(torch.nn.BatchNorm2d)
    pictures = torch.rand(2, 3, GRID, 2 * GRID, generator=torch.Generator().manual_seed(0)) * 2 - 1
    finder(pictures)  # statistics
    torch.testing.assert_close(folded(finder)(pictures), finder.eval()(pictures), atol=1e-4, rtol=1e-3)


def test_other_files_are_no_finder(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors", {"leo.kind": "animator"})
    (tmp_path / "b.safetensors").write_bytes(b"no")
    for name, message in (("a", "holds animator, not a face finder"), ("b", "not a readable safetensors file")):
        with pytest.raises(ValueError, match=message):
            load_finder(tmp_path / f"{name}.safetensors")


def test_the_command_trains_a_finder_that_loads(tmp_path, mean_face, capsys):
    """A few steps on two drawn faces: the loss falls."""
    names, landmarks, masks = [], [], []
    for number, skin in enumerate(((90, 120, 200), (60, 80, 120))):
        photo = np.full((256, 256, 3), 200, np.uint8)
        points = mean_face * 110 + [128, 128, 0]
        cv2.fillConvexPoly(photo, cv2.convexHull(points[:468, :2].astype(np.int32)), skin)
        mask = np.zeros((256, 256), np.uint8)
        mask[60:, 60:200] = 255
        cv2.imwrite(str(tmp_path / f"p{number}.png"), photo)
        names, landmarks, masks = [*names, f"p{number}"], [*landmarks, points], [*masks, mask]
    np.savez(tmp_path / "landmarks.npz", names=names, landmarks=landmarks, masks=masks)
    # the last photo is held out
    code = main(
        [
            "train-finder",
            str(tmp_path / "finder.safetensors"),
            "--photos",
            str(tmp_path),
            "--landmarks",
            str(tmp_path / "landmarks.npz"),
            "--held-out",
            "1",
            "--backdrops",
            "4",
            "--steps",
            "8",
            "--batch",
            "2",
        ]
    )
    assert code == 0 and "8 steps in" in capsys.readouterr().out
    assert (tmp_path / "finder.safetensors").stat().st_size < 500_000
    assert load_finder(tmp_path / "finder.safetensors")(torch.zeros(1, 3, GRID, GRID)).shape == (1, 5, 8, 8)
