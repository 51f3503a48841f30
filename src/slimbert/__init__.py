"""slimbert: efficient BERT-style encoders, as a library and a command line.

The public names are loaded when first used (PEP 562), so that `import slimbert` costs nothing and needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import InputError as InputError

__version__ = "0.1.0"

# public name -> the module that holds it, relative to this package; "presets" is itself a module
_HOMES = {
    "InputError": ".errors",
    "Interrupted": ".errors",
    "RunError": ".errors",
    "load": ".jobs.predict",
    "presets": ".model.presets",
}

__all__ = ["InputError", "Interrupted", "RunError", "__version__", "load", "presets"]


def __getattr__(name: str) -> Any:
    """Import the home of a public name on first use and remember the value."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(_HOMES[name], __name__)
    value = module if module.__name__.endswith(f".{name}") else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_HOMES))
