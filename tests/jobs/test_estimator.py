"""scikit-learn's own checks, as far as they apply to texts; pipelines, searches, cross-validation, pickles."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks
from sklearn.utils.validation import check_is_fitted

from jobs.small import BAD, GOOD, NEITHER, WORDS
from slimbert import SlimbertClassifier
from slimbert.errors import InputError
from slimbert.jobs.predict import load

pytestmark = pytest.mark.usefixtures("no_picture", "in_float32")
QUICK = {"min_updates": 30, "epochs": 1, "device": "cpu"}
TEXTS = [f"{(GOOD if i % 2 else BAD)[i % 3]} {NEITHER[i % 7]} {NEITHER[i % 5]} {NEITHER[i % 3]}" for i in range(210)]
LABELS = np.array(["no", "yes"])[np.arange(210) % 2]


@pytest.fixture(scope="module")
def fitted(encoder: Path) -> SlimbertClassifier:
    return SlimbertClassifier(encoder, lr=1e-3, device="cpu").fit(TEXTS, LABELS)


def test_it_learns_and_answers_in_the_given_labels(fitted: SlimbertClassifier):
    assert fitted.classes_.tolist() == ["no", "yes"]
    assert fitted.score(TEXTS, LABELS) > 0.95
    shares = fitted.predict_proba(TEXTS[:5])
    assert shares.shape == (5, 2)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
    assert fitted.predict(TEXTS[:5]).dtype == LABELS.dtype
    assert fitted.predict([]).shape == (0,)
    assert fitted.scores_["accuracy"] > 0.9
    assert fitted.n_updates_ >= 30


@pytest.mark.parametrize("kind", [int, bool, float])
def test_labels_come_back_as_they_were(encoder: Path, kind: type):
    labels = [kind(i % 2) for i in range(210)]
    made = SlimbertClassifier(encoder, **QUICK).fit(np.array(TEXTS), labels)
    assert set(made.predict(TEXTS[:20])) <= set(np.asarray(labels).tolist())
    assert made.classes_.dtype == np.asarray(labels).dtype


def test_pairs(encoder: Path):
    pairs = [(one, other) for one, other in zip(TEXTS, TEXTS[::-1])]
    made = SlimbertClassifier(encoder, **QUICK).fit(pairs, LABELS)
    assert made.predict(np.array(pairs[:3])).shape == (3,)
    with pytest.raises(InputError, match=r"texts\[0\]: 1 texts where the model reads 2"):
        made.predict(["alone"])


class OfNumbers(SlimbertClassifier):
    """scikit-learn's checks bring numbers: every column of a row becomes a word that says how large its number is."""

    def fit(self, X: Any, y: Any) -> Any:
        return super().fit(as_texts(X), y)

    def predict_proba(self, X: Any) -> Any:
        check_is_fitted(self)
        return super().predict_proba(as_texts(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.one_d_array = True, False  # as of an estimator of numbers
        tags.input_tags.string = False
        return tags


def as_texts(X: Any) -> Any:
    if hasattr(X, "tocsr"):
        return X
    numbers = np.asarray(X, dtype=np.float64)
    places = 11 * np.arange(numbers.shape[1]) + np.rint(2 * numbers).astype(int)
    places = np.column_stack([places, np.floor(1e4 * np.abs(numbers).sum(axis=1)).astype(int)])  # hardly two rows alike
    return [" ".join(WORDS[place % len(WORDS)] for place in row) for row in places.tolist()]


RUN = [
    "check_classifiers_classes",
    "check_classifiers_one_label",
    "check_classifiers_regression_target",
    "check_classifiers_train",
    "check_dict_unchanged",
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_dont_overwrite_parameters",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_sparse_array",
    "check_estimator_sparse_matrix",
    "check_estimator_sparse_tag",
    "check_estimator_tags_renamed",
    "check_estimators_fit_returns_self",
    "check_estimators_overwrite_params",
    "check_estimators_pickle",
    "check_estimators_unfitted",
    "check_fit2d_1sample",
    "check_fit_check_is_fitted",
    "check_fit_idempotent",
    "check_fit_score_takes_y",
    "check_get_params_invariance",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_pipeline_consistency",
    "check_readonly_memmap_input",
    "check_set_params",
    "check_valid_tag_types",
]
ABOUT_NUMBERS = "it is about arrays of numbers: their type, order in memory, sign, or width"
NOTHING = "it asks for nothing here: the estimator has no such method or parameter"
LEFT_OUT = {
    "check_array_api_input": ABOUT_NUMBERS,
    "check_classifier_data_not_an_array": ABOUT_NUMBERS,
    "check_classifiers_one_label_sample_weights": NOTHING,
    "check_decision_proba_consistency": NOTHING,
    "check_estimators_dtypes": ABOUT_NUMBERS,
    "check_estimators_partial_fit_n_features": NOTHING,
    "check_f_contiguous_array_estimator": ABOUT_NUMBERS,
    "check_fit2d_1feature": ABOUT_NUMBERS,
    "check_n_features_in_after_fitting": ABOUT_NUMBERS,
    "check_non_transformer_estimators_n_iter": NOTHING,
    "check_positive_only_tag_during_fit": ABOUT_NUMBERS,
}


def test_every_check_is_run_or_left_out_for_a_reason(encoder: Path):
    """As the version of the constraints lists them; another version may know other checks."""
    yielded = estimator_checks._yield_all_checks(OfNumbers(encoder), legacy=True)
    names = {getattr(check, "func", check).__name__ for check in yielded} | {"check_estimator_cloneable"}
    assert names == {*RUN, *LEFT_OUT} and not {*RUN} & {*LEFT_OUT}
    page = (Path(__file__).parents[2] / "docs" / "scikit-learn.md").read_text()
    assert [name for name in sorted(names) if f"`{name}`" not in page] == []


@pytest.mark.filterwarnings("ignore")  # scikit-learn's own: the estimator is no part of it
@pytest.mark.parametrize("check", RUN)
def test_checks_of_scikit_learn(check: str, encoder: Path):
    updates = 60 if check == "check_classifiers_train" else 5  # only that one wants it to have learnt something
    made = OfNumbers(encoder, lr=3e-3, min_updates=updates, epochs=1, device="cpu")
    getattr(estimator_checks, check)("OfNumbers", made)


def test_unfitted_says_so(encoder: Path):
    with pytest.raises(NotFittedError):
        SlimbertClassifier(encoder).predict(["a"])
    assert not hasattr(clone(SlimbertClassifier(encoder, lr=1e-3)), "classes_")


def test_equal_seeds_equal_answers(encoder: Path):
    first, second = (SlimbertClassifier(encoder, seed=3, **QUICK).fit(TEXTS, LABELS) for _ in range(2))
    np.testing.assert_array_equal(first.predict_proba(TEXTS), second.predict_proba(TEXTS))


def test_in_pipelines_searches_and_folds(encoder: Path):
    model = SlimbertClassifier(encoder, **QUICK)
    lower = Pipeline([("lower", FunctionTransformer(lambda texts: [text.lower() for text in texts])), ("model", model)])
    assert lower.fit(TEXTS, LABELS).predict(["BAMA DENE"]).shape == (1,)
    assert cross_val_score(model, TEXTS, LABELS, cv=2).shape == (2,)
    search = GridSearchCV(model, {"lr": [1e-5, 2e-3]}, cv=2).fit(TEXTS, LABELS)
    assert search.best_params_ == {"lr": 2e-3}
    assert search.predict(TEXTS[:2]).shape == (2,)


def test_pickled_it_answers_alike(fitted: SlimbertClassifier):
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(TEXTS[:9]), fitted.predict_proba(TEXTS[:9]))


def test_saved_it_is_a_run_folder(fitted: SlimbertClassifier, tmp_path: Path):
    fitted.save(tmp_path / "run")
    answers = load(tmp_path / "run", device="cpu").predict(TEXTS[:3])
    assert [one.label for one in answers] == fitted.predict(TEXTS[:3]).tolist()


@pytest.mark.parametrize(
    ("texts", "labels", "options", "problem"),
    [
        ("one string", ["a"], {}, "one string instead of a list"),
        (["a", 5], [0, 1], {}, r"X\[1\]: 5 is no text"),
        (["a", None], [0, 1], {}, r"X\[1\]: None is no text"),
        (["a", "b"], [0], {}, r"of shape \(1,\) for 2 texts"),
        (TEXTS, [0] * 210, {}, "1 classes in 210 rows"),
        (TEXTS, LABELS, {"encoder": ""}, "none is given"),
        (TEXTS, LABELS, {"validation": 1.5}, "1.5 is no share"),
        (TEXTS, LABELS, {"batch_size": 0}, "0 is too small"),
    ],
)
def test_bad_input_is_one_line(encoder: Path, texts: object, labels: object, options: dict, problem: str):
    with pytest.raises(InputError, match=problem):
        SlimbertClassifier(**{"encoder": encoder, **options}).fit(texts, labels)


def test_scores_are_refused(encoder: Path):
    with pytest.raises(ValueError, match="continuous"):
        SlimbertClassifier(encoder).fit(TEXTS, np.linspace(0, 1, 210))
