"""`iebaker bench-search` and `search-eval`: how fast a search is, and how much it finds."""

import json
from pathlib import Path
from typing import Annotated

import typer

from iebaker.atomic import write_text
from iebaker.console import errors_for_people


def search_eval(
    archive: Annotated[Path, typer.Argument(help="folder of the archive that is evaluated")],
    captions: Annotated[Path, typer.Option(help="csv with the columns filename and caption")],
    val: Annotated[Path, typer.Option(help="archive of other images of the same model: decides how to re-rank")],
    val_captions: Annotated[Path, typer.Option(help="csv of their captions")],
    serve: Annotated[bool, typer.Option("--serve", help="also 50 queries at a time by HTTP (extra web)")] = False,
    out: Annotated[Path | None, typer.Option(help="also write the JSON here")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
) -> None:
    """Measure what captions find whose image is known: single-query SAR, confidence, two stages, as JSON."""
    with errors_for_people("search-eval"):
        from iebaker.search.archive import Archive
        from iebaker.search.evaluation import Judged, evaluate, served
        from iebaker.search.query import Searcher

        searcher = Searcher(Archive(archive), device, exact=True)
        test = Judged.read(searcher, captions)
        validation = Judged.read(Searcher(Archive(val), device, exact=True), val_captions)
        measured = evaluate(test, validation)
        if serve:
            measured["served"] = served(searcher, sorted(set(test.captions)))
        text = json.dumps(measured, indent=1)
        if out:
            write_text(out, text + "\n")
        typer.echo(text)


def bench_search(
    out: Annotated[Path | None, typer.Option(help="also write the JSON here")] = None,
    rows: Annotated[list[int] | None, typer.Option(min=2, help="may be repeated; 10000, 100000 and 1000000")] = None,
    width: Annotated[int, typer.Option(min=8, help="dimensions of random vectors")] = 512,
    like: Annotated[Path | None, typer.Option(help="measure also rows of this archive with noise")] = None,
) -> None:
    """Measure speed, recall, memory and space of exact and indexed search, against numpy, as JSON."""
    with errors_for_people("bench-search"):
        from iebaker.search.bench import bench

        for measured in bench(rows or [10**4, 10**5, 10**6], width, like):  # the last size may take an hour
            text = json.dumps(measured, indent=1)
            if out:
                write_text(out, text + "\n")
        typer.echo(text)
