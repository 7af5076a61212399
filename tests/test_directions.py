"""Reading directions from text, and finding out by rendering what each one moves."""

import argparse
import json

import pytest
import torch
from PIL import Image

from leo_core import directions as find
from leo_core.animator import Animator, AnimatorConfig, Direction, orthonormal_basis
from leo_core.animator.checkpoint import load_animator, raw_state, save_animator, write_directions
from leo_core.training import probe_directions as probe

KNOWN = {1: Direction("turn", -4.0, 4.0), 3: Direction("Eyes closed(-) open(+)", -0.4, 0.4)}


class TestText:
    def test_rows_by_number_and_name_add_up(self):
        amounts = find.read_amounts("0: 1\nTURN = -.5, eyes closed(-) open(+): 2; 1: +1.5\n\n", 5, KNOWN)
        assert amounts.tolist() == [1, 1, 0, 2, 0]

    def test_unlisted_directions_have_their_own_value(self):
        assert find.read_amounts("2: 0", 4, {}, unlisted=1.0).tolist() == [1, 1, 0, 1]

    @pytest.mark.parametrize("text", ["5: 1", "-1: 1", "nod: 1", "turn", "1: nan", "1: 1e3", ": 1"])
    def test_what_cannot_be_read_is_refused(self, text):
        with pytest.raises(ValueError, match="direction"):
            find.read_amounts(text, 5, KNOWN)

    def test_two_directions_of_one_name_are_told_apart_by_number(self):
        with pytest.raises(ValueError, match=r"turn \(0\), turn \(1\)"):
            find.read_amounts("turn: 1", 2, {0: Direction("turn", -1, 1), 1: Direction("turn", -1, 1)})

    def test_choices(self):
        assert find.read_choice("0, 2-3\nturn", 6, KNOWN).tolist() == [True, True, True, True, False, False]
        assert not find.read_choice("", 3, KNOWN).any()


def test_a_direction_without_a_range_has_the_slider_of_an_unknown_one():
    row, unknown = find.describe(2, {0: Direction("wink", 0.0, 0.0)})
    assert row == {**unknown, "index": 0, "name": "wink"} and row["low"] < 0 < row["high"]
    assert find.deviations(2, {0: Direction("wink", 0.5, 0.5)}).tolist() == [1, 1]


class Stage(torch.nn.Module):
    """A stand-in animator: a bright square whose place, size or tilt each direction changes; direction 4 does
    nothing."""

    def __init__(self, size=64):
        super().__init__()
        self.config = argparse.Namespace(size=size, directions=5)
        self.grid = torch.stack(
            torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")[::-1]
        )

    def encoder(self, pictures):
        return pictures.mean((2, 3)).repeat(1, 2)[:, :5], {self.config.size: pictures}

    def motion_head(self, z):
        return z

    def dictionary(self, codes):
        return codes

    def anchor(self, features, z):
        return None

    def flow_generator(self, features, latent, anchor):
        amount = 0.3 * torch.tanh(latent)
        x, y = self.grid
        fields = torch.stack(
            [torch.stack(f) for f in ((-1 + 0 * x, 0 * x), (0 * x, -1 + 0 * y), (-x, -y), (y, -x), (0 * x, 0 * y))]
        )
        displacement = torch.einsum("nd,dchw->nchw", amount, fields)
        size = self.config.size
        return {size: displacement}, {size: torch.ones(len(latent), 1, size, size)}

    def decoder(self, features, displacement, mask):
        places = self.grid + displacement[self.config.size]
        shape = (places[:, 0].abs() < 0.5) & (places[:, 1].abs() < 0.25)
        return 2 * shape[:, None].float().expand(-1, 3, -1, -1) - 1


@pytest.fixture(scope="module")
def responses():
    pictures = 2 * torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) - 1
    pictures *= torch.tensor([0.2, 0.6, 1.0]).reshape(3, 1, 1, 1)
    pictures += torch.tensor([-0.5, 0.0, 0.4]).reshape(3, 1, 1, 1)
    return probe.respond(Stage(), pictures)


class TestResponses:
    def test_names_say_how_the_content_moves(self, responses):
        names = [direction.name for direction in probe.propose(responses).values()]
        assert names[0].endswith("left-right") and names[1].endswith("up-down")
        assert names[2].endswith("small-large") and names[3].endswith("tilt left-right")
        assert len(set(names)) == 5

    def test_a_direction_without_effect_gets_no_name(self, responses):
        assert probe.propose(responses)[4].name == "direction 4"
        assert not responses.change[4].any()

    def test_the_range_is_two_deviations_either_way(self, responses):
        direction = probe.propose(responses)[0]
        assert direction.high == pytest.approx(2 * float(responses.deviation[0])) and direction.low == -direction.high
        assert find.deviations(5, {0: direction})[0] == pytest.approx(float(responses.deviation[0]))

    def test_proposed_names_can_be_typed_into_an_edit(self, responses):
        known = probe.propose(responses)
        rows = "\n".join(f"{direction.name}: {i + 1}" for i, direction in known.items())
        assert find.read_amounts(rows, 5, known).tolist() == [1, 2, 3, 4, 5]

    def test_the_place_of_a_change_is_named(self):
        change = torch.zeros(64, 64)
        change[4:16, 40:56] = 1
        assert probe._where(change) == "upper right"
        assert probe._where(torch.ones(64, 64)) == "whole"

    def test_the_sheet_shows_a_row_per_direction(self, responses):
        sheet = probe.contact_sheet(responses, probe.propose(responses), cell=64)
        assert sheet.shape == (18 + 5 * 64, 220 + 8 * 64, 3)

        def difference(d: int) -> torch.Tensor:
            row = sheet[18 + 64 * d : 82 + 64 * d]
            return (row[:, 220:284] - row[:, 348:412]).abs().mean()

        assert difference(0) > 0.02 and difference(4) == 0

    def test_one_picture_has_no_deviation(self):
        with pytest.raises(ValueError, match="at least two pictures"):
            probe.respond(Stage(), torch.zeros(1, 3, 64, 64))


class TestCommand:
    @pytest.fixture
    def model(self, tmp_path):
        config = AnimatorConfig("tiny", 16, 16, 4, {4: 8, 8: 8, 16: 8}, 2, True, False, 0, 0)
        animator, generator = Animator(config), torch.Generator().manual_seed(0)
        dictionary = torch.randn(16, 4, generator=generator)
        animator.load_state_dict(
            {
                name: orthonormal_basis(dictionary)
                if name == "dictionary.basis"
                else 0.2 * torch.randn(value.shape, generator=generator)
                for name, value in animator.state_dict().items()
            }
        )
        path = tmp_path / "tiny.safetensors"
        save_animator(path, raw_state(animator, dictionary), config)
        return path

    def run(self, *arguments):
        parser = argparse.ArgumentParser()
        probe.add_commands(parser.add_subparsers())
        args = parser.parse_args(["directions", *map(str, arguments)])
        args.run(args)

    def test_names_are_kept_in_the_model_file_and_nothing_else_changes(self, model, tmp_path, capsys):
        photos = tmp_path / "photos"
        photos.mkdir()
        for i in range(3):
            pixels = torch.randint(0, 256, (20, 30, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(i))
            Image.fromarray(pixels.numpy()).save(photos / f"{i}.png")
        (tmp_path / "names.json").write_text(json.dumps({"2": "wink"}))
        before, info = load_animator(model)
        self.run(model, photos, "--sheet", tmp_path / "sheet.png", "--names", tmp_path / "names.json", "--write")
        after, named = load_animator(model)
        assert Image.open(tmp_path / "sheet.png").size[0] == 220 + 8 * 128
        assert json.loads(capsys.readouterr().out)["2"] == "wink" and named.directions[2].name == "wink"
        assert sorted(named.directions) == [0, 1, 2, 3] and named.directions[0].high > 0
        assert named.id == info.id
        for name, value in before.state_dict().items():
            assert torch.equal(value, after.state_dict()[name]), name

    def test_names_and_ranges_of_the_file_stay_unless_taken_away(self, model, tmp_path, capsys):
        photo = tmp_path / "a.png"
        Image.new("RGB", (16, 16), "red").save(photo)
        Image.new("RGB", (16, 16), "blue").save(tmp_path / "b.png")
        pictures = (photo, tmp_path / "b.png", "--sheet", tmp_path / "sheet.png")
        write_directions(model, {1: Direction("wink", -3.0, 3.0), 2: Direction("grin", -1.0, 1.0)})
        (tmp_path / "names.json").write_text(json.dumps({"2": ""}))
        self.run(model, *pictures, "--names", tmp_path / "names.json", "--write")
        kept = load_animator(model)[1].directions
        assert kept[1] == Direction("wink", -3.0, 3.0) and kept[2] == Direction("", -1.0, 1.0)
        with pytest.raises(ValueError, match=r"wink \(1\)"):
            find.read_amounts("grin: 1", 4, kept)
        self.run(model, *pictures, "--anew")
        assert "wink" not in capsys.readouterr().out.rpartition("{")[2]

    def test_without_write_the_model_stays(self, model, tmp_path, capsys):
        content = model.read_bytes()
        Image.new("RGB", (16, 16), "red").save(tmp_path / "a.png")
        Image.new("RGB", (16, 16), "blue").save(tmp_path / "b.png")
        self.run(model, tmp_path / "a.png", tmp_path / "b.png", "--sheet", tmp_path / "sheet.png")
        assert model.read_bytes() == content
