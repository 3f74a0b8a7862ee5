"""A server that answers connection by connection as a test says, down to the byte: cut, stalled, lying."""

import socketserver
import threading
import time
from collections.abc import Callable, Sequence

Answer = bytes | float | Callable[[dict[str, str]], bytes]


class ScriptedServer:
    """Gives each connection the next answer, the last one for ever: bytes as they are, or seconds of silence."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self.requests: list[dict[str, str]] = []
        self._answers = list(answers)
        server = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                lines = iter(lambda: self.rfile.readline().decode().strip(), "")
                first = next(lines, "")
                headers = {"": first, **dict(line.split(": ", 1) for line in lines)}
                answer = server._answers[min(len(server.requests), len(server._answers) - 1)]
                server.requests.append(headers)
                if isinstance(answer, float):
                    time.sleep(answer)
                else:
                    self.wfile.write(answer if isinstance(answer, bytes) else answer(headers))

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def url(self, path: str, user: str = "") -> str:
        return f"http://{user}127.0.0.1:{self._server.server_address[1]}/{path}"

    def __enter__(self) -> "ScriptedServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def answer(body: bytes = b"", status: int = 200, cut: int | None = None, length: bool = True, **headers: str) -> bytes:
    """One HTTP answer; `cut` sends only so much of the body that `Content-Length` announces."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if length:
        given.setdefault("Content-Length", str(len(body)))
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"HTTP/1.1 {status} Reason\r\n{head}Connection: close\r\n\r\n".encode() + body[:cut]


def begin_of(headers: dict[str, str]) -> int:
    """Where the range that was asked for begins, 0 where none was."""
    return int(headers.get("Range", "bytes=0-")[6:-1])


def ranged(content: bytes, etag: str = '"1"', cut: int | None = None) -> Callable[[dict[str, str]], bytes]:
    """Honours Range under If-Range as RFC 9110 says, and may hang up after `cut` bytes of the body."""

    def give(headers: dict[str, str]) -> bytes:
        begin = begin_of(headers) if headers.get("If-Range") == etag else 0
        if begin >= len(content):
            return answer(status=416)
        if not begin:
            return answer(content, cut=cut, ETag=etag)
        place = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        return answer(content[begin:], 206, cut=cut, ETag=etag, Content_Range=place)

    return give
