"""Makes text that an agent wrote safe to show: nothing in it hides, reorders, moves the cursor, or is run.

Whoever shows the result still has to show it *as text*: `rich.text.Text(inert(s))` (never markup), an escaped HTML
node, a quoted CSV cell. Attacks: Boucher & Anderson 2021, "Trojan Source" (bidirectional controls); escape sequences
to terminals; instructions in Unicode tags and variation selectors, which a person does not see and a model reads.
"""

from __future__ import annotations

import hashlib
import re
from unicodedata import category

MARKS = 4
"""How many combining marks may stand on one character; no orthography needs more."""

_UNSAFE = {"Cc", "Cf", "Zl", "Zp", "Co", "Cs", "Cn"}
_SPECIAL_ASCII = re.compile(r"[^\n\x20-\x7e]")
# Drawn as nothing, though Unicode files them under letters and marks (its property Default_Ignorable_Code_Point).
_INVISIBLE = {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F, 0x3164, 0xFFA0}
_EMOJI_STYLE = {0xFE0E, 0xFE0F}
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_FORMULA = re.compile(r"'*\s*[=+@＝＋－＠-]")
_CELL = 32_000
_CUT = re.compile(r"‹\d+ more characters›")
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


def inert(text: str, limit: int = 2000) -> str:
    """`text` with every character that does not show written out, as in `‹U+202E›`, and over-long text folded.

    Newlines stay, tabs become spaces (stops every 4), CR LF becomes a newline. Of more than `MARKS` combining marks
    in a row, the rest is counted: `‹+9 marks›`. What is longer than `limit` characters (at least 40) keeps its
    beginning and its end, where conclusions stand, and says between them how many characters were cut. Making inert
    text inert again changes nothing; printable text stays as it is.
    """
    limit = max(limit, 40)
    if len(text) <= limit and text.isascii() and not _SPECIAL_ASCII.search(text):
        return text
    shown, cut = text, 0
    if len(text) > 4 * limit:  # a flood: escape the two ends alone
        shown, cut = text[: 2 * limit] + text[-2 * limit :], len(text) - 4 * limit
    shown = "".join(_visible(shown.replace("\r\n", "\n"))).expandtabs(4)
    return _folded(shown, cut, limit)


def spreadsheet_cell(text: str) -> str:
    """Inert text that a spreadsheet will not take for a formula: `'` before a leading = + - @ (OWASP, CSV injection).

    Plain numbers, which may begin with a sign, stay numbers. What looks so escaped already gets one `'` more, so that
    `from_spreadsheet_cell` finds what was there.
    """
    shown = inert(text, _CELL)
    return f"'{shown}" if _acts(shown) else shown


def from_spreadsheet_cell(cell: str) -> str:
    """The inert text that `spreadsheet_cell` made a cell of."""
    return cell[1:] if cell.startswith("'") and _acts(cell[1:]) else cell


def was_cut(cell: str) -> bool:
    """Whether a text was too long for its `spreadsheet_cell`."""
    return len(cell) > _CELL - 40 and bool(_CUT.search(cell))


def _acts(text: str) -> bool:
    return bool(_FORMULA.match(text)) and not _NUMBER.fullmatch(text)


def file_name(text: str) -> str:
    """A name for one file or folder, safe on any system: at most 80 of `A-Za-z0-9._-`, not hidden, not a path.

    Where that changed anything, a hash of the original ends it, so that different texts keep different names.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-")[:80]
    usable = name and not _RESERVED.fullmatch(name)
    if usable and name == text:
        return name
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{name[:60] if usable else 'file'}_{digest}"


def _visible(text: str) -> list[str]:
    parts: list[str] = []
    marks = flood = 0
    for character in text:
        if " " <= character <= "~" or character in "\n\t":
            kind, code = "", 0
        else:
            kind, code = category(character), ord(character)
        if kind in ("Mn", "Me") and _shows(code, parts):
            marks += 1
            if marks > MARKS:
                flood += 1
                continue
        elif flood:
            parts.append(f"‹+{flood} marks›")
            marks = flood = 0
        elif kind not in ("Mn", "Me"):
            marks = 0
        parts.append(character if kind not in _UNSAFE and _shows(code, parts) else f"‹U+{code:04X}›")
    if flood:
        parts.append(f"‹+{flood} marks›")
    return parts


def _shows(code: int, before: list[str]) -> bool:
    """Whether a character is drawn. The two variation selectors that choose how an emoji is drawn pass after one."""
    if code in _EMOJI_STYLE:
        return bool(before) and len(before[-1]) == 1 and ord(before[-1]) > 0x2000 and not _selects(ord(before[-1]))
    return not (code in _INVISIBLE or _selects(code))


def _selects(code: int) -> bool:
    return 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF


def _folded(shown: str, cut: int, limit: int) -> str:
    if len(shown) <= limit and not cut:
        return shown
    room = limit - len(f"‹{len(shown) + cut} more characters›")
    head, tail = room - room // 4, room // 4
    missing = len(shown) - head - tail + cut
    return f"{shown[:head]}‹{missing} more characters›{shown[len(shown) - tail :]}"
