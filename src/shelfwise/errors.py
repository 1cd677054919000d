"""Every error that Shelfwise raises on purpose.

    ShelfwiseError
    ├── UsageError          the call itself is wrong: options that exclude each other, unknown names   (exit 2)
    ├── ConfigError         a setting is unknown, of the wrong type or out of range
    ├── DataError           a file of the user's cannot be used as it is
    │   ├── MissingDataError    a file, folder or data set is not there
    │   ├── FormatError         not the format it should be: delimiter, encoding, archive, empty file
    │   ├── MissingColumnError  a needed column is not in the file
    │   ├── BadValueError       a value that cannot be read: text where stars belong, NaN, outside the scale
    │   ├── DuplicateError      repeated reader-book pairs where none are allowed
    │   ├── UnknownBookError    ratings of books that the catalogue does not hold, where that is fatal
    │   └── AmbiguousIdsError   book ids could be read in two id spaces
    ├── FetchError          a download or an object store failed: offline, not permitted, interrupted, wrong content
    ├── EngineError         the processes or machines that work is spread over: not there, not reached, lost
    ├── FitError            a model cannot be fitted: no ratings, a loss that is not finite
    ├── StoppedError        training was stopped by SIGTERM; it can go on
    ├── RunError            a run folder cannot be used or written
    │   ├── RunExistsError      the output folder already holds a run
    │   ├── CorruptRunError     a file is missing, truncated, swapped or altered
    │   ├── RunVersionError     written by a newer version of Shelfwise
    │   └── OutputError         the disk is full, or the place is not writable
    └── ServiceError        the service cannot do what is asked of it
        ├── NotFoundError       no such reader, book, model or page
        ├── KeyMissingError     no key, or one that is not known, expired or revoked
        ├── KeyRoleError        the key may not do this; a request from another site
        ├── TooLargeError       a body, a file or a value beyond its limit
        ├── TooManyError        more requests than are allowed in this time
        ├── StoreError          the database cannot be reached or written
        └── StoreFullError      the disk of the database is full

A message says what is wrong, where, and the value; the hint says what to do. The command line
prints both and exits with `exit_code`; the service answers with the same code and words.
"""

from __future__ import annotations

from typing import ClassVar


class ShelfwiseError(Exception):
    """Base of all errors raised on purpose. `code` is stable, words may improve."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class UsageError(ShelfwiseError):
    code = "usage"
    exit_code = 2


class ConfigError(ShelfwiseError):
    code = "config"
    exit_code = 2


class DataError(ShelfwiseError):
    code = "data"


class MissingDataError(DataError):
    code = "data-missing"


class FormatError(DataError):
    code = "data-format"


class MissingColumnError(DataError):
    code = "data-column"


class BadValueError(DataError):
    code = "data-value"


class DuplicateError(DataError):
    code = "data-duplicate"


class UnknownBookError(DataError):
    code = "data-unknown-book"


class AmbiguousIdsError(DataError):
    code = "data-ambiguous-ids"


class FetchError(ShelfwiseError):
    code = "fetch"


class EngineError(ShelfwiseError):
    code = "engine"


class FitError(ShelfwiseError):
    code = "fit"


class StoppedError(ShelfwiseError):
    code = "stopped"


class RunError(ShelfwiseError):
    code = "run"


class RunExistsError(RunError):
    code = "run-exists"


class CorruptRunError(RunError):
    code = "run-corrupt"


class RunVersionError(RunError):
    code = "run-version"


class OutputError(RunError):
    code = "output"


class ServiceError(ShelfwiseError):
    code = "service"


class NotFoundError(ServiceError):
    code = "not-found"


class KeyMissingError(ServiceError):
    code = "key-missing"


class KeyRoleError(ServiceError):
    code = "key-role"


class TooLargeError(ServiceError):
    code = "too-large"


class TooManyError(ServiceError):
    code = "too-many"


class StoreError(ServiceError):
    code = "store"


class StoreFullError(ServiceError):
    code = "store-full"
