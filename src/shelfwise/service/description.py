"""The OpenAPI description: FastAPI's own, with an example of every answer and the ways to send a key."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

MODEL = {"name": "shelf", "version": "3b1f0c9a77de"}
PREDICTION = {
    "book_id": 2, "stars": 4.1, "most_likely": 4.0, "sd": 0.8, "low": 3.0, "high": 5.0, "basis": "reader+book",
}  # fmt: skip
SIMILAR = [{"book_id": 18, "title": "The Secret Garden", "similarity": 0.71}]
EXAMPLES: dict[str, dict[str, Any]] = {
    "ListAnswer": {
        "books": [
            {
                "book_id": 27,
                "title": "The Left Hand of Darkness",
                "authors": ["Ursula K. Le Guin"],
                "stars": 4.4,
                "low": 4.0,
                "high": 5.0,
                "score": 1.72,
                "reasons": [
                    {
                        "code": "for",
                        "text": "Because you gave The Dispossessed 5 stars (same author)",
                        "contribution": 0.21,
                        "book_id": 1,
                    }
                ],
            }
        ],
        "model": MODEL,
        "recommendation_id": "9f0c2f6f1d3b4a7c8e5d6b7a8c9d0e1f",
        "short": None,
        "unknown_books": [],
    },
    "PredictionAnswer": {"predictions": [PREDICTION], "model": MODEL},
    "Book": {
        "book_id": 3, "title": "The Secret Garden", "authors": ["Frances Hodgson Burnett"], "series": None,
        "series_number": None, "year": 1911, "language": "en", "subjects": ["Gardens"], "description": None,
        "isbn13": "9780142437056", "ratings": 1204, "mean_stars": 4.1, "model": MODEL,
    },
    "SimilarAnswer": {"books": SIMILAR, "model": MODEL},
    "NewBookAnswer": {
        "prediction": {**PREDICTION, "book_id": 10_001}, "similar": SIMILAR, "known_tags": ["fantasy"], "model": MODEL,
    },
    "Said": {
        "reader_id": "ann",
        "ratings": [{"book_id": 1, "stars": 5}],
        "marks": [{"action": "dismiss", "subject": 27}],
    },
    "Export": {
        "readers": [{"reader_id": "ann", "created": 1795600000.0}],
        "ratings": [{"reader_id": "ann", "book_id": "1", "stars": 5.0, "changed": 1795600060.0}],
        "marks": [{"reader_id": "ann", "action": "dismiss", "subject": "27", "changed": 1795600090.0}],
        "lists": [
            {"list_id": "9f0c2f6f1d3b4a7c8e5d6b7a8c9d0e1f", "created": 1795600070.0, "model": "shelf",
             "kind": "all/blend", "version": "3b1f0c9a77de", "reader_id": "ann", "n_books": 1, "books": '["27"]'},
        ],
        "responses": [
            {"list_id": "9f0c2f6f1d3b4a7c8e5d6b7a8c9d0e1f", "book_id": "27", "action": "opened", "position": 1,
             "stars": None, "created": 1795600080.0},
        ],
        "training": {"shelf": [{"book_id": 7, "stars": 4}]},
    },
    "KeptEvents": {
        "recommendation_id": "9f0c2f6f1d3b4a7c8e5d6b7a8c9d0e1f",
        "events": [{"book_id": 27, "event": "opened"}, {"book_id": 27, "event": "rated", "stars": 4}],
    },
    "SearchAnswer": {
        "books": [
            {"book_id": 3, "title": "The Secret Garden", "authors": ["Frances Hodgson Burnett"], "series": None,
             "series_number": None, "year": 1911},
        ],
        "model": MODEL,
    },
    "ImportAnswer": {
        "source": "Goodreads (since 2026)", "encoding": "utf-8", "scale": "1-5",
        "counts": {"rows": 1, "matched": 1, "review": 0, "not-in-catalogue": 0, "unreadable": 0},
        "notes": [],
        "rows": [
            {"row": 2, "outcome": "matched", "how": "isbn", "reason": "", "title": "The Secret Garden",
             "authors": ["Frances Hodgson Burnett"], "isbns": ["9780142437056"], "stars": 5.0, "status": "read",
             "shelf": "", "read_on": "2024-05-01", "problems": [], "book_id": 3, "rating": 5.0, "rounded": False,
             "counted_in": None, "suggested": False, "candidates": []},
        ],
        "ratings": [{"book_id": 3, "stars": 5}], "marks": [], "stored": None, "model": MODEL,
    },
    "Erased": {"stored": True, "runs": ["shelf"]},
    "ModelList": {
        "models": [{"name": "shelf", "active": True, "version": "3b1f0c9a77de", "loaded": 1795600000.0}],
        "previous": None,
    },
    "Marks": {"marks": [{"action": "to-read", "subject": 7}, {"action": "hide-author", "subject": "Ann Other"}]},
    "Problem": {
        "type": "about:blank", "title": "not found", "status": 404, "code": "not-found",
        "detail": "no reader 'ann' is kept here", "hint": "make it first, or give ratings",
    },
}  # fmt: skip
KEYS = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key that `shelfwise keys make` printed."},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same."},
}
OPEN = ("/healthz", "/readyz")


def describe(app: FastAPI) -> None:
    """Let /openapi.json hold examples and keys."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = plain()
            for name, example in EXAMPLES.items():
                found["components"]["schemas"][name].setdefault("examples", [example])
            found["components"]["securitySchemes"] = KEYS
            for path, methods in found["paths"].items():
                for operation in methods.values():
                    operation["security"] = [] if path in OPEN else [{}, *({name: []} for name in KEYS)]
        return app.openapi_schema or {}

    app.openapi = described  # type: ignore[method-assign]
