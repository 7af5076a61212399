"""A frame sheet: the photo, a row of driving frames, and below them the frames they became.

.dev/venv/bin/python scripts/frame_sheet.py samples/woman.png samples/man_talking.mp4 RESULT.mp4 docs/figures/demo.jpg
"""

import sys

import av
from PIL import Image

COLUMNS = 7
CELL = 160


def frames(path: str) -> list[Image.Image]:
    with av.open(path) as container:
        return [frame.to_image() for frame in container.decode(video=0)]


def sheet(photo: str, driving: str, result: str) -> Image.Image:
    """Source in the first column; driving above result in the others, the same moments of both."""
    page = Image.new("RGB", ((COLUMNS + 1) * CELL, 2 * CELL), "white")
    page.paste(Image.open(photo).convert("RGB").resize((CELL, CELL), Image.Resampling.LANCZOS), (0, CELL))
    for row, clip in enumerate((frames(driving), frames(result))):
        for column in range(COLUMNS):
            moment = clip[column * (len(clip) - 1) // (COLUMNS - 1)]
            page.paste(moment.resize((CELL, CELL), Image.Resampling.LANCZOS), ((column + 1) * CELL, row * CELL))
    return page


if __name__ == "__main__":
    *clips, target = sys.argv[1:]
    sheet(*clips).save(target, quality=92)
