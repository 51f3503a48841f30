"""Record `slimbert bench pretrain` under benchmarks/records/pretrain_speed/.

    python benchmarks/pretrain_speed.py [--seconds 540] [--name pretrain_speed]

Nothing else may run on the machine.
"""

import argparse
import sys

from records import done, keep

from slimbert.bench.pretrain import pretrain_benchmark


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=540.0)
    options.add_argument("--name", default="pretrain_speed")
    chosen = options.parse_args()
    if done(chosen.name, "pretrain") is None:
        result = pretrain_benchmark(seconds=chosen.seconds, tell=lambda text: print(text, file=sys.stderr, flush=True))
        keep(chosen.name, "pretrain", result)


if __name__ == "__main__":
    main()
