"""Languages as catalogues write them: en, eng, en-US and English books are one."""

from __future__ import annotations

# Codes of ISO 639-1 with those of ISO 639-2 (both forms where there are two).
_CODES = (
    "af afr ar ara be bel bg bul bn ben bs bos ca cat cs cze ces cy wel cym da dan de ger deu el gre ell en eng "
    "eo epo es spa et est eu baq eus fa per fas fi fin fo fao fr fre fra ga gle gl glg he heb hi hin hr hrv hu hun "
    "hy arm hye id ind is ice isl it ita ja jpn ka geo kat ko kor la lat lt lit lv lav mk mac mkd ml mal mr mar "
    "ms may msa nl dut nld no nor nb nob nn nno pl pol pt por ro rum ron ru rus sa san sk slo slk sl slv sq alb sqi "
    "sr srp sv swe sw swa ta tam te tel th tha tr tur uk ukr ur urd vi vie yi yid zh chi zho"
)


def _by_code() -> dict[str, str]:
    short, found = "", {}
    for code in _CODES.split():
        short = code if len(code) == 2 else short
        found[code] = short
    return found


_SHORT = _by_code()


def language_of(code: str) -> str:
    """The language a code stands for, without its region, in two letters where there are: eng, en-US, EN_gb -> en."""
    primary = code.strip().replace("_", "-").split("-")[0].lower()
    return _SHORT.get(primary, primary)
