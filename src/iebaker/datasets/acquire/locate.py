"""What a benchmark's sources are at this moment: what decides whether it has to be acquired again."""

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

from iebaker.config.params import BenchmarkParams, SyntheticParams
from iebaker.config.sources import PartParams, SourceParams
from iebaker.datasets.acquire import local, places
from iebaker.datasets.files import check_relative
from iebaker.errors import IebakerError


def locate(
    benchmark: str,
    params: BenchmarkParams,
    synthetic: SyntheticParams,
    raw: Path,
    downloads: Path,
    base: Path = Path(),
) -> dict[str, Any]:
    """Everything that shapes what `acquire` gives, without fetching anything: ready for JSON, no absolute path in it.

    Of a local place, the files with size and time of change; of an address, itself and its checksums; of the drawn
    benchmark, its parameters and a digest of the code that draws.

    Args:
        benchmark: name in params.yaml, for messages.
        raw: folder of all acquired benchmarks, which no source may lie in.
        downloads: the folder that messages propose for a user's files.
        base: what relative local places are below.

    Raises:
        IebakerError: if a place cannot be one, or nothing of what is local is there.
    """
    sources, failures = [], []
    for number, source in enumerate(params.choices):
        key = key_of(benchmark, params, number)
        check_layout(source, key)
        try:
            described = [_describe(part, source, synthetic, raw, base) for part in source.parts]
        except IebakerError as error:
            failures.append(f"{key}: {error}")
            described = [{"place": places.shown(part.place), "missing": True} for part in source.parts]
        sources.append({"parts": described, **source.model_dump(include={"format", "annotations", "images"})})
    if len(failures) == len(sources):
        raise IebakerError("\n".join([*failures, *advice(benchmark, params, downloads)]))
    return {"sources": sources, "licence": params.licence, "citation": params.citation}


def key_of(benchmark: str, params: BenchmarkParams, number: int) -> str:
    """The key in params.yaml of one of the choices."""
    return f"benchmark.{benchmark}.{'source' if params.source is not None else f'sources[{number}]'}"


def check_layout(source: SourceParams, key: str) -> None:
    """Raise IebakerError for names that would lead out of what the source gives."""
    for name in ("annotations", "images"):
        if value := getattr(source, name):
            check_relative(value, f"{key}, {name} (within the source; a place of its own is one more part)")


def advice(benchmark: str, params: BenchmarkParams, downloads: Path) -> list[str]:
    """The steps by hand, for a benchmark with public sources; none for a user's own."""
    if not params.sources:
        return []
    folder = downloads / benchmark
    missing = "" if params.missing == "exclude" else ", every caption an image and every image a caption"
    return [
        f"By hand: 1. get {params.by_hand or 'its images and captions'}",
        f"         2. put them into {folder} (zip and tar may stay packed; a rar is unpacked first: unrar x FILE)",
        f"         3. add -S benchmark.{benchmark}.source={folder} to the command, or set it in params.yaml",
        f"         Checked then: the format is recognised, names are unique and safe, images can be read{missing}.",
    ]


def _describe(
    part: PartParams, source: SourceParams, synthetic: SyntheticParams, raw: Path, base: Path
) -> dict[str, Any]:
    """One place as it is now."""
    kind = places.kind_of(part.place)
    described: dict[str, Any] = {"place": places.shown(part.place)}
    described |= part.model_dump(include={"sha256", "md5"})
    if kind == "synthetic":
        described |= {"parameters": synthetic.model_dump(), "code": code_digest()}
    elif kind == "local":
        path = local.path_of(part.place, base)
        if local.lies_in(path, raw):
            raise IebakerError(f"{path} lies in {raw}, which the pipeline overwrites; move it elsewhere")
        described["files"] = local.listing(path, source)
        if (part.sha256 or part.md5) and path.is_dir():
            raise IebakerError(f"{path} is a folder, which has no checksum; leave it empty")
    elif kind == "hub":
        places.HubPlace.parse(part.place)
    else:
        places.name_of(part.place)
        # what is not shown of an address may still lead elsewhere
        described["address"] = hashlib.sha256(part.place.encode()).hexdigest()[:16]
    return described


def code_digest() -> str:
    """SHA-256 over the code that draws the benchmark `synthetic`, found without importing it."""
    digest = hashlib.sha256()
    found = importlib.util.find_spec("iebaker.scenes")
    for folder in (found and found.submodule_search_locations) or ():
        for file in sorted(Path(folder).glob("*.py")):
            digest.update(f"{file.name}\0".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
