"""slimbert for scikit-learn: `SlimbertClassifier(...).fit(texts, labels).predict(texts)`, in pipelines and searches.

Settings are those of `slimbert finetune --set`, as parameters of the estimator, so that GridSearchCV can vary them.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from ..data.splits import same_texts, stratified
from ..data.tasks import Split, Task, fingerprint
from ..errors import InputError
from .finetune import finetune
from .predict import load


class SlimbertClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A fine-tuned encoder as a classifier of texts (X: [N] strings) or of pairs (X: [N, 2] strings).

    encoder: a run, a transformers folder or a Hub name. validation: the share of the rows that stops and selects; it is
    cut from what `fit` is given. The other parameters are settings of fine-tuning; None leaves the default. Fitted:
    `classes_`, `scores_` (on the validation rows), `n_updates_`.
    """

    def __init__(
        self,
        encoder: str | Path = "",
        *,
        epochs: int | None = None,
        min_updates: int | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        dropout: float | None = None,
        max_len: int | None = None,
        class_weights: str | None = None,
        patience: int | None = None,
        validation: float = 0.1,
        seed: int = 0,
        device: str | None = None,
        verbose: bool = False,
    ) -> None:
        self.encoder = encoder
        self.epochs = epochs
        self.min_updates = min_updates
        self.batch_size = batch_size
        self.lr = lr
        self.dropout = dropout
        self.max_len = max_len
        self.class_weights = class_weights
        self.patience = patience
        self.validation = validation
        self.seed = seed
        self.device = device
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> Self:
        """Fine-tune on texts and labels of any kind that scikit-learn takes: words, numbers, booleans."""
        texts, labels = _texts(X), np.asarray(y)
        if labels.ndim != 1 or len(labels) != len(texts):
            raise InputError("y", f"of shape {labels.shape} for {len(texts)} texts", "give one label for each text")
        if not str(self.encoder):
            raise InputError("encoder", "none is given", "name a run, a transformers folder or a Hub name")
        check_classification_targets(labels)
        self.classes_, numbers = np.unique(labels, return_inverse=True)
        task = self._task(texts, numbers.astype(np.int64))
        with tempfile.TemporaryDirectory() as folder:
            made = finetune(
                self.encoder,
                task,
                out=Path(folder) / "run",
                settings=self._settings(),
                seed=self.seed,
                device=self.device,
                quiet=not self.verbose,
                with_baselines=False,
            )
            self.files_ = {file.name: file.read_bytes() for file in (Path(folder) / "run").iterdir() if file.is_file()}
        self.scores_, self.n_updates_ = made.validation, made.updates
        return self._open()

    def predict_proba(self, X: Any) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        """[N, C] the probability of each class, in the order of `classes_`."""
        check_is_fitted(self)
        answers = self._predictor.predict(_texts(X))
        return np.array([list(one.scores.values()) for one in answers]).reshape(-1, len(self.classes_))

    def predict(self, X: Any) -> np.ndarray[Any, Any]:
        """[N] the most probable class of each text, as it was given to `fit`."""
        best = self.predict_proba(X).argmax(axis=1)
        found: np.ndarray[Any, Any] = self.classes_[best]
        return found

    def save(self, folder: str | Path) -> None:
        """The fitted model as a run folder, which `slimbert predict` and transformers read."""
        check_is_fitted(self)
        _write(self.files_, Path(folder))

    def _task(self, texts: Sequence[Any], numbers: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Task:
        if not 0 < self.validation < 1:
            raise InputError("validation", f"{self.validation} is no share of the rows", "choose from above 0 to 1")
        shares = (1 - self.validation, self.validation)
        rows = stratified(numbers, shares, seed=self.seed, groups=same_texts(texts))
        whole = Split(texts, numbers)
        train, held = whole.take(rows[0]), whole.take(rows[1])
        names = tuple(str(name) for name in self.classes_.tolist())
        if len(names) < 2 or not len(held):
            problem = f"{len(names)} classes in {len(texts)} rows ({len(set(texts))} different texts)"
            raise InputError("y", problem, "give two classes or more, and more texts")
        columns = ("text",) if isinstance(texts[0], str) else ("first", "second")
        kind = "classification" if len(columns) == 1 else "pair"
        sha256 = fingerprint(names, train, held)
        return Task(kind, names, columns, "label", train, held, None, (), sha256)

    def _settings(self) -> list[str]:
        names = ("epochs", "min_updates", "batch_size", "lr", "dropout", "max_len", "class_weights", "patience")
        return [f"{name}={getattr(self, name)}" for name in names if getattr(self, name) is not None]

    def _open(self) -> Self:
        with tempfile.TemporaryDirectory() as folder:
            _write(self.files_, Path(folder))
            self._predictor = load(folder, device=self.device)
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Without the model in memory: its files stand in `files_`."""
        return {name: value for name, value in super().__getstate__().items() if name != "_predictor"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if hasattr(self, "files_"):
            self._open()

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array, tags.input_tags.one_d_array = True, False, True
        tags.non_deterministic = False
        tags.no_validation = True
        return tags


def _texts(values: Any) -> list[Any]:
    """Strings, or pairs of strings, from a list, an array, a series or a frame of two columns."""
    if isinstance(values, str):
        raise InputError("X", "one string instead of a list", "give [text]")
    if hasattr(values, "tocsr"):
        raise InputError(
            "X", "a sparse matrix of numbers", "give the texts themselves: the encoder makes its own features"
        )
    rows = values.to_numpy() if hasattr(values, "to_numpy") else values
    found = [tuple(row) if isinstance(row, list | tuple | np.ndarray) else row for row in rows]
    for number, row in enumerate(found):
        words = (row,) if isinstance(row, str) else row
        if not isinstance(words, tuple) or len(words) > 2 or not all(isinstance(word, str) for word in words):
            raise InputError(f"X[{number}]", f"{row!r:.80} is no text", "give strings, or pairs of strings")
    return [row[0] if isinstance(row, tuple) and len(row) == 1 else row for row in found]


def _write(files: dict[str, bytes], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
