"""Video as a stream: frames in and out one by one, so that memory does not grow with the length of a clip."""

from .loop import FrameStore, write_loop
from .order import Continuation, ahead, continued_index
from .read import BrokenFrames, ReadReport, VideoStream, read_first, read_video
from .sound import Sound, sound_of_file, sound_of_tensor
from .source import VideoSource
from .write import VideoWriter

__all__ = [
    "BrokenFrames",
    "Continuation",
    "FrameStore",
    "ReadReport",
    "Sound",
    "VideoSource",
    "VideoStream",
    "VideoWriter",
    "ahead",
    "continued_index",
    "read_first",
    "read_video",
    "sound_of_file",
    "sound_of_tensor",
    "write_loop",
]
