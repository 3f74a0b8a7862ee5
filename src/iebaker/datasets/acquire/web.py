"""Plain HTTP(S): requests and urllib3 connect, redirect, wait and ask again; what is added here is resuming.

A partial file is continued only if the server proves that it is sending the same version and the range asked for, and
a file is finished only if its whole length or checksum is right. Everything else starts again.
"""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from tqdm import tqdm

from iebaker.atomic import write_text
from iebaker.datasets.acquire.archives import check_room, check_start
from iebaker.datasets.acquire.checksums import Wanted
from iebaker.datasets.acquire.places import name_of, shown
from iebaker.errors import IebakerError

CHUNK = 1 << 20
BUSY = (429, 500, 502, 503, 504)
REDIRECTS = 10
CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")


@dataclass(frozen=True)
class Patience:
    """How long a server that does not answer is asked again.

    Attributes:
        attempts: of one request, and of one file whose connection is cut.
        backoff: seconds before the third request, doubled each time.
        longest: seconds of one wait, also where `Retry-After` asks for more.
        timeout: seconds without a byte.
    """

    attempts: int = 5
    backoff: float = 1.0
    longest: float = 60.0
    timeout: float = 30.0


PATIENT = Patience()


class Cut(Exception):
    """An attempt that failed and may be repeated."""


@dataclass(frozen=True)
class Download:
    """A finished file, its SHA-256, and whether it was fetched just now."""

    file: Path
    sha256: str
    new: bool


def folder_of(url: str, downloads: Path) -> Path:
    """The folder that keeps what an address gave."""
    return downloads / sha256(url.encode()).hexdigest()[:16]


def download(url: str, wanted: Wanted, downloads: Path, patience: Patience) -> Download:
    """Download once: a finished file is used again, a partial one is continued if the server still has the same.

    Raises:
        IebakerError: naming the address and why. A partial file stays to be continued, if it can be.
    """
    name = name_of(url)
    folder = folder_of(url, downloads)
    target, partial = folder / name, Partial(folder, name)
    if target.exists():
        digest = _still_good(target, wanted, partial.state().get("sha256"))
        if digest:
            return Download(target, digest, new=False)
    folder.mkdir(parents=True, exist_ok=True)
    with _session(patience) as session:
        _fetch(session, url, partial, wanted, patience)
    try:
        check_start(partial.file, name)
        digest = wanted.check(partial.file, name)
    except IebakerError as error:
        partial.clear()  # kept, it would be refused again without asking the server
        raise IebakerError(f"{shown(url)}: {error}") from error
    partial.file.replace(target)
    write_text(partial.state_file, json.dumps({"url": shown(url), "sha256": digest}))
    return Download(target, digest, new=True)


def _still_good(target: Path, wanted: Wanted, recorded: str | None) -> str | None:
    """The SHA-256 of an earlier download, if it is what is wanted and was not damaged since."""
    try:
        digest = wanted.check(target, target.name)
    except IebakerError:
        return None
    return digest if recorded in (None, digest) else None


class Partial:
    """A download that is not finished: `<name>.partial`, and what the server said of the version it was sending."""

    def __init__(self, folder: Path, name: str) -> None:
        self.file = folder / f"{name}.partial"
        self.state_file = folder / ".state.json"

    def state(self) -> dict[str, Any]:
        """What was written by `begin`, empty where nothing or nothing readable is there."""
        try:
            state = json.loads(self.state_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    @property
    def size(self) -> int:
        """Bytes that are there."""
        return self.file.stat().st_size if self.file.exists() else 0

    def begin(self, validator: str | None, length: int | None) -> None:
        """Start again from nothing, with what the server says of this version."""
        self.clear()
        write_text(self.state_file, json.dumps({"validator": validator, "length": length}))

    def clear(self) -> None:
        """Remove everything."""
        self.file.unlink(missing_ok=True)
        self.state_file.unlink(missing_ok=True)

    def validator(self, wanted: Wanted) -> str | None:
        """What proves that a range belongs to this version: a strong ETag; a date only where a checksum decides."""
        found = self.state().get("validator")
        return found if isinstance(found, str) and (found.startswith('"') or wanted.known) else None


def _session(patience: Patience) -> requests.Session:
    """Asks again by itself when no connection comes about or the server is busy; redirects stay within http(s)."""
    retry = urllib3.Retry(
        total=patience.attempts - 1, status_forcelist=BUSY, allowed_methods=["GET"], raise_on_status=False,
        backoff_factor=patience.backoff, backoff_max=patience.longest, retry_after_max=round(patience.longest),
    )  # fmt: skip
    session = requests.Session()  # has adapters for http and https alone: a redirect elsewhere is refused
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    session.max_redirects = REDIRECTS
    # content must come as it is: ranges and lengths count its bytes
    session.headers.update({"User-Agent": "iebaker", "Accept-Encoding": "identity"})
    return session


def _fetch(session: requests.Session, url: str, partial: Partial, wanted: Wanted, patience: Patience) -> None:
    """Fill the partial file, in as many attempts as patience allows."""
    for attempt in range(patience.attempts):
        if attempt:
            time.sleep(min(patience.backoff * 2 ** (attempt - 1), patience.longest))
        try:
            _attempt(session, url, partial, wanted, patience)
            return
        except Cut as cut:
            reason = str(cut)
    kept = partial.size if partial.validator(wanted) else 0
    raise IebakerError(
        f"{shown(url)}: {reason}, {patience.attempts} times"
        + (f"; {kept:,} bytes are kept, and continued next time" if kept else "")
    )


def _attempt(session: requests.Session, url: str, partial: Partial, wanted: Wanted, patience: Patience) -> None:
    """One request, and its body down to the last byte; Cut if another one may do better."""
    validator, length = partial.validator(wanted), partial.state().get("length")
    if partial.size and not (validator and isinstance(length, int) and partial.size <= length):
        partial.clear()
    if partial.size and partial.size == length:
        return  # killed between the last byte and the renaming
    headers = {"Range": f"bytes={partial.size}-", "If-Range": validator} if partial.size else {}
    with _errors_of(url, patience):
        response = session.get(url, headers=headers, stream=True, timeout=patience.timeout)
    with response:
        _check_answer(response, url, partial)
        if response.status_code == requests.codes.partial:
            _check_range(response, partial)
        else:
            partial.begin(_validator_of(response), _length_of(response))
        length = partial.state()["length"]
        if length is None and not response.raw.chunked and not wanted.known:
            raise IebakerError(f"{shown(url)}: the server does not say how long the file is; give its sha256")
        if length is not None:
            check_room(partial.file.parent, length - partial.size)
        with _errors_of(url, patience):
            _append(response, partial, length)
    if length is not None and partial.size != length:
        raise Cut(f"the connection ended after {partial.size:,} of {length:,} bytes")


def _append(response: requests.Response, partial: Partial, length: int | None) -> None:
    """Stream the body to the end of the partial file, with progress."""
    with (
        partial.file.open("ab") as file,
        tqdm(desc=partial.file.stem, total=length, initial=partial.size, unit="B", unit_scale=True) as progress,
    ):
        for chunk in response.raw.stream(CHUNK, decode_content=False):
            file.write(chunk)
            progress.update(len(chunk))


def _check_answer(response: requests.Response, url: str, partial: Partial) -> None:
    """Raise unless the server sends a file."""
    if response.status_code == requests.codes.requested_range_not_satisfiable and partial.size:
        partial.clear()
        raise Cut("the server has fewer bytes than are here")
    if response.status_code in (requests.codes.unauthorized, requests.codes.forbidden):
        raise IebakerError(f"{shown(url)}: the server answered {_status(response)}: it wants a login, or refuses you")
    if response.status_code not in (requests.codes.ok, requests.codes.partial):
        times = ", and is asked no more" if response.status_code in BUSY else ""
        raise IebakerError(f"{shown(url)}: the server answered {_status(response)}{times}")
    if "html" in response.headers.get("Content-Type", "") and not partial.file.stem.endswith(("html", "htm")):
        raise IebakerError(f"{shown(url)}: the server sends a web page, not the file: a login, a notice, or a quota")


def _check_range(response: requests.Response, partial: Partial) -> None:
    """Cut, with nothing kept, unless the range is the one asked for, of the version that is here."""
    state, match = partial.state(), CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    begin, end, total = map(int, match.groups()) if match else (-1, -1, -1)
    fits = partial.size and begin == partial.size and end == total - 1 and total == state.get("length")
    announced = _length_of(response)
    if not fits or announced not in (None, total - begin) or _validator_of(response) != state.get("validator"):
        partial.clear()
        raise Cut("the server answered with another range or version than was asked for")


def _validator_of(response: requests.Response) -> str | None:
    """The strong ETag, else the date; a weak ETag does not promise the same bytes."""
    etag = response.headers.get("ETag", "")
    if etag:
        return etag if etag.startswith('"') else None
    return response.headers.get("Last-Modified")


def _length_of(response: requests.Response) -> int | None:
    """Content-Length, None where it is absent or no number."""
    length = response.headers.get("Content-Length", "").strip()
    return int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None


def _status(response: requests.Response) -> str:
    """As in `404 (Not Found)`."""
    reason = "".join(letter for letter in str(response.reason or "")[:60] if letter.isprintable())
    return f"{response.status_code} ({reason})" if reason else str(response.status_code)


@contextmanager
def _errors_of(url: str, patience: Patience) -> Iterator[None]:
    """Turn what requests and urllib3 raise into one line without the address's secrets: their own texts repeat it."""
    try:
        yield
    except (requests.TooManyRedirects, requests.exceptions.InvalidSchema) as error:
        circle = isinstance(error, requests.TooManyRedirects)
        what = f"more than {REDIRECTS} times, or in a circle" if circle else "to an address that is not http(s)"
        raise IebakerError(f"{shown(url)}: redirected {what}") from error
    except (requests.Timeout, urllib3.exceptions.TimeoutError) as error:
        raise Cut(f"no byte for {patience.timeout:g} s") from error
    except ValueError as error:  # of requests, and of the standard library where a redirect is malformed
        raise IebakerError(f"{shown(url)}: the address, a redirect or a header is malformed") from error
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _broken(url, error) from error


def _broken(url: str, error: Exception) -> Exception:
    """Cut for a connection that broke; IebakerError for one that never came about: urllib3 has asked again already."""
    cause: BaseException = error
    for _ in range(10):
        inner = getattr(cause, "reason", None) or cause.__cause__ or cause.__context__
        if not isinstance(inner, BaseException):
            break
        cause = inner
    timed_out = isinstance(cause, TimeoutError | urllib3.exceptions.TimeoutError)
    text = "timed out" if timed_out else getattr(cause, "strerror", None) or type(cause).__name__
    if isinstance(error, urllib3.exceptions.HTTPError | requests.exceptions.ChunkedEncodingError):
        return Cut(f"the connection was cut ({text})")
    return IebakerError(f"{shown(url)}: no answer ({text})")
