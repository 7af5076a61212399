"""What faces do, as twenty numbers that mean the same for every face: measured from landmarks or read from face
capture, and made motion."""

from .capture import FaceCapture, load_capture, save_capture
from .controls import (
    ANGLE_UNITS,
    CODE_UNIT,
    CONTROLS,
    LANDMARKS,
    MIRROR,
    NAMES,
    PLACE_UNIT,
    RIGID,
    SIGN,
    SIZE_AT_REST,
    SIZE_UNIT,
    Control,
    HeadPose,
    angles,
    head_pose,
    measure,
    rotation_of,
)
from .detections import Detections, read_detections
from .drive import GROUPS, calibrated, driven, expressed, filled, gains, smoothed, steady_place, to_controls

__all__ = [
    "ANGLE_UNITS",
    "CODE_UNIT",
    "CONTROLS",
    "Control",
    "Detections",
    "FaceCapture",
    "GROUPS",
    "HeadPose",
    "LANDMARKS",
    "MIRROR",
    "NAMES",
    "PLACE_UNIT",
    "RIGID",
    "SIGN",
    "SIZE_AT_REST",
    "SIZE_UNIT",
    "angles",
    "calibrated",
    "driven",
    "expressed",
    "filled",
    "gains",
    "head_pose",
    "load_capture",
    "measure",
    "read_detections",
    "rotation_of",
    "save_capture",
    "smoothed",
    "steady_place",
    "to_controls",
]
