"""The program of the test image: a runtime as OpenWhisk's are, in few lines.

It has `/init` and `/run`, sentinels on both streams, and faults on demand: user code
that sets `sentinel = False` gets none, `chunked = True` sends its answer in pieces,
`busy = True` answers 503.
"""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

END = "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX"
action: dict[str, Any] = {"sentinel": True, "chunked": False, "busy": False}


class Runtime(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Its own output is the action's."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        try:
            status, answer = self.answer(body)
        except Exception as error:  # noqa: BLE001 as runtimes do
            status, answer = 502, {"error": str(error)}
        if (self.path == "/run" or status != 200) and action["sentinel"]:
            for stream in (sys.stdout, sys.stderr):
                stream.write(END + "\n")
                stream.flush()
        self.send(status, json.dumps(answer).encode())

    def answer(self, body: dict[str, Any]) -> tuple[int, Any]:
        value = body["value"]
        if self.path == "/run":
            os.environ.update(
                {f"__OW_{k.upper()}": v for k, v in body.items() if k != "value"}
            )
            result = action["the entry"](value)
            return (503 if action["busy"] else 200), result
        os.environ.update(value["env"])
        exec(value.get("code", "def main(args): return args"), action)  # noqa: S102
        action["the entry"] = action[value["main"]]
        return 200, {"ok": True}

    def send(self, status: int, data: bytes) -> None:
        self.send_response(status)
        if action["chunked"]:
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for at in range(0, len(data), 7):
                piece = data[at : at + 7]
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)


if __name__ == "__main__":
    ThreadingHTTPServer(("", 8080), Runtime).serve_forever()
