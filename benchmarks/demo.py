"""The demo as a record: its report, its picture and how long it took.

    python benchmarks/demo.py RUNS_DEMO [--name demo]

Copies the result of a finished `slimbert demo` (report.json, demo.png) beside the environment; the text of the record
is written by hand: how it was started, on what, and what it does not show.
"""

import argparse
import json
import shutil
from pathlib import Path

from records import RECORDS

from slimbert.errors import InputError
from slimbert.train.environment import environment


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("demo", type=Path)
    options.add_argument("--name", default="demo")
    chosen = options.parse_args()
    report = chosen.demo / "report.json"
    if not report.is_file():
        raise SystemExit(str(InputError(report, "missing", "run `slimbert demo` first")))
    record = RECORDS / chosen.name
    record.mkdir(parents=True, exist_ok=True)
    for name in ("report.json", "demo.png"):
        shutil.copyfile(chosen.demo / name, record / name)
    (record / "environment.json").write_text(json.dumps(environment(measure=True), indent=1) + "\n")
    print(record / "report.json")


if __name__ == "__main__":
    main()
