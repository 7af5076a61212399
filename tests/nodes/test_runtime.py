"""Chunks that shrink when memory runs out."""

import pytest
import torch


@pytest.fixture
def in_chunks():
    from leo_pack.nodes.support.chunks import in_chunks

    return in_chunks


def machine_with_room_for(items: int, done: list):
    def compute(start: int, stop: int) -> list[int]:
        if stop - start > items:
            raise torch.OutOfMemoryError("no room")
        done.append((start, stop))
        return list(range(start, stop))

    return compute


@pytest.mark.parametrize("room", [1, 3, 100])
def test_every_item_once_and_in_order_however_little_memory(in_chunks, room):
    done: list = []
    results = [item for _, _, part in in_chunks(10, 8, machine_with_room_for(room, done)) for item in part]
    assert results == list(range(10))
    assert max(stop - start for start, stop in done) <= room


def test_a_smaller_chunk_is_kept(in_chunks):
    """Running out of memory at every chunk again would cost more than it saves."""
    attempts: list[int] = []

    def compute(start, stop):
        attempts.append(stop - start)
        return machine_with_room_for(2, [])(start, stop)

    list(in_chunks(12, 8, compute))
    assert attempts == [8, 4, 2, 2, 2, 2, 2, 2]


def test_one_item_that_does_not_fit_is_an_error(in_chunks):
    with pytest.raises(torch.OutOfMemoryError):
        list(in_chunks(4, 4, machine_with_room_for(0, [])))


def test_other_errors_are_not_retried(in_chunks):
    def compute(start, stop):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(in_chunks(4, 4, compute))


def test_an_interrupt_stops_before_the_next_chunk(in_chunks):
    import comfy.model_management as mm

    done: list = []
    chunks = in_chunks(8, 4, machine_with_room_for(4, done))
    next(chunks)
    mm.interrupt_current_processing()
    with pytest.raises(mm.InterruptProcessingException):
        next(chunks)
    assert done == [(0, 4)]


@pytest.mark.parametrize("megabytes, frames", [(14, 8), (250, 4)], ids=["small networks", "large networks"])
def test_small_networks_run_more_frames_at_once(monkeypatch, megabytes, frames):
    from leo_pack.nodes.support import chunks

    monkeypatch.setattr(chunks.mm, "get_free_memory", lambda device: 64 << 30)
    assert chunks.load_for_chunks([], torch.device("cpu"), megabytes << 20) == frames
