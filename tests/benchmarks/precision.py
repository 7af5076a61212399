"""Lower precision on this CPU: python tests/benchmarks/precision.py

PSNR of frames against float32 with the trained weights that ship with the pack, the worst and the mean over all
bundled motions, and seconds of processor time per frame in one thread, beside LIA 256 with random weights (time
only). The nodes take bfloat16 for the flow generator where `fast_bfloat16` says so, and float32 otherwise.
"""

import copy
from functools import partial
from pathlib import Path

import torch
from animator import best_seconds, random_animator  # puts the repository on the path

from leo_core.animator import Animator, fast_bfloat16, lia
from leo_core.animator.checkpoint import load_animator
from leo_core.motion import load_motion
from leo_core.video import read_video

ROOT = Path(__file__).resolve().parents[2]
BATCH = 4


def in_precision(animator: Animator, flow: torch.dtype, rest: torch.dtype):
    """Picture and a function of codes -> latents to frames, networks and features in these precisions."""
    changed = copy.deepcopy(animator)
    changed.flow_generator.to(flow)
    for part in (changed.encoder, changed.decoder):
        part.to(rest)

    def frames(picture: torch.Tensor, codes: torch.Tensor, pose: torch.Tensor) -> torch.Tensor:
        code, features = changed.encoder(picture.to(rest))
        latents = code.float() + changed.dictionary(codes - codes[:1] + pose)
        for_flow = {r: maps.to(flow) for r, maps in features.items()}
        anchor = changed.flow_generator.anchor(for_flow, (code.float() + changed.dictionary(pose)).to(flow))
        displacement, mask = changed.flow_generator(for_flow, latents.to(flow), anchor)
        return changed.decoder(features, displacement, mask).float().clamp(-1, 1)

    return changed, frames


@torch.inference_mode()
def main() -> None:
    torch.set_num_threads(1)
    animator, _ = load_animator(ROOT / "models" / "leo-face-64.safetensors")
    photo = next(iter(read_video(str(ROOT / "samples" / "woman.png"))))
    picture = torch.from_numpy(photo).movedim(-1, 0)[None].float() / 127.5 - 1
    picture = torch.nn.functional.interpolate(picture, (64, 64), mode="bilinear", antialias=True)
    pose = animator.motion_head(animator.encoder.codes(picture))
    motions = [
        load_motion(path)[0].codes[::8] for path in sorted((ROOT / "models" / "leo-face-64").glob("*.safetensors"))
    ]

    large = random_animator(lia(256))
    pictures = torch.rand(BATCH, 3, 256, 256) * 2 - 1
    code, features = large.encoder(pictures[:1])
    latents = code + large.dictionary(large.motion_head(large.encoder.codes(pictures)))
    small_code, small_features = animator.encoder(picture)
    small_latents = small_code + animator.dictionary(motions[0][:BATCH])

    true = [in_precision(animator, torch.float32, torch.float32)[1](picture, codes, pose) for codes in motions]
    said, runs = {}, {}
    for name, flow, rest in (
        ("float32", torch.float32, torch.float32),
        ("bfloat16 flow generator", torch.bfloat16, torch.float32),
        ("bfloat16 in all networks", torch.bfloat16, torch.bfloat16),
        ("float16 flow generator", torch.float16, torch.float32),
    ):
        frames = in_precision(animator, flow, rest)[1]
        errors = torch.cat(
            [
                (frames(picture, codes, pose) - own).div(2).square().mean((1, 2, 3))
                for codes, own in zip(motions, true, strict=True)
            ]
        )
        psnr = -10 * torch.log10(errors)
        said[name] = "exact" if not errors.any() else f"{psnr.min():.1f} / {psnr.mean():.1f}"
        for size, whole, maps, rows in ((64, animator, small_features, small_latents), (256, large, features, latents)):
            changed, _ = in_precision(whole, flow, rest)
            runs[name, size, "generator"] = partial(
                changed.flow_generator, {r: f.to(flow) for r, f in maps.items()}, rows.to(flow)
            )
        runs[name, 256, "encoder"] = partial(changed.encoder.codes, pictures.to(rest))
    slow = [key for key in runs if key[0] == "float16 flow generator"]
    best = best_seconds({key: run for key, run in runs.items() if key not in slow}, 3) | best_seconds(
        {key: runs[key] for key in slow}, 1
    )
    print(f"native bfloat16: {'yes' if fast_bfloat16() else 'no'}; milliseconds per frame in batches of {BATCH}")
    print(f"    {'':26}{'PSNR, dB':>16}{'64 px generator':>18}{'256 px generator':>18}{'256 px encoder':>16}")
    for name, psnr in said.items():
        times = [
            1000 * best[name, size, part] / BATCH
            for size, part in ((64, "generator"), (256, "generator"), (256, "encoder"))
        ]
        print(f"    {name:26}{psnr:>16}{times[0]:18.1f}{times[1]:18.1f}{times[2]:16.1f}")


if __name__ == "__main__":
    main()
