"""The Hugging Face hub: its own client downloads, with its cache, resume, HF_ENDPOINT and HF_TOKEN."""

import errno
import fnmatch
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from iebaker.atomic import write_text
from iebaker.datasets.acquire.archives import check_start
from iebaker.datasets.acquire.checksums import Wanted
from iebaker.datasets.acquire.places import COMMIT, HubPlace, shown
from iebaker.datasets.acquire.web import BUSY, Patience
from iebaker.datasets.files import check_relative
from iebaker.errors import IebakerError

Result = TypeVar("Result")


@dataclass(frozen=True)
class HubFile:
    """One file that fits the pattern: its name in the repository, bytes, and SHA-256 where the hub knows it."""

    name: str
    size: int | None
    sha256: str


@dataclass(frozen=True)
class Snapshot:
    """What a place means at one commit."""

    commit: str
    files: list[HubFile]


def index_of(place: str, downloads: Path) -> Path:
    """The file that remembers what a place gave."""
    return downloads / f"hub-{sha256(place.encode()).hexdigest()[:16]}.json"


def fetch(
    place: str, wanted: Wanted, downloads: Path, patience: Patience
) -> tuple[Snapshot, dict[str, tuple[Path, str]]]:
    """Download all files of a place into the hub client's cache, and check them against the hub's own checksums.

    Args:
        downloads: keeps the list of files of a pinned commit, so that a filled cache needs no connection.

    Returns:
        The snapshot, and by name in the repository the file in the cache and its SHA-256.

    Raises:
        IebakerError: naming the place and why.
    """
    parsed = HubPlace.parse(place)
    index = index_of(place, downloads)
    offline = False
    try:
        snapshot = look_up(parsed, patience)
    except Unreachable as error:
        kept = _read(index) if COMMIT.fullmatch(parsed.revision) else None
        if kept is None:
            raise IebakerError(f"{shown(place)}: {error}") from error
        snapshot, offline = kept, True
    if not snapshot.files:
        raise IebakerError(f"{shown(place)}: no file of the data set fits {parsed.pattern}; correct it")
    if wanted.known and len(snapshot.files) > 1:
        raise IebakerError(f"{shown(place)}: {len(snapshot.files)} files cannot have one checksum; name a single file")
    try:
        found = {file.name: _file(parsed, snapshot.commit, file, wanted, patience, offline) for file in snapshot.files}
    except Unreachable as error:
        raise IebakerError(f"{shown(place)}: {error}") from error
    write_text(index, json.dumps(asdict(snapshot)))
    return snapshot, found


def look_up(place: HubPlace, patience: Patience) -> Snapshot:
    """Which commit the revision is, and which files of it fit.

    Raises:
        Unreachable: if the hub does not say.
        IebakerError: for a file name that could lead out of a folder.
    """
    from huggingface_hub import HfApi  # half a second that other sources don't need

    def ask() -> Any:
        return HfApi().dataset_info(
            place.repository, revision=place.revision, files_metadata=True, timeout=patience.timeout
        )

    info = _patiently(ask, patience)
    files = [
        HubFile(sibling.rfilename, sibling.size, sibling.lfs.sha256 if sibling.lfs else "")
        for sibling in info.siblings or []
        if fnmatch.fnmatchcase(sibling.rfilename, place.pattern)
    ]
    for file in files:
        check_relative(file.name, f"hf://datasets/{place.repository}")
    return Snapshot(info.sha or "", sorted(files, key=lambda file: file.name))


def _file(
    place: HubPlace, commit: str, file: HubFile, wanted: Wanted, patience: Patience, offline: bool
) -> tuple[Path, str]:
    """One file in the cache and its SHA-256; one that was damaged there is fetched once more."""
    from huggingface_hub import hf_hub_download

    expected = Wanted(wanted.sha256 or file.sha256, wanted.md5)
    for again in (False, True):

        def ask(force: bool = again) -> str:
            return hf_hub_download(
                place.repository, file.name, repo_type="dataset", revision=commit, force_download=force,
                local_files_only=offline, etag_timeout=patience.timeout,
            )  # fmt: skip

        path = Path(_patiently(ask, patience)).resolve()
        try:
            if file.size not in (None, path.stat().st_size):
                raise IebakerError(f"{file.name}: {path.stat().st_size:,} bytes, the hub says {file.size:,}")
            check_start(path, file.name)
            return path, expected.check(path, file.name)
        except IebakerError as error:
            if again or offline:
                raise
            reason = error
    raise reason


class Unreachable(Exception):
    """The hub did not give something: the reason, in words."""


def _patiently(ask: Callable[[], Result], patience: Patience) -> Result:
    """What `ask` returns, asked again while the hub is away or busy; Unreachable with the reason otherwise."""
    for attempt in range(patience.attempts):
        if attempt:
            time.sleep(min(patience.backoff * 2 ** (attempt - 1), patience.longest))
        try:
            return ask()
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EACCES, errno.EROFS):
                raise  # our disk, not the hub
            failure: Exception = error
        # The client has changed its HTTP library twice, each with errors of its own: whatever it raises means that
        # this place gave nothing, and its text may repeat addresses.
        except Exception as error:  # noqa: BLE001
            failure = error
        status = getattr(getattr(failure, "response", None), "status_code", None)
        if (status is not None and status not in BUSY) or _is_no_name(failure):
            break
    raise Unreachable(_reason(failure)) from failure


def _is_no_name(error: Exception) -> bool:
    """Whether the client refuses the name of a data set before it asks."""
    from huggingface_hub.errors import HFValidationError

    return isinstance(error, HFValidationError)


def _reason(error: Exception) -> str:
    """One line, from the status where the hub answered, else from the kind of the error."""
    from huggingface_hub import errors

    known = {
        errors.GatedRepoError: "its authors give access on request: ask for it on its page, and set HF_TOKEN",
        errors.RepositoryNotFoundError: "no such data set, or a private one (HF_TOKEN)",
        errors.RevisionNotFoundError: "no such revision",
        errors.EntryNotFoundError: "no such file",
        errors.HFValidationError: "no name of a data set",
        errors.OfflineModeIsEnabled: "HF_HUB_OFFLINE is set",
    }
    status = getattr(getattr(error, "response", None), "status_code", None)
    for kind, text in known.items():
        if isinstance(error, kind) and not (kind is errors.EntryNotFoundError and status is None):
            return text
    if status is not None:
        return f"the hub answered {status}"
    cause: BaseException = error
    while (inner := cause.__cause__ or cause.__context__) is not None:
        cause = inner
    text = getattr(cause, "strerror", None) or type(cause).__name__
    return f"the hub does not answer ({text}); HF_ENDPOINT can name a mirror of it"


def _read(index: Path) -> Snapshot | None:
    """The snapshot of an earlier download, None where there is none."""
    try:
        stored = json.loads(index.read_text(encoding="utf-8"))
        return Snapshot(stored["commit"], [HubFile(**file) for file in stored["files"]])
    except (OSError, ValueError, KeyError, TypeError):
        return None
