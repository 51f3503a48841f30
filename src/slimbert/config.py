"""Configs are frozen dataclasses; a file of YAML or JSON becomes one, and one becomes a file, without loss.

`load(cls, dump(config)) == config` for every config. An open set of parts is a role: `@kind("glu")` enters a class in
the table of its role, and a field annotated with that role takes any of them, told apart by the key `kind`. What spares
typing is sugar (`repeat`, `preset`, `pattern`): it is expanded on load into what it stands for and never stored.
"""

import dataclasses
import difflib
import functools
import math
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Protocol, TypeVar, Union, dataclass_transform, get_args, get_origin

import yaml
from torch import nn

from .errors import InputError

T = TypeVar("T")
Sugar = Callable[[dict[str, Any], str], dict[str, Any]]


class Buildable(Protocol):
    """A config that makes its part, given the width of the encoder."""

    def build(self, dim: int) -> nn.Module: ...


@dataclasses.dataclass(frozen=True)
class Role:
    """Names an open set of kinds; stands in the annotation of a field that takes any of them."""

    name: str


@dataclasses.dataclass(frozen=True)
class Between:
    """Bounds of a number, both included; stands in the annotation of its field."""

    low: float
    high: float


Count = Annotated[int, Between(1, 10_000_000)]
Size = Annotated[int, Between(0, 10_000_000)]
Share = Annotated[float, Between(0, 1)]
NonNegative = Annotated[float, Between(0, sys.float_info.max)]

MixerConfig = Annotated[Buildable, Role("mixer")]
StepConfig = Annotated[Buildable, Role("step")]
NormConfig = Annotated[Buildable, Role("norm")]
EmbeddingConfig = Annotated[Any, Role("embedding")]
PositionConfig = Annotated[Any, Role("position")]
HeadConfig = Annotated[Any, Role("head")]
ObjectiveConfig = Annotated[Any, Role("objective")]

KINDS: dict[str, dict[str, type]] = {}  # role -> kind -> class
SUGAR: dict[str, Sugar] = {}  # key -> what a mapping with that key stands for


@dataclass_transform(frozen_default=True, kw_only_default=True)
def kind(name: str, role: str = "mixer") -> Callable[[type[T]], type[T]]:
    """Make the class a frozen, keyword-only dataclass, known in YAML as `kind: name` wherever its role is asked for."""

    def register(cls: type[T]) -> type[T]:
        made = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
        if KINDS.setdefault(role, {}).setdefault(name, made).__qualname__ != made.__qualname__:
            raise TypeError(f"two classes call themselves {role} {name!r}: {KINDS[role][name]} and {made}")
        setattr(made, "kind", name)  # noqa: B010 (a dataclass field must not be declared here)
        return made

    return register


def sugar(key: str) -> Callable[[Sugar], Sugar]:
    """Register what a mapping that has `key` stands for: a function of the mapping and its path, giving it expanded."""

    def register(function: Sugar) -> Sugar:
        SUGAR[key] = function
        return function

    return register


def expand(data: Any, path: str = "config") -> Any:
    """Replace all sugar in plain data: presets, patterns, and `repeat: n` in lists."""
    if isinstance(data, list | tuple):
        out = []
        for i, item in enumerate(data):
            times = item.get("repeat", 1) if isinstance(item, Mapping) else 1
            if not isinstance(times, int) or isinstance(times, bool) or not 1 <= times <= 1000:
                raise InputError(f"{path}[{i}].repeat", f"{_show(times)} is not a count", "repeat 1 to 1000 times")
            plain = {k: v for k, v in item.items() if k != "repeat"} if isinstance(item, Mapping) else item
            out += [expand(plain, f"{path}[{i}]")] * times
        return out
    if not isinstance(data, Mapping):
        return data
    found = dict(data)
    for key in [key for key in found if key in SUGAR]:
        found = SUGAR[key](found, f"{path}.{key}")
    return {key: expand(value, f"{path}.{key}") for key, value in found.items()}


def merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `top` laid over it, mapping by mapping."""
    out = dict(base)
    for key, value in top.items():
        both = isinstance(value, Mapping) and isinstance(out.get(key), Mapping) and "kind" not in value
        out[key] = merge(out[key], value) if both else value
    return out


def load(cls: type[T], data: Any, path: str = "config") -> T:
    """The config that plain data describes. Raises InputError with the path of what does not fit, and the fix."""
    try:
        return typing.cast(T, _value(cls, expand(data, path), path))
    except RecursionError:
        raise InputError(path, "nested without end", "look for a YAML alias that contains itself") from None


def validate(config: Any, path: str) -> None:
    """Raise InputError where a config made in Python holds what a file could not say."""
    load(type(config), dump(config), path)


def dump(config: Any) -> Any:
    """Plain data of a config: every field, the kind first."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        head = {"kind": config.kind} if hasattr(config, "kind") else {}
        return head | {f.name: dump(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if isinstance(config, tuple | list):
        return [dump(item) for item in config]
    if isinstance(config, Mapping):
        return {key: dump(value) for key, value in config.items()}
    return config


def override(data: Any, assignments: list[str] | tuple[str, ...], path: str = "config") -> Any:
    """Plain data with `dotted.name=value` assignments applied (values are YAML; list places are numbers).

    Those that set sugar (`model.encoder.preset=bert_mini`) come first, then sugar is expanded, then the others.
    """
    pairs = [assignment.partition("=") for assignment in assignments]
    for name, sign, _ in pairs:
        if not sign or not name:
            raise InputError(f"--set {name}", "no '=' in it", "write --set dotted.name=value")
    early = [p for p in pairs if p[0].rpartition(".")[2] in SUGAR]
    for name, _, text in early:
        data = _assign(data, name.split("."), _yaml(name, text), name)
    data = expand(data, path)
    for name, _, text in [p for p in pairs if p not in early]:
        data = _assign(data, name.split("."), _yaml(name, text), name)
    return data


def _yaml(name: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):  # a date that does not exist is a ValueError
        raise InputError(f"--set {name}", f"{text!r:.80} is not a YAML value", "quote it") from None


def _assign(data: Any, keys: list[str], value: Any, name: str) -> Any:
    """A copy of `data` with the value at `keys`; unknown names are left for `load` to judge."""
    if not keys:
        return value
    key, rest = keys[0], keys[1:]
    if isinstance(data, list):
        if not key.isdigit() or int(key) >= len(data):
            raise InputError(f"--set {name}", f"{key!r} is not a place in a list of {len(data)}", "count from 0")
        return [_assign(item, rest, value, name) if i == int(key) else item for i, item in enumerate(data)]
    if data is not None and not isinstance(data, Mapping):
        raise InputError(f"--set {name}", f"{key!r} is looked for inside {data!r}", "give the path of a field")
    old = dict(data or {})
    return old | {key: _assign(old.get(key), rest, value, name)}


def _value(annotation: Any, data: Any, path: str) -> Any:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        if isinstance(args[1], Role):
            return _kind(args[1].name, data, path)
        number = _value(args[0], data, path)
        if not args[1].low <= number <= args[1].high:
            raise InputError(path, f"{_show(number)} is not in {args[1].low:g} to {args[1].high:g}", "mend the value")
        return number
    if origin in (Union, types.UnionType):
        if data is None and type(None) in args:
            return None
        members = [a for a in args if a is not type(None)]
        exact = [a for a in members if isinstance(a, type) and type(data) is a]
        return _value((exact or members)[0], data, path)
    if origin is Literal:
        if data not in args:
            raise InputError(path, f"{_show(data)} is not one of {', '.join(map(str, args))}", _nearest(data, args))
        return data
    if origin is tuple:
        if not isinstance(data, list | tuple):
            raise InputError(path, f"{_show(data)} is not a list", "write a YAML list")
        if len(args) == 2 and args[1] is ...:
            return tuple(_value(args[0], item, f"{path}[{i}]") for i, item in enumerate(data))
        if len(args) != len(data):
            raise InputError(path, f"{len(data)} values instead of {len(args)}", "give as many as asked")
        return tuple(_value(a, item, f"{path}[{i}]") for i, (a, item) in enumerate(zip(args, data, strict=True)))
    if dataclasses.is_dataclass(annotation):
        return _fields(typing.cast(type, annotation), data, path)
    if origin is dict:
        if not isinstance(data, Mapping):
            raise InputError(path, f"{_show(data)} is not a mapping", "write `name: value` lines")
        return {key: _value(args[1], value, f"{path}.{key}") for key, value in data.items()}
    return data if annotation is Any else _scalar(annotation, data, path)


def _kind(role: str, data: Any, path: str) -> Any:
    table = KINDS.get(role, {})
    known = f"known {role} kinds: {', '.join(sorted(table))}"
    if dataclasses.is_dataclass(data) and type(data) in table.values():
        return data
    if not isinstance(data, Mapping) or "kind" not in data:
        raise InputError(path, f"no kind in {_show(data)}", known)
    if not isinstance(data["kind"], str) or data["kind"] not in table:
        raise InputError(
            f"{path}.kind", f"no {role} is called {_show(data['kind'])}", _nearest(data["kind"], table) or known
        )
    return _fields(table[data["kind"]], {k: v for k, v in data.items() if k != "kind"}, path)


def _fields(cls: type, data: Any, path: str) -> Any:
    if isinstance(data, cls):
        return data
    if not isinstance(data, Mapping):
        raise InputError(path, f"{_show(data)} is not a mapping", "write `name: value` lines")
    if "kind" in data and data["kind"] == getattr(cls, "kind", None):
        data = {k: v for k, v in data.items() if k != "kind"}
    hints = _hints(cls)
    names = [f.name for f in dataclasses.fields(cls)]
    for key in data:
        if key not in names:
            near = _nearest(key, names)
            raise InputError(f"{path}.{key}", f"no such field, {near or 'known: ' + ', '.join(names)}")
    values = {key: _value(hints[key], value, f"{path}.{key}") for key, value in data.items()}
    for f in dataclasses.fields(cls):
        if f.name not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise InputError(f"{path}.{f.name}", "missing", "give it a value")
    return cls(**values)


def _scalar(annotation: type, data: Any, path: str) -> Any:
    if annotation is float and isinstance(data, int | float | str) and not isinstance(data, bool):
        try:
            number = float(data)  # YAML 1.1 reads 1e-4 as text
        except (ValueError, OverflowError):
            number = math.nan
        if not math.isnan(number):
            return number
    elif annotation is int and isinstance(data, float) and data.is_integer():
        return int(data)
    elif annotation is int and isinstance(data, str) and re.fullmatch(r"\d+[eE]\+?\d{1,2}", data):
        return int(float(data))  # YAML 1.1 reads 1e9 as text
    elif isinstance(data, annotation) and not (annotation is int and isinstance(data, bool)):
        return data
    raise InputError(path, f"{_show(data)} is not of type {annotation.__name__}", "mend the value")


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls, include_extras=True)


def _show(value: object) -> str:
    """A value as it may stand in a message of one line."""
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**18 else "a huge number"
    return text if len(text) <= 80 else f"{text[:77]}..."


def _nearest(word: object, known: typing.Iterable[object]) -> str:
    close = difflib.get_close_matches(str(word), [str(k) for k in known], n=1)
    return f"did you mean {close[0]!r}?" if close else ""
