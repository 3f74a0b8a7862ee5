"""A temporary clone of this project, and DVC to be called in it."""

import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from conftest import ROOT, run


class Clone:
    """The project's files in a folder, committed, with some parameters changed."""

    def __init__(self, folder: Path, changes: Mapping[str, Any]) -> None:
        self.folder = folder
        files = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).stdout.split("\n")
        for file in filter(None, files):
            if (ROOT / file).is_file() and not file.startswith("tests/") and file != "dvc.lock":
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / file, folder / file)
        self.change(changes)
        self("git", "init", "-q", "-b", "main")
        self("git", "config", "user.email", "tests@example.org")
        self("git", "config", "user.name", "Tests")
        self.commit()

    def __call__(self, *command: str, check: bool = True, **environment: str) -> str:
        """What a command prints, with this Python and the clone's own code."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        own = {"PATH": path, "PYTHONPATH": str(self.folder / "src"), "DVC_NO_ANALYTICS": "1"}
        done = run(*command, cwd=self.folder, check=check, env=os.environ | own | environment)
        return done.stdout + done.stderr

    def change(self, changes: Mapping[str, Any]) -> None:
        """Merge values into params.yaml, one level deep."""
        file = self.folder / "params.yaml"
        params = yaml.safe_load(file.read_text())
        for section, values in changes.items():
            params[section] = params[section] | values if isinstance(values, dict) else values
        file.write_text(yaml.safe_dump(params, sort_keys=False))

    def commit(self) -> None:
        """Commit everything."""
        self("git", "add", "-A")
        self("git", "commit", "-q", "--allow-empty", "-m", "next")

    def stages(self, *command: str, **environment: str) -> list[str]:
        """The stages that a command runs, in order."""
        return re.findall(r"Running stage '([^'@]+)", self(*command, **environment))
