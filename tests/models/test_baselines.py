"""Item neighbours and EASE against slow computations of their formulas."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from worlds import checkerboard, make_ratings

from shelfwise.errors import FitError
from shelfwise.models import coreading, item_knn
from shelfwise.models.bias import Bias, BiasConfig
from shelfwise.models.contract import FitInputs
from shelfwise.models.coreading import EASE, CoreadingKNN, CoreadingKNNConfig, EASEConfig
from shelfwise.models.inverses import inverted
from shelfwise.models.item_knn import ItemKNN, ItemKNNConfig
from shelfwise.models.sparse import from_arrays, strongest, to_arrays


def random_world(n_readers: int = 30, n_books: int = 12) -> FitInputs:
    rng = np.random.default_rng(0)
    rows = [(u, i, float(rng.integers(1, 6))) for u in range(n_readers) for i in range(n_books) if rng.random() < 0.5]
    return FitInputs(make_ratings(rows, n_readers, n_books))


def test_item_knn_is_its_formula() -> None:
    inputs = random_world()
    model = ItemKNN.fit(ItemKNNConfig(similarity_shrinkage=3, weight_shrinkage=0.1), inputs)
    bias, shelves = Bias.fit(BiasConfig(), inputs), inputs.train.shelves()
    readers = bias.fold_in(shelves)
    residual = np.full((len(shelves), inputs.train.n_books), np.nan)
    residual[shelves.rows, shelves.item_idx] = bias.residuals(readers)
    weights = np.zeros((12, 12))
    for i in range(12):
        for j in range(12):
            both = ~np.isnan(residual[:, i]) & ~np.isnan(residual[:, j])
            if i != j and both.any():
                x, y = residual[both, i], residual[both, j]
                rho = max((x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum()), 0)
                weights[i, j] = (rho * both.sum() / (both.sum() + 3)) ** 2
    assert np.allclose(model.weights.toarray(), weights, atol=1e-5)
    state = model.fold_in(shelves)
    for u, i in ((0, 3), (4, 4), (9, 11)):
        rated = ~np.isnan(residual[u])
        beyond = (weights[i, rated] * residual[u, rated]).sum() / (weights[i, rated].sum() + 0.1)
        expected = bias.mean + readers.arrays["bias"][u] + bias.book_bias[i] + beyond
        found = model.stars(state, np.array([u]), np.array([i], dtype=np.int32))[0]
        assert found == pytest.approx(np.clip(expected, 1, 5), abs=1e-4)
        assert model.scores(state)[u, i] == pytest.approx(expected, abs=1e-4)


def test_models_fitted_at_once_are_those_fitted_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, configs = random_world(), ItemKNNConfig(neighbours=4).candidates()
    alone = [ItemKNN.fit(config, inputs) for config in configs]
    monkeypatch.setattr(item_knn, "BOOKS_AT_ONCE", 5)
    for config, one, other in zip(configs, alone, ItemKNN.fit_each(configs, inputs), strict=True):
        assert other.config == config
        assert (one.weights != other.weights).nnz == 0
    assert len({model.weights.sum() for model in alone}) == 3


def test_ease_is_the_least_squares_solution_without_self_loops() -> None:
    inputs = random_world()
    model = EASE.fit(EASEConfig(l2=2.0), inputs)
    x = np.zeros((30, 12))
    x[inputs.train.user_idx, inputs.train.item_idx] = 1
    assert not np.diag(model.matrix).any()
    for i in range(12):  # each column is the ridge regression of a book on all others
        others = np.arange(12) != i
        solved = np.linalg.solve(x[:, others].T @ x[:, others] + 2 * np.eye(11), x[:, others].T @ x[:, i])
        assert model.matrix[others, i] == pytest.approx(solved, abs=1e-4)
    readers = model.fold_in(inputs.train.shelves())
    assert model.scores(readers) == pytest.approx(x @ model.matrix, abs=1e-4)


def test_what_is_foretold_without_books_held_back_is_what_a_fit_without_them_foretells() -> None:
    train, l2 = random_world().train, 2.0
    x = np.zeros((30, 12), dtype=np.float32)
    x[train.user_idx, train.item_idx] = 1
    held = x * (np.random.default_rng(1).random(x.shape) < 0.3)
    kept = x - held

    def inverse(of: np.ndarray) -> np.ndarray:
        return np.asfortranarray(inverted(np.asfortranarray(of.T @ of + l2 * np.eye(12), dtype=np.float32)))

    found = coreading.ease_scores_without(inverse(x), sp.csr_matrix(kept), sp.csr_matrix(held))
    for reader in range(30):
        others = x.copy()
        others[reader] = kept[reader]
        weights = coreading.ease_columns(inverse(others), slice(0, 12)).T
        unread = kept[reader] == 0
        assert found[reader, unread] == pytest.approx((kept[reader] @ weights)[unread], abs=1e-3)


def test_blocks_change_nothing_and_too_many_books_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = random_world()
    whole = EASE.fit(EASEConfig(), inputs).matrix, CoreadingKNN.fit(CoreadingKNNConfig(), inputs).matrix.toarray()
    monkeypatch.setattr(coreading, "BOOKS_AT_ONCE", 5)
    blocks = EASE.fit(EASEConfig(), inputs).matrix, CoreadingKNN.fit(CoreadingKNNConfig(), inputs).matrix.toarray()
    assert np.allclose(whole[0], blocks[0], atol=1e-6)
    assert np.allclose(whole[1], blocks[1], atol=1e-6)
    monkeypatch.setattr(coreading, "MAX_DENSE_BOOKS", 11)
    with pytest.raises(FitError, match="12 x 12"):
        EASE.fit(EASEConfig(), inputs)


def test_coreading_knn_is_the_cosine_of_readers() -> None:
    inputs = checkerboard()
    model = CoreadingKNN.fit(CoreadingKNNConfig(), inputs)
    x = np.zeros((40, 20))
    x[inputs.train.user_idx, inputs.train.item_idx] = 1
    lengths = np.linalg.norm(x, axis=0)
    cosines = x.T @ x / np.outer(lengths, lengths)
    np.fill_diagonal(cosines, 0)
    assert np.allclose(model.matrix.toarray(), cosines, atol=1e-5)


def test_the_strongest_entries_are_kept_and_stored() -> None:
    matrix = strongest(np.array([[0.5, 0.1, 0.3, 0.0], [0, 0, 0.2, 0]], dtype=np.float32), 2)
    assert np.allclose(matrix.toarray(), [[0.5, 0, 0.3, 0], [0, 0, 0.2, 0]])
    again = from_arrays("m", to_arrays("m", matrix))
    assert (again != sp.csr_matrix(matrix)).nnz == 0
