"""A real ComfyUI server for tests, the demo and workflow authoring. Standard library only, but for
`ComfyServer.events`."""

import contextlib
import importlib.util
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path

from environment import PYTHON, link_pack
from versions import chosen_comfyui, frontend_arguments

PATIENCE = 600  # seconds without a sign of life, on a busy machine
ENDED = ("execution_success", "execution_error", "execution_interrupted")


class ExecutionError(RuntimeError):
    """A prompt that was refused or failed; the message holds what the nodes said, `status` the server's own record."""

    def __init__(self, message: str, status: dict):
        super().__init__(message)
        self.status = status


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class ComfyServer:
    """`main.py` on a free loopback port, with models, input, output, temp and user folders of its own under `base`.

    with ComfyServer(base) as server:
        history = server.run(prompt)

    :param linked: have this repository as the pack; otherwise whatever lies in custom_nodes/ under `base`.
    """

    def __init__(self, base: Path, arguments: tuple[str, ...] = ("--cpu",), linked: bool = True):
        self.base = Path(base).resolve()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = self.base / "server.log"
        self.arguments = arguments
        self.linked = linked
        self.client_id = uuid.uuid4().hex
        self.queued = 0
        self.heard: list[tuple] | None = None  # while `events` listens
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exception):
        self.stop()

    def start(self, patience: float = PATIENCE) -> None:
        """Give up when the log has not grown for that many seconds."""
        for folder in ("input", "output", "temp", "user", "models"):
            (self.base / folder).mkdir(parents=True, exist_ok=True)
        if self.linked:
            link_pack(self.base / "custom_nodes")
        command = [
            str(PYTHON),
            "-u",
            str(chosen_comfyui() / "main.py"),
            *frontend_arguments(),
            "--disable-api-nodes",
            "--disable-auto-launch",
            *self.arguments,
            "--base-directory",
            str(self.base),
            "--listen",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--database-url",
            f"sqlite:///{self.base / 'user' / 'comfyui.db'}",
        ]
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(command, cwd=self.base, stdout=log, stderr=subprocess.STDOUT)
        size, since = 0, time.monotonic()
        while True:
            with contextlib.suppress(OSError):
                self.get("/system_stats")
                return
            if self.log.stat().st_size != size:
                size, since = self.log.stat().st_size, time.monotonic()
            if self.process.poll() is not None or time.monotonic() - since > patience:
                self.stop()
                raise RuntimeError(f"ComfyUI did not start; the end of {self.log}:\n{self.log_text()[-3000:]}")
            time.sleep(0.2)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")

    def get(self, path: str, **query: str) -> bytes:
        address = self.url + path + ("?" + urllib.parse.urlencode(query) if query else "")
        with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
            return answer.read()

    def get_json(self, path: str, **query: str) -> dict:
        return json.loads(self.get(path, **query))

    def post(self, path: str, body: dict) -> bytes:
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.read()

    def object_info(self, node_id: str = "") -> dict:
        return self.get_json(f"/object_info/{node_id}" if node_id else "/object_info")

    def queue(self, prompt: dict, workflow: dict | None = None) -> str:
        """Queue a prompt in API format; the id to wait for."""
        body = {"prompt": prompt, "client_id": self.client_id}
        if workflow is not None:
            body["extra_data"] = {"extra_pnginfo": {"workflow": workflow}}
        try:
            prompt_id = json.loads(self.post("/prompt", body))["prompt_id"]
        except urllib.error.HTTPError as refusal:
            answer = json.loads(refusal.read())
            raise ExecutionError(refusal_text(answer), answer) from None
        self.queued += 1
        return prompt_id

    def wait(self, prompt_id: str, patience: float = PATIENCE, progress: Callable[[], object] = lambda: None) -> dict:
        """The history entry of a finished prompt: `outputs` by node, `status`. A failed or interrupted one raises.

        :param patience: seconds in which nothing is reported (in the log, the queue, to clients, by ``progress``)
            before it gives up; a machine may be slow for as long as it likes.
        :param progress: anything that changes while a prompt of another client runs, whose progress the server
            reports to that client.
        :raises TimeoutError: nothing was reported for that long.
        """
        with self._listening() as heard:
            seen, since, looked = None, time.monotonic(), -1.0
            while True:
                entry = self.get_json(f"/history/{prompt_id}").get(prompt_id)
                if entry:
                    if entry["status"]["status_str"] != "success":
                        raise ExecutionError(failure_text(entry["status"]), entry["status"])
                    return entry
                if self.process.poll() is not None:
                    raise RuntimeError(
                        f"ComfyUI ended while it ran a prompt; the end of {self.log}:\n{self.log_text()[-3000:]}"
                    )
                if time.monotonic() - looked > min(1.0, patience / 4):
                    looked = time.monotonic()
                    found = self.log.stat().st_size, self.queue_state(), len(heard), progress()
                    if found != seen:
                        seen, since = found, looked
                    elif looked - since > patience:
                        raise TimeoutError(
                            f"prompt {prompt_id} not finished, and nothing was reported for {patience:g} s; the end "
                            f"of {self.log}:\n"
                            f"{self.log_text()[-3000:]}"
                        )
                time.sleep(0.1)

    def queue_state(self) -> list[list[str]]:
        """Ids of the prompts that run and that wait."""
        return [[item[1] for item in items] for _, items in sorted(self.get_json("/queue").items())]

    def _listening(self):
        """`events`, unless they are listened to already or cannot be, as in the demo."""
        if self.heard is not None or not importlib.util.find_spec("aiohttp"):
            return contextlib.nullcontext(self.heard if self.heard is not None else [])
        return self.events()

    def run(self, prompt: dict, patience: float = 600) -> dict:
        with self._listening():
            return self.wait(self.queue(prompt), patience)

    def interrupt(self) -> None:
        self.post("/interrupt", {})

    def free(self) -> None:
        """Unload all models and drop the execution cache, so that the next run computes everything again."""
        self.post("/free", {"unload_models": True, "free_memory": True})

    def upload(self, path: Path, name: str | None = None) -> str:
        """Put a picture or video into input/, as the frontend's upload button does; its name there."""
        shutil.copyfile(path, self.base / "input" / (name or Path(path).name))
        return name or Path(path).name

    def files(self, history: dict) -> list[Path]:
        """The files on disk that the nodes of a finished prompt reported, in order of node and result."""
        return [
            self.base / item["type"] / item.get("subfolder", "") / item["filename"]
            for node in sorted(history["outputs"], key=lambda key: [int(part) for part in key.split(":")])
            for items in history["outputs"][node].values()
            if isinstance(items, list)
            for item in items
            if isinstance(item, dict) and "filename" in item
        ]

    @contextlib.contextmanager
    def events(self):
        """What the server sends a client while prompts of this object run: a list that grows.

        Each item is ("progress", {...}) and so on, or ("preview", bytes of a JPEG or PNG) for pictures of a running
        node.
        """
        import asyncio

        import aiohttp  # from ComfyUI's requirements: tests run where they are installed, the demo need not

        received: list[tuple] = []
        queued_before = self.queued
        ready, loop, done = threading.Event(), asyncio.new_event_loop(), asyncio.Event()

        def of_kind(*kinds: str) -> list:
            return [event for event in received if event[0] in kinds]

        async def listen():
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(f"{self.url}/ws?clientId={self.client_id}", max_msg_size=0) as socket_,
            ):
                ready.set()
                ended = asyncio.ensure_future(done.wait())
                while not ended.done():
                    message = asyncio.ensure_future(socket_.receive())
                    await asyncio.wait({message, ended}, return_when=asyncio.FIRST_COMPLETED)
                    if not message.done():
                        message.cancel()
                    elif message.result().type == aiohttp.WSMsgType.TEXT:
                        event = json.loads(message.result().data)
                        received.append((event["type"], event["data"]))
                    elif message.result().type == aiohttp.WSMsgType.BINARY:
                        received.append(
                            ("preview", message.result().data[8:])
                        )  # after two big-endian words: kind, picture format
                    else:
                        return

        thread = threading.Thread(target=loop.run_until_complete, args=(listen(),), daemon=True)
        thread.start()
        if not ready.wait(PATIENCE):
            raise RuntimeError(f"no websocket connection to ComfyUI within {PATIENCE} s")
        self.heard = received
        try:
            yield received
            # The history knows of a prompt's end a moment before its clients are told.
            patience = time.monotonic() + PATIENCE
            while len(of_kind(*ENDED)) < self.queued - queued_before and time.monotonic() < patience:
                time.sleep(0.02)
        finally:
            self.heard = None
            loop.call_soon_threadsafe(done.set)
            thread.join(10)


def refusal_text(answer: dict) -> str:
    """The reasons in a 400 answer to /prompt, one line each."""
    lines = [answer["error"]["message"] if isinstance(answer.get("error"), dict) else str(answer.get("error"))]
    for node, found in (answer.get("node_errors") or {}).items():
        lines += [f"node {node} {found['class_type']}: {e['message']}: {e['details']}" for e in found["errors"]]
    return "\n".join(lines)


def failure_text(status: dict) -> str:
    for kind, data in status["messages"]:
        if kind == "execution_error":
            return f"node {data['node_id']} {data['node_type']}: {data['exception_type']}: {data['exception_message']}"
        if kind == "execution_interrupted":
            return f"interrupted at node {data['node_id']} {data['node_type']}"
    return json.dumps(status)
