"""A repository with a pipeline of a few trivial stages under the real git and DVC, for what works on whole projects."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from conftest import ROOT, run


class TinyPipeline:
    """`train` for each variant writes data/models/synthetic/<variant>/0 and metrics; ran.log tells what ran."""

    def __init__(self, folder: Path, variants: Sequence[str] = ("baseline", "full")) -> None:
        self.folder = folder
        params = yaml.safe_load((ROOT / "params.yaml").read_text())
        self.write_params(params | {"variants": list(variants), "seeds": [0]})
        self.write("source.txt", "a")
        self.write("pause.sh", ":")
        matrix = {"corpus": "${corpora}", "variant": "${variants}", "seed": "${seeds}"}
        out = "data/models/${item.corpus}/${item.variant}/${item.seed}"
        metrics = "reports/metrics/${item.corpus}/${item.variant}.json"
        command = (
            f"echo ${{item.variant}} >> ran.log && . ./pause.sh && mkdir -p {out} reports/metrics/${{item.corpus}} && "
            f"cp source.txt {out}/result && cp source.txt {metrics}"
        )
        train = {"matrix": matrix, "cmd": command, "deps": ["source.txt"], "outs": [out]}
        train["metrics"] = [{metrics: {"cache": False}}]  # as an out without cache it would keep DVC from its run cache
        self.write("dvc.yaml", yaml.safe_dump({"stages": {"train": train}}))
        self.write(".gitignore", "/ran.log\n/data\n")
        self.git("init", "-q", "-b", "main")
        self.git("config", "user.email", "tests@example.org")
        self.git("config", "user.name", "Tests")
        run(sys.executable, "-m", "dvc", "init", "-q", cwd=folder)
        run(sys.executable, "-m", "dvc", "config", "core.analytics", "false", cwd=folder)

    def copy(self, folder: Path) -> "TinyPipeline":
        """The same state in another folder."""
        shutil.copytree(self.folder, folder)
        other = object.__new__(TinyPipeline)
        other.folder = folder
        return other

    def params(self) -> dict[str, Any]:
        return yaml.safe_load((self.folder / "params.yaml").read_text())

    def write_params(self, params: dict[str, Any]) -> None:
        self.write("params.yaml", yaml.safe_dump(params, sort_keys=False))

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / "src"),
        }

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def git(self, *arguments: str) -> str:
        return run("git", *arguments, cwd=self.folder).stdout

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "state")

    def dvc(self, *arguments: str, **kwargs) -> subprocess.CompletedProcess:
        return run(sys.executable, "-m", "dvc", *arguments, cwd=self.folder, env=self.environment, **kwargs)

    def iebaker(self, *arguments: str, **kwargs) -> subprocess.CompletedProcess:
        command = (sys.executable, "-c", "from iebaker.cli import app; app()", *arguments)
        return run(*command, cwd=self.folder, env=self.environment, **kwargs)

    @property
    def ran(self) -> list[str]:
        log = self.folder / "ran.log"
        return log.read_text().split() if log.exists() else []
