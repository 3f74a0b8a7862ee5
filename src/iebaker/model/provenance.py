"""What code and libraries a kept result was made with, so that none outlives them."""

import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
LIBRARIES = ("torch", "open_clip_torch", "timm", "transformers")


def code_digest(*names: str) -> bytes:
    """SHA-256 of this package's source files and of the versions of the libraries that shape features.

    Args:
        names: files or folders relative to the package; none means all of it.
    """
    roots = [PACKAGE / name for name in names] or [PACKAGE]
    files = {file for root in roots for file in (root.rglob("*.py") if root.is_dir() else [root])}
    digest = hashlib.sha256("\n".join(f"{name} {_version(name)}" for name in LIBRARIES).encode())
    for file in sorted(files):
        digest.update(file.relative_to(PACKAGE).as_posix().encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.digest()


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "absent"
