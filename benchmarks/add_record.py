"""Copies the small files of a run into benchmarks/records, without the folders of this machine.

python benchmarks/add_record.py RUN NAME
"""

import argparse
import json
import shutil
from pathlib import Path

RECORDS = Path(__file__).parent / "records"
COPIED = ("config.yml", "per_view.json", "metrics.jsonl")
FOLDERS = ("out", "data_root")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    arguments = parser.parse_args()
    target = RECORDS / arguments.name
    target.mkdir(parents=True)
    for name in COPIED:
        shutil.copyfile(arguments.run / name, target / name)
    results = json.loads((arguments.run / "results.json").read_text())
    for folder in FOLDERS:
        results["config"][folder] = None
    results["config"]["evaluation"]["lpips_weights"] = None
    results["command"] = without_folders(results["command"])
    (target / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    config = (target / "config.yml").read_text().splitlines(keepends=True)
    kept = [line for line in config if not line.startswith(tuple(f"{f}:" for f in FOLDERS))]
    (target / "config.yml").write_text("".join(kept))


def without_folders(command: list[str]) -> list[str]:
    """The command without --out and --data-root and their values."""
    kept, skip = [], False
    for word in command:
        if not skip and word not in ("--out", "--data-root"):
            kept.append(word)
        skip = not skip and word in ("--out", "--data-root")
    return kept


if __name__ == "__main__":
    main()
