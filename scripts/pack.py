"""Write the archive that the Comfy Registry gives to users: what git knows, less what .comfyignore names.

`python3 scripts/dev.py pack [FILE.zip]`; without a name it lies under .dev/. `comfy node pack` takes the same files.
"""

import subprocess
import sys
import zipfile
from pathlib import Path

from environment import DEV, ROOT


def packed_files() -> list[str]:
    """Paths of the archive, relative to the repository."""

    def listed(*options: str) -> set[str]:
        return set(
            subprocess.run(
                ["git", "ls-files", "-z", *options], cwd=ROOT, check=True, capture_output=True, text=True
            ).stdout.split("\0")[:-1]
        )

    return sorted(listed() - listed("--cached", "--ignored", "--exclude-from=.comfyignore"))


def pack(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in packed_files():
            archive.write(ROOT / name, name)
    return path


def main(arguments: list[str]) -> int:
    path = pack(Path(arguments[0]) if arguments else DEV / "leo.zip")
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
