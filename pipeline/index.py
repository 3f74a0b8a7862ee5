"""Embed an archive's images, so that they can be searched: `index.py ARCHIVE`."""

import shutil

from common import load_params, run
from torch import set_num_threads

from iebaker.atomic import replacing
from iebaker.config.files import read_evaluation, read_training
from iebaker.config.params import ArchiveParams, parse
from iebaker.errors import IebakerError
from iebaker.layout import ARCHIVES, CONFIG, MODELS, RESUME
from iebaker.search.archive import COLLECTION, Archive
from iebaker.search.commit import commit, publish
from iebaker.search.embedding import Embedder
from iebaker.search.index import write_shards
from iebaker.search.plan import Request, make_plan


def main(archive: str) -> None:
    params = parse(ArchiveParams, load_params()["archive"][archive], f"archive.{archive}")
    config, model = CONFIG / archive / params.variant, MODELS / archive / params.variant / str(params.seed)
    if not model.exists():
        with replacing(ARCHIVES / archive):
            print(f"{archive}: {model} is not selected in params.yaml; the archive stays empty")
        return
    train, fusion = read_training(config).train, read_evaluation(config).fusion
    if fusion.standardise:
        raise IebakerError("fusion.standardise: an archive has no validation scales; take it out of archives, or off")
    set_num_threads(train.threads)
    embedder = Embedder(model, train.device)
    # between runs the archive lives outside of the outs, which DVC removes before a stage
    work = RESUME / "archives" / archive
    if (work / COLLECTION).exists() and Archive(work).settings.fingerprint != embedder.fingerprint:
        shutil.rmtree(work)
    images = [params.images] if isinstance(params.images, str) else params.images
    weights = (fusion.global_weight, fusion.local_weight)
    plan = make_plan(work, embedder, Request(model, images, tokens=params.tokens, weights=weights))
    done = write_shards(plan, embedder)
    print(f"{archive}: {commit(plan)} rows, {done.embedded} embedded, {len(done.refused)} files refused")
    publish(work, ARCHIVES / archive)


if __name__ == "__main__":
    run(main)
