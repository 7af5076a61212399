"""Train the face finder: ``python -m leo_core train-finder``; and say how good it is: ``evaluate-finder``.

Pictures are made as they are needed: photos of people, cut out along their masks, stand on backdrops of clouds,
shapes, stripes and writing, of the photos' own walls and clothes, and of faces cut into tiles and shuffled. What is
drawn depends on the seed alone.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import save_file
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..face import ANGLE_UNITS, PLACE_UNIT, SIZE_AT_REST, SIZE_UNIT, HeadPose, head_pose, rotation_of
from ..files import KIND_KEY, write_atomically
from ..find import KIND, LIKELY, STRIDE, Convolution, FaceFinder, decode, find_faces, load_finder, overlap, supported
from ..video import read_video
from .outputs import MODEL, file_to_write
from .portraits.commands import read_landmarks, read_photo

SIDE = 192  # pixels of a training picture
SMALLEST, LARGEST = 11, 185  # heights of faces there
SHOULDERS = 1.3  # how far from a face's middle a person reaches, in widths of the face


@dataclass(frozen=True)
class Cutout:
    """A photo with the person's mask, [P, P, 4] uint8, and the face's box (left, top, right, bottom) in its pixels."""

    picture: np.ndarray
    box: np.ndarray


def read_cutouts(photos: Path, landmarks: Path) -> list[Cutout]:
    """All photos of a landmark file. :raises ValueError: it has no masks."""
    cutouts = []
    for name, (points, mask) in read_landmarks(landmarks).items():
        if mask is None:
            raise ValueError(f"{landmarks} holds no masks. Make it with python -m leo_core portrait-landmarks.")
        photo = read_photo(photos / name if (photos / name).is_file() else next(photos.glob(f"{name}.*")))
        cutouts.append(
            Cutout(
                np.concatenate([photo, mask[..., None]], 2),
                np.concatenate([points[:468, :2].min(0), points[:468, :2].max(0)]),
            )
        )
    return cutouts


def mean_face(landmarks: Path) -> np.ndarray:
    """[468, 3] in the head's frame."""
    points = np.stack([points for points, _ in read_landmarks(landmarks).values()])
    return head_pose(points).to_head(points).mean(0)[:468]


def read_turned(folder: Path, face: np.ndarray, frames: int = 3) -> list[Cutout]:
    """Frames of the training clips of ``render-portraits``: turned heads that act. Where their faces are follows
    from their controls."""
    cutouts = []
    for entry in json.loads((folder / "manifest.json").read_text())["clips"]:
        if entry["split"] != "train":
            continue
        with np.load(folder / entry["file"]) as clip:
            pictures = np.concatenate([clip["frames"][-frames:], clip["coverage"][-frames:, ..., None]], 3)
            controls = clip["controls"][-frames:].astype(np.float64)
        side = pictures.shape[1]
        origin = np.pad((controls[:, 3:5] * PLACE_UNIT + 1) * side / 2, ((0, 0), (0, 1)))
        head = HeadPose(
            rotation_of(*(controls[:, :3] * ANGLE_UNITS).T), SIZE_AT_REST * side * SIZE_UNIT ** controls[:, 5], origin
        )
        points = head.to_picture(np.tile(face, (len(controls), 1, 1)))[..., :2]
        cutouts += [
            Cutout(picture, box)
            for picture, box in zip(pictures, np.concatenate([points.min(1), points.max(1)], 1), strict=True)
        ]
    return cutouts


def draw_clouds(rng: np.random.Generator, side: int) -> np.ndarray:
    """Noise of all sizes in a few colors."""
    picture = np.zeros((side, side, 3), np.float32)
    fine, strength = rng.uniform(0.35, 0.9), 1.0
    for size in (2, 4, 8, 16, 32, 64, 128):
        noise = rng.normal(0, 1, (size, size, 1 if rng.random() < 0.6 else 3)) * rng.uniform(0.2, 1, 3)
        picture += strength * cv2.resize(noise.astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
        strength *= fine
    return np.clip(rng.uniform(40, 210, 3) + picture * rng.uniform(10, 45), 0, 255).astype(np.uint8)


def draw_shapes(rng: np.random.Generator, side: int, picture: np.ndarray) -> np.ndarray:
    """Boxes, discs, lines and words of any color, skin among them, over a picture."""
    picture = picture.copy()
    for _ in range(rng.integers(3, 40)):
        shade = rng.uniform(0, 255, 3) if rng.random() < 0.6 else np.array([225, 170, 140]) * rng.uniform(0.35, 1.1)
        color = tuple(float(c) for c in np.clip(shade, 0, 255))
        at, to = (tuple(int(c) for c in rng.uniform(0, side, 2)) for _ in range(2))
        reach = rng.uniform(2, 0.25 * side)
        kind, fill = rng.integers(6), -1 if rng.random() < 0.7 else int(rng.integers(1, 6))
        if kind == 0:
            cv2.rectangle(picture, at, to, color, fill)
        elif kind in (1, 2):
            cv2.ellipse(picture, (at, (reach, reach * rng.uniform(0.6, 1.7)), rng.uniform(0, 180)), color, fill)
        elif kind == 3:
            cv2.line(picture, at, to, color, int(rng.integers(1, 9)), cv2.LINE_AA)
        elif kind == 4:
            words = "".join(chr(c) for c in rng.integers(33, 126, rng.integers(1, 12)))
            cv2.putText(
                picture,
                words,
                at,
                int(rng.integers(0, 8)),
                rng.uniform(0.3, 2),
                color,
                int(rng.integers(1, 4)),
                cv2.LINE_AA,
            )
        else:
            rows, columns = (np.linspace(0, rng.uniform(3, 40), side) + rng.uniform(0, 6) for _ in range(2))
            waves = np.sin(rows[:, None] * rng.choice([0, 1]) + columns * rng.choice([0, 1])) > rng.uniform(-0.6, 0.6)
            corner = [slice(*sorted(pair)) for pair in zip(at[::-1], to[::-1], strict=True)]
            picture[corner[0], corner[1]][waves[corner[0], corner[1]]] = color
    return cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 3)) if rng.random() < 0.5 else picture


def draw_tiles(rng: np.random.Generator, side: int, cutouts: list[Cutout]) -> np.ndarray:
    """Pieces of photos, of their edges or of their middles, that together show no face."""
    count = int(rng.choice([2, 3, 5, 8]))
    tile = -(-side // count)
    shuffled = rng.random() < 0.6
    rows = []
    source = cutouts[rng.integers(len(cutouts))]
    for _ in range(count * count):
        if rng.random() < 0.15 or not shuffled:
            source = cutouts[rng.integers(len(cutouts))]
        photo, (left, top, right, bottom) = source.picture[..., :3], source.box
        wide = len(photo)
        if shuffled and count >= 5:  # a sixth of a face: an eye at most
            piece = (bottom - top) / rng.uniform(3, 6)
            x, y = rng.uniform(left, right - piece), rng.uniform(top, bottom - piece)
        else:  # walls, hair and clothes
            piece = rng.uniform(20, max(24, 0.8 * min(left, wide - right)))
            x = rng.choice([rng.uniform(0, max(1, left - piece)), rng.uniform(min(right, wide - piece), wide - piece)])
            y = rng.uniform(0, wide - piece)
        piece, x, y = (
            int(np.clip(n, 0, wide - 1 - int(piece))) if k else max(1, int(piece)) for k, n in enumerate((piece, x, y))
        )
        rows.append(cv2.resize(photo[y : y + piece, x : x + piece], (tile, tile), interpolation=cv2.INTER_LINEAR))
    grid = (
        np.stack(rows)
        .reshape(count, count, tile, tile, 3)
        .transpose(0, 2, 1, 3, 4)
        .reshape(count * tile, count * tile, 3)
    )
    return grid[:side, :side]


def draw_backdrop(rng: np.random.Generator, side: int, cutouts: list[Cutout]) -> np.ndarray:
    kind = rng.random()
    if kind < 0.4:
        return draw_tiles(rng, side, cutouts)
    clouds = draw_clouds(rng, side)
    return clouds if kind < 0.55 else draw_shapes(rng, side, draw_tiles(rng, side, cutouts) if kind < 0.75 else clouds)


def place(
    picture: np.ndarray,
    cutout: Cutout,
    rng: np.random.Generator,
    height: float,
    middle: np.ndarray,
    plain: bool = False,
) -> np.ndarray:
    """Put a person onto a picture [S, S, 3] float32, in place, with a face of that height around that middle.

    :param plain: upright, in the photo's own light.
    :return: the box of the face.
    """
    left, top, right, bottom = cutout.box
    scale = height / (bottom - top)
    mirror, angle, stretch = (
        (1, 0.0, 1.0)
        if plain
        else (rng.choice([-1, 1]), rng.normal(0, 9 if rng.random() < 0.8 else 25), np.exp(rng.normal(0, 0.07)))
    )
    turn = np.radians(angle)
    matrix = (
        scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.diag([mirror * stretch, 1])
    )
    center = np.array([left + right, top + bottom]) / 2
    shift = middle - matrix @ center
    side = picture.shape[0]
    source = cutout.picture
    if scale < 0.6:  # warping does not filter
        smaller = max(8, round(source.shape[0] * scale / 0.7))
        source, matrix = (
            cv2.resize(source, (smaller, smaller), interpolation=cv2.INTER_AREA),
            matrix * cutout.picture.shape[0] / smaller,
        )
    # Only where the photo comes to lie.
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]) * source.shape[0] @ matrix.T + shift
    (x0, y0), (x1, y1) = (
        np.clip(corners.min(0), 0, side).astype(int),
        np.clip(np.ceil(corners.max(0)), 0, side).astype(int),
    )
    warped = cv2.warpAffine(
        source,
        np.concatenate([matrix, (shift - [x0, y0])[:, None]], 1),
        (x1 - x0, y1 - y0),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
    )
    cover, person = warped[..., 3:].astype(np.float32) / 255, warped[..., :3].astype(np.float32)
    if not plain:
        if rng.random() < 0.2:
            person = person.mean(2, keepdims=True)
        person = (person - 110) * np.float32(rng.uniform(0.6, 1.25)) + (
            110 * rng.uniform(0.45, 1.35) * rng.uniform(0.88, 1.12, 3)
        ).astype(np.float32)
        if rng.random() < 0.25:  # light from one side
            ramp = (np.arange(x0, x1, dtype=np.float32) - middle[0])[None, :, None] * (rng.uniform(-1.2, 1.2) / height)
            person = person * np.clip(1 + ramp, 0.25, 1.5)
    region = picture[y0:y1, x0:x1]
    region += cover * (np.clip(person, 0, 255) - region)
    # The extent of a turned oval, not of its turned box.
    half = np.array([right - left, bottom - top]) / 2
    reach = np.sqrt(((matrix * (source.shape[0] / cutout.picture.shape[0])) ** 2) @ half**2)
    return np.concatenate([middle - reach, middle + reach])


def compose(rng: np.random.Generator, cutouts: list[Cutout], backdrops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A training picture [S, S, 3] uint8 and the boxes of its faces [N, 4]."""
    wide = backdrops.shape[1]
    y, x = rng.integers(0, wide - SIDE + 1, 2)
    backdrop = backdrops[rng.integers(len(backdrops)), y : y + SIDE, x : x + SIDE]
    picture: np.ndarray = backdrop[:, :: rng.choice([-1, 1])].astype(np.float32)
    boxes: list[np.ndarray] = []
    for _ in range(rng.choice([0, 1, 2, 4, 8], p=[0.12, 0.4, 0.2, 0.18, 0.1])):
        height = SMALLEST * (LARGEST / SMALLEST) ** rng.random()
        inside = np.minimum(0.4 * height, SIDE / 2 - 1)
        for _ in range(5):
            middle = rng.uniform(inside, SIDE - inside, 2)
            if not any(hides(middle, height, box) for box in boxes):
                boxes.append(place(picture, cutouts[rng.integers(len(cutouts))], rng, height, middle))
                break
    if rng.random() < 0.35:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 1.3))
    if rng.random() < 0.5:
        picture += rng.standard_normal(picture.shape, np.float32) * np.float32(rng.uniform(0, 12))
    light = (rng.uniform(0.7, 1.2) * rng.uniform(0.93, 1.07, 3)).astype(np.float32)
    picture = np.clip(picture * light + np.float32(rng.uniform(-20, 20)), 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))])
        decoded = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
        picture = picture if decoded is None else decoded  # never None for what was just encoded
    if rng.random() < 0.1:
        picture = np.repeat(picture.mean(2, keepdims=True), 3, 2).astype(np.uint8)
    return picture, np.array(boxes, np.float32).reshape(-1, 4)


def hides(middle: np.ndarray, height: float, behind: np.ndarray) -> bool:
    """Whether a person with a face of that height around that middle hides the face in the box ``behind``, in part
    at least."""
    at, (width, tall) = (behind[:2] + behind[2:]) / 2, behind[2:] - behind[:2]
    across, down = at - middle
    return bool(
        abs(across) < SHOULDERS * 0.8 * height + width / 2 and -0.8 * height - tall / 2 < down < 1.4 * height + tall / 2
    )


def targets(boxes: list[np.ndarray], size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What the maps should show: heat [N, h, w] with Gaussians around middles that are 1 in one cell, and boxes [N,
    h, w, 4] of the nearest face, in pixels."""
    heat, wanted = np.zeros((len(boxes), size, size), np.float32), np.zeros((len(boxes), size, size, 4), np.float32)
    cells = (np.arange(size) + 0.5) * STRIDE
    for picture, all_wanted, found in zip(heat, wanted, boxes, strict=True):
        for box in found:
            middle, (width, height) = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
            deviation = np.maximum(np.array([width, height]) * 0.09, 0.45 * STRIDE)
            here = np.exp(
                -0.5
                * (
                    ((cells - middle[0]) / deviation[0])[None, :] ** 2
                    + ((cells - middle[1]) / deviation[1])[:, None] ** 2
                )
            )
            column, row = (int(np.clip(m / STRIDE, 0, size - 1)) for m in middle)
            here[row, column] = 1
            nearer = here > picture
            picture[nearer] = here[nearer]
            all_wanted[nearer] = box
    return torch.from_numpy(heat), torch.from_numpy(wanted)


def loss(maps: torch.Tensor, heat: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Focal loss of the heat (CornerNet's, alpha 2, beta 4) and 1 - GIoU of boxes where the heat is above 0.3."""
    maps = maps.float()
    logit = maps[:, 0]
    shown = logit.sigmoid()
    middle = heat == 1
    count = middle.sum().clamp(min=1)
    hit = (F.logsigmoid(logit) * (1 - shown) ** 2)[middle].sum()
    miss = (F.logsigmoid(-logit) * shown**2 * (1 - heat) ** 4)[~middle].sum()
    near = heat > 0.3
    boxes, _ = decode(maps)
    a, b, weight = boxes[near], wanted[near], heat[near]
    inside = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(1)
    union = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - inside
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(1)
    giou = inside / union - (hull - union) / hull
    return -(hit + miss) / count + 2 * ((1 - giou) * weight).sum() / weight.sum().clamp(min=1)


def initialize(finder: FaceFinder, generator: torch.Generator) -> None:
    """Normal weights by fan-in (He et al. 2015). The last layer starts from the assumption that faces are rare and
    about five cells wide."""
    for module in finder.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            module.weight.data = torch.randn(module.weight.shape, generator=generator) * (2 / fan_in) ** 0.5
            if module.bias is not None:
                module.bias.data.zero_()
    finder.head[1].weight.data.mul_(0.1)
    finder.head[1].bias.data = torch.tensor([-4.0, 0, 0, 1.5, 1.8])


def folded(finder: FaceFinder) -> FaceFinder:
    """The trained finder with its normalizations folded into the convolutions before them."""
    plain = FaceFinder().eval()
    layers = (
        [module for module in network.modules() if isinstance(module, Convolution)]
        for network in (finder.eval(), plain)
    )
    for trained, bare in zip(*layers, strict=True):
        bare[0].load_state_dict(fuse_conv_bn_eval(trained[0], trained[1]).state_dict())
    plain.head[1].load_state_dict(finder.head[1].state_dict())
    return plain


def train(args: argparse.Namespace) -> None:
    """Train for a number of steps, write the finder, and say how long it took."""
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    start, used = time.monotonic(), time.process_time()
    photos = read_cutouts(args.photos, args.landmarks)[: -args.held_out]
    turned = [cutout for folder in args.clips for cutout in read_turned(folder, mean_face(args.landmarks))]
    rng = np.random.default_rng(args.seed)
    backdrops = np.stack([draw_backdrop(rng, 320, photos) for _ in range(args.backdrops)])
    # The photos as often as the turned heads, however many of these there are.
    people = photos * max(1, round(len(turned) / len(photos))) + turned
    finder = FaceFinder(nn.BatchNorm2d)
    initialize(finder, torch.Generator().manual_seed(args.seed))
    finder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub leaves it out
    optimizer = torch.optim.AdamW(finder.parameters(), lr=args.rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.rate, args.steps, pct_start=0.1)
    recent = 0.0
    for step in range(1, args.steps + 1):
        pictures, boxes = zip(*(compose(rng, people, backdrops) for _ in range(args.batch)), strict=True)
        heat, wanted = targets(list(boxes), SIDE // STRIDE)
        batch = (torch.from_numpy(np.stack(pictures)).movedim(-1, 1).float() / 127.5 - 1).contiguous(
            memory_format=torch.channels_last
        )
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bfloat16):
            maps = finder(batch)
        value = loss(maps, heat, wanted)
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(finder.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        recent += (value.item() - recent) / min(step, 50)
        if step % 50 == 0 or step == args.steps:
            print(
                f"step {step} loss {recent:.3f} after {time.process_time() - used:.0f} s of processor time", flush=True
            )
            save(folded(finder), args.out)
            finder.train()
    print(
        f"{args.out}: {args.steps} steps in {time.process_time() - used:.0f} s of processor time, "
        f"{time.monotonic() - start:.0f} s in all"
    )


def save(finder: FaceFinder, path: Path) -> None:
    """Write a finder of plain convolutions in half precision."""
    state = {name: value.half().contiguous() for name, value in finder.state_dict().items()}
    write_atomically(path, lambda temporary: save_file(state, temporary, {KIND_KEY: KIND}))


def placed(rng: np.random.Generator, cutouts: list[Cutout]) -> tuple[torch.Tensor, np.ndarray]:
    """A picture of 256 to 4000 pixels, [H, W, 3] uint8, and the box of the one face in it, at least a twentieth of
    its height."""
    side = round(256 * (4000 / 256) ** rng.random())
    picture = cv2.resize(draw_backdrop(rng, 320, cutouts), (side, side), interpolation=cv2.INTER_LINEAR).astype(
        np.float32
    )
    height = side * 0.05 * (0.7 / 0.05) ** rng.random()
    middle = rng.uniform(0.5 * height, side - 0.5 * height, 2)
    box = place(picture, cutouts[rng.integers(len(cutouts))], rng, height, middle, plain=True)
    return torch.from_numpy(np.clip(picture, 0, 255).astype(np.uint8)), box


def evaluate(args: argparse.Namespace) -> None:
    """Recall on held-out photos placed in pictures of all sizes and on clips with known landmarks; false finds on
    backdrops alone."""
    torch.set_num_threads(args.threads)
    finder = load_finder(args.finder)
    held_out = read_cutouts(args.photos, args.landmarks)[-args.held_out :]
    rng = np.random.default_rng(args.seed)
    found = more = seen = frames = 0
    with torch.inference_mode():
        for _ in range(args.count):
            picture, box = placed(rng, held_out)
            hits = [overlap(face.box, box) >= 0.5 for face in find_faces(finder, picture, thorough=True)]
            found, more = found + any(hits), more + hits.count(False)
        print(f"held-out photos: {found} of {args.count} found, {more} false finds")
        backdrops = (torch.from_numpy(draw_backdrop(rng, 320, held_out)) for _ in range(args.count))
        false = sum(bool(find_faces(finder, backdrop, thorough=True)) for backdrop in backdrops)
        print(f"backdrops: {false} of {args.count} with false finds")
        known = dict(np.load(args.clip_landmarks)) if args.clip_landmarks else {}
        for path in sorted(path for folder in args.clips for path in folder.iterdir() if path.name in known):
            people = supported(
                [
                    find_faces(finder, torch.from_numpy(picture.copy()), confident=LIKELY)
                    for picture in read_video(str(path))
                ]
            )
            pairs = [
                (faces, np.concatenate([points[:468, :2].min(0), points[:468, :2].max(0)]))
                for faces, points in zip(people, known[path.name], strict=False)
                if np.isfinite(points).all()
            ]
            hit = sum(any(overlap(face.box, box) >= 0.5 for face in faces) for faces, box in pairs)
            seen, frames = seen + hit, frames + len(pairs)
            print(f"{path.name}: {hit} of {len(pairs)} frames")
        if frames:
            print(f"clips: {seen} of {frames} frames")
        for path in args.without:
            faces = find_faces(finder, torch.from_numpy(read_photo(path).copy()), thorough=True)
            print(f"{path.name}: {len(faces)} faces, " + ", ".join(f"{face.confidence:.2f}" for face in faces))


def add_commands(subparsers) -> None:
    """``train-finder`` and ``evaluate-finder``."""
    parser = subparsers.add_parser("train-finder", help="train the face finder on photos of people and drawn backdrops")
    parser.add_argument("out", type=file_to_write(*MODEL), help="the file to write")
    parser.add_argument("--clips", type=Path, nargs="*", default=[], help="folders of render-portraits: turned heads")
    parser.add_argument("--backdrops", type=int, default=500)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument("--bfloat16", action="store_true", help="for processors that multiply it quickly")
    parser.set_defaults(run=train)
    judge = subparsers.add_parser("evaluate-finder", help="how many faces the face finder finds, and what else")
    judge.add_argument("finder", type=Path)
    judge.add_argument("--count", type=int, default=300, help="pictures with held-out people, and backdrops without")
    judge.add_argument("--clips", type=Path, nargs="*", default=[], help="folders of videos")
    judge.add_argument("--clip-landmarks", type=Path, help="npz of landmarks [T, 478, 3] by the videos' names")
    judge.add_argument("--without", type=Path, nargs="*", default=[], help="pictures, of which the finds are listed")
    judge.set_defaults(run=evaluate)
    for command in (parser, judge):
        command.add_argument("--photos", type=Path, required=True, help="folder of photos")
        command.add_argument("--landmarks", type=Path, required=True, help="npz of names, landmarks and masks")
        command.add_argument("--held-out", type=int, default=60, help="the last photos of the file are not trained on")
        command.add_argument("--threads", type=int, default=1)
        command.add_argument("--seed", type=int, default=0)
