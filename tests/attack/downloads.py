"""Servers that cut, lie, change their mind or send something else: one version of the content, or nothing."""

import hashlib
import json
import random
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from datasets_builders import karpathy
from scripted_server import Answer, ScriptedServer, answer, begin_of, ranged

from attack.judge import Case
from iebaker.datasets.acquire import web
from iebaker.datasets.acquire.checksums import Wanted

CONTENT = json.dumps(karpathy()).encode()
OTHER = json.dumps(karpathy(captions=3)).encode()
QUICK = web.Patience(attempts=4, backoff=0.001, longest=0.01, timeout=0.25)
HALF = len(CONTENT) // 2
RANDOM = 24


def _anyway(content: bytes, place: str = "", **headers: str) -> Answer:
    """206 from where it was asked, whatever If-Range said, or with a Content-Range of its own."""

    def give(given: dict[str, str]) -> bytes:
        begin = begin_of(given)
        real = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        return answer(content[begin:], 206, Content_Range=place or real, **headers)

    return give


BEHAVIOURS: dict[str, Answer] = {
    "sound": answer(CONTENT, ETag='"1"'),
    "cut": answer(CONTENT, cut=HALF, ETag='"1"'),
    "cut, no validator": answer(CONTENT, cut=HALF),
    "cut, no length": answer(CONTENT, cut=HALF, length=False),
    "ranged": ranged(CONTENT),
    "another version": answer(OTHER, ETag='"2"'),
    "another version, cut": answer(OTHER, cut=HALF, ETag='"2"'),
    "206 of another version": _anyway(OTHER),
    "206 from byte 0": _anyway(CONTENT, f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}"),
    "206 of a place that was not asked": _anyway(CONTENT, "bytes 5-9/10"),
    "206 of nonsense": _anyway(CONTENT, "bytes x-y/z"),
    "a page": answer(b"<!doctype html><p>maintenance", ETag='"1"'),
    "nothing": answer(b""),
    "silence": 0.5,
    "500": answer(status=500),
    "403": answer(status=403),
    "a length that is none": answer(CONTENT, Content_Length="abc"),
    "a length too long": answer(CONTENT, Content_Length=str(10**18)),
    "no HTTP": b"\x00\x01\x02",
    "to ftp": answer(status=302, Location="ftp://127.0.0.1/x"),
    "in circles": answer(status=302, Location="/data.json"),
    "headers without end": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 2000,
}


def cases() -> Iterator[Case]:
    """Each behaviour for ever, then drawn sequences of them."""
    for name in BEHAVIOURS:
        yield Case(f"always {name}", partial(_fetch, (name,)))
    generator = random.Random(0)
    for _ in range(RANDOM):
        names = tuple(generator.choices(list(BEHAVIOURS), k=4))
        yield Case(", ".join(names), partial(_fetch, names, generator.random() < 0.5))


def _fetch(names: tuple[str, ...], with_checksum: bool = False) -> None:
    wanted = Wanted(hashlib.sha256(CONTENT).hexdigest() if with_checksum else "", "")
    with tempfile.TemporaryDirectory() as name, ScriptedServer([BEHAVIOURS[name] for name in names]) as server:
        folder = Path(name)
        try:
            found = web.download(server.url("data.json?key=s3cret", "tom:s3cret@"), wanted, folder, QUICK)
        except ValueError as error:
            assert "s3cret" not in str(error)
            assert not [path for path in folder.rglob("data.json") if path.is_file()], "kept"
            raise
        assert found.file.read_bytes() in ((CONTENT,) if with_checksum else (CONTENT, OTHER)), "mixed content"
