"""How well an animator rebuilds clips it never saw: ``python -m leo_core evaluate``.

Every clip is rebuilt from its first frame with its own motion codes and compared with the truth, beside two baselines
that know nothing of motion codes: repeating the first frame, and aligning it by the best affine map (our choice). Codes
are read by the encoder, or with ``--known-controls`` are the controls that come with the clips; ``--known-flow`` shows
what warping by the clips' own flow would reach. The yardsticks that need a network of others (LPIPS, FVD, KVD, ACD) are
computed with the files that the user names.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import scipy.linalg
import torch
from kornia.metrics import psnr, ssim
from PIL import Image
from tqdm import tqdm

from ..animator import Animator
from ..animator.checkpoint import load_animator
from ..files import write_atomically
from .data import Clip, read_sources, split_by_identity
from .evaluate_landmarks import report, save_recording
from .landmarks import MediaPipe
from .losses import open_backbone
from .outputs import PICTURE, file_to_write
from .pictures import read_pictures, to_pictures
from .reconstruction import frame_sheet, known_codes, rebuild, transfer, warp_by_known_flow

LEAST_MOTION = 1e-3  # clips whose frames differ less from the first (L1, 0..1) have no ratio
SSIM_WINDOW = 11
RENDERED_AT_ONCE = 8


@dataclass(frozen=True)
class Score:
    """Means over the compared frames of one clip, pictures in 0..1: L1, PSNR in dB, SSIM."""

    l1: float
    psnr: float
    ssim: float

    @staticmethod
    def of(pictures: torch.Tensor, truth: torch.Tensor) -> "Score":
        """Of pictures [N, 3, S, S] beside the true ones."""
        per_frame = [psnr(a, b, 1.0).item() for a, b in zip(pictures, truth, strict=True)]
        return Score(
            (pictures - truth).abs().mean().item(),
            float(np.mean(per_frame)),
            ssim(pictures, truth, SSIM_WINDOW).mean().item(),
        )


@dataclass(frozen=True)
class ClipScores:
    """One clip: the animator's score beside those of the baselines."""

    name: str
    ours: Score
    repeat: Score
    affine: Score

    @property
    def ratio(self) -> float | None:
        """L1 of the animator over that of repeating the first frame; None where nothing moves."""
        return self.ours.l1 / self.repeat.l1 if self.repeat.l1 > LEAST_MOTION else None


def align_affine(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The source [S, S, 3] uint8 under the affine map that brings it nearest to the target (ECC; Evangelidis and
    Psarakis 2008, by OpenCV); the source itself where none is found."""
    wanted, given = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (target, source))
    start = np.eye(2, 3, dtype=np.float32)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 1e-5)
    try:
        _, found = cv2.findTransformECC(wanted, given, start, cv2.MOTION_AFFINE, criteria)
    except cv2.error:  # ECC raises where it does not converge
        return source
    return cv2.warpAffine(
        source,
        found,
        source.shape[1::-1],
        flags=cv2.INTER_LINEAR + cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def compared_frames(clip: Clip, most: int) -> np.ndarray:
    """Indices of the frames that are compared, evenly spread, never the first."""
    return np.unique(np.linspace(1, len(clip.frames) - 1, min(most, len(clip.frames) - 1)).astype(int))


@torch.no_grad()
def rebuild_clip(
    animator: Animator, clip: Clip, times: np.ndarray, known: str | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames at ``times`` rebuilt from the first one, and the true ones; both [n, 3, S, S] in 0..1.

    :param known: what comes with the clip in place of being made: "controls", "flow", or None.
    :raises ValueError: the clip does not come with it.
    """
    if known == "flow":
        return warp_by_known_flow(clip, times)
    return rebuild(animator, clip.frames, times, known_codes(animator, clip) if known == "controls" else None)


def score_clip(animator: Animator, clip: Clip, frames: int, known: str | None = None) -> ClipScores:
    """Rebuild a clip from its first frame and score it beside the baselines, on at most ``frames`` frames; known as
    for `rebuild_clip`."""
    times = compared_frames(clip, frames)
    rebuilt, truth = rebuild_clip(animator, clip, times, known)
    first = clip.frames[0]
    aligned = np.stack([align_affine(first, clip.frames[t]) for t in times])
    repeated = np.broadcast_to(first, aligned.shape)
    as_pictures = [torch.from_numpy(batch.copy()).permute(0, 3, 1, 2) / 255 for batch in (repeated, aligned)]
    return ClipScores(clip.name, Score.of(rebuilt, truth), *(Score.of(batch, truth) for batch in as_pictures))


def mean_ratio(scores: list[ClipScores]) -> float | None:
    """Mean of the clips' ratios, None where no clip moves."""
    ratios = [score.ratio for score in scores if score.ratio is not None]
    return float(np.mean(ratios)) if ratios else None


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Frechet distance of two Gaussians fitted to features [N, F] (FVD when the features are a video network's)."""
    covariances = [np.atleast_2d(np.cov(features, rowvar=False)) for features in (a, b)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
    difference = a.mean(0) - b.mean(0)
    return float(difference @ difference + np.trace(covariances[0] + covariances[1] - 2 * np.real(root)))


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy of features [N, F] under (x.y / F + 1)^3 (KVD for video features)."""

    def kernel(x, y):
        return (x @ y.T / x.shape[1] + 1) ** 3

    within = [(kernel(x, x).sum() - kernel(x, x).trace()) / (len(x) * (len(x) - 1)) for x in (a, b)]
    return float(within[0] + within[1] - 2 * kernel(a, b).mean())


@torch.no_grad()
def score_with_networks(
    animator: Animator, clips: list[Clip], frames: int, lpips: Path | None, video: Path | None, identity: Path | None
) -> dict[str, float]:
    """Yardsticks that need a network of others, over all clips.

    :param lpips: network of (a, b), each [N, 3, S, S] in -1..1, to distances.
    :param video: network of [N, 3, T, S, S] in -1..1 to features [N, F], for FVD and KVD between rebuilt and true
        clips.
    :param identity: network of [N, 3, S, S] in -1..1 to features [N, F], for ACD: the mean distance of consecutive
        frames' features, and ACD-I, of every frame's to the first picture's (Tulyakov et al. 2018).
    :raises ValueError: FVD was asked for with fewer than two clips.
    """
    if video and len(clips) < 2:
        raise ValueError(f"FVD and KVD compare sets of clips, and there is {len(clips)}. Name more --data.")
    rebuilds = (rebuild(animator, clip.frames, compared_frames(clip, frames)) for clip in clips)
    pairs = [(rebuilt * 2 - 1, truth * 2 - 1) for rebuilt, truth in rebuilds]
    result = {}
    if lpips:
        network = open_backbone(lpips, "cpu")
        result["LPIPS"] = float(np.mean([network(a, b).mean().item() for a, b in pairs]))
    if video:
        network = open_backbone(video, "cpu")
        features = [
            np.concatenate([network(pair[i].transpose(0, 1)[None]).double().numpy() for pair in pairs]) for i in (0, 1)
        ]
        result |= {"FVD": frechet_distance(*features), "KVD": kernel_distance(*features)}
    if identity:
        network = open_backbone(identity, "cpu")
        between, to_first = [], []
        for (rebuilt, _), clip in zip(pairs, clips, strict=True):
            first = to_pictures(clip.frames[:1])
            features = network(rebuilt)
            between.append(features.diff(dim=0).norm(dim=1).mean().item())
            to_first.append((features - network(first)).norm(dim=1).mean().item())
        result |= {"ACD": float(np.mean(between)), "ACD-I": float(np.mean(to_first))}
    return result


def table(scores: list[ClipScores]) -> str:
    """Markdown: a row per clip, worst ratio last, and the means."""

    def cells(score: Score) -> str:
        return f"{score.l1:.4f} | {score.psnr:.2f} | {score.ssim:.3f}"

    def number(ratio: float | None) -> str:
        return "-" if ratio is None else f"{ratio:.3f}"

    rows = [
        "| clip | L1 | PSNR | SSIM | repeat L1 | PSNR | SSIM | affine L1 | PSNR | SSIM | ratio |",
        "|" + " --- |" * 11,
    ]
    for score in sorted(scores, key=lambda s: s.ratio or 0):
        rows.append(
            f"| {score.name} | {cells(score.ours)} | {cells(score.repeat)} | {cells(score.affine)} | "
            f"{number(score.ratio)} |"
        )
    means = [
        Score(*(float(np.mean([getattr(getattr(s, kind), field) for s in scores])) for field in ("l1", "psnr", "ssim")))
        for kind in ("ours", "repeat", "affine")
    ]
    rows.append(f"| **mean** | {' | '.join(cells(score) for score in means)} | {number(mean_ratio(scores))} |")
    return "\n".join(rows)


def cross_sheet(animator: Animator, pictures: list[Path], clip: Clip, columns: int = 8) -> Image.Image:
    """The clip's motion on other people's pictures, relative to its first frame: driving row, then a row per
    picture."""
    size = animator.config.size
    times = np.linspace(0, len(clip.frames) - 1, columns).astype(int)
    rows = [to_pictures(clip.frames[times]) / 2 + 0.5]
    rows += [transfer(animator, photo, clip.frames, times) for photo in read_pictures(pictures, size).split(1)]
    sheet = torch.cat([torch.cat(list(row), -1) for row in rows], -2).permute(1, 2, 0)
    return Image.fromarray((sheet * 255).round().byte().numpy())


def record(
    animator: Animator, clips: list[Clip], photos: list[Path], folder: Path, frames: int, known: str | None = None
) -> None:
    """Write the recordings that `evaluate_landmarks` compares: every clip rebuilt from its first frame, and its
    motion on photos.

    :param frames: at most so many of each clip, evenly spread, the first among them.
    :param known: as for `rebuild_clip`; photos have codes to follow, but no flow.
    :raises ValueError: the folder holds recordings already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if next(folder.glob("*.npz"), None):
        raise ValueError(f"{folder} holds recordings already. Name an empty folder.")
    for number, clip in enumerate(tqdm(clips, desc="recordings", disable=None)):
        name = f"{number:03d} {clip.name.replace('/', ' ')}"
        times = np.unique(np.linspace(0, len(clip.frames) - 1, min(frames, len(clip.frames))).astype(int))
        parts = np.array_split(times, -(-len(times) // RENDERED_AT_ONCE))
        rebuilt = [rebuild_clip(animator, clip, part, known)[0] for part in parts]
        save_recording(folder, name, driving=clip.frames[times], rendered=_as_frames(rebuilt))
        codes = known_codes(animator, clip) if known == "controls" else None
        for place, file in enumerate(photos):
            photo = read_pictures([file], animator.config.size)
            moved = [transfer(animator, photo, clip.frames, part, codes) for part in parts]
            save_recording(
                folder,
                f"{name} on {place:02d} {file.stem}",
                driver=np.array(name),
                photo=_as_frames([photo / 2 + 0.5]),
                rendered=_as_frames(moved),
            )


def _as_frames(batches: list[torch.Tensor]) -> np.ndarray:
    """Batches [n, 3, S, S] in 0..1 -> [T, S, S, 3] uint8."""
    return (torch.cat(batches).permute(0, 2, 3, 1) * 255).round().byte().numpy()


def landmark_figures(animator: Animator, clips: list[Clip], args) -> dict:
    """Record, and compare by landmarks if that is asked for: figures for the JSON."""
    with TemporaryDirectory() as temporary:
        folder = args.write or Path(temporary)
        with torch.no_grad():
            record(animator, clips, args.cross, folder, args.landmark_frames, args.known)
        if args.landmarks is None:
            print(
                f"\n{folder}: recordings. Compare them with python -m leo_core evaluate-landmarks {folder}, where "
                f"MediaPipe is installed."
            )
            return {}
        return {"landmarks": report(folder, Path(args.landmarks) if args.landmarks else None)}


def evaluate(args) -> None:
    """Run ``evaluate``."""
    if args.cross and not args.write and args.landmarks is None:
        raise ValueError("--cross is compared by landmarks. Add --landmarks, or --write FOLDER to find them elsewhere.")
    if args.cross and args.known == "flow":
        raise ValueError("The flow of a clip fits nobody else's photo. Leave out --cross or --known-flow.")
    if args.cross_sheet and not args.pictures:
        raise ValueError("--cross-sheet shows the first clip's motion on other pictures. Name them with --pictures.")
    if args.landmarks == "":
        MediaPipe()  # where it is missing, say so before anything is rendered
    animator, info = load_animator(args.model)
    clips = read_sources(args.data, animator.config.size)
    if args.only:
        _, clips = split_by_identity(clips, args.only)
        if not clips:
            raise ValueError(
                f"No clip's identity contains {' or '.join(args.only)}. Leave --only out to use all of --data."
            )
    scores = [score_clip(animator, clip, args.frames, args.known) for clip in tqdm(clips, disable=None)]
    print(f"{info.id}, {len(clips)} clips, {args.frames} frames each, {animator.config.size} px\n\n{table(scores)}")
    more = score_with_networks(animator, clips, args.frames, args.lpips, args.video_features, args.identity_features)
    if more:
        print("\n" + ", ".join(f"{name} {value:.4f}" for name, value in more.items()))
    if args.sheet:
        order = np.argsort([score.ratio or 0 for score in scores])
        shown = [clips[i] for i in dict.fromkeys([*order[:2], *order[-2:]])]
        save_picture(frame_sheet(animator, shown), args.sheet)
        print(f"\n{args.sheet}: best and worst clips, {', '.join(clip.name for clip in shown)}")
    if args.cross_sheet:
        save_picture(cross_sheet(animator, args.pictures, clips[0]), args.cross_sheet)
        print(f"{args.cross_sheet}: motion of {clips[0].name} on {', '.join(p.name for p in args.pictures)}")
    if args.write or args.landmarks is not None:
        more |= landmark_figures(animator, clips, args)
    if args.json:
        result = {
            "model": info.id.name,
            "fingerprint": info.id.fingerprint,
            "ratio": mean_ratio(scores),
            **more,
            "clips": {
                s.name: {"ratio": s.ratio, **{k: vars(getattr(s, k)) for k in ("ours", "repeat", "affine")}}
                for s in scores
            },
        }
        write_atomically(args.json, lambda path: Path(path).write_text(json.dumps(result, indent=1), encoding="utf-8"))


def save_picture(picture: Image.Image, path: Path) -> None:
    write_atomically(path, lambda temporary: picture.save(temporary))


def add_commands(subparsers) -> None:
    """``evaluate``."""
    parser = subparsers.add_parser(
        "evaluate", help="score an animator on clips, beside repeating and aligning the first frame"
    )
    parser.add_argument("model", type=Path, help="animator file")
    parser.add_argument("--data", nargs="+", required=True, help="sources: [NAME=]FOLDER or [NAME=]GRID.mp4@CELL")
    parser.add_argument("--only", nargs="*", default=[], help="identities (parts of names) to score; all by default")
    parser.add_argument("--frames", type=int, default=16, help="frames compared per clip")
    known = parser.add_mutually_exclusive_group()
    known.add_argument(
        "--known-controls",
        dest="known",
        action="store_const",
        const="controls",
        help="motion comes from the controls of the clips (of render-clips or render-portraits), not from the encoder",
    )
    known.add_argument(
        "--known-flow",
        dest="known",
        action="store_const",
        const="flow",
        help="the first frame is warped by the flow of the clips: what an animator without error in it would reach",
    )
    parser.add_argument(
        "--sheet",
        type=file_to_write(*PICTURE),
        help="picture to write: best and worst clips, driving row over rebuilt row",
    )
    parser.add_argument(
        "--cross-sheet", type=file_to_write(*PICTURE), help="picture to write: the first clip's motion on --pictures"
    )
    parser.add_argument("--pictures", nargs="*", default=[], type=Path)
    parser.add_argument(
        "--landmarks",
        nargs="?",
        const="",
        metavar="FILE",
        help="compare faces by landmarks: found with MediaPipe, or read from a file that holds those of what --write "
        "wrote",
    )
    parser.add_argument(
        "--write", type=Path, metavar="FOLDER", help="keep driving and rendered frames here, for evaluate-landmarks"
    )
    parser.add_argument(
        "--cross",
        nargs="*",
        default=[],
        type=Path,
        metavar="PHOTO",
        help="also compare the clips' motion on these photos",
    )
    parser.add_argument("--landmark-frames", type=int, default=48, help="frames per clip whose landmarks are compared")
    parser.add_argument("--json", type=file_to_write(), help="file to write with every figure")
    parser.add_argument("--lpips", type=Path, help="TorchScript of (a, b) [N, 3, S, S] in -1..1 to distances")
    parser.add_argument(
        "--video-features", type=Path, help="TorchScript of [N, 3, T, S, S] in -1..1 to features, for FVD and KVD"
    )
    parser.add_argument(
        "--identity-features", type=Path, help="TorchScript of [N, 3, S, S] in -1..1 to features, for ACD"
    )
    parser.set_defaults(run=evaluate)
