"""Which odd clips are tried: those of CI, and hundreds."""

from dataclasses import replace
from fractions import Fraction

from clips import TURNS, Clip

H264, MPEG2, MPEG4 = "libx264", "mpeg2video", "mpeg4"
# Ways to store a clip: all codecs in the containers they are met in.
STORED = [
    Clip(),
    Clip(".mov"),
    Clip(".mkv"),
    Clip(".avi"),
    Clip(".ts"),
    Clip(".flv"),
    Clip(".nut"),
    Clip(".h264"),
    Clip(codec="libx265"),
    Clip(".mkv", "libx265"),
    Clip(".ts", "libx265"),
    Clip(".hevc", "libx265"),
    Clip(codec=MPEG4),
    Clip(".avi", MPEG4),
    Clip(".m4v", MPEG4, format="m4v"),
    Clip(".3gp", MPEG4),
    Clip(".mpg", MPEG2),
    Clip(".vob", MPEG2, format="vob"),
    Clip(".ts", MPEG2),
    Clip(".mxf", MPEG2),
    Clip(".mkv", MPEG2),
    Clip(".m2v", MPEG2),
    Clip(".mpg", "mpeg1video", format="mpeg"),
    Clip(".wmv", "wmv2", b_frames=0),
    Clip(".flv", "flv", b_frames=0),
    Clip(".webm", "libvpx", b_frames=0),
    Clip(".webm", "libvpx-vp9", b_frames=0),
    Clip(".ivf", "libvpx-vp9", b_frames=0),
    Clip(".mkv", "ffv1", "bgr0", gop=1, b_frames=0),
    Clip(".avi", "mjpeg", "yuvj420p", gop=1, b_frames=0, full_range=True),
    Clip(".avi", "huffyuv", "yuv422p", gop=1, b_frames=0),
    Clip(".mov", "prores_ks", "yuv422p10le", gop=1, b_frames=0),
    Clip(".mov", "qtrle", "rgb24", b_frames=0),
    Clip(".gif", "gif", "rgb8", b_frames=0),
    Clip(".apng", "apng", "rgb24", b_frames=0, format="apng"),
    Clip(codec="libsvtav1", b_frames=0),
    Clip(options={"container": {"movflags": "frag_keyframe+empty_moov"}}, frames=21),
    Clip(options={"container": {"movflags": "frag_every_frame+empty_moov"}}, frames=22),
    Clip(options={"container": {"movflags": "dash+delay_moov"}}, frames=23),
    Clip(".mkv", options={"container": {"live": "1"}}, frames=21),
    Clip(".m2ts", format="mpegts", options={"container": {"mpegts_m2ts_mode": "1"}}),
    Clip(".mov", "mjpeg", "yuvj420p", gop=1, b_frames=0, full_range=True),
    Clip(".mjpeg", "mjpeg", "yuvj420p", gop=1, b_frames=0, full_range=True),
    Clip(".y4m", "rawvideo", format="yuv4mpegpipe", gop=1, b_frames=0),
    Clip(".avi", "rawvideo", "bgr24", gop=1, b_frames=0),
    Clip(".avi", "utvideo", "gbrp", gop=1, b_frames=0),
    Clip(".mov", "cfhd", "yuv422p10le", gop=1, b_frames=0),
    Clip(".mov", "png", "rgb24", gop=1, b_frames=0),
    Clip(".webp", "webp", "rgb24", gop=1, b_frames=0),
    Clip(".png", "apng", "rgb24", b_frames=0, format="apng"),
]
_TS, _PS, _AVI = Clip(".ts"), Clip(".mpg", MPEG2), Clip(".avi")
_RGB = {"gop": 1, "b_frames": 0}
_GIF, _APNG = Clip(".gif", "gif", "rgb8", b_frames=0), Clip(".apng", "apng", "rgb24", b_frames=0, format="apng")
_WEBP = Clip(".webp", "webp", "rgb24", **_RGB)
HELD = (0, 1, 2, 3, 8, 13, 14)  # when the pictures of an animation change
_ANY_SIZE = [
    Clip(pixels="yuv444p"),
    Clip(".webm", "libvpx-vp9", b_frames=0),
    Clip(".mkv", "ffv1", "bgr0", **_RGB),
    Clip(".avi", "mjpeg", "yuvj420p", full_range=True, **_RGB),
    _GIF,
    _WEBP,
]
# What the pack got wrong before, or could.
ODD = [
    replace(_TS, gop=250, start=1.4, frames=40),
    replace(_TS, gop=25, start=1.4, frames=40),
    replace(_PS, gop=25, start=0.5, frames=40),
    replace(_TS, joined=2),
    replace(_PS, joined=2),
    replace(_TS, joined=3, sound=True),
    replace(_TS, start=30000.0),
    replace(_AVI, gop=250, frames=40),
    replace(_AVI, sound=True, options={"sound": "mp2"}),
    Clip(drop=(7,), b_frames=0, gop=1),
    Clip(".mkv", drop=(5, 6), b_frames=0, gop=1),
    replace(_TS, drop=(9,), b_frames=0, gop=1),
    Clip(".mkv", stamps=(0, 1, 2, 3, 5, 7, 9, 10, 11, 12), frames=10, b_frames=0),
    Clip(stamps=(0, 1, 2, 6, 7, 8, 9, 10, 11, 12), frames=10, b_frames=0),
    Clip(before=5, gop=1, b_frames=0),
    Clip(before=3, b_frames=0),
    Clip(start=0.5),
    Clip(".mkv", start=2.0),
    *(Clip(turn=turn) for turn in TURNS if turn != "upright"),
    Clip(".mov", turn="transposed"),
    *(Clip(pixel_shape=Fraction(*shape)) for shape in ((4, 3), (1, 3), (16, 15))),
    Clip(".mkv", pixel_shape=Fraction(64, 45)),
    replace(_PS, pixel_shape=Fraction(8, 9)),
    Clip(pixel_shape=Fraction(4, 3), turn="turned 90"),
    Clip(full_range=True),
    Clip(".mkv", full_range=True, matrix="bt709"),
    Clip(matrix="bt709"),
    Clip(".ts", "libx265", matrix="bt709"),
    Clip(codec="libx265", pixels="yuv420p10le", matrix="bt2020", transfer="pq"),
    Clip(codec="libx265", pixels="yuv420p10le", matrix="bt2020", transfer="hlg"),
    Clip(".mkv", "libx265", "yuv420p10le", matrix="bt2020", transfer="pq"),
    Clip(pixels="yuv422p10le"),
    Clip(pixels="yuv444p"),
    Clip(pixels="gray"),
    Clip(interlaced=True, b_frames=0),
    replace(_PS, interlaced=True),
    replace(_TS, interlaced=True),
    Clip(cover=True),
    Clip(cover=True, sound=True),
    Clip(".mkv", second_stream=True),
    Clip(second_stream=True),
    replace(_TS, second_stream=True),
    *(Clip(fps=Fraction(*fps)) for fps in ((30000, 1001), (24000, 1001), (60000, 1001), (25, 2), (100, 1))),
    Clip(".mkv", fps=Fraction(30000, 1001)),
    replace(_TS, fps=Fraction(30000, 1001)),
    Clip(".flv", fps=Fraction(30000, 1001)),
    Clip(frames=1),
    Clip(".mkv", frames=2),
    replace(_TS, frames=1),
    Clip(".mkv", "ffv1", "bgra", **_RGB),
    Clip(".mov", "qtrle", "argb", b_frames=0),
    Clip(codec="libsvtav1", pixels="yuv420p10le", b_frames=0),
    Clip(".mkv", "libx265", "yuv444p12le"),
    *(Clip(".mov", "png", "rgb24", turn=turn, **_RGB) for turn in ("mirrored", "transposed", "turned 90")),
    *(replace(clip, stamps=HELD, frames=len(HELD)) for clip in (_GIF, _APNG, _WEBP)),
    *(Clip(sound=True, sound_for=count) for count in (8, 60)),
    *(Clip(".mkv", sound=True, sound_for=count) for count in (8, 60)),
    replace(_TS, sound=True, sound_for=60),
    Clip(".nut", start=-1.0),
    Clip(".mov", start=-0.2, b_frames=0, gop=1, frames=20, before=0, options={"container": {"use_editlist": "0"}}),
    Clip(".mkv", start=-0.4, b_frames=0),
    *(replace(clip, size=(65, 97)) for clip in _ANY_SIZE),
    *(replace(clip, size=(63, 99), turn="turned 90") for clip in _ANY_SIZE[:1]),
]


def every_combination() -> list[Clip]:
    """Hundreds: containers and codecs, times how often a frame stands alone, B-frames, start times, and what else
    each container can hold."""
    clips = []
    for clip in STORED:
        compressed = clip.gop != 1 and clip.codec not in ("gif", "apng", "qtrle")
        # FFmpeg's muxers of VOB and MPEG-1 misplace the times of large pictures
        small = clip.suffix == ".vob" or clip.format == "mpeg"
        for gop in ((12, 250) if small else (1, 12, 250)) if compressed else (clip.gop,):
            for b_frames in {0, clip.b_frames} if gop > 1 else (0,):
                # raw JPEGs do not say their rate
                for fps in (Fraction(25), *([Fraction(30000, 1001)] if clip.suffix != ".mjpeg" else [])):
                    clips.append(replace(clip, gop=gop, b_frames=b_frames, fps=fps, frames=30))
                if clip.suffix in (".mp4", ".mov", ".mkv", ".ts", ".mpg", ".flv"):
                    clips.append(replace(clip, gop=gop, b_frames=b_frames, start=1.4))
                if clip.suffix in (".ts", ".mpg"):
                    clips.append(replace(clip, gop=gop, b_frames=b_frames, joined=2))
    for clip in (Clip(), Clip(".mov"), Clip(codec="libx265"), Clip(codec=MPEG4)):
        clips += [
            replace(clip, turn=turn, pixel_shape=shape) for turn in TURNS for shape in (Fraction(1), Fraction(4, 3))
        ]
    for clip in (Clip(), Clip(".mkv"), Clip(".ts"), Clip(codec="libx265"), Clip(".webm", "libvpx-vp9", b_frames=0)):
        clips += [
            replace(clip, full_range=full, matrix=matrix) for full in (False, True) for matrix in ("bt601", "bt709")
        ]
    for clip in (Clip(".mkv", "ffv1", "bgr0", **_RGB), Clip(gop=1, b_frames=0), Clip(".ts", gop=1, b_frames=0)):
        clips += [replace(clip, drop=tuple(range(first, first + count))) for first in (3, 10, 15) for count in (1, 4)]
    return clips + ODD
