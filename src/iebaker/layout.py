"""Where a project's files lie, relative to its folder: for stages and commands; no algorithm knows of it."""

from dataclasses import dataclass
from pathlib import Path

PARAMS = Path("params.yaml")
LOCK = Path("dvc.lock")

# outs of the stages
SOURCES = Path("data/sources")
NAMED_FILES = Path("data/files")
RAW = Path("data/raw")
PREPARED = Path("data/prepared")
KEYWORDS = Path("data/keywords")
CORPORA = Path("data/corpora")
CONFIG = Path("data/config")
MODELS = Path("data/models")
SIMILARITY = Path("data/similarity")
EVALUATION = Path("data/evaluation")
ARCHIVES = Path("data/archives")
# what is kept between runs beside them
DOWNLOADS = Path("data/downloads")
FEATURES = Path("data/features")
RESUME = Path("data/resume")
LOGS = Path("data/logs")
SET_ASIDE = Path("data/set-aside")  # what `iebaker prune` found among the outs and no stage had made
# results
METRICS = Path("reports/metrics")
ABLATION = Path("reports/ablation")
STUDIES = Path("reports/studies")
AUDIT = Path("reports/audit.json")
FIGURES = Path("reports/figures")
BENCHMARK = Path("reports/benchmark.json")
REPORT = Path("reports/index.html")
MACHINE = Path("reports/machine.md")  # beside the report and no out: it differs on every machine


@dataclass(frozen=True)
class Folders:
    """Where the stages leave what the report shows; each root has a folder for each corpus or benchmark."""

    prepared: Path = PREPARED
    keywords: Path = KEYWORDS
    config: Path = CONFIG
    models: Path = MODELS
    matrices: Path = SIMILARITY
    evaluation: Path = EVALUATION
    metrics: Path = METRICS
    ablation: Path = ABLATION
    studies: Path = STUDIES
    logs: Path = LOGS
    audit: Path = AUDIT

    def below(self, root: Path) -> "Folders":
        """The same places in another project's folder."""
        return Folders(**{name: root / path for name, path in vars(self).items()})


def source_root() -> Path:
    """What relative sources are below: this folder, or where DVC runs an experiment in a copy, the project itself.

    Such copies lie below .dvc/tmp and hold what git tracks, neither a user's data nor downloads.
    """
    here = Path.cwd()
    return next((parent.parent for parent in here.parents if parent.name == ".dvc"), Path())
