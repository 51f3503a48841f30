"""What the result of each job looks like to a person: names and values, or a table that fits 80 columns."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from ..jobs.scores import ordered, shown_name
from .depth import reached
from .output import bytes_of, clock, count, following, pairs, share, table

COSTS = ("parameters", "macs", "activation_bytes")

if TYPE_CHECKING:
    from rich.console import Group

    from ..data.prepare import Report
    from ..jobs.compare import Compared
    from ..jobs.demo.result import Demo
    from ..jobs.distances import Looked
    from ..jobs.evaluate import Evaluated
    from ..jobs.finetuned import Finetuned
    from ..jobs.models import Made
    from ..jobs.overview import Known, Shown
    from ..jobs.pretrain import Pretrained
    from ..jobs.scores import Score
    from ..jobs.seeds import Seeded
    from ..model.cost import PartCost


def prepared(made: "Report") -> "Group":
    """What `prepare` made of a corpus."""
    rows = f"{made.rows:,} for training, {made.validation_rows:,} for validation"
    values = {
        "documents": count(made.documents),
        "tokens": count(made.tokens),
        "rows": rows,
        "speed": f"{made.tokens_per_second:,.0f} tokens/s",
        "unknown tokens": f"{made.unknown_share:.3%}",
        "duplicates dropped": count(made.duplicates),
        "records skipped": count(made.skipped),
    }
    listed = {f"skipped {i}": record for i, record in enumerate(made.skipped_records, 1)}
    notes = {f"note {i}": note for i, note in enumerate(made.notes, 1)}
    return pairs("", values | listed | notes)


def pretrained(made: "Pretrained") -> "Group":
    """What a pretraining run came to."""
    values = {
        "run": made.run,
        "steps": count(made.steps),
        "tokens": f"{made.tokens:,}, {made.tokens / max(made.seconds, 1e-9):,.0f} a second",
        "time": clock(made.seconds),
        "loss": f"{made.loss:.4f}",
    }
    return pairs("", values if made.val_loss is None else values | {"validation loss": f"{made.val_loss:.4f}"})


def finetuned(made: "Finetuned") -> list["Group | str"]:
    """Scores of the encoder beside its baselines, and where the model is."""
    from ..jobs.tasks import KINDS  # torch is there already: it trained

    score, part = (made.test, "test") if made.test else (made.validation, "validation")
    title = f"Score on {part}, {score['rows']:,} rows"
    values = {
        "run": made.run,
        **({"labels": ", ".join(made.labels)} if made.labels else {}),  # questions and pairs for vectors have none
        "updates": f"{made.updates:,} in {clock(made.seconds)}",
        **({} if KINDS[made.kind].reads_whole else {"longer than max_len": share(made.cut_share)}),
    }
    best = max(made.baselines, key=lambda name: made.baselines[name][made.metric], default=None)
    behind = best is not None and made.baselines[best][made.metric] >= score[made.metric]
    verdict = [f"the encoder is not ahead of {best} on these rows", ""] * behind
    texts = ("some text",) if made.texts == 1 else ("first text", "second text")
    commands = [
        ("predict", made.run, *texts),
        ("predict", made.run, "--file", "texts.csv"),
        ("evaluate", made.run, "MORE.csv"),
    ]
    scores = _scores(title, {"fine-tuned encoder": score} | dict(made.baselines), made.metric)
    return [scores, *verdict, pairs("", values), "", following(*commands)]


def evaluated(made: "Evaluated") -> list["Group | str"]:
    """The score, then each label by itself."""
    split = {"split": made.split} if made.split else {}
    labels = [
        [one.label, count(one.rows), "-" if one.recall is None else share(one.recall), f"{one.f1:.3f}"]
        for one in made.labels
    ]
    known = f"{count(made.trained_on)} of these texts are training texts of the run: they do not test it"
    return [
        _scores(f"Score on {made.score['rows']:,} rows", {"all": made.score}, made.metric),
        *([table("", ["label", "rows", "found", "F1"], labels)] if labels else []),
        *[known] * bool(made.trained_on),
        *([reached(made.reached)] if made.reached else []),
        pairs("", {"run": made.run, "data": made.data} | split),
    ]


def seeded(made: "Seeded") -> list["Group | str"]:
    """The score of every seed, their mean and its interval, the baselines beside it."""
    columns = ["", ordered(made.runs[0].test or made.runs[0].validation, made.metric)[0].name]
    rows = [[run.run, f"{(run.test or run.validation)[made.metric]:.3f}"] for run in made.runs]
    means = [
        [name, f"{one['mean']:.3f}", f"{one['deviation']:.3f}", f"{one['low']:.3f} to {one['high']:.3f}"]
        for name, one in {"fine-tuned encoder": made._asdict(), **made.baselines}.items()
    ]
    over = table("", ["over the seeds", "mean", "deviation", "95% interval of the mean"], means)
    ahead = [name for name, one in made.baselines.items() if one["mean"] >= made.mean]
    verdict = [f"the encoder is not ahead of {', '.join(ahead)} in the mean", ""] * bool(ahead)
    best: list[Group | str] = [pairs("", {"best on validation": made.best}), "", following(("predict", made.best))]
    return [table(f"{len(made.runs)} seeds", columns, rows), over, *verdict, *best]


def compared(made: "Compared") -> list["Group | str"]:
    """Two runs, and how far apart their scores are."""
    names = (f"1: {made.first}", f"2: {made.second}")
    scores = _scores(f"Scores on {made.rows:,} rows", dict(zip(names, made.scores, strict=True)), made.metric)
    sure = "they differ" if made.low > 0 or made.high < 0 else "no difference is shown by these rows"
    columns = ["difference", "1 minus 2", "95% interval", "p"]
    rows = [
        [shown_name(one.metric), f"{one.difference:+.4f}", f"{one.low:+.4f} to {one.high:+.4f}", f"{one.p:.3g}"]
        for one in made.differences
    ]
    return [scores, table("", columns, rows), f"{shown_name(made.metric)}: {sure}"]


def folder_made(made: "Made") -> "Group":
    """A model folder that was written."""
    values = {
        "folder": made.folder,
        "encoder": f"{made.layers} layers of width {made.dim}, {made.vocab:,} tokens",
        "head": made.head or "none",
        "parameters": count(made.parameters),
        "tokenizer": "included" if made.tokenizer else "none",
    }
    return pairs("", values)


def shown(made: "Shown") -> list["Group | str"]:
    """The parts of a model and their cost; equal neighbours share a line."""
    title = f"{made.model}: {made.layers} layers, width {made.dim}, {made.vocab:,} tokens"
    columns = ["part", "units", "parameters", "multiply-adds", "activations"]
    rows = [[name, units, count(p), count(m), bytes_of(a)] for name, units, p, m, a in folded(made.parts)]
    rows.append(["all", "", count(made.parameters), count(made.macs), bytes_of(made.activation_bytes)])
    kept = "" if made.keep is None else f", {made.keep} kept of each"
    note = f"for {_number(made.batch, 'row')} of {made.length} tokens{kept}; activations kept for training in float32"
    modes = f"multiply-adds are those of training; of inference {count(made.inference_macs)}"
    return [table(title, columns, rows), note, *([] if made.keep is None else [modes])]


def looked(made: "Looked") -> list["Group | str"]:
    """How far heads look, a line per attention."""
    groups: list[Group | str] = []
    for one in made.encoders:
        rows = [
            [number, f"{sum(heads) / len(heads):.1f}", " ".join(f"{distance:.1f}" for distance in heads)]
            for number, heads in enumerate(one.layers, 1)
        ]
        title = f"{one.run}: mean distance of attention in tokens ({one.texts:,} texts, {one.tokens:,} tokens)"
        groups.append(table(title, ["attention", "mean", "each head"], rows))
    return [*groups, *([f"drawn in {made.picture}"] if made.picture else [])]


def folded(parts: Iterable["PartCost"]) -> list[tuple[str, str, int, int, int]]:
    """(name, units, parameters, multiply-adds, bytes) of parts; consecutive equal layers are one: `layers 0-11`."""
    layers = [(place, list(group)) for place, group in groupby(parts, key=_layer)]
    found: list[tuple[str, str, int, int, int]] = []
    for _, same in groupby(layers, key=lambda layer: [replace(part, name="", activation_bytes=0) for part in layer[1]]):
        run = list(same)
        (first, _), (last, _) = run[0], run[-1]
        number = first.partition(".")[2]
        where = f"layers {number}-{last.partition('.')[2]}" if len(run) > 1 else f"layer {number}"
        for column in zip(*(members for _, members in run), strict=True):
            name = f"{where} {column[0].kind}" if number else f"{first} ({column[0].kind})"
            units = ", ".join(f"{size:,}" for size in column[0].units.values())  # heads, neurons
            found.append((name, units, *(sum(getattr(part, field) for part in column) for field in COSTS)))
    return found


def _layer(part: "PartCost") -> str:
    """layers.3.0 -> layers.3; any other name is its own."""
    return ".".join(part.name.split(".")[:2])


def known(made: "Known") -> list["Group | str"]:
    """Presets, kinds, letters of patterns, recipes."""
    presets = [[one.name, one.layers, one.dim, one.heads, count(one.parameters)] for one in made.presets]
    kinds: dict[str, object] = {role: ", ".join(names) for role, names in made.kinds.items()}
    letters = ", ".join(f"{letter} = {kind}" for letter, kind in made.letters.items())
    lines = ["", f"letters of a pattern: {letters}; {{}} repeats, : narrows, as in 2{{sf}}:10{{sf}}"]
    recipes = ["", "recipes:", *(f"  {path}" for path in made.recipes)] if made.recipes else []
    title = "Presets (parameters with a masked-LM head and 30,522 tokens)"
    presets_table = table(title, ["preset", "layers", "width", "heads", "parameters"], presets)
    return [presets_table, pairs("Kinds of parts", kinds), *lines, *recipes]


def machine(found: Mapping[str, Any]) -> list["Group | str"]:
    """What the machine has, then what can be done on it."""
    rates = {name: f"{rate:g} TFLOP/s" for name, rate in found["gemm_tflops"].items()}
    gpus = [f"{gpu['name']}, {gpu['memory_gb']} GB, capability {gpu['capability']}" for gpu in found["gpu"]]
    has = {
        "processor": f"{found['cpu']}, {_number(found['cores'], 'core')}, {_number(found['threads'], 'thread')}",
        "instructions": ", ".join(found["instruction_sets"]) or "not told by this system",
        "memory": f"{found['memory_gb']} GB",
        "GPU": "; ".join(gpus) or "none",
        "system": f"{found['system']}, Python {found['python']}, compiler {found['compiler'] or 'none'}",
        "versions": ", ".join(f"{name} {version}" for name, version in found["versions"].items()),
        "matrix product": ", ".join(f"{rate} in {name}" for name, rate in rates.items()),
    }
    native = found["best_dtype"] == "bfloat16"
    can = {
        "bfloat16": "native: training uses it" if native else "emulated and slow here: training uses float32",
        "torch.compile": "works" if found["compile"] else found["compile_problem"],
        "GPU": "used by default" if gpus else "none that torch can use: everything runs on the processor",
    }
    for name, there in found["extras"].items():
        can[f"slimbert[{name}]"] = "installed" if there else f'pip install "slimbert[{name}]"'
    return [pairs("This machine has", has), "", pairs("What is possible", can)]


def benchmark(found: Mapping[str, Any]) -> list["Group | str"]:
    """Tokens/s of every arm, and the ratios; what is a list or mapping stands in the JSON only."""
    arms = [name for name in ("stock", "stock_tuned", "handwritten", "slimbert") if name in found]
    rows = [[name, count(found[name]), f"{found[name] / found['stock']:.2f}"] for name in arms]
    rest = {name.replace("_", " "): _short(value) for name, value in found.items() if name not in arms}
    return [
        table("Masked-LM training", ["", "tokens/s", "x stock"], rows),
        pairs("", {name: text for name, text in rest.items() if text}),
    ]


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + "s" * (count != 1)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value) if isinstance(value, int | str) else ""


def demonstrated(made: "Demo") -> list["Group | str"]:
    """What the demo found out, what it wrote, and what to try next."""
    columns = ["", "accuracy", "95% interval", "parameters", "time"]
    rows = [
        [
            one.name,
            share(one.accuracy),
            f"{share(one.low)} - {share(one.high)}",
            count(one.parameters),
            clock(one.seconds),
        ]
        for one in sorted(made.contenders, key=lambda one: -one.accuracy)
    ]
    seeds = max(len(one.scores) for one in made.contenders)
    filled = {one.text: ", ".join(word.token for word in one.words) for one in made.filled}
    answers = {str(one.text): f"{one.label} ({share(one.score)})" for one in made.answers}
    return [
        table(f"Which library does a docstring come from? (means of {seeds} seeds)", columns, rows),
        *made.verdict,
        "",
        listed("The pretrained encoder fills in the masks", filled),
        listed("The winner's answers", answers),
        pairs("Written", made.files),
        f"\ndone in {clock(made.seconds)}; next:",
        *(f"  {command}" for command in made.next),
    ]


def listed(title: str, values: Mapping[str, str]) -> str:
    """A text and what belongs to it, one under the other, for texts that are too long for a table."""
    return "\n".join([title, *(f"  {text}\n    -> {value}" for text, value in values.items()), ""])


def _scores(title: str, scores: Mapping[str, Mapping[str, float]], metric: str) -> "Group":
    """Who scored what: the score that selects, its interval where there is one, at most two further ones."""
    found = {name: ordered(score, metric)[:3] for name, score in scores.items()}
    first = next(iter(found.values()))
    known = any(main.low is not None for main, *_ in found.values())  # not of a baseline that is constant
    columns = ["", first[0].name, *(["95% interval"] if known else []), *(score.name for score in first[1:])]
    rows = []
    for name, (main, *others) in found.items():
        value = _share(main.value, main) if known else _value(main)
        interval = "" if main.low is None or main.high is None else _range(main.low, main.high, main)
        rows.append([name, value, *([interval] if known else []), *map(_value, others)])
    return table(title, columns, rows)


def _share(value: float, score: "Score") -> str:
    """Shares as percentages; correlations, which may be negative, as they are."""
    return f"{value:.3f}" if score.correlation else share(value)


def _range(low: float, high: float, score: "Score") -> str:
    return f"{_share(low, score)} {'to' if score.correlation else '-'} {_share(high, score)}"


def _value(score: "Score") -> str:
    return f"{score.value:,.4g}" if score.in_units else f"{score.value:.3f}"
