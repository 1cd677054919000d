"""Requests in, lists out: whatever waits is answered together, since many readers cost little more than one."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import polars as pl
import torch

from shelfwise.data.vocabulary import Id, Vocabulary
from shelfwise.rules import Rules
from shelfwise.rules.feedback import Mark
from shelfwise.service.models import Models, Served

NO_RULES = Rules()
SHARED_FROM = 200  # ratings of one reader; what fewer need is done before a second thread has woken up
NOBODY = "\0"  # begins the names of those who did not say who they are, as no reader's id does


@dataclass(frozen=True)
class Question:
    """Who asks for what: ratings as (book id, stars), marks as (action, subject); `reader`, whom the run may know.

    lists  those that are wanted, by one look at the ratings: how many books each, and by what rules
    """

    ratings: tuple[tuple[Id, float], ...]
    marks: tuple[tuple[str, str], ...] = ()
    reader: str | None = None
    lists: tuple[tuple[int, Rules], ...] = ((10, NO_RULES),)
    order: str | None = None
    why: bool = False

    @property
    def kind(self) -> tuple[Any, ...]:
        """What questions that can be answered together have in common."""
        return self.lists, self.order, self.why


@dataclass(frozen=True)
class Answer:
    """Lists: of each its books (Listed.plain), and why it is short, if so; who answered; unknown books."""

    served: Served
    lists: tuple[list[dict[str, Any]], ...]
    short: tuple[str | None, ...]
    unknown: tuple[str, ...]


class Desk:
    """One thread that answers; the models may be changed at any time, each answer is of one."""

    def __init__(self, models: Models, at_once: int) -> None:
        self._models, self._at_once = models, at_once
        self._waiting: queue.SimpleQueue[tuple[Question, Future[Answer]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="desk", daemon=True)
        self._thread.start()

    def ask(self, question: Question) -> Future[Answer]:
        """The answer to come; it may raise a ShelfwiseError."""
        future: Future[Answer] = Future()
        self._waiting.put((question, future))
        return future

    def close(self) -> None:
        """Answer what waits, then stop."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        last, n_threads = False, torch.get_num_threads()
        while not last:
            batch, last = self._take()
            served = self._models.active
            by_kind: dict[tuple[Any, ...], list[tuple[Question, Future[Answer]]]] = {}
            for question, future in batch:
                if future.set_running_or_notify_cancel():
                    by_kind.setdefault(question.kind, []).append((question, future))
            for group in by_kind.values():
                longest = max(len(question.ratings) for question, _ in group)
                torch.set_num_threads(n_threads if longest >= SHARED_FROM else 1)
                _answer(served, group)

    def _take(self) -> tuple[list[tuple[Question, Future[Answer]]], bool]:
        """What waits, at least one question and at most so many; and whether that was the end."""
        batch: list[tuple[Question, Future[Answer]]] = []
        item = self._waiting.get()
        while item is not None:
            batch.append(item)
            if len(batch) == self._at_once:
                return batch, False
            try:
                item = self._waiting.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True


def _answer(served: Served, group: list[tuple[Question, Future[Answer]]]) -> None:
    """Answer questions of one kind; where that fails, each alone, so that only the one at fault fails."""
    while group:
        names: dict[str, tuple[Question, Future[Answer]]] = {}
        rest = []
        for place, (question, future) in enumerate(group):
            name = f"{NOBODY}{place}" if question.reader is None else question.reader
            if name in names:  # the same reader twice
                rest.append((question, future))
            else:
                names[name] = (question, future)
        try:
            answers = answer(served, {name: question for name, (question, _) in names.items()})
        except Exception as error:
            if len(names) == 1:
                next(iter(names.values()))[1].set_exception(error)
            else:
                for pair in names.values():
                    _answer(served, [pair])
        else:
            for name, (_, future) in names.items():
                future.set_result(answers[name])
        group = rest


def answer(served: Served, questions: dict[str, Question]) -> dict[str, Answer]:
    """The answers to questions of one kind, by the name of who asks. Raises ShelfwiseError."""
    one = next(iter(questions.values()))
    recommender = served.ordered(one.order)
    shelf = recommender.shelves_of({name: question.ratings for name, question in questions.items()})
    marks: list[Mark] = [(name, *mark) for name, question in questions.items() for mark in question.marks]
    rows: list[tuple[list[dict[str, Any]], ...]] = [tuple([] for _ in one.lists) for _ in questions]
    short: list[list[str | None]] = [[None] * len(one.lists) for _ in questions]
    blocks = recommender.recommend_lists(
        one.lists,
        pl.Series(list(questions), dtype=pl.String),
        shelf,
        feedback=recommender.feedback_of(marks) if marks else None,
        why=one.why,
        ranges=True,
        on_short=lambda row, place, missing: short[row].__setitem__(place, str(missing)),
    )
    catalogue = recommender.run.catalogue
    for listed in blocks:
        for row, place, book in listed.plain(catalogue):
            rows[row][place].append(book)
    vocabulary = catalogue.vocabulary
    return {
        name: Answer(served, rows[place], tuple(short[place]), _unknown(vocabulary, question))
        for place, (name, question) in enumerate(questions.items())
    }


def _unknown(vocabulary: Vocabulary, question: Question) -> tuple[str, ...]:
    ids = [book_id for book_id, _ in question.ratings]
    return tuple(str(book_id) for book_id, idx in zip(ids, vocabulary.find(ids).tolist(), strict=True) if idx < 0)
