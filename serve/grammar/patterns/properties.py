"""Unicode properties that patterns may name in `\\p{…}`, by the tables 66 to 68 of ECMA-262 (2024).

Names are exact there: case counts, and nothing but these. The library knows the scripts, and of
the rest all but `Changes_When_NFKC_Casefolded`.
"""

import re
from dataclasses import dataclass

_CATEGORIES = """
    C Other|Cc Control cntrl|Cf Format|Cn Unassigned|Co Private_Use|Cs Surrogate|L Letter
    LC Cased_Letter|Ll Lowercase_Letter|Lm Modifier_Letter|Lo Other_Letter|Lt Titlecase_Letter
    Lu Uppercase_Letter|M Mark Combining_Mark|Mc Spacing_Mark|Me Enclosing_Mark|Mn Nonspacing_Mark
    N Number|Nd Decimal_Number digit|Nl Letter_Number|No Other_Number|P Punctuation punct
    Pc Connector_Punctuation|Pd Dash_Punctuation|Pe Close_Punctuation|Pf Final_Punctuation
    Pi Initial_Punctuation|Po Other_Punctuation|Ps Open_Punctuation|S Symbol|Sc Currency_Symbol
    Sk Modifier_Symbol|Sm Math_Symbol|So Other_Symbol|Z Separator|Zl Line_Separator
    Zp Paragraph_Separator|Zs Space_Separator
"""
_BINARY = """
    ASCII|Any|Assigned|ASCII_Hex_Digit AHex|Alphabetic Alpha|Bidi_Control Bidi_C
    Bidi_Mirrored Bidi_M|Case_Ignorable CI|Cased|Changes_When_Casefolded CWCF
    Changes_When_Casemapped CWCM|Changes_When_Lowercased CWL|Changes_When_Titlecased CWT
    Changes_When_Uppercased CWU|Dash|Default_Ignorable_Code_Point DI|Deprecated Dep|Diacritic Dia
    Emoji|Emoji_Component EComp|Emoji_Modifier EMod|Emoji_Modifier_Base EBase
    Emoji_Presentation EPres|Extended_Pictographic ExtPict|Extender Ext|Grapheme_Base Gr_Base
    Grapheme_Extend Gr_Ext|Hex_Digit Hex|IDS_Binary_Operator IDSB|IDS_Trinary_Operator IDST
    ID_Continue IDC|ID_Start IDS|Ideographic Ideo|Join_Control Join_C|Logical_Order_Exception LOE
    Lowercase Lower|Math|Noncharacter_Code_Point NChar|Pattern_Syntax Pat_Syn
    Pattern_White_Space Pat_WS|Quotation_Mark QMark|Radical|Regional_Indicator RI
    Sentence_Terminal STerm|Soft_Dotted SD|Terminal_Punctuation Term|Unified_Ideograph UIdeo
    Uppercase Upper|Variation_Selector VS|White_Space space|XID_Continue XIDC|XID_Start XIDS
"""


def _canonical(table: str) -> dict[str, str]:
    """Each spelling, with the one that comes first in its entry."""
    entries = [entry.split() for entry in re.split(r"[|\n]", table) if entry.strip()]
    return {spelling: names[0] for names in entries for spelling in names}


CATEGORIES = _canonical(_CATEGORIES)
BINARY = _canonical(_BINARY)

CONTROLS = frozenset(range(0x20))
MARKS = frozenset(b'"\\')
_ALL = CONTROLS | MARKS
_SPACE = frozenset(b"\t\n\v\f\r")
# What properties hold of the control characters, the quotation mark and the backslash; any other
# property holds none of them.
_HELD = {
    **dict.fromkeys(("gc=C", "gc=Cc"), CONTROLS),
    **dict.fromkeys(("gc=P", "gc=Po", "Pattern_Syntax", "Grapheme_Base"), MARKS),
    **dict.fromkeys(("ASCII", "Any", "Assigned"), _ALL),
    **dict.fromkeys(("sc=Common", "sc=Zyyy", "scx=Common", "scx=Zyyy"), _ALL),
    **dict.fromkeys(("Pattern_White_Space", "White_Space"), _SPACE),
    "Quotation_Mark": frozenset(b'"'),
}


@dataclass(frozen=True, slots=True)
class Property:
    """The characters that have a property.

    Attributes:
        name: as the library spells it, such as `gc=Lu`.
        negated: those that do not have it.
    """

    name: str
    negated: bool = False

    def holds(self, code: int) -> bool:
        """Whether a control character, the quotation mark or the backslash is one of them."""
        return (code in _HELD.get(self.name, ())) != self.negated

    @property
    def regex(self) -> str:
        """In the dialect of the library."""
        return rf"\{'P' if self.negated else 'p'}{{{self.name}}}"


def property_named(text: str, *, negated: bool) -> Property | None:
    """The property that `\\p{text}` means; None if ECMA-262 or the library has none.

    Scripts are not listed here: of one that does not exist the library says so.
    """
    kind, equals, value = text.partition("=")
    if not equals:
        if text in CATEGORIES:
            return Property(f"gc={CATEGORIES[text]}", negated)
        return Property(BINARY[text], negated) if text in BINARY else None
    match kind:
        case "General_Category" | "gc":
            return Property(f"gc={CATEGORIES[value]}", negated) if value in CATEGORIES else None
        case "Script" | "sc" | "Script_Extensions" | "scx":
            if not re.fullmatch(r"[A-Z][a-z]+(?:_?[A-Z][a-z]+)*", value):
                return None
            short = "sc" if kind in ("Script", "sc") else "scx"
            return Property(f"{short}={value}", negated)
        case _:
            return None
