import subprocess
import sys

import numpy as np

from iebaker.retrieval.fusion import Scales, fuse


def test_fusion_takes_published_weights_and_standardises_on_request():
    S, L = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    np.testing.assert_allclose(fuse(S, L), 0.6 * S + 0.4 * L, rtol=1e-6)
    np.testing.assert_allclose(fuse(S, L, 0.5, 1.0, Scales(S.std(), L.std())), S / S.std() / 2 + L / L.std(), rtol=1e-5)
    assert fuse(S, L).dtype == np.float32


def test_what_works_on_matrices_does_not_wait_for_torch():
    code = "import sys, iebaker.retrieval.evaluation, iebaker.report.html"
    code += "; assert not {'torch', 'open_clip'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
