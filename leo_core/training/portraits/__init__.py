"""Portraits of real people as training clips: a photo's own pixels are moved, so flow, visibility and controls are
known exactly."""
