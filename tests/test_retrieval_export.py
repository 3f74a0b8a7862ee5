import numpy as np
import pandas as pd
import pytest
import torch
from conftest import section

from iebaker.config.params import LocalParams, ModelParams
from iebaker.corpus import loading
from iebaker.errors import IebakerError
from iebaker.method import similarity
from iebaker.model import factory
from iebaker.model.towers import RetrievalModel
from iebaker.retrieval import export, matrices


@pytest.fixture(scope="module")
def model() -> RetrievalModel:
    torch.manual_seed(0)
    return factory.create(section(ModelParams)).eval()


@pytest.fixture(scope="module")
def folder(model, corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("export")
    export.export(model, corpus, section(LocalParams), 10, out)
    assert {path.relative_to(out).as_posix() for path in out.glob("*/*")} == {"synthetic/val", "synthetic/test"}
    return out / "synthetic/test"


def test_matrices_agree_with_one_pair_at_a_time(model, corpus, folder):
    model.read(tokens=True)  # other tests of this model want none
    split = loading.split_of(corpus[0], "test")
    exported = {kind: matrices.open_matrix(folder, kind) for kind in ("global", "local")}
    assert isinstance(exported["global"], np.memmap)
    for row, column in ((0, 0), (7, 3), (119, 23)):
        with torch.no_grad():
            text = model.text(model.text.inputs([split.captions[row]]))
            image = model.image(model.image.inputs(corpus[0].images(split.image_ids[[column]])))
        expected = similarity.global_similarity(text.pooled, image.pooled).item()
        assert exported["global"][row, column] == pytest.approx(expected, abs=1e-5)
        cosines = (
            torch.nn.functional.normalize(text.tokens[0][~text.padding[0]], dim=-1)
            @ torch.nn.functional.normalize(image.tokens[0], dim=-1).T
        )
        assert exported["local"][row, column] == pytest.approx(cosines.norm().item(), rel=1e-4)


def test_identical_captions_have_identical_rows(folder):
    texts = pd.read_parquet(folder / "texts.parquet")
    repeated = texts[texts["caption"].duplicated(keep=False)]
    assert len(repeated) > 2
    for kind in ("global", "local"):
        values = matrices.open_matrix(folder, kind)
        for _, rows in repeated.groupby("caption"):
            assert len(np.unique(values[rows.index], axis=0)) == 1


def test_ids_name_rows_and_columns(corpus, folder):
    texts, images = (pd.read_parquet(folder / f"{name}.parquet") for name in ("texts", "images"))
    manifest = corpus[0].manifest.set_index("caption_id")
    rows = manifest.loc[texts["caption_id"]]
    assert rows["caption"].tolist() == texts["caption"].tolist()
    assert rows["image_id"].tolist() == images["image_id"].iloc[texts["image_of_text"]].tolist()
    assert rows["filename"].tolist() == images["filename"].iloc[texts["image_of_text"]].tolist()


def test_bank_holds_training_queries_only(corpus, folder):
    captions, image_ids = export.training_bank(corpus, 0, 10)
    train = corpus[0].manifest.query("split == 'train'")
    assert set(captions) <= set(train["caption"]) and set(image_ids) <= set(train["image_id"])
    assert matrices.open_matrix(folder, "global", matrices.BANK_TEXTS).shape == (10, 24)
    assert matrices.open_matrix(folder, "local", matrices.BANK_IMAGES).shape == (120, 10)


def test_without_local_loss_or_bank_nothing_is_written_for_them(model, corpus, tmp_path):
    export.export(model, corpus, section(LocalParams, loss=0), 0, tmp_path)
    val = tmp_path / "synthetic/val"
    assert {path.name for path in val.iterdir()} == {"global.npy", "texts.parquet", "images.parquet"}
    assert matrices.open_matrix(val, "local") is None
    with pytest.raises(IebakerError, match="dvc repro export_similarity"):
        matrices.open_matrix(tmp_path / "elsewhere", "global")
