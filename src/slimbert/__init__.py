"""slimbert: efficient BERT-style encoders, as a library and a command line.

The public names are loaded when first used (PEP 562), so that `import slimbert` costs nothing and needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .data.prepare import prepare
    from .errors import InputError, Interrupted, RunError
    from .jobs.estimator import SlimbertClassifier
    from .jobs.finetune import finetune
    from .jobs.pipeline import pipeline
    from .jobs.predict import load
    from .jobs.pretrain import pretrain
    from .model import presets

__version__ = "0.1.0"

# public name -> the module that holds it, relative to this package
_HOMES = {
    "InputError": ".errors",
    "Interrupted": ".errors",
    "RunError": ".errors",
    "SlimbertClassifier": ".jobs.estimator",
    "finetune": ".jobs.finetune",
    "load": ".jobs.predict",
    "pipeline": ".jobs.pipeline",
    "prepare": ".data.prepare",
    "pretrain": ".jobs.pretrain",
    "presets": ".model.presets",
}

__all__ = [
    "InputError",
    "Interrupted",
    "RunError",
    "SlimbertClassifier",
    "__version__",
    "finetune",
    "load",
    "pipeline",
    "prepare",
    "presets",
    "pretrain",
]


def __getattr__(name: str) -> Any:
    """Import the home of a public name on first use and remember the value."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(_HOMES[name], __name__)
    value = getattr(module, name, module)  # "presets" is itself a module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_HOMES))
