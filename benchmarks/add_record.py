"""Copies the small files of a run into benchmarks/records, without the folders of this machine.

python benchmarks/add_record.py RUN NAME
"""

import argparse
import json
import shutil
from pathlib import Path

RECORDS = Path(__file__).parent / "records"
COPIED = ("config.yml", "per_view.json", "metrics.jsonl")
FOLDERS = ("out", "data_root", "lpips_weights")


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
    for options in (results["config"], results["config"]["evaluation"]):
        options |= {folder: None for folder in FOLDERS if folder in options}
    results["command"] = without_folders(results["command"])
    (target / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    config = (target / "config.yml").read_text().splitlines(keepends=True)
    named = tuple(f"{folder}:" for folder in FOLDERS)
    kept = [line for line in config if not line.lstrip().startswith(named)]
    (target / "config.yml").write_text("".join(kept))


def without_folders(command: list[str]) -> list[str]:
    """The command without the options that name folders, and their values."""
    flags = ("--out", "--data-root", "--lpips-weights", "--evaluation.lpips-weights")
    kept, skip = [], False
    for word in command:
        if not skip and word not in flags:
            kept.append(word)
        skip = not skip and word in flags
    return kept


if __name__ == "__main__":
    main()
