# SPDX-License-Identifier: Apache-2.0
"""The source of the program that trains: files as they lie on the disk, the statements in them that
make a model and an optimizer. It is read and parsed; nothing of it is imported or executed."""

from __future__ import annotations

import ast
import os
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

Scope = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef
_MAX_BYTES = 4 << 20


class NotSure(Exception):
    """What was looked for is not there, or more than once."""


@dataclass(frozen=True)
class Change:
    """Characters first … last of a file give way to a text."""

    first: int
    last: int
    text: str


class File:
    def __init__(self, path: str) -> None:
        self.path = path
        try:
            if os.path.getsize(path) > _MAX_BYTES:
                raise NotSure(path)
            with open(path, "rb") as file:
                data = file.read()
            self.text = data.decode("utf-8")
            self.tree = ast.parse(data, path)
        except (OSError, ValueError, SyntaxError, RecursionError, MemoryError) as error:
            raise NotSure(path) from error
        if "\r" in self.text or self.text.startswith("\ufeff"):
            raise NotSure(path)  # places are counted in characters of plain lines
        self.changes: set[Change] = set()

    @cached_property
    def _starts(self) -> list[int]:
        starts = [0]
        for line in self.text.split("\n"):
            starts.append(starts[-1] + len(line) + 1)
        return starts

    def place(self, line: int, column: int) -> int:
        """Of a line (from 1) and a column in bytes, as ast counts."""
        start = self._starts[line - 1]
        text = self.text[start : self._starts[line] - 1]
        return start + len(text.encode()[:column].decode())

    def replace(self, node: ast.expr, text: str) -> None:
        assert node.end_lineno is not None and node.end_col_offset is not None
        first = self.place(node.lineno, node.col_offset)
        self.changes.add(Change(first, self.place(node.end_lineno, node.end_col_offset), text))

    def insert(self, line: int, indent: int, lines: list[str]) -> None:
        """Whole lines, before the line with this number."""
        at = self._starts[line - 1]
        text = "".join(f"{' ' * indent}{text}\n" for text in lines)
        if at > len(self.text):  # behind a last line without an end
            at, text = len(self.text), "\n" + text.removesuffix("\n")
        self.changes.add(Change(at, at, text))

    def changed(self) -> str:
        text, after = self.text, None
        for change in sorted(self.changes, key=lambda c: (c.first, c.last), reverse=True):
            if after is not None and change.last > after:
                raise NotSure(self.path)
            text = text[: change.first] + change.text + text[change.last :]
            after = change.first
        return text

    # --- what names mean

    @cached_property
    def imported(self) -> dict[str, str]:
        """Names that the file's imports bind -> what they are: "nn" -> "torch.nn"."""
        names: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.asname:
                        names[alias.asname] = alias.name
                    else:
                        names[alias.name.split(".")[0]] = alias.name.split(".")[0]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for alias in node.names:
                    names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        return names

    def meaning(self, node: ast.expr) -> str:
        """ "torch.nn.Sigmoid" for what an import says is that; "" for anything else."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.insert(0, node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id not in self.imported:
            return ""
        return ".".join([self.imported[node.id], *parts])

    def spelling(self, name: str) -> str:
        """How the file may write torch or torch.nn."""
        for alias, meaning in self.imported.items():
            if meaning == name:
                return alias
        if name == "torch.nn" and self.imported.get("torch") == "torch":
            return "torch.nn"
        raise NotSure(name)


def is_library(path: str) -> bool:
    """What was installed is not the user's to edit."""
    folders = (sysconfig.get_path(key) for key in ("purelib", "platlib", "stdlib"))
    real = os.path.realpath(path)
    return any(real.startswith(os.path.realpath(f) + os.sep) for f in folders if f) or (
        f"{os.sep}site-packages{os.sep}" in real or f"{os.sep}dist-packages{os.sep}" in real
    )


# --- scopes -----------------------------------------------------------------------------------


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def scope_at(tree: ast.Module, line: int) -> Scope:
    """The innermost function around a line."""
    around = [f for f in functions(tree) if f.lineno <= line <= (f.end_lineno or f.lineno)]
    return max(around, key=lambda f: f.lineno, default=tree)


def statements(scope: ast.AST) -> Iterator[ast.stmt]:
    """Those of a scope, in the order of the file, not those of functions and classes within."""
    for node in ast.iter_child_nodes(scope):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        if isinstance(node, ast.stmt):
            yield node
        yield from statements(node)


def assignment(scope: Scope, name: str, before: int) -> ast.Assign | ast.AnnAssign:
    """The only statement that gives a variable its value before a line."""
    found = [
        s
        for s in statements(scope)
        if s.lineno < before
        and (
            (isinstance(s, ast.Assign) and any(is_name(t, name) for t in s.targets))
            or (isinstance(s, ast.AnnAssign) and s.value is not None and is_name(s.target, name))
        )
    ]
    if len(found) != 1:
        raise NotSure(name)
    return found[0]  # type: ignore[return-value]


def is_name(node: ast.expr | None, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def names_in(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def building(scope: ast.AST, value: ast.expr, until: int) -> list[ast.AST]:
    """A value and what went into the lists that it is made of: `layers = []`, `layers += […]`,
    `layers.append(…)`, and so on through other variables of the scope."""
    parts: list[ast.AST] = [value]
    wanted, known = names_in(value), set()
    while wanted:
        name = wanted.pop()
        known.add(name)
        for s in statements(scope):
            if s.lineno > until or not _feeds(s, name) or any(s is part for part in parts):
                continue
            parts.append(s)
            wanted |= names_in(s) - known
    return parts


def _feeds(statement: ast.stmt, name: str) -> bool:
    if isinstance(statement, ast.Assign):
        return any(is_name(target, name) for target in statement.targets)
    if isinstance(statement, (ast.AugAssign, ast.AnnAssign)):
        return is_name(statement.target, name)
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        called = statement.value.func
        return isinstance(called, ast.Attribute) and is_name(called.value, name)
    return False
