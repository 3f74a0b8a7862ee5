"""Remove results of seeds, variants and members that params.yaml no longer names: `prune.py`.

Stages that depend on a folder of all seeds would otherwise still see them. DVC's cache keeps what is removed here,
and corpora that are not selected at the moment stay as they are.
"""

import shutil

from common import CORPORA, EVALUATION, METRICS, MODELS, SIMILARITY, load_params, run


def main() -> None:
    params = load_params()
    benchmarks, variants, seeds = (list(map(str, params[key])) for key in ("benchmarks", "variants", "seeds"))
    for corpus in params["corpora"]:
        declared = {
            CORPORA / corpus: [benchmarks],
            MODELS / corpus: [variants, seeds],
            SIMILARITY / corpus: [variants, seeds],
            EVALUATION / corpus: [variants],
            METRICS / corpus: [[f"{variant}.json" for variant in variants]],
        }
        for root, levels in declared.items():
            for depth, names in enumerate(levels, start=1):
                for path in sorted(root.glob("/".join("*" * depth))):
                    if path.name not in names:
                        print(f"prune: {path} is not declared in params.yaml")
                        shutil.rmtree(path) if path.is_dir() else path.unlink()


if __name__ == "__main__":
    run(main)
