"""How a process uses threads and memory."""

import platform
import sys

import pytest
from conftest import ROOT, run

FREED = """
import resource
from iebaker.process import settle
settle()
import numpy as np
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def layers():
    return [np.ones(300_000) for _ in range(20)]
layers()
before = faults()
for _ in range(20):
    layers()
print(faults() - before, 20 * 300_000 * 8 // resource.getpagesize())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="its allocator is told so")
def test_memory_that_was_freed_is_used_again():
    faults, pages = map(int, run(sys.executable, "-c", FREED, cwd=ROOT).stdout.split())
    assert faults < pages / 10  # of twenty times as many
