"""Studies: results that are kept beside those of the next run, in reports/studies.

A study of a corpus holds, for each variant, its metrics, what each query found with each seed (`hits`), and its
resolved parameters (`config`); `queries.json` says which captions were asked. So variants that never ran together, or
not on one machine, can be compared query by query.
"""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from iebaker.atomic import replacing, write_text
from iebaker.config.declarations import require_defined, resolve
from iebaker.config.files import EVALUATION_FILE, TRAINING_FILE, dotted
from iebaker.corpus.manifest import FILE as MANIFEST
from iebaker.errors import IebakerError
from iebaker.layout import ABLATION, CONFIG, CORPORA, EVALUATION, METRICS, PARAMS, SIMILARITY, STUDIES
from iebaker.project.parameters import check_name
from iebaker.report import sweep
from iebaker.report.figures import FIGURES
from iebaker.report.results import CorpusResults
from iebaker.report.shareable import shareable
from iebaker.report.tables import DIGITS, MATRICES, ablation
from iebaker.retrieval.evaluation import HITS_SUFFIX
from iebaker.retrieval.matrices import EVALUATION_SPLITS

HITS, CONFIGS, QUERIES = "hits", "config", "queries.json"
TABLES_OF_RUN = ("elimination", "reranking")  # whose rows of one variant depend on no other variant
# where and how fast something was computed
MAY_DIFFER = tuple(
    f"train.{key}" for key in ("device", "processes", "threads", "chunk_size", "length_groups", "compile")
)
PARTS = ("eba", "ker")  # of a configuration: None where they do nothing
WAYS_OUT = "keep this run under another name, or remove the folder first"


def keep(params: Mapping[str, Any], name: str, corpus: str) -> list[str]:
    """Keep the last run of one corpus in reports/studies/<name>; variants that were kept there before stay.

    The table and the figure of the ablation are made of all of them.

    Returns:
        The variants of the study, in the order in which params.yaml defines them.

    Raises:
        IebakerError: if a result is not there or belongs to other parameters, or if variants that stay have other
            parameters, seeds or queries.
    """
    study, ran = STUDIES / check_name(name), list(params["variants"])
    require_defined(params, "corpus", corpus)
    benchmarks = sorted(params["corpus"][corpus]["benchmarks"])
    hits = {
        Path(variant, f"{benchmark}{HITS_SUFFIX}"): EVALUATION / corpus / variant / f"{benchmark}{HITS_SUFFIX}"
        for variant in ran
        for benchmark in benchmarks
    }
    metrics = [METRICS / corpus / f"{variant}.json" for variant in ran]
    tables = [ABLATION / corpus / f"{table}.csv" for table in TABLES_OF_RUN]
    if missing := [str(file) for file in (*tables, *metrics, *hits.values()) if not file.exists()]:
        raise IebakerError(f"{', '.join(missing)}: not there; run `dvc repro` for {corpus} first")
    for variant in ran:
        _require_params(params, corpus, variant, CONFIG / corpus / variant, "run `dvc repro` first")
    stay = [variant for variant in _kept(study) if variant not in ran]
    with replacing(study) as out:
        if study.exists():
            shutil.copytree(study, out, dirs_exist_ok=True)
        for variant in stay:
            _require_params(params, corpus, variant, out / CONFIGS / variant, WAYS_OUT, study)
        _keep_queries(params, corpus, out / QUERIES, study if stay else None)
        for file in metrics:
            shutil.copyfile(file, out / file.name)
        _share(PARAMS, out / PARAMS.name)
        for variant in ran:
            for config in (TRAINING_FILE, EVALUATION_FILE):
                _share(CONFIG / corpus / variant / config, out / CONFIGS / variant / config)
        for place, file in hits.items():
            _keep_hits(file, out / HITS / place, len(params["seeds"]))
        variants = [variant for variant in params["variant"] if variant in (*ran, *stay)]
        for file in tables:
            _joined(out / file.name, file, ran, variants).to_csv(out / file.name, index=False)
        compared = _compare(corpus, variants, params["seeds"], benchmarks, out)
        compared.to_csv(out / "ablation.csv", index=False)
        FIGURES["ablation"](compared, out / "ablation.svg")
        FIGURES["elimination"](pd.read_csv(out / "elimination.csv"), out / "elimination.svg")
    return variants


def collect_sweep(name: str, parameter: str, settings: Sequence[str], variant: str = "full") -> int:
    """Turn finished experiments into reports/studies/<name>.csv and .svg; the number of rows.

    Args:
        parameter: dotted name in params.yaml; the experiments may differ from the workspace in it, in eba.scheme, in
            seeds, and as `settings` say.
        settings: "key=value".
        variant: whose metrics are collected.

    Raises:
        IebakerError: if no experiment belongs to the sweep, or DVC cannot show them.
    """
    check_name(name)
    fixed = {}
    for setting in settings:
        key, given, value = setting.partition("=")
        if not given:
            raise IebakerError(f"{setting}: write KEY=VALUE, for example train.epochs=10")
        fixed[key] = _value(value)
    shown = subprocess.run(["dvc", "exp", "show", "--json"], check=False, capture_output=True, text=True)
    if shown.returncode:
        raise IebakerError(f"dvc exp show: {shown.stderr.strip()}")
    table = sweep.collect(json.loads(shown.stdout), parameter, variant, fixed)
    table = table.round(dict.fromkeys(table.columns.drop("value"), DIGITS))
    STUDIES.mkdir(parents=True, exist_ok=True)
    table.to_csv(STUDIES / f"{name}.csv", index=False)
    sweep.sweep_plot(table, STUDIES / f"{name}.svg")
    return len(table)


def _value(text: str) -> Any:
    """What `-S` makes of it: 1e-3 is a number to DVC, and a text to YAML 1.1."""
    value = yaml.safe_load(text)
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _kept(study: Path) -> list[str]:
    table = study / "ablation.csv"
    return list(pd.read_csv(table)["variant"].unique()) if table.exists() else []


def _require_params(
    params: Mapping[str, Any], corpus: str, variant: str, folder: Path, remedy: str, study: Path | None = None
) -> None:
    """Raise IebakerError unless the resolved parameters in `folder` are those of params.yaml.

    Parameters that only one of them has don't count: a version adds some, and takes others away.
    """
    where = f"{study / variant if study else folder}: "
    if not (folder / TRAINING_FILE).exists():
        raise IebakerError(f"{where}its parameters are not there, as an older version kept none; {remedy}")
    before: dict[str, Any] = {}
    for file in (TRAINING_FILE, EVALUATION_FILE):
        before |= _dotted(yaml.safe_load((folder / file).read_text(encoding="utf-8")))
    now: dict[str, Any] = {}
    for section in resolve(params, corpus, variant):
        now |= _dotted(section.model_dump())
    changed = [
        key
        for key in before
        if key in now and key not in MAY_DIFFER and before[key] not in (now[key], shareable(str(now[key])))
    ]
    if changed:
        shown = ", ".join(f"{key} is {before[key]} there and {now[key]} in {PARAMS}" for key in changed)
        raise IebakerError(f"{where}{shown}; {remedy}")


def _dotted(values: Mapping[str, Any]) -> dict[str, Any]:
    """By dotted name; and whether the parts that can be switched off are used."""
    used = {name: "not used" if values[name] is None else "used" for name in PARTS if name in values}
    return dotted(values) | used


def _keep_queries(params: Mapping[str, Any], corpus: str, file: Path, study: Path | None) -> None:
    """Write seeds, and a hash of the captions of each split of each benchmark, all in order.

    Raises:
        IebakerError: if `study`, whose variants are to be compared with those of this run, has others.
    """
    found = {"seeds": list(params["seeds"]), **_captions(params, corpus)}
    if study is not None:
        before = json.loads(file.read_text(encoding="utf-8"))
        if before["seeds"] != found["seeds"]:
            raise IebakerError(
                f"{study}: seeds are {before['seeds']} there and {found['seeds']} in {PARAMS}; {WAYS_OUT}"
            )
        # an older version kept nothing of the training captions
        known = [key for key in found if key in before or not key.endswith(" train")]
        if others := [key for key in known if before.get(key) != found[key]]:
            raise IebakerError(f"{study}: captions of {', '.join(others)} are others there; {WAYS_OUT}")
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _captions(params: Mapping[str, Any], corpus: str) -> dict[str, str]:
    """A hash of the captions of each benchmark and split that is there."""
    found, benchmarks = {}, sorted(params["corpus"][corpus]["benchmarks"])
    for variant, seed, benchmark, split in product(params["variants"], params["seeds"], benchmarks, EVALUATION_SPLITS):
        texts = SIMILARITY / corpus / variant / str(seed) / benchmark / split / "texts.parquet"
        if texts.exists():
            found[f"{benchmark} {split}"] = _digest(texts)
    for benchmark in benchmarks:
        if (manifest := CORPORA / corpus / benchmark / MANIFEST).exists():
            found[f"{benchmark} train"] = _digest_of_training(manifest)
    return found


def _digest(texts: Path) -> str:
    rows = pd.read_parquet(texts, columns=["caption", "image_of_text"])
    return hashlib.sha256(rows.to_json(orient="values").encode()).hexdigest()


def _digest_of_training(manifest: Path) -> str:
    """Of the names of the training images and their captions; of keywords, only some variants know."""
    rows = pd.read_parquet(manifest, columns=["filename", "caption", "split"])
    return hashlib.sha256(rows[rows["split"] == "train"].to_json(orient="values").encode()).hexdigest()


def _share(source: Path, destination: Path) -> None:
    """A copy without what only this machine's user should see: a study goes into git."""
    write_text(destination, shareable(source.read_text(encoding="utf-8")))


def _keep_hits(source: Path, destination: Path, seeds: int) -> None:
    """What a comparison reads, compressed: a twentieth of the file."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    with np.load(source) as arrays:
        wanted = {key: arrays[key] for key in arrays.files if key.split("/")[1] in (*MATRICES, "image_of_text")}
    for key, values in wanted.items():
        if key.split("/")[1] in MATRICES and len(values) != seeds:
            raise IebakerError(f"{source}: of {len(values)} seeds, and {PARAMS} has {seeds}; run `dvc repro` first")
    np.savez_compressed(destination, **wanted)


def _joined(kept: Path, new: Path, ran: Sequence[str], variants: Sequence[str]) -> pd.DataFrame:
    """Rows of `new` for variants that ran, of `kept` for the other `variants`, as they are written."""
    tables = [pd.read_csv(file, dtype=str, keep_default_na=False) for file in (kept, new) if file.exists()]
    own = tables[-1][tables[-1]["variant"].isin(ran)]
    others = [table[table["variant"].isin(set(variants) - set(ran))] for table in tables[:-1]]
    joined = pd.concat([*others, own]).fillna("")
    return joined.sort_values("variant", key=lambda names: names.map(variants.index), kind="stable")


def _compare(
    corpus: str, variants: list[str], seeds: Sequence[int], benchmarks: list[str], folder: Path
) -> pd.DataFrame:
    """The ablation's table, which is made of hits and metrics alone."""
    results = CorpusResults(
        corpus=corpus,
        variants=variants,
        seeds=list(seeds),
        benchmarks=benchmarks,
        fusion={},
        models=folder,
        matrices=folder,
        evaluation=folder / HITS,
        metrics_folder=folder,
    )
    return ablation(results).round(DIGITS)
