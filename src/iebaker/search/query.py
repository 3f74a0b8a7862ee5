"""Queries: candidates by global similarity over all rows, then the local similarity of the best of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from iebaker import images
from iebaker.config.params import SarParams
from iebaker.errors import IebakerError
from iebaker.retrieval.rerank.selection import HYPER_PARAMETERS, Choice, standard_deviation
from iebaker.search import reverse
from iebaker.search.archive import Archive
from iebaker.search.embedding import Embedder
from iebaker.search.items import Box, open_item
from iebaker.search.local import local_of_query
from iebaker.search.scan import top_rows
from iebaker.search.shards import ABOUT
from iebaker.search.store import open_store

CANDIDATES = 200
DEVIATION_ROWS = 1000


@dataclass(frozen=True)
class Term:
    """One part of a query: words, a picture or a row of the archive, sought (+1) or avoided (-1)."""

    content: str | Image.Image | int
    sign: Literal[1, -1] = 1


@dataclass(frozen=True)
class Hit:
    """One result.

    Attributes:
        rank: from 1.
        row: of the archive.
        score: fused similarity, the mean over terms; it compares within a query only.
        similarity: global similarity, the mean over terms.
        confidence: percentage of training captions that fit the image less than the query does, which compares across
            queries; None unless the query is one text, or without a caption bank.
        about: id, href, window, bbox, datetime, sensor, gsd.
    """

    rank: int
    row: int
    score: float
    similarity: float
    confidence: float | None
    about: dict[str, Any]


class Searcher:
    """An archive with its model, ready for queries; several threads may ask at once.

    Raises:
        IebakerError: if the model is not the one that made the archive.
    """

    def __init__(self, archive: Archive, device: str = "auto", exact: bool = False) -> None:
        """Open model and store.

        Args:
            exact: compare all rows, even where there is an approximate index.
        """
        self.archive = archive
        self.store = open_store(archive, exact)
        self.embedder = Embedder(archive.model_folder, device)
        archive.check_model(self.embedder.fingerprint, archive.model_folder)
        self._towers = Lock()  # what they are told to give is a state of the model

    def search(
        self,
        terms: Sequence[Term],
        count: int = 20,
        where: str | None = None,
        box: Box | None = None,
        candidates: int = CANDIDATES,
        sar: SarParams | None = None,
    ) -> list[Hit]:
        """The `count` best rows for the terms, among those that pass the filters.

        Args:
            candidates: rows that the second stage looks at; at least `count` are.
            sar: how they are re-sorted by reversed retrieval through the caption bank; None: not.

        Raises:
            IebakerError: without terms, or for filters that cannot be understood.
        """
        if not any(term.sign > 0 for term in terms):
            raise IebakerError("a query needs words or an image that is sought; what is avoided alone finds everything")
        settings = self.archive.settings
        with self._towers:
            vectors, tokens = self._encode(terms)
        signed = [term.sign * vector for term, vector in zip(terms, vectors, strict=True)]
        query: np.ndarray = np.sum(signed, axis=0) / len(terms)
        found = max(candidates, count) if tokens or sar else count
        rows, similarity = self.store.nearest(query, found, where, box)
        score = settings.global_weight * similarity
        if tokens:
            local = self._local(terms, tokens, rows)
            score = score + settings.local_weight * local / len(terms)
        value = self._resorted(sar, rows, similarity) if sar else score
        order = np.lexsort((rows, -score, -value))[:count]
        rows, score, similarity = rows[order], score[order], similarity[order]
        confidence = self._confidence(terms, rows, similarity)
        about = self.store.take(rows, [*ABOUT]).to_pylist()
        return [
            Hit(place + 1, int(row), float(score[place]), float(similarity[place]), confidence[place], about[place])
            for place, row in enumerate(rows)
        ]

    def caption(self, image: Image.Image, count: int = 5) -> list[tuple[str, float]]:
        """The captions of the archive's bank that fit an image best, with their global similarities."""
        captions, features = self.archive.captions
        with self._towers:
            vectors, _ = self.embedder.images([image])
        rows, similarity = top_rows(features, vectors[0].astype(np.float32), count)
        return [(captions[row], float(value)) for row, value in zip(rows, similarity, strict=True)]

    def picture(self, row: int) -> Image.Image:
        """What a person sees of one row.

        Raises:
            IebakerError: if its file is not there.
        """
        of = self.store.take(np.array([row]), ["href", "window"]).to_pylist()[0]
        window = of["window"] and tuple(of["window"])
        return open_item(self.archive.roots, of["href"], window, self.archive.settings.scenes)

    def path(self, hit: Hit) -> str:
        """Where a person finds the file of a hit; its href if its root is not known on this machine."""
        try:
            return self.archive.roots.path(hit.about["href"])
        except IebakerError:
            return str(hit.about["href"])

    def _encode(self, terms: Sequence[Term]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """(d,) of each term, and the tokens (L, d) of each if all are words."""
        # a picture has no trained local similarity, and one kind of score must order all results
        wanted = self.archive.settings.local_weight > 0 and all(isinstance(term.content, str) for term in terms)
        vectors: list[np.ndarray] = []
        tokens: list[np.ndarray] = []
        for term in terms:
            if isinstance(term.content, str):
                pooled, kept = self.embedder.texts([term.content], tokens=wanted)
                vectors.append(pooled[0])
                tokens += kept
            elif isinstance(term.content, int):
                if not 0 <= term.content < len(self.store):
                    raise IebakerError(f"row {term.content}: the archive has rows 0 to {len(self.store) - 1}")
                vectors.append(self.store.vectors(np.array([term.content]))[0])
            else:
                vectors.append(self.embedder.images([term.content])[0][0].astype(np.float32))
        return vectors, tokens

    def _local(self, terms: Sequence[Term], tokens: list[np.ndarray], rows: np.ndarray) -> np.ndarray:
        """(N,) signed sum of the words' local similarities; tokens that were not kept are computed from the images."""
        kept: Sequence[np.ndarray] | np.ndarray | None = self.archive.tokens(rows)
        if kept is None:
            pictures = [self.picture(int(row)) for row in rows]
            with self._towers:
                kept = self.embedder.images(pictures, tokens=True)[1]
        stacked = torch.from_numpy(np.asarray(kept)).float()
        signed = [
            term.sign * local_of_query(torch.from_numpy(values), stacked).numpy()
            for term, values in zip(terms, tokens, strict=True)
        ]
        return np.asarray(np.sum(signed, axis=0))

    def _resorted(self, sar: SarParams, rows: np.ndarray, similarity: np.ndarray) -> np.ndarray:
        bank = self.archive.captions[1]
        parameters = {name: getattr(sar, name) for name in HYPER_PARAMETERS[sar.method]}
        choice = Choice(sar.method, self.deviation, parameters)
        return reverse.resort(choice, similarity, bank @ self.store.vectors(rows).T)

    @cached_property
    def deviation(self) -> float:
        """Of captions' and images' similarities, the unit of beta and strength; over the first rows."""
        rows = np.arange(min(DEVIATION_ROWS, len(self.store)))
        return standard_deviation(self.archive.captions[1] @ self.store.vectors(rows).T)

    def _confidence(self, terms: Sequence[Term], rows: np.ndarray, similarity: np.ndarray) -> list[float | None]:
        if not self.archive.settings.bank_size or len(terms) > 1 or not isinstance(terms[0].content, str):
            return [None] * len(rows)
        size = self.archive.settings.bank_size
        ranks = reverse.reverse_rank(similarity, self.store.profiles(rows), size)
        return [float(value) for value in reverse.confidence(ranks, size)]


def open_picture(path: Path) -> Image.Image:
    """An image file as a term.

    Raises:
        IebakerError: naming the file and what is wrong with it.
    """
    return images.open_image(path)
