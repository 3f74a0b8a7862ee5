"""What a STAC item beside a file says of its place and time; read as JSON, no catalogue is asked."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from iebaker.errors import IebakerError
from iebaker.search.items import Place
from iebaker.search.listing import Roots, sidecars


def item_of(roots: Roots, href: str) -> dict[str, Any] | None:
    """The item that describes a file: `<stem>.json` beside it, or one in item.json or items.json with an asset of it.

    Raises:
        IebakerError: if such a file is no JSON.
    """
    name = PurePosixPath(href).name
    for candidate in sidecars(href):
        try:
            with roots.open(candidate) as file:
                content = json.load(file)
        except FileNotFoundError:
            continue
        except IebakerError:  # no such member of a zip
            continue
        except ValueError as error:
            raise IebakerError(f"{candidate}: no JSON ({error}); a STAC item is expected beside {name}") from error
        for item in _items(content):
            assets = item.get("assets", {}).values()
            own = PurePosixPath(candidate).stem == PurePosixPath(href).stem
            if own or name in {PurePosixPath(asset.get("href", "")).name for asset in assets}:
                return item
    return None


def place_of(item: dict[str, Any] | None) -> Place:
    """Bounding box, time, platform and ground sample distance of an item.

    Raises:
        IebakerError: if one of them is malformed.
    """
    if item is None:
        return Place()
    said = item.get("properties", {})
    try:
        box = item.get("bbox")
        if box is not None:
            box = tuple(float(edge) for edge in (box[:2] + box[3:5] if len(box) == 6 else box))
            if len(box) != 4:
                raise ValueError(f"bbox has {len(box)} numbers")
        time = said.get("datetime") or said.get("start_datetime")
        sensor = said.get("platform") or said.get("constellation") or next(iter(said.get("instruments", [])), None)
        gsd = said.get("gsd")
        return Place(box, parse_time(time) if time else None, sensor, None if gsd is None else float(gsd))
    except (TypeError, ValueError) as error:
        raise IebakerError(f"STAC item {item.get('id')!r}: {error}") from error


def parse_time(text: str) -> datetime:
    """A time of STAC (RFC 3339) in UTC, also without a zone."""
    time = datetime.fromisoformat(text)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _items(content: Any) -> Iterator[dict[str, Any]]:
    if isinstance(content, dict) and content.get("type") == "Feature":
        yield content
    elif isinstance(content, dict) and content.get("type") == "FeatureCollection":
        yield from content.get("features", [])
