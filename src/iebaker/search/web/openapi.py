"""The OpenAPI document of the REST API."""

from typing import Any

from iebaker import __version__
from iebaker.search.web.parameters import FORMATS, MAX_BYTES, MAX_CHARACTERS, MAX_COUNT, MAX_PIXELS

TEXT = {"type": "string", "maxLength": MAX_CHARACTERS}
NUMBER, NULLABLE = {"type": "number"}, {"type": ["number", "null"]}
HIT = {
    "type": "object",
    "properties": {
        "rank": {"type": "integer"},
        "path": {"type": "string", "description": "name of the root and path below it"},
        "id": {"type": "string"},
        "row": {"type": "integer", "description": "for like= and thumbnails"},
        "score": NUMBER,
        "similarity": NUMBER,
        "confidence": {**NULLABLE, "description": "percentage of training captions that fit the image less"},
        "window": {"type": ["array", "null"], "items": {"type": "integer"}},
        "bbox": {"type": ["array", "null"], "items": NUMBER, "description": "west, south, east, north in EPSG:4326"},
        "datetime": {"type": ["string", "null"]},
        "sensor": {"type": ["string", "null"]},
        "gsd": NULLABLE,
    },
}
BODY = {
    "description": f"An image of at most {MAX_BYTES // 2**20} MiB and {MAX_PIXELS // 10**6} million pixels.",
    "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
}


def document() -> dict[str, Any]:
    """OpenAPI 3.1."""
    query = [
        _parameter("q", TEXT, "what the image shows"),
        _parameter("plus", _list(TEXT), "words to add"),
        _parameter("minus", _list(TEXT), "words to avoid"),
        _parameter("like", {"type": "integer", "minimum": 0}, "a row to resemble"),
        _parameter("k", {"type": "integer", "minimum": 1, "maximum": MAX_COUNT, "default": 20}, "number of results"),
        _parameter(
            "bbox", {"type": "string"}, "west,south,east,north in degrees; west > east: across the antimeridian"
        ),
        _parameter("since", {"type": "string", "format": "date"}, "first day"),
        _parameter("until", {"type": "string", "format": "date"}, "last day"),
        _parameter("sensor", _list(TEXT), "any of these"),
        _parameter("format", {"type": "string", "enum": list(FORMATS)}, "of the answer"),
    ]
    found = {"type": "object", "properties": {"hits": _list(HIT), "seconds": NUMBER}}
    captions = _list({"type": "object", "properties": {"caption": {"type": "string"}, "similarity": NUMBER}})
    search = {"parameters": query, "responses": _responses(found)}
    caption = {"parameters": [query[3], query[4]], "responses": _responses(captions)}
    row = {"name": "row", "in": "path", "required": True, "schema": {"type": "integer"}}
    picture = {"200": {"description": "a picture", "content": {"image/jpeg": {}}}, "404": {"description": "not there"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "iebaker search", "version": __version__},
        "paths": {
            "/api/archive": {"get": {"summary": "What the archive holds", "responses": _responses({"type": "object"})}},
            "/api/search": {
                "get": {"summary": "Search by words or a row", **search},
                "post": {"summary": "Search by an image, and words", "requestBody": BODY, **search},
            },
            "/api/caption": {
                "get": {"summary": "Captions for a row", **caption},
                "post": {"summary": "Captions for an image", "requestBody": BODY, **caption},
            },
            "/api/thumbnail/{row}": {"get": {"summary": "A small picture", "parameters": [row], "responses": picture}},
        },
    }


def _parameter(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def _list(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": of}


def _responses(schema: dict[str, Any]) -> dict[str, Any]:
    error = {"type": "object", "properties": {"error": {"type": "string"}}}
    refused = {"description": "refused, with the reason", "content": {"application/json": {"schema": error}}}
    given = {"description": "the answer", "content": {"application/json": {"schema": schema}}}
    return {"200": given, "400": refused, "413": refused}
