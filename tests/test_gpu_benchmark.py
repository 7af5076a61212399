"""The command that measures on a GPU works before anybody has one at hand."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent / "benchmarks"))

import gpu  # noqa: E402


def test_every_measurement_is_made_and_written_where_the_document_says(tmp_path, capsys):
    document = tmp_path / "speed.md"
    document.write_text(f"before\n{gpu.BEGIN}\nan older table\n{gpu.END}\nafter\n")
    gpu.main(["--device", "cpu", "--small", "--write", str(document)])
    text = document.read_text()
    rows = dict(line.strip("| ").split(" | ") for line in text.splitlines()[4:-2])
    assert text.startswith("before\n") and text.endswith("after\n") and "older" not in text
    for name in ("LIA", "LIA-X", "leo-face-128"):
        assert float(rows[f"{name}, frames a second"].split()[0].replace(",", "")) > 0
    assert rows["leo-face-128, PSNR against float32 on a CPU, worst / mean"] == "exact"
    assert float(rows["motion prior, a seed's motion there beside a CPU's, normalized"]) == 0
    assert sum("full resolution" in what for what in rows) == 2 and sum("train-animator" in what for what in rows) == 2
    assert text.splitlines()[2] in capsys.readouterr().out


def test_the_document_of_the_project_has_a_place_for_the_table():
    document = (Path(__file__).parents[1] / "docs" / "speed.md").read_text()
    assert "the table" in gpu.written(document, "the table")
    with pytest.raises(ValueError, match="where the table belongs"):
        gpu.written("no place for it", "the table")
