"""Results as JSON, GeoJSON, CSV and as a page of pictures."""

import base64
import csv
import html
import io
from collections.abc import Sequence
from typing import Any, cast

from PIL import Image

from iebaker.errors import IebakerError
from iebaker.search.query import Hit, Searcher
from iebaker.search.shards import split_at_antimeridian
from iebaker.search.spreadsheet import as_cell

THUMBNAIL = 224  # longest side in pixels
CSV_COLUMNS = ("rank", "href", "window", "score", "confidence", "datetime", "sensor", "gsd", "bbox")
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body{{font:1rem/1.4 system-ui,sans-serif;margin:1rem;background:#fff;color:#222}}
ol{{display:flex;flex-wrap:wrap;gap:1rem;padding:0;list-style:none}}figure{{margin:0;width:14rem}}
img{{width:14rem;height:14rem;object-fit:contain;background:#eee}}figcaption{{overflow-wrap:anywhere}}</style>
<h1>{title}</h1><ol>
{items}
</ol></html>
"""


def as_dict(hit: Hit, path: str) -> dict[str, Any]:
    """One hit as plain data for JSON."""
    about = hit.about
    return {
        "rank": hit.rank,
        "path": path,
        "id": about["id"],
        "row": hit.row,
        "score": round(hit.score, 6),
        "similarity": round(hit.similarity, 6),
        "confidence": None if hit.confidence is None else round(hit.confidence, 2),
        "window": about["window"],
        "bbox": about["bbox"] and list(about["bbox"].values()),
        "datetime": about["datetime"] and about["datetime"].isoformat().replace("+00:00", "Z"),
        "sensor": about["sensor"],
        "gsd": about["gsd"],
    }


def feature_collection(hits: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Hits of `as_dict` as GeoJSON; those without coordinates have no geometry."""
    features = []
    for hit in hits:
        properties = {key: value for key, value in hit.items() if key != "bbox"}
        feature = {"type": "Feature", "id": hit["id"], "geometry": _geometry(hit["bbox"]), "properties": properties}
        features.append(feature | ({"bbox": hit["bbox"]} if hit["bbox"] else {}))
    return {"type": "FeatureCollection", "features": features}


def as_csv(hits: Sequence[dict[str, Any]]) -> str:
    """Hits of `as_dict` as a table."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for hit in hits:
        row = {**hit, "href": hit["path"]}
        writer.writerow(as_cell(row[name]) for name in CSV_COLUMNS)
    return out.getvalue()


def page(searcher: Searcher, hits: Sequence[Hit], title: str) -> str:
    """A self-contained HTML page with the pictures of the hits."""
    items = []
    for hit in hits:
        path = searcher.path(hit)
        sure = "" if hit.confidence is None else f", confidence {hit.confidence:.1f}%"
        caption = html.escape(f"{hit.rank}. {path} (score {hit.score:.3f}{sure})")
        try:
            source = base64.b64encode(jpeg(searcher.picture(hit.row), THUMBNAIL)).decode()
            shown = f'<img src="data:image/jpeg;base64,{source}" alt="Result {hit.rank}">'
        except (IebakerError, OSError) as error:
            shown = f"<p>{html.escape(str(error))}</p>"
        items.append(f"<li><figure>{shown}<figcaption>{caption}</figcaption></figure></li>")
    return PAGE.format(title=html.escape(title), items="\n".join(items))


def jpeg(picture: Image.Image, longest: int) -> bytes:
    """A picture no larger than `longest` pixels a side, as JPEG."""
    picture = picture.copy()
    picture.thumbnail((longest, longest))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=88)
    return out.getvalue()


def _geometry(box: list[float] | None) -> dict[str, Any] | None:
    if box is None:
        return None
    rings = []
    for west, south, east, north in split_at_antimeridian(cast("tuple[float, float, float, float]", tuple(box))):
        rings.append([[[west, south], [east, south], [east, north], [west, north], [west, south]]])
    if len(rings) == 1:
        return {"type": "Polygon", "coordinates": rings[0]}
    return {"type": "MultiPolygon", "coordinates": rings}
