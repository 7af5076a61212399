"""Run a reader on files, a few in a process of their own that may not allocate, execute, write, connect or take
long.

python limited.py READER GOOD < paths (one per line): prints one JSON object per file, in order. The parent imports
what readers need and reads a good file once; a fork of it reads a few files, each with limits of its own, and a file
that ends it is named. A fork for each file would take ten times as long as reading it does.
"""

import ctypes
import json
import os
import re
import resource
import signal
import sys
import traceback
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
SLACK = 64 * 2**20
SECONDS = 30  # of the processor's time: a reading that takes longer hangs
FILES_PER_FORK = 16
LIBC = ctypes.CDLL(None)
LONGEST_MESSAGE = 1000  # one readable line
FORBIDDEN = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "os.forkpty",
    "subprocess.Popen",
    "socket.connect",
    "socket.bind",
    "ctypes.dlopen",
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.chmod",
    "os.link",
    "os.symlink",
    "os.truncate",
    "shutil.",
    "webbrowser.open",
    "urllib.Request",
)


def status(field: str) -> int:
    """A figure of /proc/self/status in bytes."""
    return int(re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)[1]) * 1024


def watch(seen: list[str]) -> None:
    def hook(event: str, arguments: tuple) -> None:
        if event.startswith(FORBIDDEN):
            seen.append(event)
        elif (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        ):
            seen.append(f"open {arguments[0]} to write")

    sys.addaudithook(hook)


def judge(read, path: str, seen: list[str]) -> dict:
    """What reading the file came to: loaded, refused, or a fault, and why. `seen` is what `watch` adds to."""
    LIBC.malloc_trim(0)  # what earlier files left would be room for this one
    allowed = 2 * os.path.getsize(path) + SLACK
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    seen.clear()
    before = status("VmRSS")
    resource.setrlimit(resource.RLIMIT_DATA, (status("VmData") + allowed, resource.RLIM_INFINITY))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of the processor: a busy machine takes longer
    signal.alarm(40 * SECONDS)
    try:
        read(path)
        result = {"outcome": "loaded", "message": ""}
    except ValueError as error:
        message = str(error)
        result = {"outcome": "refused", "message": message}
        if "\n" in message or len(message) > LONGEST_MESSAGE or not message.isprintable():
            result = {"outcome": "fault", "message": f"not one readable line: {message[:300]!r}"}
        elif re.search(r"(?i)memory|alloc", message):
            result = {"outcome": "fault", "message": f"more memory than {allowed} bytes: {message}"}
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        result = {
            "outcome": "fault",
            "message": f"{type(error).__name__}: {str(error)[:300]!r} at {where.filename}:{where.lineno}",
        }
    resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    result["peak"] = status("VmHWM") - before
    if seen:
        result |= {"outcome": "fault", "message": f"did {seen[:3]} ({result['message'][:200]})"}
    elif result["peak"] > allowed:
        result |= {
            "outcome": "fault",
            "message": f"took {result['peak']} bytes, {allowed} are allowed ({result['message'][:200]})",
        }
    return result


def in_forks(read, paths: list[str]):
    """What reading each of the files came to, in order."""
    while paths:
        told, code = in_a_fork(read, paths[:FILES_PER_FORK])
        yield from told
        paths, unfinished = paths[len(told) :], len(told) < min(len(paths), FILES_PER_FORK)
        if unfinished:
            ended = signal.Signals(code & 0x7F).name if code & 0x7F else f"status {code}"
            yield {"outcome": "fault", "message": f"the process ended with {ended}", "peak": 0}
            paths = paths[1:]


def in_a_fork(read, paths: list[str]) -> tuple[list[dict], int]:
    """What reading the files came to, up to one that ended the process, and the process's status."""
    incoming, outgoing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(incoming)
        sys.dont_write_bytecode = True  # a module imported on the way is not a file that the reader wrote
        seen: list[str] = []
        watch(seen)
        for path in paths:
            os.write(outgoing, json.dumps(judge(read, path, seen)).encode() + b"\n")
        os._exit(0)
    os.close(outgoing)
    with os.fdopen(incoming, "rb") as pipe:
        told = [json.loads(line) for line in pipe.read().splitlines()]
    return told, os.waitpid(child, 0)[1]


def model(path: str):
    from leo_core.animator.checkpoint import load_animator

    load_animator(path)


def directions(path: str):
    from leo_core.animator.checkpoint import read_directions
    from leo_core.directions import describe

    describe(*read_directions(path))


def motion(path: str):
    from leo_core.motion import change_rate, load_motion

    loaded, description = load_motion(path)
    assert description is not None and len(change_rate(loaded, loaded.fps)) == len(loaded)


def prior(path: str):
    from leo_core.lmdm.checkpoint import load_prior
    from leo_core.lmdm.prior import Sampling
    from leo_core.motion import MotionSequence

    loaded = load_prior(path)
    MotionSequence(
        loaded.sample(2, Sampling(steps=1)), loaded.fps, loaded.animator
    )  # refuses codes that are not finite


def video(path: str):
    from leo_core.video import read_video

    for _ in zip(range(3), read_video(path), strict=False):
        pass


READERS = {reader.__name__: reader for reader in (model, directions, motion, prior, video)}


def main(reader: str, good: str) -> None:
    torch.set_num_threads(1)
    READERS[reader](good)
    for result in in_forks(READERS[reader], sys.stdin.read().splitlines()):
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    sys.path.append(str(ROOT))
    main(*sys.argv[1:])
