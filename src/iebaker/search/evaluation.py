"""What search finds for captions whose image is known: `iebaker search-eval`."""

import threading
import time
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from iebaker.errors import IebakerError
from iebaker.metrics.recall import hits, recalls, relevance, text_to_image_hits
from iebaker.retrieval.foreign import sar_params
from iebaker.retrieval.rerank import selection as sar
from iebaker.retrieval.rerank.selection import CRITERION_RANKS, GRID, BankScores, Choice
from iebaker.search import reverse
from iebaker.search.query import Searcher, Term

SINGLE = ("sort", "weighted", "querybank")
RESORTED = 60  # candidates that single-query SAR re-sorts; twice the largest K of its grid
SHOWN = 20  # results of a query that are judged relevant or not
TOP, STAGES = 10, (50, 200)
TWO_STAGE_QUERIES = 100
PARALLEL, REQUESTS = 50, 200


@dataclass(frozen=True)
class Judged:
    """An archive and captions of its images.

    Attributes:
        captions: Q strings.
        row_of_caption: (Q,) row of each caption's own image.
        similarity: (Q, N) global similarities.
        bank: (B, N) of the archive's caption bank.
    """

    searcher: Searcher
    captions: list[str]
    row_of_caption: np.ndarray
    similarity: np.ndarray
    bank: np.ndarray

    @classmethod
    def read(cls, searcher: Searcher, file: Path) -> "Judged":
        """The captions of a csv file with the columns filename and caption.

        Raises:
            IebakerError: if a file is not in the archive, or an image has no caption.
        """
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
        if not {"filename", "caption"} <= set(table.columns):
            raise IebakerError(f"{file}: columns {', '.join(table.columns)}; filename and caption are needed")
        names = [href.rpartition("/")[2] for href in searcher.store.column("href").to_pylist()]
        rows = {name: row for row, name in enumerate(names)}
        if unknown := sorted(set(table["filename"]) - set(rows)):
            raise IebakerError(f"{file}: {unknown[0]} is not in {searcher.archive.folder}")
        captions, owner = table["caption"].tolist(), table["filename"].map(rows).to_numpy()
        vectors = searcher.store.vectors(np.arange(len(searcher.store)))
        features, row = searcher.embedder.captions(captions)
        similarity = (features @ vectors.T)[row]  # identical captions tie
        return cls(searcher, captions, owner, similarity, searcher.archive.captions[1] @ vectors.T)


def evaluate(test: Judged, validation: Judged) -> dict[str, Any]:
    """All measures as plain data; what is chosen is chosen on `validation`."""
    return {
        "images": len(test.searcher.store),
        "captions": len(test.captions),
        "bank": len(test.bank),
        "sar": sar_table(test, validation),
        "relevant_auroc": relevance_auroc(test),
        "two_stages": two_stages(test),
    }


def sar_table(test: Judged, validation: Judged) -> dict[str, dict[str, Any]]:
    """Recalls in percent per method; a single query re-sorts texts' results, images' stay plain unless transductive."""
    strict = relevance(test.row_of_caption)
    forward = test.similarity
    out: dict[str, dict[str, Any]] = {"plain": recalls(hits(forward, forward, strict))}
    relevant = relevance(validation.row_of_caption)
    for method in tqdm(SINGLE, desc="single-query SAR"):
        deviation = validation.searcher.deviation
        tried = [Choice(method, deviation, parameters) for parameters in GRID[method]]
        scored = [
            text_to_image_hits(single_query(choice, validation), relevant, CRITERION_RANKS).mean() for choice in tried
        ]
        best = tried[int(np.argmax(scored))]
        used = Choice(method, test.searcher.deviation, best.parameters)  # of an archive, as a search has it
        out[method] = {**recalls(hits(forward, single_query(used, test), strict)), "chosen": used.as_dict()}
        out[method]["chosen"]["transductive"] = False
    chosen = sar.select(validation.similarity, validation.row_of_caption, sar_params("auto", [])).choices
    moved = {direction: sar.apply(choice, forward, direction) for direction, choice in chosen.items()}
    out["transductive"] = recalls(hits(moved["image_to_text"], moved["text_to_image"], strict))
    out["transductive"]["chosen"] = {direction: choice.as_dict() for direction, choice in chosen.items()}
    return out


def single_query(choice: Choice, judged: Judged) -> np.ndarray:
    """(Q, N) values whose order is that of single-query SAR."""
    if choice.method == "querybank":  # queries don't see each other, so all at once is each alone
        return sar.apply(choice, judged.similarity, "text_to_image", BankScores(text_to_image=judged.bank))
    out = judged.similarity.astype(np.float64) - 1e6  # behind all candidates, in forward order
    known: dict[str, np.ndarray] = {}
    for query, caption in enumerate(judged.captions):
        if caption not in known:
            scores = judged.similarity[query]
            candidates = np.argsort(-scores, kind="stable")[:RESORTED]
            row = out[query].copy()
            row[candidates] = reverse.resort(choice, scores[candidates], judged.bank[:, candidates])
            known[caption] = row
        out[query] = known[caption]
    return out


def relevance_auroc(judged: Judged) -> dict[str, float]:
    """How well one threshold for all queries tells relevant results among the first ones: by cosine and confidence.

    An image is relevant if one of its captions is the query.
    """
    size = judged.searcher.archive.settings.bank_size
    carried = relevance(judged.row_of_caption, judged.captions).toarray()
    cosine, confidence, relevant = [], [], []
    for query in range(len(judged.captions)):
        rows = np.argsort(-judged.similarity[query], kind="stable")[:SHOWN]
        scores = judged.similarity[query, rows]
        ranks = reverse.reverse_rank(scores, judged.searcher.store.profiles(rows), size)
        cosine.append(scores)
        confidence.append(reverse.confidence(ranks, size))
        relevant.append(carried[query, rows])
    truth = np.concatenate(relevant)
    return {
        "results_a_query": SHOWN,
        "relevant_percent": round(100 * float(truth.mean()), 2),
        "cosine": round(float(roc_auc_score(truth, np.concatenate(cosine))), 4),
        "confidence": round(float(roc_auc_score(truth, np.concatenate(confidence))), 4),
    }


def two_stages(judged: Judged) -> dict[str, float]:
    """Share of the first 10 of the full computation that two stages find, per number of candidates.

    Raises:
        IebakerError: if the local similarity has no weight in the archive.
    """
    if not judged.searcher.archive.settings.local_weight:
        raise IebakerError(f"{judged.searcher.archive.folder}: one stage; index it with --fusion 0.6,0.4 --tokens")
    distinct = sorted(set(judged.captions))
    queries = [distinct[place] for place in np.linspace(0, len(distinct) - 1, TWO_STAGE_QUERIES).astype(int)]
    found = {
        candidates: [
            {hit.row for hit in judged.searcher.search([Term(query)], TOP, candidates=candidates)}
            for query in tqdm(queries, desc=f"{candidates} candidates")
        ]
        for candidates in (*STAGES, len(judged.searcher.store))
    }
    full = found[len(judged.searcher.store)]
    shares = {
        str(candidates): np.mean([len(few & all_) / TOP for few, all_ in zip(rows, full, strict=True)])
        for candidates, rows in found.items()
    }
    return {candidates: round(float(share), 4) for candidates, share in shares.items()}


def served(searcher: Searcher, queries: Sequence[str]) -> dict[str, float]:
    """Latency in milliseconds of `iebaker serve` with 50 queries at a time, over a real socket."""
    import uvicorn

    from iebaker.search.web.app import application

    server = uvicorn.Server(uvicorn.Config(application(searcher, ["127.0.0.1"]), port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/api/search?k=20&q="

    def ask(query: str) -> float:
        started = time.perf_counter()
        with urllib.request.urlopen(address + quote(query[:300])) as answer:  # noqa: S310  # this server's own
            answer.read()
        return 1e3 * (time.perf_counter() - started)

    try:
        ask(queries[0])
        with ThreadPoolExecutor(PARALLEL) as pool:
            seconds = list(pool.map(ask, [queries[place % len(queries)] for place in range(REQUESTS)]))
    finally:
        server.should_exit = True
        thread.join()
    return {
        "parallel": PARALLEL,
        "requests": REQUESTS,
        **{f"p{p}_ms": round(float(np.percentile(seconds, p)), 1) for p in (50, 95)},
    }
