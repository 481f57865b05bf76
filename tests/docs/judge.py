"""A server that answers as vision-language models are asked, in place of one."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np

from runner.interfaces import Frames

_END_S = 5.0


class _Answer(BaseHTTPRequestHandler):
    """Takes what OpenAI's chat completions take; its scores come of the frames that it was shown."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        parts = asked["messages"][-1]["content"]
        shown = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
        frames = [_decoded(url) for url in shown]
        scores = {
            "task": round(float(np.mean([frame.mean() for frame in frames])) / 255, 3),
            "physics": None,
            "notes": f"{len(frames)} frames",
        }
        content = f"Here is my judgement:\n```json\n{json.dumps(scores)}\n```"
        body = json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: a failure says enough."""


@contextmanager
def vision_model() -> Iterator[str]:
    """HOST:PORT of a server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(_END_S)


def _decoded(url: str) -> Frames:
    head, _, data = url.partition(",")
    assert head == "data:image/jpeg;base64", head
    frame: Frames | None = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert frame is not None, "the frame is no JPEG"
    return frame
