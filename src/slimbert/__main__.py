"""`python -m slimbert`, which is also what `torchrun -m` and `accelerate launch -m` start."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
