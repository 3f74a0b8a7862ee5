"""The application behind `iebaker serve`: one page, thumbnails, and a REST API under /api; nothing from elsewhere."""

import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from iebaker import images
from iebaker.errors import IebakerError
from iebaker.search import output
from iebaker.search.query import Hit, Searcher, Term
from iebaker.search.web.openapi import document
from iebaker.search.web.parameters import MAX_BYTES, MAX_PIXELS, Asked, read_query

STATIC = Path(__file__).parent / "static"
PAGES = {"/": "index.html", "/page.css": "page.css", "/page.js": "page.js", "/icon.svg": "icon.svg"}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
THUMBNAIL = 320  # longest side in pixels
DOWNLOADS = {"csv": "text/csv", "geojson": "application/geo+json"}


class TooLarge(IebakerError):
    """An upload beyond the limits."""


def application(searcher: Searcher, hosts: list[str]) -> Starlette:
    """The application for one archive.

    Args:
        hosts: names by which it may be addressed, so that no other site's page can talk to it by a name of its own.
    """
    service = Service(searcher)
    routes = [Route(path, _static(name)) for path, name in PAGES.items()]
    routes += [
        Route("/api/archive", service.about),
        Route("/api/search", service.search, methods=["GET", "POST"]),
        Route("/api/caption", service.caption, methods=["GET", "POST"]),
        Route("/api/thumbnail/{row:int}", service.thumbnail),
        Route("/api/openapi.json", lambda request: JSONResponse(document())),
    ]
    handlers = {IebakerError: _refused, TooLarge: _refused}
    middleware = [Middleware(TrustedHostMiddleware, allowed_hosts=hosts), Middleware(_Headers)]
    return Starlette(routes=routes, exception_handlers=handlers, middleware=middleware)


class Service:
    """Answers of the API; each says what it takes in openapi.py."""

    def __init__(self, searcher: Searcher) -> None:
        self.searcher = searcher
        archive, store, first = searcher.archive, searcher.store, np.array([0])
        if len(store):  # opened once, before the first query
            store.vectors(first), archive.settings.bank_size and store.profiles(first)
        archive.roots  # noqa: B018
        times = store.column("datetime").drop_null()
        self.described = {
            "name": archive.folder.resolve().name,
            "rows": len(store),
            "model": archive.settings.model,
            "captions": archive.settings.bank_size,
            "coordinates": store.column("bbox").null_count < len(store),
            "times": len(times) > 0,
            "sensors": sorted(set(store.column("sensor").drop_null().unique().to_pylist())),
            "limits": {"bytes": MAX_BYTES, "pixels": MAX_PIXELS},
        }

    async def about(self, request: Request) -> Response:
        """What the archive holds."""
        return JSONResponse(self.described)

    async def search(self, request: Request) -> Response:
        """The best rows for a query; an image may be posted as the body."""
        asked = read_query(request.query_params)
        started = time.perf_counter()
        terms = asked.terms + [Term(picture) for picture in await self._posted(request)]
        hits = await run_in_threadpool(self.searcher.search, terms, asked.count, asked.where, asked.box)
        plain = [self._plain(hit) for hit in hits]
        return self._formatted(asked, plain, time.perf_counter() - started)

    async def caption(self, request: Request) -> Response:
        """The captions of the bank that fit a posted image, or a row of the archive."""
        asked = read_query(request.query_params)
        posted = await self._posted(request)
        if not posted:
            if asked.like is None:
                raise IebakerError("post an image, or name a row by like=")
            posted = [await run_in_threadpool(self._picture, asked.like)]
        found = await run_in_threadpool(self.searcher.caption, posted[0], asked.count)
        return JSONResponse([{"caption": text, "similarity": round(value, 6)} for text, value in found])

    async def thumbnail(self, request: Request) -> Response:
        """A small picture of a row."""
        try:
            picture = await run_in_threadpool(self._picture, request.path_params["row"])
        except (IebakerError, OSError) as error:
            return JSONResponse({"error": str(error)}, 404)
        content = await run_in_threadpool(output.jpeg, picture, THUMBNAIL)
        return Response(content, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})

    def _picture(self, row: int) -> Image.Image:
        if row >= len(self.searcher.store):
            raise IebakerError(f"row {row}: the archive has {len(self.searcher.store)} rows, from 0")
        return self.searcher.picture(row)

    def _plain(self, hit: Hit) -> dict[str, Any]:
        """A hit by its href: where files lie on this machine is nobody's business."""
        return output.as_dict(hit, hit.about["href"])

    @staticmethod
    def _formatted(asked: Asked, hits: list[dict[str, Any]], seconds: float) -> Response:
        if asked.format == "json":
            return JSONResponse({"hits": hits, "seconds": round(seconds, 4)})
        text = output.as_csv(hits) if asked.format == "csv" else json.dumps(output.feature_collection(hits))
        name = {"Content-Disposition": f'attachment; filename="results.{asked.format}"'}
        return Response(text, media_type=DOWNLOADS[asked.format], headers=name)

    @staticmethod
    async def _posted(request: Request) -> list[Image.Image]:
        """The image of the body, or nothing.

        Raises:
            IebakerError: if it is too large or no image.
        """
        content = bytearray()
        async for chunk in request.stream():
            content += chunk
            if len(content) > MAX_BYTES:
                raise TooLarge(f"the image is larger than {MAX_BYTES // 2**20} MiB; give a smaller one")
        return [await run_in_threadpool(_decoded, bytes(content))] if content else []


class _Headers:
    """Adds the security headers to every answer."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
            await send(message)

        await self.app(scope, receive, sending)


def _decoded(content: bytes) -> Image.Image:
    try:
        with Image.open(io.BytesIO(content)) as header:  # reads no pixel yet
            if header.width * header.height > MAX_PIXELS:
                raise TooLarge(f"the image has more than {MAX_PIXELS // 10**6} million pixels; give a smaller one")
        return images.decode(io.BytesIO(content))
    except IebakerError:
        raise
    except images.UNREADABLE as error:
        raise IebakerError("this file is not a readable image; give a PNG, JPEG or TIFF of 8 bits") from error


def _static(name: str) -> Any:
    async def endpoint(request: Request) -> Response:
        return FileResponse(STATIC / name)

    return endpoint


async def _refused(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 413 if isinstance(error, TooLarge) else 400)
