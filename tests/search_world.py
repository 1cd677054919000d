"""Books to be searched, and what processes of their own do with them, which import this and nothing of pytest's."""

from __future__ import annotations

import itertools
import os
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import polars as pl

from shelfwise.data.catalogue import build_catalogue
from shelfwise.service.search import Search
from shelfwise.service.store import Store

# book id, title, authors, isbn, how often it is read
BOOKS = [
    (1, "It", "Stephen King", "0450411435", 50),
    (2, "Italian Shoes", "Henning Mankell", "", 90),
    (3, "As I Lay Dying: What It Takes", "Ann Other", "", 99),
    (4, "The Hobbit", "J.R.R. Tolkien", "", 80),
    (5, "The Two Towers (The Lord of the Rings, #2)", "J.R.R. Tolkien", "0618002235", 70),
    (6, "Wuthering Heights", "Emily Brontë", "", 60),
    (7, "Jane Eyre", "Charlotte Brontë", "", 61),
    (8, "Harry Potter and the Goblet of Fire (Harry Potter, #4)", "J.K. Rowling|Mary GrandPré", "", 98),
    (9, "Harry Potter and the Half-Blood Prince (Harry Potter, #6)", "J.K. Rowling", "", 97),
    (10, "Cien años de soledad", "Gabriel García Márquez", "", 40),
    (11, "Преступление и наказание", "Фёдор Достоевский", "", 30),
    (12, "Tolkien: A Biography", "Humphrey Carpenter", "", 10),
    (13, "1984", "George Orwell", "", 88),
    (14, "Emma", "Jane Austen", "", 20),
    (15, "Emma", "Somebody Else", "", 25),
    (16, "Don't Look Now", "Daphne du Maurier", "", 5),
]


def catalogue() -> pl.DataFrame:
    names = ("book_id", "title", "authors", "isbn")
    columns = {name: [str(book[place]) for book in BOOKS] for place, name in enumerate(names)}
    return build_catalogue(pl.DataFrame(columns), Path("books.csv"))


READS = np.array([book[4] for book in BOOKS], dtype=np.float32)


def index_for_ever(url: str, told: Connection) -> None:
    search = Search(Store(url))
    for n in itertools.count():
        search.index(f"kill{os.getpid()}x{n}", catalogue(), READS)
        told.send(n)


def index_some(url: str) -> None:
    search = Search(Store(url))
    for n in range(5):
        search.index(f"shared{n}", catalogue(), READS)
        assert search.ask(f"shared{n}", "hobbit", 1)
