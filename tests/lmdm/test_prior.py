"""Motion out of a prior: any length, exact starts, transitions, variations, files."""

from dataclasses import replace

import pytest
import torch

from leo_core.lmdm.checkpoint import load_prior, save_prior
from leo_core.lmdm.prior import PriorConfig, Sampling, private_generator, window_lengths
from leo_core.lmdm.samplers import SAMPLERS
from leo_core.lmdm.training import PriorTrainer, PriorTraining

FEW = Sampling(seed=3, steps=6)


@pytest.fixture
def start():
    return torch.tensor([[0.1, -0.2, 0.3, 1 / 3, -2.0]])


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("frames", [1, 2, 24, 25, 100])
def test_any_length_begins_with_the_given_pose_bit_for_bit(prior, start, sampler, frames):
    codes = prior.sample(frames, replace(FEW, sampler=sampler), start)
    assert codes.shape == (frames, 5) and codes.dtype == torch.float32
    assert torch.equal(codes[:1], start)
    assert torch.isfinite(codes).all()


def test_a_seed_gives_one_motion_and_a_longer_one_begins_with_it(prior, start):
    state = torch.random.get_rng_state()
    codes = prior.sample(70, FEW, start)
    assert torch.equal(codes, prior.sample(70, FEW, start))
    assert torch.equal(codes, prior.sample(130, FEW, start)[:70])
    assert not torch.allclose(codes, prior.sample(70, replace(FEW, seed=4), start))
    assert torch.equal(torch.random.get_rng_state(), state), "drew from the global generator"


def test_without_a_start_pose_one_is_drawn_from_those_of_the_training_people(prior, people):
    drawn = torch.cat([prior.sample(1, replace(FEW, seed=seed)) for seed in range(200)])
    poses = torch.cat([motion.codes for motion in people])
    assert len(drawn.unique(dim=0)) == 200
    assert ((drawn.mean(0) - poses.mean(0)).abs() < 0.3 * poses.std(0)).all()
    assert (drawn.std(0) / poses.std(0)).sub(1).abs().max() < 0.3


def test_windows_share_codes_and_joints_are_as_smooth_as_the_rest(prior, people):
    codes = torch.cat(
        [prior.sample(200, replace(FEW, seed=seed, steps=20), people[seed].codes[:1]) for seed in range(3)]
    )
    second = codes.reshape(3, 200, 5).diff(n=2, dim=1).norm(dim=2)
    seams = torch.arange(24, 200, 21)
    at = torch.zeros(198, dtype=torch.bool)
    at[torch.cat([seams - 2, seams - 1])] = True
    assert second[:, at].quantile(0.9) < 1.3 * second[:, ~at].quantile(0.9)


def test_progress_counts_every_step_of_every_window_and_shows_codes(prior, start):
    told = []
    prior.sample(
        60,
        FEW,
        start,
        progress=lambda done, total, estimate: told.append((done, total, estimate().shape, estimate()[0])),
    )
    assert [done for done, *_ in told] == list(range(1, 19))
    assert {total for _, total, *_ in told} == {18}
    assert all(shape == (24, 5) for _, _, shape, _ in told)
    assert torch.equal(told[0][3], start[0])


@pytest.mark.parametrize("frames", [1, 5, 18, 19, 60])
def test_a_transition_has_its_length_and_continues_both_motions(prior, people, frames):
    before, after = people[0].codes[:50], people[0].codes[70:]
    between = prior.transition(before, frames, after, replace(FEW, steps=20))
    assert between.shape == (frames, 5)
    if frames >= 18:
        usual = people[0].codes.diff(dim=0).norm(dim=1).max()
        assert torch.cat([before[-1:], between, after[:1]]).diff(dim=0).norm(dim=1)[[0, -1]].max() < 2 * usual


def test_a_transition_from_a_single_pose_to_a_single_pose(prior, people):
    assert prior.transition(people[0].codes[:1], 10, people[1].codes[:1], FEW).shape == (10, 5)


def test_variation_goes_from_the_motion_itself_to_another(prior, people):
    motion = people[3].codes[:80]
    assert torch.equal(prior.vary(motion, 0.0, FEW), motion)
    distance = [(prior.vary(motion, strength, FEW) - motion).square().mean().sqrt() for strength in (0.1, 0.4, 1.0)]
    assert 0 < distance[0] < distance[1] < distance[2]
    assert torch.equal(prior.vary(motion, 0.5, FEW)[0], motion[0])


def test_variation_can_move_to_another_start(prior, people, start):
    motion = people[3].codes[:30]
    moved = prior.vary(motion, 0.0, FEW, start)
    assert torch.equal(moved[:1], start)
    assert torch.allclose(moved - moved[0], motion - motion[0], atol=1e-6)


def test_zero_frames_are_refused(prior):
    with pytest.raises(ValueError, match="1 to 10000000 frames"):
        prior.sample(0, FEW)


def test_a_prior_is_the_same_after_saving_and_loading(prior, start, tmp_path):
    save_prior(tmp_path / "prior.safetensors", replace(prior, notes={"license": "CC0"}))
    loaded = load_prior(tmp_path / "prior.safetensors")
    assert loaded.config == prior.config and loaded.animator == prior.animator and loaded.notes == {"license": "CC0"}
    assert loaded.animator.name == prior.animator.name
    assert torch.equal(loaded.sample(40, FEW, start), prior.sample(40, FEW, start))
    assert torch.equal(loaded.sample(3, FEW), prior.sample(3, FEW))

    save_prior(tmp_path / "half.safetensors", prior, torch.float16)
    half = load_prior(tmp_path / "half.safetensors")
    assert (tmp_path / "half.safetensors").stat().st_size < 0.7 * (tmp_path / "prior.safetensors").stat().st_size
    assert torch.allclose(half.sample(20, FEW, start), prior.sample(20, FEW, start), atol=0.02)


def test_damaged_and_foreign_files_are_named(prior, tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "prior.safetensors"
    save_prior(path, prior)
    whole = path.read_bytes()
    for size in (0, 5, 300, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="prior.safetensors"):
            load_prior(path)
    save_file({"codes": torch.zeros(2, 5)}, path, {"leo.kind": "motion"})
    with pytest.raises(ValueError, match="holds motion, not a motion prior"):
        load_prior(path)
    save_file({"codes": torch.zeros(2, 5)}, path, {"leo.kind": "motion_prior"})
    with pytest.raises(ValueError, match="incomplete or damaged"):
        load_prior(path)


def test_a_batch_of_windows_with_one_mask_for_all(prior, people):
    known = torch.stack([motion.codes[:24] for motion in people[:3]])
    is_known = torch.arange(24) < 2
    style = prior.process.infer(prior.scale.codes(known[:, :2]), torch.Generator().manual_seed(1))
    codes = prior.sample_window(known, is_known, style, FEW, torch.Generator().manual_seed(0))
    assert codes.shape == (3, 24, 5) and torch.equal(codes[:, :2], known[:, :2])
    one_each = prior.sample_window(known, is_known.expand(3, 24), style, FEW, torch.Generator().manual_seed(0))
    assert torch.allclose(codes, one_each, atol=1e-4)


@pytest.mark.parametrize("length, context", [(24, 12), (24, 23), (25, 13), (2, 1)])
def test_a_context_of_half_a_window_is_refused_at_once(length, context):
    """A transition knows a context at both ends, and with this one there would be nothing to make between them."""
    with pytest.raises(ValueError, match=f"at most {(length - 1) // 2}"):
        PriorConfig(3, length=length, context=context)


def test_the_longest_context_joins(people):
    config = PriorConfig(5, length=17, context=8, channels=(8, 16), head_width=8)
    made = PriorTrainer(people[:2], config, PriorTraining(steps=1, batch=2)).train()
    assert len(made.transition(people[0].codes, 5, people[1].codes, FEW)) == 5


@pytest.mark.parametrize(
    "field, good, bad",
    [
        ("directions", (1, 8192), (0, 8193, 5.0, True)),
        ("length", (10, 8192), (1, 8193, 20.0)),
        ("context", (1, 31), (0, 32, 1.5)),
        ("head_width", (1, 8192), (0, 8193, "8")),
        ("noise_steps", (1, 1_000_000), (0, 1_000_001, 1e3)),
        ("fps", ("25", "30000/1001"), (25, "fast", "25 ", "")),
        ("channels", ((8,), (8192,), (8,) * 8), ((), (8,) * 9, (7,), (12,), (8200,), (8.0,), (0,))),
        ("lmc", (True, False), (1, None)),
    ],
)
def test_a_prior_is_made_of_what_can_be_built(field, good, bad):
    for value in good:
        assert getattr(PriorConfig(**{"directions": 5, field: value}), field) == value
    for value in bad:
        with pytest.raises(ValueError, match="motion prior"):
            PriorConfig(**{"directions": 5, field: value})


@pytest.mark.parametrize(
    "field, good, bad, words",
    [
        ("seed", (0, 2**64 - 1), (-1, 2**64), "2\\*\\*64"),
        ("steps", (1, 10_000), (0, 10_001), "1 to 10000 steps"),
        ("sampler", ("ddim", "ddpm"), ("euler", ""), "dpmpp_2m, ddim, ddpm"),
        ("eta", (0, 1), (-0.1, 1.1, float("nan")), "between 0 and 1"),
    ],
)
def test_sampling_has_limits(field, good, bad, words):
    for value in good:
        assert getattr(Sampling(**{field: value}), field) == value
    for value in bad:
        with pytest.raises(ValueError, match=words):
            Sampling(**{field: value})


def test_generators_of_other_seeds_and_names_are_unrelated():
    draws = {
        torch.randint(2**40, (1,), generator=private_generator(seed, name)).item()
        for seed in (0, 1, 12)
        for name in (0, 1, "start", "temperament")
    }
    assert len(draws) == 12
    again = torch.rand(4, generator=private_generator(1, "start"))
    assert torch.equal(again, torch.rand(4, generator=private_generator(1, "start")))


def test_windows_of_a_chain_add_up():
    assert window_lengths(0, 1, 24, 3) == [] and window_lengths(23, 1, 24, 3) == [23]
    assert window_lengths(24, 1, 24, 3) == [23, 1] and window_lengths(60, 3, 24, 3) == [21, 21, 18]


def test_the_ablation_sees_a_direction_three_times():
    seen = [PriorConfig(5, channels=(8, 16), head_width=8, lmc=lmc).build().stem.in_channels for lmc in (True, False)]
    assert seen == [11, 16]


def test_progress_of_a_transition_and_of_a_variation_counts_to_the_end(prior, people):
    codes, told = people[0].codes, []

    def note(done, total, estimate):
        told.append((done, total, tuple(estimate().shape[1:])))

    prior.transition(codes[:50], 60, codes[70:], FEW, progress=note)
    assert told == [(done, 18, (5,)) for done in range(1, 19)]
    told.clear()
    prior.vary(codes[:60], 1.0, FEW, progress=note)
    assert told == [(done, 18, (5,)) for done in range(1, 19)]


def test_a_transition_begins_with_free_motion_and_ends_with_what_is_ahead(prior, people):
    """What does not fit a window is what the prior would go on with anyway."""
    before, after = people[0].codes[:50], people[1].codes[70:]
    long = prior.transition(before, 60, after, FEW)
    assert torch.equal(long[:42], prior.extend(before, 42, FEW))
    assert not torch.allclose(prior.transition(before, 12, after, FEW), prior.transition(before, 12, before[:5], FEW))


def test_a_noise_level_of_zero_changes_nothing(prior, people):
    known = people[0].codes[None, :24]
    style = prior.style(known[0], 0)
    codes = prior.sample_window(
        known, torch.arange(24) < 1, style, FEW, torch.Generator().manual_seed(0), strength=0.0004
    )
    assert torch.equal(codes, known) and codes is not known


def test_a_variation_joins_its_windows_without_a_leap(prior, people):
    motion = people[3].codes[:100]
    usual = motion.diff(dim=0).norm(dim=1).max()
    assert prior.vary(motion, 0.6, replace(FEW, steps=20)).diff(dim=0).norm(dim=1).max() < 2 * usual
