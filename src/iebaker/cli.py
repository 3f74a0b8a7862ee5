"""The `iebaker` command: its sub-commands and what they print."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from iebaker.atomic import write_text
from iebaker.console import errors_for_people
from iebaker.errors import IebakerError
from iebaker.layout import BENCHMARK, FIGURES, LOCK, METRICS
from iebaker.metrics.summary import SplitMetrics
from iebaker.process import settle
from iebaker.project.parameters import load_params
from iebaker.retrieval import rerank as sar
from iebaker.retrieval.foreign import check_test, image_of_text_of, load_bank, load_captions, load_scores, sar_params
from iebaker.retrieval.rerank.selection import DIRECTIONS, HYPER_PARAMETERS
from iebaker.search import commands as search_commands

app = typer.Typer(no_args_is_help=True, add_completion=False)
study_app = typer.Typer(no_args_is_help=True, help="Keep results beside those of the next run.")
app.add_typer(study_app, name="study")
search_commands.register(app)
Method = StrEnum("Method", ["auto", *HYPER_PARAMETERS])  # type: ignore[misc]  # mypy wants the names spelled out
AUTO = Method("auto")
Split = StrEnum("Split", ["train", "val", "test"])  # as corpus.manifest has them, without its pandas
Protocol = StrEnum("Protocol", ["strict", "skyscript"])

CaptionsPerImage = Annotated[
    int, typer.Option(min=1, help="rows 0..c-1 belong to column 0, the next c to column 1, ...")
]
BankFile = Annotated[Path | None, typer.Option(help="similarities to training queries, for querybank")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="hyper-parameter of a fixed method, as in params.yaml's sar"),
]


@app.callback()
def main() -> None:
    """Remote-sensing image-text retrieval, evaluated."""
    settle()


@app.command()
def evaluate(
    scores: Annotated[Path, typer.Option(help=".npy matrix, texts x images")],
    captions_per_image: CaptionsPerImage = 5,
    captions: Annotated[
        Path | None, typer.Option(help="text file, one caption a line: lenient numbers, ceiling")
    ] = None,
) -> None:
    """Print recalls and mR with 95% intervals of a similarity matrix, as JSON."""
    with errors_for_people("evaluate"):
        matrix = load_scores(scores, captions_per_image)
        owner = image_of_text_of(matrix, captions_per_image)
        split = SplitMetrics(owner, load_captions(captions, len(matrix)) if captions else None)
        measured = split.measure("plain", matrix, matrix)
        _print(split.summary({name: [hits] for name, hits in measured.items()}))


@app.command()
def rerank(
    val: Annotated[Path, typer.Option(help=".npy matrix of validation, texts x images: decides how to re-rank")],
    test: Annotated[Path, typer.Option(help=".npy matrix of test, texts x images")],
    captions_per_image: CaptionsPerImage = 5,
    method: Annotated[Method, typer.Option(help="auto: chosen per direction on validation")] = AUTO,
    settings: Settings = None,
    bank_val_texts: BankFile = None,
    bank_val_images: BankFile = None,
    bank_test_texts: BankFile = None,
    bank_test_images: BankFile = None,
) -> None:
    """Re-rank by reverse retrieval (SAR), chosen on validation, and print recalls before and after, as JSON.

    Bank files, all or none: --bank-*-texts are training texts x evaluation images, --bank-*-images evaluation texts x
    training images, each for val and test.
    """
    with errors_for_people("rerank"):
        params = sar_params(method.value, settings or [])
        files = (bank_val_texts, bank_val_images, bank_test_texts, bank_test_images)
        matrices = {
            name: load_scores(path, captions_per_image, finite=True) for name, path in (("val", val), ("test", test))
        }
        if warning := check_test(matrices, val, test):
            typer.echo(f"iebaker rerank: warning: {warning}", err=True)
        banks = {
            "val": load_bank(bank_val_texts, bank_val_images, files, matrices["val"]),
            "test": load_bank(bank_test_texts, bank_test_images, files, matrices["test"]),
        }
        image_of_text = image_of_text_of(matrices["val"], captions_per_image)
        selection = sar.select(matrices["val"], image_of_text, params, banks["val"])
        result: dict[str, Any] = {}
        for name, matrix in matrices.items():
            split = SplitMetrics(image_of_text_of(matrix, captions_per_image))
            moved = {one: sar.apply(selection.choices[one], matrix, one, banks[name]) for one in DIRECTIONS}
            measured = {**split.measure("plain", matrix, matrix), **split.measure("sar", **moved)}
            result[name] = split.summary({key: [hits] for key, hits in measured.items()})
        result["chosen"] = {one: choice.as_dict() for one, choice in selection.choices.items()}
        result["transductive"] = selection.transductive
        _print(result)


@app.command("evaluate-model")
def evaluate_model(
    model: Annotated[str, typer.Option(help="open_clip's name, hf-hub:..., local-dir:..., or a model's folder")],
    data: Annotated[str, typer.Option(help="a benchmark, or a folder or zip of images and annotations")],
    pretrained: Annotated[str, typer.Option(help="tag, checkpoint file, hf-hub:ORG/REPOSITORY/FILE, packaged")] = "",
    split: Annotated[Split, typer.Option()] = Split.test,
    protocol: Annotated[Protocol, typer.Option(help="skyscript: identical captions are one query")] = Protocol.strict,
    prompt: Annotated[
        str | None, typer.Option(help="around a caption, {}; skyscript: 'a satellite image. {}'", show_default=False)
    ] = None,
    local_weight: Annotated[float, typer.Option(min=0, max=1, help="of local similarity; published: 0.4")] = 0.0,
    benchmark: Annotated[str, typer.Option(help="whose published numbers are shown; guessed from --data")] = "",
    layout: Annotated[str, typer.Option("--format", help="karpathy, nwpu, ucm, parquet or csv; recognised")] = "",
    annotations: Annotated[str, typer.Option(help="annotation file in --data, if there are several")] = "",
    images: Annotated[str, typer.Option(help="folder or zip of images in --data, if there are several")] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    json_file: Annotated[Path | None, typer.Option("--json", help="also write the JSON here")] = None,
) -> None:
    """Evaluate any open_clip model on any benchmark: JSON on stdout, a table beside published numbers on stderr."""
    with errors_for_people("evaluate-model"):
        from iebaker.model import encoding, factory  # import torch: seconds
        from iebaker.project.evaluation_data import open_split
        from iebaker.report import published
        from iebaker.retrieval import evaluate_model as evaluation

        given = {"format": layout, "annotations": annotations, "images": images}
        with open_split(data, split.value, {key: value for key, value in given.items() if value}) as chosen:
            towers = factory.open_model(model, pretrained).to(encoding.pick_device(device))
            prompt = evaluation.PROMPTS[protocol.value] if prompt is None else prompt
            named: Any = protocol.value  # one of evaluation.Protocol
            found = evaluation.evaluate_model(towers, chosen, named, prompt, local_weight)
        result = {"model": model, "pretrained": pretrained, "data": data, "split": split.value, **found}
        result |= published.beside(result, benchmark or published.benchmark_of(Path(data).name))
        typer.echo(published.as_text(result), err=True)
        if json_file:
            write_text(json_file, json.dumps(result, indent=2, allow_nan=False) + "\n")
        _print(result)


@app.command("export-model")
def export_model(
    model: Annotated[Path, typer.Argument(help="folder of a training, such as data/models/rsicd/full/0")],
    out: Annotated[Path, typer.Argument(help="folder to create")],
    metrics: Annotated[Path | None, typer.Option(help="of reports/metrics; default: those of its variant")] = None,
    licence: Annotated[str, typer.Option(help="of the weights, as the hub spells it")] = "other",
    data: Annotated[str, typer.Option(help="what the model card says of the training data")] = "",
) -> None:
    """Write a model as open_clip's local-dir: and hf-hub: read it, with a model card."""
    with errors_for_people("export-model"):
        from iebaker.model import factory, publish

        described = factory.describe(model)
        found = metrics or METRICS / described.get("corpus", "") / f"{described.get('variant', '')}.json"
        numbers = json.loads(found.read_text()) if metrics or found.is_file() else None
        publish.export_model(model, out, numbers, licence, data)
        typer.echo(f"{out}: {described['name']}{'' if numbers else ', without metrics: none at ' + str(found)}")


@app.command()
def doctor(
    verify: Annotated[bool, typer.Option("--verify", help="read every byte of DVC's cache and of the results")] = False,
) -> None:
    """Print versions, device, and what is wrong with the environment or dvc.lock."""
    from iebaker.doctor import report  # imports torch: seconds that the other commands don't need
    from iebaker.project import lock
    from iebaker.project import verify as verifying

    with errors_for_people("doctor"):
        status = report(sys.stdout, [lock.check, *([verifying.check] if verify else [])])
    raise typer.Exit(status)


@app.command()
def bench(
    subjects: Annotated[
        list[str] | None, typer.Argument(help="similarity, reranking, growth, ...; default: all")
    ] = None,
    largest: Annotated[int | None, typer.Option(min=1250, help="images that growth goes to, up to 10000")] = None,
) -> None:
    """Measure speed and memory beside the published formulations, and write reports/benchmark.json."""
    with errors_for_people("bench"):
        from iebaker.bench import run as benchmarks  # imports torch

        benchmarks.run(subjects or benchmarks.SUBJECTS, BENCHMARK, FIGURES, typer.echo, largest)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def repro(context: typer.Context) -> None:
    """Run the pipeline: `dvc repro` with any of its arguments, safe against kills and stray files.

    Checks params.yaml, puts back a damaged dvc.lock, clears away results that are no longer declared.
    """
    from iebaker.project import repro as running

    with errors_for_people("repro"):
        status = running.repro(context.args, lambda line: typer.echo(f"iebaker repro: {line}", err=True))
    raise typer.Exit(status)


@app.command("restore-lock")
def restore_lock() -> None:
    """Put back the last good dvc.lock, if the one that is there is damaged."""
    from iebaker.project import lock

    with errors_for_people("restore-lock"), lock.dvc_is_idle() as idle:
        if not idle:
            raise IebakerError("DVC is running and may be writing dvc.lock; wait for its end")
        for line in lock.restore() or [f"{LOCK} is whole"]:
            typer.echo(line)


@app.command()
def prune() -> None:
    """Clear away results of seeds, variants and members that params.yaml no longer names.

    Removes what DVC's cache keeps, and moves what no stage made to data/set-aside.
    """
    from iebaker.project import prune as pruning

    with errors_for_people("prune"):
        for line in pruning.prune(load_params()):
            typer.echo(line)


@app.command()
def gate(
    base: Annotated[str, typer.Option(metavar="REV", help="git revision to compare with, such as origin/main")],
    tolerance: Annotated[float, typer.Option(min=0, metavar="POINTS", help="mR that may be lost beyond noise")] = 0.0,
    only: Annotated[
        list[str] | None, typer.Option(metavar="BENCHMARK", help="compare this one's metrics alone; repeatable")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Fail if the working tree's results are worse than those of a git revision.

    A regression is an mR of validation or test, plain or re-ranked, that fell beyond its 95% interval (paired over
    images where the hits of both sides are at hand, else as stated), a number that vanished or is not finite, a stage
    that would run again, or leakage between splits that rose.

    Exit status: 0 passed, 1 regression, 2 cannot compare.
    """
    from iebaker.project import gate as gating

    with errors_for_people("gate"):
        result = gating.gate(base, tolerance, only or ())
    if as_json:
        _print(result.as_dict())
    else:
        typer.echo(gating.as_text(result))
    raise typer.Exit(int(bool(result.findings)))


@study_app.command("keep")
def study_keep(
    name: Annotated[str, typer.Argument(help="folder below reports/studies")],
    corpus: Annotated[str, typer.Argument(help="whose results are kept")],
) -> None:
    """Keep the last run of a corpus beside the next ones.

    Variants kept under the same name before stay, and all are compared, query by query.
    """
    from iebaker.project import study  # imports matplotlib

    with errors_for_people("study keep"):
        typer.echo(f"reports/studies/{name}: {', '.join(study.keep(load_params(), name, corpus))}")


@study_app.command("sweep")
def study_sweep(
    name: Annotated[str, typer.Argument(help="of the files in reports/studies")],
    parameter: Annotated[str, typer.Argument(help="what was swept, such as eba.drop_ratio")],
    settings: Annotated[
        list[str] | None, typer.Argument(help="KEY=VALUE that the experiments have and the workspace has not")
    ] = None,
) -> None:
    """Turn finished experiments into a table and a figure.

    The experiments may differ from the workspace in PARAMETER, eba.scheme, seeds, and as the KEY=VALUE say.
    """
    from iebaker.project import study

    with errors_for_people("study sweep"):
        rows = study.collect_sweep(name, parameter, settings or [])
        typer.echo(f"reports/studies/{name}.csv: {rows} rows")


def _print(values: Any) -> None:
    typer.echo(json.dumps(values, indent=2, allow_nan=False))
