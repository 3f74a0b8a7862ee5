"""`iebaker index`, `search`, `caption` and `serve`: what they take and print."""

import json
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import typer

from iebaker.atomic import write_text
from iebaker.console import errors_for_people
from iebaker.errors import IebakerError
from iebaker.retrieval.foreign import sar_params
from iebaker.search.measuring import bench_search, search_eval
from iebaker.search.reverse import METHODS

LOOPBACK = ("127.0.0.1", "localhost")
Sar = StrEnum("Sar", list(METHODS))  # type: ignore[misc]  # the names are those of the methods
NO_SAR = Sar("none")
Engine = StrEnum("Engine", ["process", "ray"])
ArchiveFolder = Annotated[Path, typer.Argument(help="folder of the archive")]
ModelFolder = Annotated[
    Path | None, typer.Option("--model", help="folder of the model, such as data/models/synthetic/full/0")
]
Images = Annotated[
    list[str] | None,
    typer.Option("--images", help="folder, file, zip or 'pattern*'; may be repeated"),
]
MovedImages = Annotated[
    list[str] | None, typer.Option("--images", help="where the indexed images lie now, if not where they were")
]
Exact = Annotated[bool, typer.Option("--exact", help="compare all rows, even where there is an index")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda")]


def index(
    archive: ArchiveFolder,
    model: ModelFolder = None,
    images: Images = None,
    tokens: Annotated[
        bool | None,
        typer.Option("--tokens/--no-tokens", help="keep image tokens: faster second stage, 50 times the space"),
    ] = None,
    captions: Annotated[
        Path | None, typer.Option(help="caption bank, one a line; without it the captions the model was trained on")
    ] = None,
    bank_size: Annotated[int | None, typer.Option(min=0, help="captions of the bank, at most; 1000; 0: none")] = None,
    fusion: Annotated[
        str, typer.Option(metavar="G,L", help="weights of global and local similarity; without it as at evaluation")
    ] = "",
    chip: Annotated[int | None, typer.Option(min=8, help="side of a scene's windows in pixels; 224")] = None,
    stride: Annotated[int | None, typer.Option(min=0, help="pixels between windows; 0: half a chip")] = None,
    min_valid: Annotated[
        float | None, typer.Option(min=0, max=1, help="smallest share of a window that is no nodata; 0.5")
    ] = None,
    bands: Annotated[str, typer.Option(metavar="R,G,B", help="1-based bands of scenes")] = "",
    scale: Annotated[
        str, typer.Option(metavar="LO,HI", help="values that become 0 and 255; without it percentiles 2 and 98")
    ] = "",
    shard: Annotated[
        str, typer.Option(metavar="I/N", help="only every N-th shard from the I-th, for N machines; then --commit")
    ] = "",
    commit: Annotated[bool, typer.Option("--commit", help="collect what --shard wrote")] = False,
    files_per_shard: Annotated[int | None, typer.Option(min=1, help="1024")] = None,
    table: Annotated[
        str | None, typer.Option(help="keep a LanceDB table there (extra search): s3://... or a folder; '': no more")
    ] = None,
    engine: Annotated[
        Engine, typer.Option(help="ray: all cores, or RAY_ADDRESS's cluster (extra ray)")
    ] = Engine.process,
    device: Device = "auto",
) -> None:
    """Embed images into ARCHIVE.

    Run it again after images changed, or after a kill: it does what is left to do, and remembers what it was told.
    """
    with errors_for_people("index"):
        share = _share(shard) if shard else (1, 1)
        if shard and commit:
            raise IebakerError("--shard writes a share and --commit collects all; give one of them")
        if engine == Engine.ray and (shard or commit):
            raise IebakerError("--engine ray shares all shards itself; leave out --shard and --commit")
        # imported here: torch costs seconds that other commands don't need
        from iebaker.search import lance
        from iebaker.search.archive import Archive
        from iebaker.search.commit import commit as collect
        from iebaker.search.embedding import Embedder
        from iebaker.search.index import write_shards
        from iebaker.search.plan import Request, make_plan, remembered
        from iebaker.search.ray_engine import write_shards as spread

        given = Request(
            model=model,
            images=images,
            captions=captions,
            bank_size=bank_size,
            tokens=tokens,
            weights=_numbers(fusion, float, 2, "--fusion") or None,
            chip=chip,
            stride=stride,
            min_valid=min_valid,
            bands=_numbers(bands, int, 3, "--bands") or None,
            scale=_numbers(scale, float, 2, "--scale") or None,
            files_per_shard=files_per_shard,
            table=table,
        )
        request = remembered(archive, given)
        if request.model is None or not request.images:
            raise IebakerError("a new archive needs --model FOLDER and --images PATH")
        if request.weights is None:
            request = replace(request, weights=fusion_of(request.model))
        plan = make_plan(archive, embedder := Embedder(cast(Path, request.model), device), request)
        if not commit:
            typer.echo(
                f"{archive}: {len(plan.parts)} shards, fusion {plan.settings.global_weight} global + "
                f"{plan.settings.local_weight} local, {plan.settings.bank_size} captions",
                err=True,
            )
            done = spread(plan, embedder, device) if engine == Engine.ray else write_shards(plan, embedder, share)
            typer.echo(describe(done), err=True)
        if not shard:
            typer.echo(f"{archive}: {collect(plan)} rows", err=True)
            if line := lance.brought_up_to_date(Archive(archive)):
                typer.echo(line, err=True)


def search(
    archive: ArchiveFolder,
    words: Annotated[str, typer.Argument(help="what the image shows")] = "",
    image: Annotated[list[Path] | None, typer.Option(help="an image like it; may be repeated")] = None,
    plus: Annotated[list[str] | None, typer.Option(help="words or image file to add; may be repeated")] = None,
    minus: Annotated[list[str] | None, typer.Option(help="words or image file to avoid; may be repeated")] = None,
    where: Annotated[str, typer.Option(help="condition on datetime, sensor, gsd, href")] = "",
    bbox: Annotated[str, typer.Option(metavar="W,S,E,N", help="only what touches this box, in degrees")] = "",
    k: Annotated[int, typer.Option("-k", min=1, help="number of results")] = 20,
    candidates: Annotated[int, typer.Option(min=1, help="results whose local similarity is computed")] = 200,
    sar: Annotated[
        Sar, typer.Option(help="re-sort the candidates by reversed retrieval through the captions")
    ] = NO_SAR,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="hyper-parameter of --sar, as in params.yaml")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print scores, confidence, places and times")] = False,
    html: Annotated[Path | None, typer.Option(help="write a page with the pictures")] = None,
    geojson: Annotated[Path | None, typer.Option(help="write the places, for a map")] = None,
    images: MovedImages = None,
    model: ModelFolder = None,
    exact: Exact = False,
    device: Device = "auto",
) -> None:
    """Print the paths of the images in ARCHIVE that fit the words, the image or both, best first."""
    with errors_for_people("search"):
        from iebaker.search import output
        from iebaker.search.archive import Archive
        from iebaker.search.query import Searcher, Term, open_picture

        terms = [Term(words)] if words.strip() else []
        terms += [Term(open_picture(path)) for path in image or []]
        signs: list[tuple[list[str] | None, Literal[1, -1]]] = [(plus, 1), (minus, -1)]
        for given, sign in signs:
            terms += [Term(open_picture(Path(one)) if Path(one).is_file() else one, sign) for one in given or []]
        searcher = Searcher(Archive(archive, images or (), model), device, exact)
        box = _numbers(bbox, float, 4, "--bbox") or None
        resort = sar_params(sar.value, settings or []) if sar != NO_SAR else None
        hits = searcher.search(terms, k, where or None, box, candidates, resort)
        plain = [output.as_dict(hit, searcher.path(hit)) for hit in hits]
        if html:
            write_text(html, output.page(searcher, hits, words or "Images like the given one"))
        if geojson:
            write_text(geojson, json.dumps(output.feature_collection(plain), indent=1) + "\n")
        if as_json:
            typer.echo(json.dumps(plain, indent=1))
        else:
            for hit in plain:
                window = "#" + ",".join(map(str, hit["window"])) if hit["window"] else ""
                typer.echo(f"{hit['path']}{window}")


def caption(
    archive: ArchiveFolder,
    image: Annotated[Path, typer.Option(help="file of the image")],
    k: Annotated[int, typer.Option("-k", min=1, help="number of captions")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="print similarities too")] = False,
    model: ModelFolder = None,
    device: Device = "auto",
) -> None:
    """Print the captions of ARCHIVE's bank that fit an image, best first."""
    with errors_for_people("caption"):
        from iebaker.search.archive import Archive
        from iebaker.search.query import Searcher, open_picture

        picture = open_picture(image)
        found = Searcher(Archive(archive, model=model), device).caption(picture, k)
        if as_json:
            typer.echo(
                json.dumps([{"caption": text, "similarity": round(value, 6)} for text, value in found], indent=1)
            )
        else:
            typer.echo("\n".join(text for text, _ in found))


def serve(
    archive: ArchiveFolder,
    host: Annotated[str, typer.Option(help="address to listen on; 0.0.0.0 opens it to the network")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    images: MovedImages = None,
    model: ModelFolder = None,
    exact: Exact = False,
    device: Device = "auto",
) -> None:
    """Open a page to search ARCHIVE in a browser, with a REST API under /api."""
    with errors_for_people("serve"):
        try:
            import uvicorn

            from iebaker.search.web.app import application
        except ImportError as error:
            raise IebakerError(f"{error.name} is missing; install it by: pip install 'iebaker[web]'") from error
        from iebaker.search.archive import Archive
        from iebaker.search.query import Searcher

        everyone = host not in LOOPBACK
        app = application(
            Searcher(Archive(archive, images or (), model), device, exact), ["*"] if everyone else list(LOOPBACK)
        )
        typer.echo(f"http://{host}:{port}/" + (" is open to the network" if everyone else ""), err=True)
        uvicorn.run(app, host=host, port=port, log_level="warning")


def fusion_of(model: Path) -> tuple[float, float] | None:
    """The fusion weights that a project evaluates this model with; None if it lies in no project.

    Raises:
        IebakerError: if they are relative to a validation matrix, which no archive has.
    """
    from iebaker.config.files import EVALUATION_FILE, read_evaluation
    from iebaker.layout import CONFIG
    from iebaker.model.factory import describe

    made = describe(model)
    for project in model.resolve().parents:
        folder = project / CONFIG / str(made.get("corpus")) / str(made.get("variant"))
        if (folder / EVALUATION_FILE).exists():
            fusion = read_evaluation(folder).fusion
            if fusion.standardise:
                raise IebakerError(f"{folder}: fusion.standardise needs validation's scales; give --fusion G,L instead")
            return fusion.global_weight, fusion.local_weight
    return None


def describe(summary: Any) -> str:
    """What indexing did, in one line, and the refused files in further ones."""
    rate = f", {summary.embedded / summary.seconds:.1f} images/s" if summary.embedded else ""
    tower = f" ({100 * summary.in_tower / summary.seconds:.0f}% of the time in the tower)" if summary.embedded else ""
    lines = [
        f"{summary.embedded} embedded{rate}{tower}, {summary.reused} reused; "
        f"shards: {summary.written} written, {summary.complete} complete before; {len(summary.refused)} files refused"
    ]
    return "\n".join(lines + [f"refused {href}: {why}" for href, why in summary.refused])


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    for command in (index, search, caption, serve, bench_search, search_eval):
        app.command()(command)


def _share(given: str) -> tuple[int, int]:
    part, _, of = given.partition("/")
    if not (part.isdigit() and of.isdigit() and 1 <= int(part) <= int(of)):
        raise IebakerError(f"--shard {given}: write I/N with 1 <= I <= N, such as 1/4")
    return int(part), int(of)


def _numbers(given: str, kind: type, count: int, option: str) -> tuple[Any, ...]:
    """`count` numbers separated by commas, or nothing."""
    try:
        values = tuple(kind(part) for part in given.split(",")) if given else ()
    except ValueError as error:
        raise IebakerError(f"{option} {given}: {error}") from error
    if values and len(values) != count:
        raise IebakerError(f"{option} {given}: {len(values)} numbers, expected {count} separated by commas")
    return values
