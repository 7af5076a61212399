"""Faces in the frames of a clip."""

from leo_core.find import CONFIDENT, LIKELY, Face, supported


def test_a_likely_face_counts_where_a_surer_one_was_in_the_frame_before_or_after():
    """A face in a blink stays, over several frames and in both directions; elsewhere, or after a gap, it does not."""
    here, there = (10.0, 10.0, 50.0, 60.0), (200.0, 10.0, 240.0, 60.0)
    sure, likely, far = Face(here, CONFIDENT), Face(here, LIKELY), Face(there, LIKELY)
    found = [[likely], [sure], [likely, far], [likely], [], [likely]]
    assert supported(found) == [[likely], [sure], [likely], [likely], [], []]
