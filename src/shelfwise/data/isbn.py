"""International Standard Book Numbers, as they come: with hyphens, without leading zeros, as floats."""

from __future__ import annotations

import re


def check_digit_10(first_nine: str) -> str:
    """Check character of an ISBN-10 (ISO 2108): weights 10..2, modulo 11, 'X' for ten."""
    total = sum(int(digit) * weight for digit, weight in zip(first_nine, range(10, 1, -1), strict=True))
    check = -total % 11
    return "X" if check == 10 else str(check)


def check_digit_13(first_twelve: str) -> str:
    """Check digit of an ISBN-13 (EAN): weights 1 and 3 in turn, modulo 10."""
    total = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(first_twelve))
    return str(-total % 10)


def isbn10_to_13(isbn10: str) -> str:
    """The ISBN-13 of a valid ISBN-10."""
    body = "978" + isbn10[:9]
    return body + check_digit_13(body)


def isbn13_to_10(isbn13: str) -> str | None:
    """The ISBN-10 of a valid ISBN-13, or None outside the 978 block, where there is none."""
    if not isbn13.startswith("978"):
        return None
    return isbn13[3:12] + check_digit_10(isbn13[3:12])


def repair_isbn(raw: str | None) -> str | None:
    """ISBN-13 from whatever a table made of an ISBN-10 or -13; None where it cannot be known.

    Takes hyphens, blanks, '="..."', a trailing '.0', the lost leading zeros of an ISBN-10, and an
    ISBN-13 that a spreadsheet rounded to 12 digits (9.78043902348e+12, 9780439023480.0), as long as
    just one number with a right check digit rounds to it.
    """
    if raw is None:
        return None
    text = re.sub(r'[="\s\-\u2010-\u2015]', "", raw).upper()
    as_float = "." in text
    scientific = re.fullmatch(r"([0-9]\.[0-9]{11,12})E\+?12", text)
    if scientific:
        text = scientific[1].replace(".", "").ljust(13, "0")
    text = re.sub(r"\.0*$", "", text)
    if re.fullmatch(r"97[89][0-9]{10}", text):
        valid = text[-1] == check_digit_13(text[:12])
        if text.endswith("0") and (as_float or not valid):
            return _unround(text)
        return text if valid else None
    if not re.fullmatch(r"(?!0+$)[0-9]{5,9}[0-9X]", text):  # all zeros stand for 'none'
        return None
    padded = text.zfill(10)
    return isbn10_to_13(padded) if padded[-1] == check_digit_10(padded[:9]) else None


def _unround(rounded: str) -> str | None:
    """The one valid ISBN-13 that gives `rounded` when rounded to 12 digits (half up or half even), or None."""
    bodies = (rounded[:12], str(int(rounded[:12]) - 1))
    isbns = [body + check_digit_13(body) for body in bodies]
    fitting = [isbn for isbn in isbns if int(rounded) in (round(int(isbn), -1), (int(isbn) + 5) // 10 * 10)]
    return fitting[0] if len(fitting) == 1 else None
