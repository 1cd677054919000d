"""Neural matrix factorisation on reader vectors in closed form: mf, ncf and hybrid in their default recipe.

    stars(u, i) = mean + b_u + b_i + h . blocks(p_u * q_i) + MLP(u, i)

The GMF and MLP paths are those of NeuMF (He et al., Neural collaborative filtering, WWW 2017, section 3). q_i, the
book's vector, is given: a spectral embedding of who read what (mf, ncf), or of content (hybrid). p_u and b_u, the
reader's vector and bias, are a ridge regression of the reader's residuals on the vectors of the books rated
(profiles.py). blocks() adds p * q up over blocks of coordinates and h weights the blocks. The MLP sees the reader
(b_u, log count, first numbers of p_u), the book (b_i, log count, first numbers of q_i) and the pair (blocks of
p_u * q_i, and of the sum of the vectors on the shelf * q_i).

Training starts at h = 1 and MLP = 0, on leave-one-out profiles, so that no row sees its own stars. A new reader is
one more ridge regression; nothing is stored about readers.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from shelfwise.config import ModelConfig
from shelfwise.data.scale import Scale
from shelfwise.data.shelves import Floats, Indices, Shelves
from shelfwise.models.contract import Arrays, FitInputs, Model, Readers, Rows
from shelfwise.models.dropout import ByteDropout
from shelfwise.models.profiles import Profiles, Ridge, fit_profiles

PAIRS_AT_ONCE = 65_536


class NeuMFConfig(ModelConfig):
    """Architecture and regularisation.

    noise, bias_variance  of the ridge regression for readers (profiles.Ridge)
    book_shrinkage        pseudo-ratings that pull a book's bias towards its prior
    hidden                widths of the MLP's layers; none: no MLP
    seen_by_mlp           how many numbers of the reader's and the book's vector the MLP sees
    new_book_share        share of training rows whose book is shown as if nobody had rated it
    """

    noise: Annotated[float, Field(gt=0)] = 1.0
    bias_variance: Annotated[float, Field(gt=0)] = 0.6
    book_shrinkage: Annotated[float, Field(ge=0)] = 6.0
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = ()
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    seen_by_mlp: Annotated[int, Field(ge=0)] = 32
    new_book_share: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @property
    def ridge(self) -> Ridge:
        """The regularisation of reader vectors."""
        return Ridge(self.noise, self.bias_variance)

    def blocks(self, dim: int) -> Tensor:
        """The block of each coordinate of a spectral embedding, int64 [dim]: 0 | 1 | 2-3 | 4-7 | 8-15 | ..."""
        return torch.tensor([place.bit_length() for place in range(dim)], dtype=torch.int64)

    def n_seen(self, dim: int) -> int:
        """How many numbers of a vector of length `dim` the MLP sees."""
        return min(self.seen_by_mlp, dim)

    def n_inputs(self, books: BookSide) -> int:
        """How many numbers the MLP sees of a pair."""
        return 4 + 2 * self.n_seen(books.vectors.shape[1]) + 2 * books.n_blocks


@dataclass(frozen=True)
class BookSide:
    """The books: vectors [I, D], the block of each coordinate [D], prior and bias [I] (stars), count [I] (ratings)."""

    mean: float
    vectors: Tensor
    blocks: Tensor
    prior: Tensor
    bias: Tensor
    count: Tensor

    @property
    def n_blocks(self) -> int:
        return int(self.blocks.max()) + 1 if len(self.blocks) else 0

    @property
    def block_matrix(self) -> Tensor:
        """[D, K]: adds coordinates up by block."""
        return torch.nn.functional.one_hot(self.blocks, self.n_blocks).to(self.vectors.dtype)


@dataclass(frozen=True)
class Pairs:
    """What the network sees of B reader-book pairs: stars so far [B], GMF inputs [B, K], MLP inputs [B, F]."""

    base: Tensor
    gmf: Tensor
    mlp: Tensor

    def to(self, device: torch.device) -> Pairs:
        """The same on a device."""
        return Pairs(self.base.to(device), self.gmf.to(device), self.mlp.to(device))


def make_pairs(books: BookSide, readers: Profiles, item_idx: Tensor, bias: Tensor, count: Tensor, seen: int) -> Pairs:
    """Pairs of B readers (rows of `readers`) and books; bias and count [B] are the books' as they are to be shown.

    A book that is not in the catalogue, item_idx -1, has no vector.
    """
    known = item_idx >= 0
    vectors = books.vectors[item_idx.clamp(min=0)]
    if not known.all():
        vectors = vectors * known[:, None]
    matrix = books.block_matrix
    gmf = (readers.vector * vectors) @ matrix
    overlap = (readers.book_sum * vectors) @ matrix
    numbers = torch.stack([readers.bias, readers.count.log1p(), bias, count.log1p()], 1)
    mlp = torch.cat([numbers, readers.vector[:, :seen], vectors[:, :seen], gmf, overlap], 1)
    return Pairs(books.mean + bias + readers.bias, gmf, mlp)


class PairNetwork(nn.Module):
    """The weights h of the GMF path and the MLP; `inputs` columns of the MLP are standardised."""

    centre: Tensor
    spread: Tensor

    def __init__(self, n_blocks: int, n_inputs: int, hidden: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        self.gmf = nn.Parameter(torch.ones(n_blocks))
        self.register_buffer("centre", torch.zeros(n_inputs))
        self.register_buffer("spread", torch.ones(n_inputs))
        layers: list[nn.Module] = []
        for width in hidden:
            layers += [nn.Linear(n_inputs, width), nn.ReLU(), ByteDropout(dropout)]
            n_inputs = width
        last = nn.Linear(n_inputs, 1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.mlp = nn.Sequential(*layers, last) if hidden else None

    def standardise(self, inputs: Tensor) -> None:
        """Take centre and spread from training inputs [N, F]."""
        self.centre.copy_(inputs.mean(0))
        self.spread.copy_(inputs.std(0, correction=0) + 1e-6)

    def forward(self, pairs: Pairs) -> Tensor:
        """Stars [B]."""
        stars = pairs.base + pairs.gmf @ self.gmf
        if self.mlp is not None:
            stars = stars + self.mlp((pairs.mlp - self.centre) / self.spread)[:, 0]
        return stars

    def all_books(self, books: BookSide, readers: Profiles, seen: int) -> Tensor:
        """What forward gives for U readers and every book, [U, I], with each half of the first layer done once.

        Features come first, [F, U * I], so that every layer is one matrix product.
        """
        n_readers, n_books = len(readers.bias), len(books.bias)
        weighted = readers.vector * self.gmf[books.blocks]
        stars: Tensor = books.mean + books.bias[None, :] + readers.bias[:, None] + weighted @ books.vectors.T
        if self.mlp is None:
            return stars
        first, *others = self.mlp
        assert isinstance(first, nn.Linear)
        weight = first.weight / self.spread
        constant = first.bias - weight @ self.centre
        numbers, mine, theirs, pair = torch.split(weight, [4, seen, seen, 2 * books.n_blocks], dim=1)
        reader_half = torch.stack([readers.bias, readers.count.log1p()], 1) @ numbers[:, :2].T
        reader_half = reader_half + readers.vector[:, :seen] @ mine.T + constant
        book_half = torch.stack([books.bias, books.count.log1p()], 1) @ numbers[:, 2:].T
        book_half = book_half + books.vectors[:, :seen] @ theirs.T
        products = torch.empty(2 * books.n_blocks, n_readers, n_books)
        for block in range(books.n_blocks):
            at = books.blocks == block
            theirs_at = books.vectors[:, at].T
            torch.mm(readers.vector[:, at], theirs_at, out=products[block])
            torch.mm(readers.book_sum[:, at], theirs_at, out=products[books.n_blocks + block])
        x = pair @ products.view(2 * books.n_blocks, -1)
        x.view(-1, n_readers, n_books).add_(reader_half.T[:, :, None]).add_(book_half.T[:, None, :])
        for layer in others:
            if isinstance(layer, nn.Linear):
                x = torch.addmm(layer.bias[:, None], layer.weight, x)
            elif isinstance(layer, nn.ReLU):
                x = x.relu_()
        return stars + x.view(n_readers, n_books)


class NeuMF(Model):
    """A fitted network over a book side. Subclasses name the kind and its config."""

    config_class: ClassVar[type[NeuMFConfig]]

    def __init__(self, config: NeuMFConfig, scale: Scale, books: BookSide, network: PairNetwork) -> None:
        self.config: NeuMFConfig = config
        self.scale = scale
        self.books = books
        self.network = network.eval()
        self.book_counts = books.count.numpy().astype(np.int32)

    @classmethod
    def make_network(cls, config: NeuMFConfig, books: BookSide) -> PairNetwork:
        """A network of this architecture, before training."""
        return PairNetwork(books.n_blocks, config.n_inputs(books), config.hidden, config.dropout)

    @classmethod
    @abstractmethod
    def book_vectors(cls, config: NeuMFConfig, inputs: FitInputs) -> Tensor:
        """The books' vectors, float32 [I, D]; as long as they are to weigh in the kernel of the ridge regression."""

    def fold_in(self, shelves: Shelves, trained_idx: Indices | None = None) -> Readers:
        """vector and book_sum float32 [U, D], bias and count float32 [U]."""
        item_idx = torch.from_numpy(shelves.item_idx.astype(np.int64))
        residuals = torch.from_numpy(shelves.stars.astype(np.float32)) - self.books.mean - self.books.bias[item_idx]
        profiles = fit_profiles(shelves, self.books.vectors, residuals, self.config.ridge)
        return Readers(shelves, {name: value.numpy() for name, value in vars(profiles).items()})

    @torch.inference_mode()
    def stars(self, readers: Readers, rows: Rows, item_idx: Indices) -> Floats:
        stars = np.empty(len(rows), dtype=np.float32)
        for start in range(0, len(rows), PAIRS_AT_ONCE):
            part = slice(start, start + PAIRS_AT_ONCE)
            stars[part] = self._predict(readers, rows[part], item_idx[part]).numpy()
        return self.scale.clip(stars)

    @torch.inference_mode()
    def scores(self, readers: Readers) -> Floats:
        """Unclipped stars, by matrix products over the whole catalogue."""
        scores = np.empty((len(readers), len(self.book_counts)), dtype=np.float32)
        step = max(1, PAIRS_AT_ONCE // max(len(self.book_counts), 1))
        for start in range(0, len(readers), step):
            part = slice(start, start + step)
            block = Profiles(**{name: torch.from_numpy(value[part]) for name, value in readers.arrays.items()})
            scores[part] = self.network.all_books(self.books, block, self.config.n_seen(block.vector.shape[1])).numpy()
        return scores

    def _predict(self, readers: Readers, rows: Rows, item_idx: Indices) -> Tensor:
        arrays = {name: torch.from_numpy(value[rows]) for name, value in readers.arrays.items()}
        books = torch.from_numpy(item_idx.astype(np.int64))
        known = books >= 0
        bias, count = self.books.bias[books] * known, self.books.count[books] * known
        seen = self.config.n_seen(self.books.vectors.shape[1])
        pairs = make_pairs(self.books, Profiles(**arrays), books, bias, count, seen)
        predicted: Tensor = self.network(pairs.to(self.network.gmf.device))
        return predicted.cpu()

    def book_state(self) -> Arrays:
        books = self.books
        arrays: Arrays = {
            "mean": np.array([books.mean]),
            "vectors": books.vectors.numpy(),
            "blocks": books.blocks.numpy(),
            "prior": books.prior.numpy(),
            "bias": books.bias.numpy(),
            "count": books.count.numpy(),
        }
        return arrays | {f"network.{name}": value.numpy() for name, value in self.network.state_dict().items()}

    @classmethod
    def from_state(cls, config: ModelConfig, scale: Scale, book_state: Arrays, reader_state: Arrays) -> Self:
        config = cls.config_class.model_validate(config.model_dump())
        tensors = {name: torch.from_numpy(np.array(value)) for name, value in book_state.items()}
        mean = float(book_state["mean"][0])
        names = ("vectors", "blocks", "prior", "bias", "count")
        books = BookSide(mean, *(tensors[name] for name in names))
        network = cls.make_network(config, books)
        network.load_state_dict({k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")})
        return cls(config, scale, books, network)
