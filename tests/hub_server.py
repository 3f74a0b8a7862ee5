"""What the hub's client needs of the hub: data sets' file lists, and files by revision, on this machine."""

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

COMMIT = "820466c8716e3ccdacde5cb2eb15a2f0f11ccdfe"


class HubServer:
    """Serves data sets as {"ORG/NAME": {file: content}}, all at one commit, files as LFS.

    Attributes:
        requests: "METHOD path" of everything that was asked.
        fail: by path (a regular expression), the statuses to answer first, one a request.
        cut: by file, after how many bytes the first answer ends.
        token: needed for everything, where set.
    """

    def __init__(self, datasets: dict[str, dict[str, bytes]]) -> None:
        self.datasets = datasets
        self.requests: list[str] = []
        self.fail: dict[str, list[int]] = {}
        self.cut: dict[str, int] = {}
        self.token = ""
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                hub.serve(self, body=False)

            def do_GET(self) -> None:
                hub.serve(self, body=True)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "HubServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def serve(self, request: BaseHTTPRequestHandler, body: bool) -> None:
        """Answer one request as the hub does."""
        path = unquote(request.path.partition("?")[0])
        self.requests.append(f"{request.command} {path}")
        status = next(
            (statuses.pop(0) for pattern, statuses in self.fail.items() if re.search(pattern, path) and statuses), 0
        )
        api = re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/revision/(.+)", path)
        file = re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        name, revision = (api or file or re.match(r"()()", path)).group(1, 2)
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            send(request, 401, b"", {"X-Error-Code": "RepoNotFound"}, body)
        elif status:
            send(request, status, b"{}", {}, body)
        elif name not in self.datasets:
            send(request, 404, b"{}", {"X-Error-Code": "RepoNotFound"}, body)
        elif revision not in (COMMIT, "main"):
            send(request, 404, b"{}", {"X-Error-Code": "RevisionNotFound"}, body)
        elif api:
            send(request, 200, json.dumps(self._info(name)).encode(), {"Content-Type": "application/json"}, body)
        else:
            self._file(request, name, file.group(3), body)

    def _info(self, name: str) -> dict:
        siblings = [
            {"rfilename": file, "size": len(content), "blobId": "0" * 40,
             "lfs": {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}}
            for file, content in self.datasets[name].items()
        ]  # fmt: skip
        return {
            "id": name,
            "sha": COMMIT,
            "private": False,
            "siblings": siblings,
            "tags": [],
            "downloads": 0,
            "likes": 0,
        }

    def _file(self, request: BaseHTTPRequestHandler, name: str, file: str, body: bool) -> None:
        content = self.datasets[name].get(file)
        if content is None:
            send(request, 404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, body)
            return
        headers = {
            "X-Repo-Commit": COMMIT,
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "Accept-Ranges": "bytes",
        }
        begin = int(re.match(r"bytes=(\d+)-|", request.headers.get("Range", "")).group(1) or 0)
        if begin:
            headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        send(request, 206 if begin else 200, content[begin:], headers, body, self.cut.pop(file, None) if body else None)


def send(
    request: BaseHTTPRequestHandler,
    status: int,
    content: bytes,
    headers: dict[str, str],
    body: bool,
    cut: int | None = None,
) -> None:
    request.send_response(status)
    for key, value in {**headers, "Content-Length": str(len(content)), "Connection": "close"}.items():
        request.send_header(key, value)
    request.end_headers()
    if body:
        request.wfile.write(content[:cut])
