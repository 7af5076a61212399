"""Coverage-guided fuzzing of the readers of untrusted files; needs the extra `fuzz` (atheris: Linux on x86-64).

.dev/venv/bin/python tests/fuzz/fuzz_files.py [-runs=N] [-max_total_time=SECONDS] [CORPUS FOLDER]

The first byte of an input chooses the reader, the rest is the file. Anything but a result or a ValueError of one
readable line is a find, as is a call of a few seconds, or two gigabytes of memory. Arguments go to libFuzzer.
"""

import os
import sys
import tempfile
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "robustness")]
with atheris.instrument_imports(include=["leo_core"]):
    from leo_core import directions, motion  # noqa: F401
    from leo_core.animator import checkpoint
    from leo_core.lmdm import checkpoint as prior
import malformed  # noqa: E402
import torch  # noqa: E402

SUFFIXES = {
    "model.pt": checkpoint.load_animator,
    "model.safetensors": checkpoint.load_animator,
    "told.safetensors": checkpoint.read_directions,
    "motion.safetensors": motion.load_motion,
    "prior.safetensors": prior.load_prior,
}
FOLDER = Path(tempfile.mkdtemp(prefix="leo-fuzz-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))


def read(data: bytes) -> None:
    name, reader = list(SUFFIXES.items())[data[0] % len(SUFFIXES)] if data else next(iter(SUFFIXES.items()))
    path = FOLDER / name
    path.write_bytes(data[1:])
    try:
        reader(path)
    except ValueError as error:
        assert str(error).isprintable() and 0 < len(str(error)) < 1000, str(error)[:300]


def seeds() -> list[bytes]:
    """Small files of every kind, good and malformed, to begin from."""
    found = [b"\x00" + content for _, content in malformed.executing_files() if len(content) < 2000]
    found += [b"\x00" + content for _, content in malformed.allocating_files() if len(content) < 4000]
    for path in sorted((ROOT / "models" / "leo-face-64").glob("*.safetensors")):
        found.append(b"\x03" + path.read_bytes())
    metadata = {"leo.kind": "animator", "leo.config": "{}", "leo.directions": "{}"}
    for number in range(1, len(SUFFIXES)):
        found += [
            bytes([number]) + content for _, content in malformed.lying_safetensors(metadata) if len(content) < 4000
        ]
    return found


def main() -> None:
    torch.set_num_threads(1)
    folders = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    corpus = Path(folders[0]) if folders else FOLDER / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = [argument for argument in sys.argv[1:] if argument.startswith("-")]
    atheris.Setup([sys.argv[0], "-rss_limit_mb=2048", "-timeout=20", "-max_len=20000", *options, str(corpus)], read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
