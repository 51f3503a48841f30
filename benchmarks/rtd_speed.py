"""Tokens/s of detecting replaced tokens: a wide and a narrow generator, beside masked LM and transformers' ELECTRA.

    python benchmarks/rtd_speed.py [--rounds 15] [--batch 64] [--narrow 2] [--compile] [--device cpu]
    [--name rtd_speed]

Resumes round by round (the first updates are made anew, and not counted). Nothing else may run on the machine.
"""

import argparse
import sys
from collections.abc import Sequence

from records import done, keep, same_machine

from slimbert.bench.replaced import rounds, summary


def main(argv: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--batch", type=int, default=64)
    options.add_argument("--narrow", type=int, default=2, help="layers of the narrow generator before the narrowing")
    options.add_argument("--compile", action="store_true")
    options.add_argument("--device", default="cpu")
    options.add_argument("--name", default="rtd_speed")
    chosen = options.parse_args(argv)
    same_machine(chosen.name)
    settings = {"batch": chosen.batch, "narrow": chosen.narrow, "compile": chosen.compile, "device": chosen.device}
    if done(chosen.name, "settings") not in (None, settings):
        sys.exit(f"benchmarks/records/{chosen.name} was begun with {done(chosen.name, 'settings')}: give --name")
    keep(chosen.name, "settings", settings)
    seen = done(chosen.name, "seconds_per_update") or []
    if len(seen) < chosen.rounds:
        measured = rounds(
            batch_size=chosen.batch,
            narrow=chosen.narrow,
            compiled=chosen.compile,
            device=chosen.device,
            tell=lambda text: print(text, file=sys.stderr, flush=True),
        )
        while len(seen) < chosen.rounds:
            seen.append(next(measured))
            keep(chosen.name, "seconds_per_update", seen)
            print(f"round {len(seen)} of {chosen.rounds}", file=sys.stderr, flush=True)
    result = summary(seen, batch_size=chosen.batch)
    keep(chosen.name, "summary", result)
    for arm, speed in result["tokens_per_second"].items():
        print(f"{arm:20} {speed:10,.0f} tokens/s")


if __name__ == "__main__":
    main()
