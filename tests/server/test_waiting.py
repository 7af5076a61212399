"""How long a test waits for a prompt: as long as something is reported, however slow the machine is."""

import pytest
from comfy_server import ComfyServer

FINISHED = {"status": {"status_str": "success"}, "outputs": {}}


class Stub(ComfyServer):
    """A server that answers, as one does whose prompt takes ``looks`` looks at its history."""

    def __init__(self, base, looks: int):
        super().__init__(base)
        self.heard, self.looks, self.process = [], looks, self
        self.log.touch()

    def poll(self):
        return None

    def get_json(self, path, **query):
        if path == "/queue":
            return {"queue_running": [[0, "some"]], "queue_pending": []}
        self.looks -= 1
        return {} if self.looks > 0 else {"some": FINISHED}


def test_a_slow_prompt_is_waited_for_while_its_client_is_told_of_progress(tmp_path):
    server = Stub(tmp_path, 12)
    assert server.wait("some", patience=0.5, progress=lambda: server.looks) == FINISHED

    class Told(Stub):
        def queue_state(self):
            self.heard.append(("progress", {}))
            return super().queue_state()

    assert Told(tmp_path, 12).wait("some", patience=0.5) == FINISHED


def test_a_prompt_of_which_nothing_is_heard_is_given_up(tmp_path):
    with pytest.raises(TimeoutError, match="prompt some not finished, and nothing was reported for 0.5 s"):
        Stub(tmp_path, 10**6).wait("some", patience=0.5)
