"""The flow nodes as a graph would call them."""

import pytest
import torch
from leo_pack.nodes import flow as nodes

from leo_core.flow import FlowField
from leo_core.identity import AnimatorId

ANIMATOR = AnimatorId("walker", "a" * 64)
SCALES = (8, 16, 32, 64)
RAMP = {"points": [[0, 0], [1, 1]], "interpolation": "linear"}


def make(frames=3, seed=0) -> FlowField:
    generator = torch.Generator().manual_seed(seed)
    return FlowField(
        {r: (0.6 * torch.rand(frames, 2, r, r, generator=generator) - 0.3).half() for r in SCALES},
        {r: torch.rand(frames, 1, r, r, generator=generator).half() for r in SCALES},
        True,
        ANIMATOR,
    )


def edit(flow, strength=1.0, blend=0.5, timing="constant", push_reach=0.1, **links) -> FlowField:
    return nodes.LEOEditFlow.execute(flow, strength, blend, timing, RAMP, push_reach, **links).result[0]


@pytest.mark.parametrize("node", nodes.NODES, ids=lambda node: node.__name__)
def test_everything_explains_itself(node):
    schema = node.GET_SCHEMA()
    assert schema.node_id == node.__name__ and schema.category == "LEO/flow"
    assert schema.description and schema.search_aliases and schema.display_name.replace(" ", "") == schema.node_id
    for port in [*schema.inputs, *schema.outputs]:
        assert port.tooltip and port.tooltip.endswith("."), port.id


def test_an_unedited_flow_is_exactly_the_input():
    flow, edited = make(), edit(make())
    assert all(
        torch.equal(flow.displacement[r], edited.displacement[r]) and torch.equal(flow.mask[r], edited.mask[r])
        for r in SCALES
    )


def test_the_frozen_region_wins_over_every_other_edit():
    region = torch.zeros(1, 64, 64)
    region[:, 10:20, 10:20] = 1
    edited = edit(make(), 2.0, blend_with=make(seed=1), push=torch.ones(1, 8, 8, 3), freeze=region)
    assert not edited.displacement[64][:, :, 10:20, 10:20].any() and (edited.mask[64][:, :, 10:20, 10:20] == 1).all()
    assert edited.displacement[64][:, :, 40:].abs().min() > 0


def test_blending_follows_the_curve():
    first, second = make(3, 1), make(3, 2)
    mixed = edit(first, blend=1.0, timing="curve", blend_with=second)
    assert torch.equal(mixed.displacement[8][0], first.displacement[8][0])
    assert torch.equal(mixed.displacement[8][2], second.displacement[8][2])


@pytest.mark.parametrize(
    "image", [None, torch.rand(2, 50, 40, 4), torch.rand(1, 70, 70, 1)], ids=["none", "rgba batch", "gray"]
)
@pytest.mark.parametrize("view", ["color", "arrows", "grid", "warped picture"])
def test_every_view_has_the_asked_size(view, image):
    if view == "warped picture" and image is None:
        with pytest.raises(ValueError, match="Connect the source picture"):
            nodes.LEOVisualizeFlow.execute(make(), view, 96, 0.0, 24)
        return
    picture, mask = nodes.LEOVisualizeFlow.execute(make(), view, 96, 0.0, 24, image).result
    assert picture.shape == (3, 96, 96, 3) and mask.shape == (3, 96, 96)
    assert 0 <= picture.min() and picture.max() <= 1 and 0 <= mask.min() and mask.max() <= 1
    assert picture.std() > 0.01


def test_the_mask_is_1_where_pixels_are_left_to_inpainting():
    flow = make(1)
    flow.mask[64].zero_()
    flow.mask[64][:, :, :, :32] = 1
    mask = nodes.LEOVisualizeFlow.execute(flow, "color", 64, 0.0, 24).result[1]
    assert mask[..., 32:].min() == 1 and mask[..., :32].max() == 0


def test_a_gray_picture_pushes_both_ways_and_what_is_transparent_not_at_all():
    flow = make()
    gray = edit(flow, push=torch.full((1, 8, 8, 1), 0.75))
    assert torch.equal(gray.displacement[64], edit(flow, push=torch.full((1, 8, 8, 3), 0.75)).displacement[64])
    push = torch.full((1, 8, 8, 4), 0.75)
    push[..., 3] = 1
    push[..., :4, 3] = 0
    pushed = edit(flow, push=push).displacement[64]
    assert torch.equal(pushed[..., :24], flow.displacement[64][..., :24])
    assert torch.equal(pushed[..., -24:], gray.displacement[64][..., -24:])


def test_a_transparent_picture_is_drawn_on_black_and_says_so(caplog):
    caplog.set_level("INFO")
    image = torch.ones(1, 64, 64, 4)
    image[..., 3] = 0
    shown, _ = nodes.LEOVisualizeFlow.execute(make(1), "warped picture", 64, image=image).result
    assert (shown == 0).all() and "shown on black" in caplog.text


def test_a_batch_of_which_one_picture_is_drawn_says_so(caplog):
    caplog.set_level("INFO")
    nodes.LEOVisualizeFlow.execute(make(1), "warped picture", 64, image=torch.rand(3, 64, 64, 3))
    assert "the first of 3 pictures is used" in caplog.text
