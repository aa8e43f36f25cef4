# SPDX-License-Identifier: Apache-2.0
"""What can be broken in a C file: mutants(text) lists the small changes that a test should notice."""

import bisect
import dataclasses
import re

TOKEN = re.compile(
    r"""(?P<space>\s+|\\\n)
      | (?P<comment>/\*.*?\*/|//[^\n]*)
      | (?P<string>"(?:\\.|[^"\\])*")
      | (?P<char>'(?:\\.|[^'\\])*')
      | (?P<number>0[xX][0-9a-fA-F.]+(?:[pP][+-]?\d+)?[uUlLfF]*
                  |(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[uUlLfF]*)
      | (?P<name>[A-Za-z_]\w*)
      | (?P<sign><<=|>>=|\.\.\.|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|\#\#|[-+*/%&|^~!<>=?:;,.(){}\[\]\#])
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)

RELATIONS = {
    "<": ("<=", ">="), "<=": ("<", ">"), ">": (">=", "<="), ">=": (">", "<"),
    "==": ("!=",), "!=": ("==",),
}  # fmt: skip
OPERATORS = {
    "+": ("-",), "-": ("+",), "*": ("/",), "/": ("*",), "%": ("*",), "&": ("|",), "|": ("&",),
    "^": ("|",), "<<": (">>",), ">>": ("<<",), "&&": ("||",), "||": ("&&",),
    "+=": ("-=",), "-=": ("+=",), "*=": ("/=",), "/=": ("*=",), "|=": ("&=",), "&=": ("|=",),
    "^=": ("|=",), "<<=": (">>=",), ">>=": ("<<=",), "++": ("--",), "--": ("++",),
}  # fmt: skip
EITHER_WAY = "+-*&"  # with one operand or two
# Parts of the names of vector intrinsics, and what to put in their place.
INTRINSICS = {
    "min": "max", "max": "min", "add": "sub", "sub": "add", "mul": "add", "and": "or", "or": "and",
    "xor": "or", "andnot": "and", "slli": "srli", "srli": "slli", "srai": "srli", "fmadd": "fmsub",
    "cmplt": "cmple", "cmpgt": "cmpeq", "cmpeq": "cmpgt", "testn": "test", "test": "testn",
    "unpacklo": "unpackhi", "unpackhi": "unpacklo",
}  # fmt: skip
COMPARISONS = {
    "_CMP_LT_OQ": "_CMP_LE_OQ", "_CMP_LE_OQ": "_CMP_LT_OQ", "_CMP_GT_OQ": "_CMP_GE_OQ",
    "_CMP_GE_OQ": "_CMP_GT_OQ", "_CMP_EQ_OQ": "_CMP_NEQ_UQ", "_CMP_NEQ_UQ": "_CMP_EQ_OQ",
}  # fmt: skip
STARTS = {"if", "for", "while", "do", "switch", "else", "case", "default", "return", "goto"}
ASSIGNMENTS = {"=", "+=", "-=", "*=", "/=", "|=", "&=", "^=", "<<=", ">>=", "++", "--"}


@dataclasses.dataclass(frozen=True)
class Token:
    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


@dataclasses.dataclass(frozen=True)
class Mutant:
    start: int
    end: int
    new: str
    what: str
    line: int
    key: str  # the line as it is afterwards, or "drop: STATEMENT"; spaces do not count

    def apply(self, text: str) -> str:
        return text[: self.start] + self.new + text[self.end :]


def squeezed(text: str) -> str:
    return " ".join(text.replace("\\\n", " ").replace("\\", " ").split())


def hidden(text: str) -> list[tuple[int, int]]:
    """Preprocessor lines; of a #define only its head, for code may stand behind it."""
    spans = []
    for match in re.finditer(r"^[ \t]*#(?:[^\n\\]|\\\n|\\.)*", text, re.MULTILINE):
        head = re.match(r"[ \t]*#\s*define\s+\w+(?:\([^)]*\))?", match[0])
        spans.append((match.start(), match.start() + head.end() if head else match.end()))
    return spans


def tokens(text: str) -> list[Token]:
    spans = hidden(text)
    found = []
    for match in TOKEN.finditer(text):
        if match.lastgroup in ("space", "comment", "string", "char"):
            continue
        if not any(start <= match.start() < end for start, end in spans):
            found.append(Token(match.lastgroup, match[0], match.start()))
    return found


def closing(found: list[Token], at: int) -> int | None:
    """Where the bracket that opens at `at` closes."""
    depth = 0
    for i in range(at, len(found)):
        depth += (found[i].text in "([{") - (found[i].text in ")]}")
        if depth == 0:
            return i
    return None


def number_mutants(text: str) -> tuple[str, ...]:
    match = re.fullmatch(r"(0[xX][0-9a-fA-F]+|\d+)([uUlL]*)", text)
    if match:
        base = 16 if match[1][:2] in ("0x", "0X") else 10
        value = int(match[1], base)
        shown = (hex if base == 16 else str)
        return tuple(shown(v) + match[2] for v in (value + 1, value - 1) if v >= 0)
    match = re.fullmatch(r"(0[xX][0-9a-fA-F.]+[pP])([+-]?\d+)([fF]?)", text)
    if match:
        return tuple(f"{match[1]}{int(match[2]) + d}{match[3]}" for d in (1, -1))
    match = re.fullmatch(r"([\d.]+)([eE][+-]?\d+)?([fF]?)", text)
    return (f"{float(match[1]) + 1}{match[2] or ''}{match[3]}",) if match else ()


def is_array_size(found: list[Token], at: int) -> bool:
    """In a declaration: behind the name and its type."""
    if at < 3 or found[at - 1].text != "[" or found[at - 2].kind != "name":
        return False
    before = found[at - 3]
    return before.text == "*" or before.kind == "name" and before.text != "return"


def is_binary(found: list[Token], at: int) -> bool:
    before = found[at - 1] if at else None
    if before is None or at + 1 == len(found):
        return False
    return before.kind in ("name", "number") and before.text != "return" or before.text in ")]"


def is_pointer(text: str, star: Token) -> bool:
    """The star of a declaration or cast: clang-format leaves no space behind it."""
    return text[star.end : star.end + 1] != " "


def intrinsic_mutants(name: str) -> tuple[str, ...]:
    if name in COMPARISONS:
        return (COMPARISONS[name],)
    parts = name.split("_")
    if not (name.startswith("_mm") and len(parts) > 3):
        return ()
    for i, part in enumerate(parts[2:], 2):
        if part in INTRINSICS:
            return ("_".join([*parts[:i], INTRINSICS[part], *parts[i + 1 :]]),)
    return ()


def mask_argument(found: list[Token], at: int) -> tuple[int, int] | None:
    """The span of the mask of a call of a masked intrinsic: its second argument, or of maskz the
    first."""
    kind = re.match(r"_mm\d*_(maskz?)_", found[at].text)
    if not kind or at + 1 == len(found) or found[at + 1].text != "(":
        return None
    end = closing(found, at + 1)
    if end is None:
        return None
    commas, depth = [at + 1], 0
    for i in range(at + 2, end):
        depth += (found[i].text in "([{") - (found[i].text in ")]}")
        if depth == 0 and found[i].text == ",":
            commas.append(i)
    commas.append(end)
    which = 0 if kind[1] == "maskz" else 1
    if which + 1 >= len(commas):
        return None
    return found[commas[which] + 1].start, found[commas[which + 1] - 1].end


def begins_statement(found: list[Token], at: int) -> bool:
    if at == 0 or found[at - 1].text in (";", "{", "}", "else", ":", "do"):
        return True
    if found[at - 1].text != ")":
        return False
    depth = 0  # behind the head of a loop or condition
    for i in range(at - 1, 0, -1):
        depth += (found[i].text in ")]}") - (found[i].text in "([{")
        if depth == 0:
            return found[i - 1].text in ("if", "for", "while", "switch")
    return False


def statements(found: list[Token]):
    """Spans of expression statements, and of break and continue."""
    for i, token in enumerate(found):
        if not begins_statement(found, i):
            continue
        if token.kind != "name" or token.text in STARTS:
            continue
        depth, end = 0, None
        for j in range(i, len(found)):
            depth += (found[j].text in "([{") - (found[j].text in ")]}")
            if depth < 0:
                break
            if depth == 0 and found[j].text == ";":
                end = j
                break
        if end is None or any(t.text in "{}" for t in found[i:end]):
            continue
        second = found[i + 1].text
        if token.text in ("break", "continue") and second == ";":
            yield token.start, found[end].end
        elif second in ASSIGNMENTS or second in ("(", "[", ".", "->"):
            yield token.start, found[end].end


def mutants(text: str) -> list[Mutant]:
    found = tokens(text)
    line_starts = [0] + [match.end() for match in re.finditer("\n", text)]
    changes: list[tuple[int, int, str, str]] = []

    def change(start: int, end: int, new: str) -> None:
        changes.append((start, end, new, f"{squeezed(text[start:end])} -> {new}"))

    for i, token in enumerate(found):
        if token.kind == "number":
            changed = number_mutants(token.text)
            if is_array_size(found, i):
                changed = changed[1:]  # nothing can notice that it is larger
            for new in changed:
                change(token.start, token.end, new)
        elif token.kind == "name":
            for new in intrinsic_mutants(token.text):
                change(token.start, token.end, new)
            span = mask_argument(found, i)
            if span:
                change(*span, f"~({text[span[0] : span[1]]})")
            if token.text in ("if", "while") and i + 1 < len(found) and found[i + 1].text == "(":
                end = closing(found, i + 1)
                if end is not None:
                    inside = text[found[i + 1].end : found[end].start]
                    change(found[i + 1].start, found[end].end, f"(!({inside}))")
        elif token.text in RELATIONS:
            for new in RELATIONS[token.text]:
                change(token.start, token.end, new)
        elif token.text in ("!", "~"):
            change(token.start, token.end, "")
        elif token.text in OPERATORS:
            if token.text in EITHER_WAY and not is_binary(found, i):
                if token.text == "-":
                    change(token.start, token.end, "")
                continue
            if token.text == "*" and is_pointer(text, token):
                continue
            for new in OPERATORS[token.text]:
                change(token.start, token.end, new)
    for start, end in statements(found):
        changes.append((start, end, ";", f"drop: {squeezed(text[start:end])}"))

    result = []
    for start, end, new, what in sorted(changes):
        line = bisect.bisect_right(line_starts, start)
        last = bisect.bisect_right(line_starts, end - 1)
        begin = line_starts[line - 1]
        stop = line_starts[last] if last < len(line_starts) else len(text)
        if "prefetch" in text[begin:stop].lower():
            continue  # a hint: nothing can notice it
        after = squeezed(text[begin:start] + new + text[end:stop])
        result.append(Mutant(start, end, new, what, line, what if what[:5] == "drop:" else after))
    return result
