"""A benchmark's sources, tried in order until one gives all of its parts in a layout that can be read."""

import logging
from collections.abc import Callable
from pathlib import Path

from iebaker.atomic import replacing
from iebaker.config.params import BenchmarkParams, SyntheticParams
from iebaker.config.sources import PartParams, SourceParams
from iebaker.datasets import detect, origin
from iebaker.datasets.acquire import archives, hub, local, places, web
from iebaker.datasets.acquire.checksums import Wanted
from iebaker.datasets.acquire.locate import advice, key_of, locate
from iebaker.datasets.files import RawFiles
from iebaker.errors import IebakerError

log = logging.getLogger(__name__)


def acquire(
    benchmark: str,
    params: BenchmarkParams,
    synthetic: SyntheticParams,
    destination: Path,
    downloads: Path,
    base: Path = Path(),
    patience: web.Patience = web.PATIENT,
    say: Callable[[str], None] = print,
) -> None:
    """Fill `destination` with the benchmark's images and annotations as published, and the record of their origin.

    Files land under their own names, folders with their content; zips stay packed, tars become folders of their name.
    The folder appears whole or not at all: it is filled under a temporary name, which replaces an earlier one.

    Args:
        benchmark: name in params.yaml, for messages.
        downloads: folder outside `destination` that keeps finished and partial downloads between runs.
        base: what relative local places are below.
        patience: with servers that are busy or away.
        say: shows licence, citation and checksums before and after a first download.

    Raises:
        IebakerError: if no source gives the benchmark: each with its reason, and what to do by hand.
    """
    locate(benchmark, params, synthetic, destination.parent, downloads, base)  # refuses before anything is fetched
    shelf = Shelf(downloads, base, patience, say)
    failures = []
    for number, source in enumerate(params.choices):
        key = key_of(benchmark, params, number)
        try:
            _from(source, key, params, synthetic, destination, shelf)
            return
        except IebakerError as error:
            failures.append(f"{key}: {error}")
            if number + 1 < len(params.choices):
                log.warning("%s; trying the next source", failures[-1])
    hint = [] if params.sources or not _is_remote(params.choices[0]) else [
        f"Try again, or download it by hand and set benchmark.{benchmark}.source to the folder that holds it."
    ]  # fmt: skip
    raise IebakerError("\n".join([*failures, *hint, *advice(benchmark, params, downloads)]))


class Shelf:
    """Where downloads and local places are, how long servers are waited for, and who is told of first downloads."""

    def __init__(self, downloads: Path, base: Path, patience: web.Patience, say: Callable[[str], None]) -> None:
        self.downloads = downloads
        self.base = base
        self.patience = patience
        self.say = say

    def knows(self, place: str) -> bool:
        """Whether an address has given something before."""
        if places.kind_of(place) == "hub":
            return hub.index_of(place, self.downloads).exists()
        return web.folder_of(place, self.downloads).exists()


def _from(
    source: SourceParams, key: str, params: BenchmarkParams, synthetic: SyntheticParams, destination: Path, shelf: Shelf
) -> None:
    """Fill `destination` from one source."""
    if _is_remote(source):
        _announce(source, key, params, shelf)
    with replacing(destination) as folder:
        files: dict[str, str] = {}
        for number, part in enumerate(source.parts):
            files |= _place(part, f"{key}, part {number}", source, synthetic, folder, shelf)
        archives.unpack(folder)
        layout = detect.detect(RawFiles(folder), source)
        shown = [places.shown(part.place) for part in source.parts]
        origin.write(folder, origin.Origin(shown, files, params.licence, params.citation, **layout.model_dump()))


def _place(
    part: PartParams, key: str, source: SourceParams, synthetic: SyntheticParams, folder: Path, shelf: Shelf
) -> dict[str, str]:
    """Lay what one place gives into `folder`; the SHA-256 of each single file that it is."""
    kind, wanted = places.kind_of(part.place), Wanted.of(part)
    if kind == "synthetic":
        from iebaker.scenes import write_raw  # only this source needs the drawing code

        write_raw(folder, synthetic)
        return {}
    if kind == "local":
        path = local.path_of(part.place, shelf.base)
        sums = {path.name: wanted.check(path, str(path))} if path.is_file() else {}
        local.copy(path, source, folder)
        return sums
    if kind == "web":
        found = web.download(part.place, wanted, shelf.downloads, shelf.patience)
        archives.refuse_foreign(found.file)
        if found.new and not wanted.sha256:
            shelf.say(f"{found.file.name} has the SHA-256 {found.sha256}; to pin it, write in params.yaml:\n"
                      f"  {_pin(key, part, source, found.sha256)}")  # fmt: skip
        local.put(found.file, folder / found.file.name, link=True)
        return {found.file.name: found.sha256}
    snapshot, fetched = hub.fetch(part.place, wanted, shelf.downloads, shelf.patience)
    place = places.HubPlace.parse(part.place)
    if place.revision != snapshot.commit:
        shelf.say(f"{part.place} is at commit {snapshot.commit}; to pin it, write in params.yaml:\n"
                  f"  {key}: {place.at(snapshot.commit)}")  # fmt: skip
    for name, (path, _) in fetched.items():
        archives.refuse_foreign(path.with_name(name.rsplit("/", 1)[-1]))
        local.put(path, folder / name)
    return {name: digest for name, (_, digest) in fetched.items()}


def _pin(key: str, part: PartParams, source: SourceParams, sha256: str) -> str:
    """The line of params.yaml that pins a checksum."""
    benchmark, _, of_user = key.partition(".source,")
    if not of_user:
        return f"{key}: {{place: '{places.shown(part.place)}', sha256: {sha256}}}"
    checksums = [sha256 if other is part else other.sha256 for other in source.parts]
    return f"{benchmark}.sha256: {checksums[0] if len(checksums) == 1 else checksums}"


def _is_remote(source: SourceParams) -> bool:
    return any(places.kind_of(part.place) in ("web", "hub") for part in source.parts)


def _announce(source: SourceParams, key: str, params: BenchmarkParams, shelf: Shelf) -> None:
    """Show what is about to be downloaded, under which licence, unless it was announced before."""
    remote = [part.place for part in source.parts if places.kind_of(part.place) in ("web", "hub")]
    if all(shelf.knows(place) for place in remote):
        return
    about = f", about {source.megabytes} MB" if source.megabytes else ""
    shelf.say(f"{key}: {' and '.join(map(places.shown, remote))}{about}")
    shelf.say(f"  licence: {params.licence or 'not stated in params.yaml; look it up'}")
    if params.citation:
        shelf.say(f"  cite: {params.citation}")
