"""Checksums of files, worked out in one pass."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from iebaker.config.sources import PartParams
from iebaker.errors import IebakerError

BLOCK = 1 << 20


@dataclass(frozen=True)
class Wanted:
    """The checksums that a file must have; '' is not checked."""

    sha256: str = ""
    md5: str = ""

    @classmethod
    def of(cls, part: PartParams) -> "Wanted":
        """Those of params.yaml."""
        return cls(part.sha256, part.md5)

    @property
    def known(self) -> bool:
        """Whether anything is checked."""
        return bool(self.sha256 or self.md5)

    def check(self, file: Path, name: str) -> str:
        """The file's SHA-256.

        Raises:
            IebakerError: calling it `name`, if a checksum differs.
        """
        digests = {"sha256": hashlib.sha256()}
        if self.md5:
            digests["md5"] = hashlib.md5(usedforsecurity=False)
        with file.open("rb") as stream:
            while block := stream.read(BLOCK):
                for digest in digests.values():
                    digest.update(block)
        for key, label in (("sha256", "SHA-256"), ("md5", "MD5")):
            wanted = getattr(self, key)
            if wanted and digests[key].hexdigest() != wanted:
                found = digests[key].hexdigest()
                raise IebakerError(f"{name}: {label} is {found}, params say {wanted}: damaged, or another version")
        return digests["sha256"].hexdigest()
