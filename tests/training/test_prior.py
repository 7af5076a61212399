"""Training a motion prior, in-process and by the command line."""

import json
import math
import re
import resource
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from leo_core.__main__ import main
from leo_core.identity import AnimatorId
from leo_core.lmdm.checkpoint import load_prior
from leo_core.lmdm.prior import PriorConfig, Sampling
from leo_core.lmdm.training import PriorTrainer, PriorTraining, Windows, draw_known, fit_config
from leo_core.motion import MotionSequence, save_motion
from leo_core.training.train_prior import draw

ANIMATOR = AnimatorId("walker", "a" * 64)
CONFIG = PriorConfig(3, length=20, context=3, channels=(16, 24), head_width=8)
SHORT = PriorTraining(steps=12, batch=8, lr=3e-3, seed=5)


def nodding(person: int, frames=60, fps=25, animator=ANIMATOR) -> MotionSequence:
    """Not Gaussian: the third direction is the product of the others, which no Gaussian process can know."""
    generator = torch.Generator().manual_seed(person)
    phase = torch.arange(frames).unsqueeze(1) / fps * torch.tensor([3.0, 4.0]) + 6.28 * torch.rand(
        2, generator=generator
    )
    waves = torch.sin(phase)
    codes = torch.cat([waves, 2 * waves[:, :1] * waves[:, 1:]], 1) + 0.1 * torch.randn(3, generator=generator)
    codes = codes + 0.02 * torch.randn(frames, 3, generator=generator)
    return MotionSequence(codes, Fraction(fps), animator)


PEOPLE = [nodding(person) for person in range(4)]


def weights(prior):
    return torch.cat([parameter.flatten() for parameter in prior.unet.parameters()])


def test_a_broken_and_resumed_run_ends_like_an_unbroken_one(tmp_path):
    unbroken = PriorTrainer(PEOPLE, CONFIG, SHORT)
    expected = unbroken.train()

    first = PriorTrainer(PEOPLE, CONFIG, SHORT)

    def stop(step, steps, loss):
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        first.train(stop)
    first.save(tmp_path / "last.safetensors")
    second = PriorTrainer(PEOPLE, CONFIG, SHORT)
    second.load(tmp_path / "last.safetensors")
    assert second.step == 5
    assert torch.equal(weights(second.train()), weights(expected))
    assert second.losses == unbroken.losses


@pytest.mark.parametrize("motions, options", [(PEOPLE[:3], SHORT), (PEOPLE, replace(SHORT, lr=1e-3))])
def test_another_run_is_not_resumed(tmp_path, motions, options):
    PriorTrainer(PEOPLE, CONFIG, SHORT).save(tmp_path / "last.safetensors")
    with pytest.raises(ValueError, match="other motions or settings"):
        PriorTrainer(motions, CONFIG, options).load(tmp_path / "last.safetensors")


@pytest.mark.parametrize(
    "lmc, left", [(True, 0.92), (False, 0.98)], ids=["LMC", "ablation"]
)  # without LMC it learns more slowly
def test_the_network_learns_the_error_of_the_posterior_mean_for_new_people_too(lmc, left):
    trainer = PriorTrainer(
        [nodding(person) for person in range(30)],
        replace(CONFIG, lmc=lmc, channels=(32, 64)),
        replace(SHORT, steps=250, batch=16),
        held_out=[nodding(person) for person in range(100, 108)],
    )
    before = trainer.validate(6)
    trainer.train()
    assert before < 0.3, "the posterior mean alone leaves little"
    assert trainer.validate(6) < left * before
    assert [step for step, _ in trainer.validation_losses] == [0, 250]


def test_training_leaves_the_global_generator_and_the_motions_alone():
    state, codes = torch.random.get_rng_state(), PEOPLE[0].codes.clone()
    PriorTrainer(PEOPLE, CONFIG, replace(SHORT, steps=2)).train()
    assert torch.equal(torch.random.get_rng_state(), state) and torch.equal(PEOPLE[0].codes, codes)


def test_bf16_learns_too():
    trainer = PriorTrainer(PEOPLE, CONFIG, replace(SHORT, mixed_precision="bf16"))
    trainer.train()
    assert all(math.isfinite(loss) for loss in trainer.losses)
    assert next(trainer.prior().unet.parameters()).dtype == torch.float32


def test_windows_never_reach_from_one_motion_into_another():
    motions = [
        MotionSequence(torch.full((length, 3), float(index)), Fraction(25), ANIMATOR)
        for index, length in enumerate((20, 33, 21))
    ]
    data = Windows(motions, CONFIG)
    codes, makers = data.draw(300, 20, torch.Generator().manual_seed(0))
    assert (codes == codes[:, :1]).all() and (codes[:, 0, 0] == makers).all()
    assert set(makers.tolist()) == {0, 1, 2}
    assert len(data.begins) == 1 + 14 + 2


def test_known_codes_in_training_cover_starts_joints_and_transitions():
    known = draw_known(2000, 20, 4, torch.Generator().manual_seed(0))
    assert known[:, 0].all() and not known[:, 4:16].any()
    ahead, behind = known[:, :10].sum(1), known[:, 10:].sum(1)
    for count in (1, 2, 3, 4):
        assert (ahead == count).sum() > 50
    assert (behind == 0).sum() > 1000 and (behind > 0).sum() > 400


def test_the_configuration_follows_the_motions():
    assert fit_config(PEOPLE).length == 60 and fit_config(PEOPLE, 32).length == 32
    mixed = [nodding(0, fps=30), nodding(1, fps=30), nodding(2, fps=25)]
    assert fit_config(mixed).fps == "30"
    assert len(PriorTrainer(mixed, fit_config(mixed, 24), SHORT).data.motions) == 3


@pytest.mark.parametrize(
    "motions, words",
    [
        ([], "at least one"),
        ([nodding(0), nodding(1, animator=AnimatorId("talker", "b" * 64))], "'walker'.*'talker'"),
        ([nodding(0), MotionSequence(nodding(1).codes[:, :2], Fraction(25), ANIMATOR)], "3 directions.* 2,.*'walker'"),
        ([nodding(0, frames=12)], "needs at least one of 16"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(motions, words):
    with pytest.raises(ValueError, match=words):
        fit_config(motions)


def test_the_command_line_trains_resumes_and_evaluates(tmp_path, capsys):
    (tmp_path / "clips").mkdir()
    for person in range(6):
        save_motion(tmp_path / "clips" / f"person{person}.safetensors", nodding(person))
    run, data = tmp_path / "run", ["--data", str(tmp_path / "clips"), "--hold-out", "person4", "person5"]
    small = ["--channels", "16", "32", "--length", "20", "--batch", "8", "--validate-every", "10", "--threads", "1"]
    assert main(["train-prior", str(run), *data, *small, "--steps", "10", "--note", "license=CC0"]) == 0
    told = capsys.readouterr().out
    assert "4 motions, 240 frames to train on; 2 motions of 2 identities held out" in told
    assert re.search(r"held out: 0\.\d+ after 0 steps, 0\.\d+ after 10 steps", told)
    prior = load_prior(run / "prior.safetensors")
    assert prior.notes["license"] == "CC0" and prior.sample(30, Sampling(0, 5)).shape == (30, 3)
    assert (run / "loss.png").stat().st_size and (run / "samples.png").stat().st_size
    assert main(["train-prior", str(run), *data, *small, "--steps", "10"]) == 0  # nothing left to do

    arguments = [
        str(run / "prior.safetensors"),
        *data,
        "--count",
        "8",
        "--steps",
        "5",
        "--long-steps",
        "2",
        "--seconds",
        "130",
        "--threads",
        "1",
    ]
    assert (
        main(
            [
                "evaluate-prior",
                *arguments,
                "--ablation",
                str(run / "prior.safetensors"),
                "--report",
                str(tmp_path / "report.json"),
            ]
        )
        == 0
    )
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["counts"]["held-out people"] == 2 and report["counts"]["training motions"] == 4
    assert report["prior"] == report["ablation"] != report["posterior mean without the network"]
    assert report["endurance"]["frames"] == 3250

    assert (
        main(
            ["train-prior", str(tmp_path / "other"), "--data", str(tmp_path / "clips"), "--hold-out", "person", *small]
        )
        == 1
    )
    assert "error: No motions to train on" in capsys.readouterr().err


def test_a_full_disk_leaves_the_old_plots(tmp_path):
    trainer = PriorTrainer(PEOPLE, CONFIG, replace(SHORT, steps=2))
    trainer.train()
    (tmp_path / "loss.png").write_bytes(b"old")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limit[1]))  # files end there, as where the disk does
    try:
        with pytest.raises(OSError, match="too large"):
            draw(trainer, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert [path.name for path in tmp_path.iterdir()] == ["loss.png"] and (tmp_path / "loss.png").read_bytes() == b"old"


@pytest.mark.parametrize(
    "wrong, words",
    [(["--note", "foo"], "KEY=TEXT"), (["--context", "40"], "half its window"), (["--channels", "7"], "multiple of 8")],
)
def test_wrong_arguments_are_refused_before_anything_is_done(tmp_path, capsys, wrong, words):
    assert main(["train-prior", str(tmp_path / "run"), "--data", str(tmp_path / "no clips here"), *wrong]) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_clips_of_one_folder_keep_their_own_rates(tmp_path, animator_file):
    from leo_core.training.motion_sources import encode_source
    from leo_core.video import VideoWriter

    folder = tmp_path / "clips"
    folder.mkdir()
    for name, fps in (("film", Fraction(24000, 1001)), ("phone", Fraction(60)), ("tape", Fraction(25))):
        with VideoWriter(str(folder / f"{name}.mp4"), (32, 32), fps) as writer:
            for level in range(4):
                writer.write(np.full((32, 32, 3), 60 * level, np.uint8))
    rates = {name: motion.fps for name, motion in encode_source(str(folder), animator_file, tmp_path / "cache", None)}
    assert rates == {"film": Fraction(24000, 1001), "phone": 60, "tape": 25}


def test_frames_without_a_rate_ask_for_one_before_they_are_read(tmp_path, animator_file):
    from PIL import Image

    from leo_core.training.motion_sources import encode_source

    (tmp_path / "clips" / "take").mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (32, 32)).save(tmp_path / "clips" / "take" / f"{number}.png")
    with pytest.raises(ValueError, match="take.*--fps"):
        encode_source(str(tmp_path / "clips"), animator_file, tmp_path / "cache", None)
    ((_, motion),) = encode_source(str(tmp_path / "clips"), animator_file, tmp_path / "cache", Fraction(15))
    assert motion.fps == 15
