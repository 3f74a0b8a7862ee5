"""Acquiring a benchmark's published files: generated, downloaded and verified, or copied from a local place."""

import hashlib
import http.client
import logging
import os
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from tqdm import tqdm

from iebaker.atomic import replacing
from iebaker.config.params import BenchmarkParams, SyntheticParams
from iebaker.datasets.files import RawFiles, check_relative
from iebaker.errors import IebakerError

SYNTHETIC = "synthetic"
TIMEOUT_SECONDS = 30
CHUNK_BYTES = 1 << 20
FOREIGN_ARCHIVES = (".rar", ".7z", ".tar", ".gz", ".tgz", ".bz2", ".xz")

log = logging.getLogger(__name__)


def acquire(
    benchmark: str, params: BenchmarkParams, synthetic: SyntheticParams, destination: Path, downloads: Path
) -> None:
    """Fill `destination` with the benchmark's images and annotations as published.

    Files land under their own names, folders with their content; zips stay packed. The folder appears whole or
    not at all: it is filled under a temporary name beside `destination`, which replaces an earlier one at the end.

    Args:
        benchmark: name in params.yaml, for messages.
        downloads: folder outside `destination` that keeps finished and partial downloads between runs.

    Raises:
        IebakerError: if a source is no place or lies where `destination` does, is away, fails its checksum, lacks what
            `annotations` or `images` name, or is unsafe.
    """
    check_places(benchmark, params, destination.parent, downloads)
    for key in ("annotations", "images"):
        if value := getattr(params, key):
            check_relative(
                value, f"benchmark.{benchmark}.{key} (within `source`; a place of its own goes into that list)"
            )
    with replacing(destination) as folder:
        for source, sha256 in params.checked_sources:
            if source == SYNTHETIC:
                from iebaker.scenes import write_raw  # only this source needs the drawing code

                write_raw(folder, synthetic)
            elif scheme_of(source):
                try:
                    file = download(source, sha256, downloads)
                except IebakerError as error:
                    advice = f"download it by hand and set benchmark.{benchmark}.source to the folder that holds it"
                    raise IebakerError(f"benchmark.{benchmark}.source: {error}; try again, or {advice}") from error
                place(file, folder / file.name, link=True)
            else:
                copy_local(f"benchmark.{benchmark}.source", Path(source).expanduser(), sha256, params, folder)
        check_complete(benchmark, params, folder)


def scheme_of(source: str) -> str:
    """`http` of `http://...`, in lower case; '' of a local path."""
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", source)
    return match.group(1).lower() if match else ""


def check_places(benchmark: str, params: BenchmarkParams, raw: Path, downloads: Path) -> None:
    """Raise IebakerError for a source that is empty, cannot be fetched by its scheme, or lies in the folder `raw`."""
    key = f"benchmark.{benchmark}.source"
    places = [source for source, _ in params.checked_sources]
    if not places or not all(source.strip() for source in places):
        raise IebakerError(f"{key}: is empty; name a URL, a folder or a file, or {SYNTHETIC}")
    for source in places:
        if (scheme := scheme_of(source)) not in ("", "http", "https"):
            raise IebakerError(
                f"{key}: {source}: cannot fetch by {scheme!r}; give http(s), or download it and give a path"
            )
        if not scheme and lies_in(Path(source).expanduser(), raw):
            raise IebakerError(
                f"{key}: {source} lies in {raw}, which the pipeline overwrites; move it, for example to {downloads}"
            )


def lies_in(place: Path, folder: Path) -> bool:
    """Whether `place` is in `folder`: what it leads to, or itself where it is a link."""
    ways = (Path(os.path.realpath(place)), Path(os.path.realpath(place.parent)) / place.name)
    return any(way.is_relative_to(os.path.realpath(folder)) for way in ways)


def check_complete(benchmark: str, params: BenchmarkParams, folder: Path) -> None:
    """Raise IebakerError unless what `annotations` and `images` name is there; opening the zips checks them too."""
    files = RawFiles(folder)
    for key in ("annotations", "images"):
        wanted = getattr(params, key)
        if not files.named(wanted):
            there = ", ".join(sorted({name.split("/")[0] for name in files.names})[:10]) or "nothing"
            raise IebakerError(
                f"benchmark.{benchmark}.{key}: {wanted or 'any file'!r} is not in {params.source} (there: {there}); "
                "correct the name or the source"
            )


def copy_local(key: str, source: Path, sha256: str, params: BenchmarkParams, folder: Path) -> None:
    """Copy a local file, or a folder's content, into `folder`; of a folder only what the params name, if they do."""
    if not source.exists():
        raise IebakerError(f"{key}: {source} does not exist; correct the path (relative to {Path.cwd()})")
    if source.is_file():
        if source.name.lower().endswith(FOREIGN_ARCHIVES):
            raise IebakerError(f"{key}: {source} is no zip; unpack it by hand and set the source to the folder")
        verify(source, sha256)
        place(source, folder / source.name)
        return
    if sha256:
        raise IebakerError(f"{key}: {source} is a folder, which has no checksum; leave its sha256 empty")
    # a folder of many things: take the two that matter when the params name both
    roots = [source / params.annotations, source / params.images] if params.annotations and params.images else [source]
    roots = [root for root in roots if root.exists()] or [source]
    for root in dict.fromkeys(roots):
        files = [root] if root.is_file() else files_below(root, key)
        for file in tqdm(files, desc=f"copy {root.name}", unit="file", disable=len(files) < 100):
            place(file, folder / file.relative_to(source))


def files_below(folder: Path, key: str) -> list[Path]:
    """All files below a folder, sorted, links followed; IebakerError for a link that leads nowhere or in circles."""
    files = []
    for top, folders, names in os.walk(folder, followlinks=True):
        for path in (Path(top) / name for name in (*folders, *names)):
            if not path.is_symlink():
                continue
            if not path.exists():
                raise IebakerError(
                    f"{key}: {path} is a link to {path.readlink()}, which is not there; mend or remove it"
                )
            if path.is_dir() and any(path.samefile(parent) for parent in path.absolute().parents):
                raise IebakerError(f"{key}: {path} is a link to {path.readlink()}, a folder that it lies in; remove it")
        files.extend(Path(top) / name for name in names)
    return sorted(files)


def place(file: Path, target: Path, link: bool = False) -> None:
    """Copy `file` (content only, so that no read-only flag comes along), or hard link it where that works.

    Raises:
        IebakerError: if two sources give a file of the same name.
    """
    if target.exists():
        raise IebakerError(f"{file}: an earlier source gives a file of the same name; rename one of them")
    target.parent.mkdir(parents=True, exist_ok=True)
    if link:
        try:
            os.link(file, target)
            return
        except OSError:
            log.info("%s lies on another file system; copying", file)
    shutil.copyfile(file, target)


def verify(file: Path, sha256: str) -> None:
    """Raise IebakerError unless the file has this SHA-256; '' is not checked."""
    if not sha256:
        return
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise IebakerError(f"{file}: SHA-256 is {found}, params say {sha256}: damaged, or another version")


def download(url: str, sha256: str, folder: Path) -> Path:
    """Download once: a finished file is used again, a partial one is continued if the server still has the same.

    Returns:
        The finished file, in a folder of its own below `folder`, under the name that the URL ends with.

    Raises:
        IebakerError: naming the URL, if the server refuses or goes away or the checksum fails. Finished earlier
            downloads are never removed, a partial one stays to be continued.
    """
    name = urllib.parse.unquote(urllib.parse.urlsplit(url).path).rsplit("/", 1)[-1]
    if not name:
        raise IebakerError(f"{url}: the address does not end with a file name")
    target = folder / hashlib.sha256(url.encode()).hexdigest()[:16] / name
    if target.exists():
        try:
            verify(target, sha256)
            return target
        except IebakerError as error:
            log.warning("%s; downloading again", error)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{name}.partial")
    try:
        fetch(url, partial)
    except urllib.error.HTTPError as error:
        raise IebakerError(f"{url}: the server answered {error.code} ({error.reason})") from error
    except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        kept = partial.stat().st_size if partial.exists() else 0
        raise IebakerError(
            f"{url}: no answer ({getattr(error, 'reason', error)}), {kept:,} bytes so far kept"
        ) from error
    try:
        verify(partial, sha256)
    except IebakerError as error:
        partial.unlink()
        raise IebakerError(f"{url}: {error}") from error
    partial.replace(target)
    version_file(partial).unlink(missing_ok=True)
    return target


def version_file(partial: Path) -> Path:
    """Beside a partial download: the validator (ETag or date) of the version that the server was sending."""
    return partial.with_name(f"{partial.name}.version")


def fetch(url: str, partial: Path) -> None:
    """Stream `url` into `partial`, continuing it when the server confirms by `If-Range` that the file is unchanged."""
    known = version_file(partial)
    done = partial.stat().st_size if partial.exists() and known.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "iebaker"})
    if done:
        request.add_header("Range", f"bytes={done}-")
        request.add_header("If-Range", known.read_text())
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        partial.unlink()  # killed between the last byte and the renaming: nothing is left to continue
        return fetch(url, partial)
    with response:
        resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
        done = done if resumed else 0
        version = response.headers.get("ETag") or response.headers.get("Last-Modified")
        # a weak ETag does not promise the same bytes, so it cannot continue a file
        if version and not version.startswith("W/"):
            known.write_text(version)
        else:
            known.unlink(missing_ok=True)
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        with (
            partial.open("ab" if resumed else "wb") as file,
            tqdm(desc=partial.stem, total=total, initial=done, unit="B", unit_scale=True) as progress,
        ):
            while chunk := response.read(CHUNK_BYTES):
                file.write(chunk)
                progress.update(len(chunk))
    if total is not None and partial.stat().st_size < total:
        raise ConnectionError(f"the connection ended after {partial.stat().st_size:,} of {total:,} bytes")
