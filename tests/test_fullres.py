"""The photo keeps its own pixels: sharp where it is moved, untouched where it rests, painted only where it was
uncovered."""

import math

import full_resolution_sheet
import pytest
import torch
import torch.nn.functional as F
from kornia.filters import gaussian_blur2d, spatial_gradient

from leo_core.animator.layers import warp
from leo_core.flow import looked_at
from leo_core.fullres import FullResolution
from leo_core.video import read_video

CELLS = 64
SIZE = (512, 640)


def photo(height=SIZE[0], width=SIZE[1]):
    """Texture at every scale, as real pictures have it."""
    generator = torch.Generator().manual_seed(0)
    layers = [
        F.interpolate(torch.rand(1, 3, height // s, width // s, generator=generator), (height, width), mode="bicubic")
        / 1.3 ** (6 - i)
        for i, s in enumerate((2, 4, 8, 16, 32, 64))
    ]
    picture = gaussian_blur2d(sum(layers), (3, 3), (0.6, 0.6))
    picture = (picture - picture.amin()) / (picture.amax() - picture.amin())
    return picture[0].movedim(0, -1)


def centres(cells):
    here = (torch.arange(cells) + 0.5) / cells
    return torch.stack(torch.meshgrid(here, here, indexing="xy"))


def as_displacement(shift, align_corners):
    """How far cells look away, in shares of the picture [2, S, S] -> the animator's displacement [1, 2, S, S]."""
    cells = shift.shape[-1]
    grid = torch.linspace(-1, 1, cells)
    seen = (shift + centres(cells)) * 2 - 1
    if align_corners:
        seen = seen * cells / (cells - 1)
    return (seen - torch.stack(torch.meshgrid(grid, grid, indexing="xy")))[None]


def moving_disc(amount, cells=CELLS):
    """A disc in the middle that turns and moves: (shift [2, S, S], kept [S, S], disc [S, S])."""
    x, y = centres(cells) - 0.5
    angle, along = 0.2 * amount, 0.08 * amount
    moved_x, moved_y = x - along, y + along / 2
    from_x = math.cos(angle) * moved_x + math.sin(angle) * moved_y
    from_y = math.cos(angle) * moved_y - math.sin(angle) * moved_x

    def disc(a, b):
        return torch.sigmoid((0.25 - torch.sqrt(a * a + b * b)) * 200)

    now, before = disc(from_x, from_y), disc(x, y)
    return torch.stack([from_x - x, from_y - y]) * now, 1 - before * (1 - now), now


def decoder_picture(picture, shift, cells=CELLS):
    """What a small decoder makes of it: the same movement, few pixels, a little blur and a wrong tint."""
    small = F.interpolate(picture.movedim(-1, 0)[None], (cells, cells), mode="bilinear", antialias=True)
    look = ((shift + centres(cells)) * 2 - 1).movedim(0, -1)[None]
    moved = F.grid_sample(small, look, align_corners=False, padding_mode="border")
    return (gaussian_blur2d(moved, (3, 3), (0.6, 0.6)) * 0.9 + 0.08)[0].movedim(0, -1)


def rest_of(bias, mask, align_corners):
    shift = torch.tensor(bias)[:, None, None].expand(2, CELLS, CELLS) / CELLS
    return shift, (as_displacement(shift, align_corners), torch.full((1, 1, CELLS, CELLS), mask))


def sharpness(picture, region):
    return spatial_gradient(picture.mean(-1)[None, None]).norm(dim=2)[0, 0][region].mean()


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(
    "bias, mask", [((0.0, 0.0), 1.0), ((0.5, -0.4), 0.8)], ids=["perfect network", "biased network"]
)
def test_the_source_pose_gives_the_photo_back(align_corners, bias, mask):
    original = photo()
    _, rest = rest_of(bias, mask, align_corners)
    frame = FullResolution(original, align_corners, rest)(
        decoder_picture(original, torch.zeros(2, CELLS, CELLS)), *rest
    )
    assert torch.equal(frame, original)


@pytest.mark.parametrize("align_corners", [False, True])
def test_moved_pixels_stay_sharp_and_the_rest_stays_still(align_corners):
    original = photo()
    bias, rest = rest_of((0.4, -0.3), 0.9, align_corners)
    full = FullResolution(original, align_corners, rest)
    for amount in (0.3, 1.0):
        shift, kept, _ = moving_disc(amount)
        decoded = decoder_picture(original, shift)
        frame = full(decoded, as_displacement(shift + bias, align_corners), 0.9 * kept[None, None])
        _, sure, disc = (
            F.interpolate(m[None, None] if m.ndim == 2 else m[None], SIZE, mode="bilinear")[0, 0]
            for m in moving_disc(amount, 512)
        )
        inside = (disc > 0.99) & (sure > 0.99)
        enlarged = F.interpolate(decoded.movedim(-1, 0)[None], SIZE, mode="bicubic")[0].movedim(0, -1)
        original_sharpness = sharpness(original, inside)
        assert sharpness(frame, inside) > 0.9 * original_sharpness > 1.5 * sharpness(enlarged, inside)
        untouched = F.max_pool2d((disc > 0.001)[None].float(), 41, 1, 20)[0] == 0
        untouched &= F.max_pool2d((sure < 0.999)[None].float(), 41, 1, 20)[0] == 0
        assert untouched.float().mean() > 0.3
        assert torch.equal(frame[untouched], original[untouched])


@pytest.mark.parametrize("align_corners", [False, True])
def test_it_moves_pixels_to_where_the_animator_moves_them(align_corners):
    original = photo(CELLS, CELLS)
    rest = as_displacement(torch.zeros(2, CELLS, CELLS), align_corners), torch.ones(1, 1, CELLS, CELLS)
    displacement = as_displacement(moving_disc(1.0)[0], align_corners)
    frame = FullResolution(original, align_corners, rest)(original, displacement, torch.ones(1, 1, CELLS, CELLS))
    expected = warp(original.movedim(-1, 0)[None], displacement, align_corners)[0].movedim(0, -1)
    inner = slice(4, -4)
    assert (frame - expected)[inner, inner].abs().mean() < 0.3 * (original - expected)[inner, inner].abs().mean()


def test_the_decoder_shows_only_where_it_had_to_inpaint_and_without_a_seam():
    grey = torch.full((*SIZE, 3), 0.5)
    nothing = as_displacement(torch.zeros(2, CELLS, CELLS), False)
    hole = torch.ones(1, 1, CELLS, CELLS)
    hole[..., 20:44, 20:44] = 0
    tinted = torch.tensor([0.6, 0.5, 0.42]).expand(CELLS, CELLS, 3)
    full = FullResolution(grey, False, (nothing, torch.ones(1, 1, CELLS, CELLS)))
    frame = full(tinted, nothing, hole)
    assert (frame[:100] - 0.5).abs().max() < 1e-6, "nothing but the rounding of a weighted mean"
    assert (frame[256, 320] - tinted[0, 0]).abs().max() < 0.03, "the middle is the decoder's"
    steps = torch.cat([frame.diff(dim=0).abs().flatten(), frame.diff(dim=1).abs().flatten()])
    assert steps.max() < 1.5 / 255, "and its border is not to be seen"


def test_what_lies_outside_the_photo_is_painted():
    original = photo()
    rest = as_displacement(torch.zeros(2, CELLS, CELLS), True), torch.ones(1, 1, CELLS, CELLS)
    shift = torch.zeros(2, CELLS, CELLS)
    shift[0] = 0.25
    frame = FullResolution(original, True, rest)(
        torch.ones(CELLS, CELLS, 3), as_displacement(shift, True), torch.ones(1, 1, CELLS, CELLS)
    )
    assert torch.allclose(frame[:, :400], original[:, 160:560], atol=2 / 255)
    assert (frame[:, 630:] > 0.9).all()


def at_full_size(picture, shift, kept):
    """Flow, in shares of the picture, and mask for every pixel, with a network that leaves its source as it is."""
    cells = kept.shape[-1]
    rest = as_displacement(torch.zeros(2, cells, cells), False), torch.ones(1, 1, cells, cells)
    return FullResolution(picture, False, rest).at_full_size(as_displacement(shift, False), kept[None, None])


def test_smooth_flows_are_interpolated_linearly_whatever_the_texture():
    shift = torch.zeros(2, 32, 32)
    shift[0] = torch.linspace(0, 3.1, 32) / 32
    expected = F.interpolate(shift[None], (256, 320), mode="bilinear")
    plain, _ = at_full_size(torch.full((256, 320, 3), 0.5), shift, torch.ones(32, 32))
    assert torch.allclose(plain, expected, atol=1e-6)
    textured, _ = at_full_size(photo(256, 320), shift, torch.ones(32, 32))
    assert (textured - expected).abs().mean() < 0.005 / 32


@pytest.mark.parametrize("side", [256, 300, 600, 1100])
def test_jumps_lie_on_the_edges_of_the_picture(side):
    kept = torch.zeros(32, 32)
    kept[:, 16:] = 1
    kept[:, 15] = 0.3
    edge = round(15.5 / 32 * side)  # in the middle of that cell
    picture = torch.zeros(side, side, 3)
    picture[:, edge:] = 1
    ideal = (torch.arange(side) >= edge).float()
    (_, sharp), (_, linear) = (
        at_full_size(p, torch.zeros(2, 32, 32), kept) for p in (picture, torch.zeros(side, side, 3))
    )
    near = (0, 0, side // 3, slice(edge - side // 64, edge + side // 42))
    assert (sharp[near] - ideal[near[-1]]).abs().mean() < 0.7 * (linear[near] - ideal[near[-1]]).abs().mean()


@pytest.mark.parametrize("size", [(40, 300), (63, 65), (97, 64)])
def test_any_size_works_also_one_smaller_than_the_flow(size):
    original = photo(320, 320)[: size[0], : size[1]]
    shift, kept, _ = moving_disc(1.0)
    rest = as_displacement(torch.zeros(2, CELLS, CELLS), True), torch.ones(1, 1, CELLS, CELLS)
    frame = FullResolution(original, True, rest)(
        decoder_picture(original, shift), as_displacement(shift, True), kept[None, None]
    )
    assert frame.shape == original.shape and frame.isfinite().all()
    assert torch.equal(frame[0], original[0]) and not torch.equal(frame, original)


@pytest.mark.parametrize("size", [(700, 300), (200, 4200)])
def test_pixels_come_from_where_the_flow_says_also_in_photos_of_many_tiles(size):
    original = photo(*size)
    shift, kept, _ = moving_disc(1.0)
    rest = as_displacement(torch.zeros(2, CELLS, CELLS), False), torch.ones(1, 1, CELLS, CELLS)
    full = FullResolution(original, False, rest)
    finest = as_displacement(shift, False), kept[None, None]
    frame = full(decoder_picture(original, shift), *finest).movedim(-1, 0)
    across, keep = full.at_full_size(*finest)
    expected = F.grid_sample(
        original.movedim(-1, 0)[None],
        looked_at(across).movedim(1, -1),
        mode="bicubic",
        padding_mode="border",
        align_corners=False,
    )
    clear = keep[0, 0] > 0.999
    assert clear.float().mean() > 0.5
    assert (frame - expected[0].clamp(0, 1))[:, clear].abs().max() < 5 / 255
    assert (frame - expected[0].clamp(0, 1))[:, clear].abs().mean() < 0.05 / 255


@torch.inference_mode()
def test_the_animator_of_the_pack_moves_a_photo_without_loss():
    figures, _ = full_resolution_sheet.Bench(full_resolution_sheet.MODEL, full_resolution_sheet.DRIVING, 3).compare(
        full_resolution_sheet.read_picture(str(full_resolution_sheet.ROOT / "samples" / "astronaut.png"))
    )
    assert figures["its least"] > 0.9 > 1.5 * figures["decoder"]


@torch.inference_mode()
def test_the_animator_of_the_pack_moves_large_photos_without_loss(media):
    bench = full_resolution_sheet.Bench(full_resolution_sheet.MODEL, full_resolution_sheet.DRIVING, 3)
    for still in ("astronaut_collins.png", "mona_lisa.jpg@60,60,600", "apollo11_crew.jpg"):
        figures, _ = bench.compare(full_resolution_sheet.read_picture(f"{media / 'stills'}/{still}"))
        assert figures["its least"] > 0.9 > 1.5 * figures["decoder"], still


@pytest.mark.parametrize("still", ["astronaut_collins.png", "mona_lisa.jpg", "apollo11_crew.jpg"])
def test_real_photos_stay_sharp(media, still):
    original = torch.from_numpy(next(iter(read_video(str(media / "stills" / still))))).float() / 255
    size = original.shape[:2]
    rest = as_displacement(torch.zeros(2, CELLS, CELLS), False), torch.ones(1, 1, CELLS, CELLS)
    shift, kept, _ = moving_disc(1.0)
    decoded = decoder_picture(original, shift)
    frame = FullResolution(original, False, rest)(decoded, as_displacement(shift, False), kept[None, None])
    _, sure, now = (
        F.interpolate(m[None, None] if m.ndim == 2 else m[None], size, mode="bilinear")[0, 0]
        for m in moving_disc(1.0, 512)
    )
    before = F.interpolate(moving_disc(0.0, 512)[2][None, None], size, mode="bilinear")[0, 0]
    inside = (now > 0.99) & (sure > 0.99)
    assert sharpness(frame, inside) > 0.9 * sharpness(original, before > 0.99)
