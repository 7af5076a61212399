"""Provenance that a command keeps in the file it makes."""


def parse_notes(notes: list[str]) -> dict[str, str]:
    """:raises ValueError: one is not KEY=TEXT."""
    for note in notes:
        if not note.partition("=")[0] or "=" not in note:
            raise ValueError(f"--note {note!r} is not KEY=TEXT, as license=CC0.")
    return dict(note.split("=", 1) for note in notes)
