"""Import a reading life: export files of other apps -> entries -> books of the catalogue -> ratings and marks.

formats    which app wrote a file, and which columns hold what
lines      bytes -> records, whatever they hold
readers    a file -> its rows as entries
titles     how alike titles and names are
matching   an entry -> a book of the catalogue: surely, perhaps, or none
importing  a file -> ratings and marks, and an account of every row
report     what was not matched as CSV, and back as choices
"""

from shelfwise.imports.importing import Choice, ImportedRow, ImportResult, import_file
from shelfwise.imports.lines import Limits
from shelfwise.imports.matching import BookIndex, Candidate, Match
from shelfwise.imports.readers import Entry, ExportFile, read_export
from shelfwise.imports.report import describe, failures, read_choices, write_failures, write_marks, write_ratings

__all__ = [
    "BookIndex",
    "Candidate",
    "Choice",
    "Entry",
    "ExportFile",
    "ImportResult",
    "ImportedRow",
    "Limits",
    "Match",
    "describe",
    "failures",
    "import_file",
    "read_choices",
    "read_export",
    "write_failures",
    "write_marks",
    "write_ratings",
]
