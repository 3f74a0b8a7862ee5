"""Karpathy's JSON, the official layout of RSICD, RSITMD, UCM-Captions and Sydney-Captions.

`{"images": [{"filename", "split", "imgid", "sentences": [{"raw", "sentid"}, ...]}, ...]}`; an image may name its
`scene` (a name or a number), and a sentence its kind of weak correlation, `weak` (the synthetic benchmark does both).
Ids, scene and weak may be null, which means absent.
"""

from collections.abc import Iterator

from iebaker.datasets.files import RawFiles
from iebaker.datasets.formats.records import Caption, ImageRecord, load_json, optional, parse_split, require, scene_of
from iebaker.errors import IebakerError

EXTENSION = ".json"


def read(files: RawFiles, name: str) -> Iterator[ImageRecord]:
    """Yield the images of the JSON file `name`; IebakerError names the entry that is wrong."""
    sentence_places: dict[str, str] = {}
    for row, entry in enumerate(require(load_json(files, name), "images", list, name)):
        where = f"{name}, images[{row}]"
        filename = require(entry, "filename", str, where)
        where = f"{where} ({filename})"
        captions = []
        for number, sentence in enumerate(require(entry, "sentences", list, where)):
            place = f"{where}, sentences[{number}]"
            captions.append(Caption(require(sentence, "raw", str, place), optional(sentence, "weak", place, str)))
            if sentence.get("sentid") is not None:
                earlier = sentence_places.setdefault(str(sentence["sentid"]), place)
                if earlier != place:
                    raise IebakerError(
                        f"{place}: sentid {sentence['sentid']} is also that of {earlier}; ids must differ"
                    )
        yield ImageRecord(
            filename=filename,
            split=parse_split(entry.get("split"), where),
            captions=tuple(captions),
            where=where,
            scene=optional(entry, "scene", where, str, int) or scene_of(filename),
            identity="" if entry.get("imgid") is None else str(entry["imgid"]),
        )
