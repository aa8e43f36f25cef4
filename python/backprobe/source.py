# SPDX-License-Identifier: Apache-2.0
"""A remedy's lines of code as a change of the user's own source: the construction of the modules
that it replaces, the learning rate of the optimizer, lines to add. Only where all of it is sure:
every module that the remedy replaces comes from a call that is found, and none that stays does."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import io
import os
import tokenize
from collections.abc import Iterable
from typing import TYPE_CHECKING

from . import program
from .program import File, NotSure

if TYPE_CHECKING:
    import torch

    from .finding import Finding


class Source:
    """The source around one watched model. place: "file:line" of the call of watch()."""

    def __init__(self, model: torch.nn.Module, place: str | None) -> None:
        self._model = model
        self._place = place
        self._known: dict[str, str | None] = {}  # code -> diff

    def with_diff(self, finding: Finding) -> Finding:
        """The finding, with its remedy's diff where there is one. Never raises."""
        remedy = finding.remedy
        if remedy is None or remedy.code is None:
            return finding
        if remedy.code not in self._known:
            try:
                diff = _Change(self._model, self._place, remedy.code).diff()
            except Exception:  # whatever stands in a file, a finding is worth more than its diff
                diff = None
            self._known[remedy.code] = diff
        diff = self._known[remedy.code]
        return dataclasses.replace(finding, remedy=dataclasses.replace(remedy, diff=diff))


# --- what a remedy's code does ----------------------------------------------------------------


@dataclasses.dataclass
class _Code:
    """What lines of bp_remedy do. They are read, not executed."""

    replaced: dict[str, str] = dataclasses.field(default_factory=dict)  # path -> "nn.Tanh()"
    drawn: list[str] = dataclasses.field(default_factory=list)  # lines, with their comment
    learning_rate: str | None = None
    clipping: list[str] = dataclasses.field(default_factory=list)


def _read(code: str) -> _Code:
    read = _Code()
    lines = code.splitlines()
    comment: list[str] = []
    above = 0
    for statement in ast.parse(code).body:
        comment = [line for line in lines[above : statement.lineno - 1] if line.startswith("#")]
        above = statement.end_lineno or statement.lineno
        own = [*comment, *lines[statement.lineno - 1 : above]]
        text = "\n".join(own)
        if "nn.init." in text:
            read.drawn += own
        elif "clip_grad_norm_" in text:
            read.clipping += own
        elif text.startswith("optimizer = "):
            read.learning_rate = _keyword(statement, "lr")
        elif not _read_replacement(read, statement):
            raise NotSure(text)
        if len(comment) > (1 if read.drawn or read.clipping else 0):
            raise NotSure(text)  # something is left to the reader
    if any(line.startswith("#") for line in lines[above:]):
        raise NotSure(code)
    return read


def _keyword(statement: ast.stmt, name: str) -> str:
    for node in ast.walk(statement):
        if isinstance(node, ast.keyword) and node.arg == name:
            return ast.unparse(node.value)
    raise NotSure(name)


def _read_replacement(read: _Code, statement: ast.stmt) -> bool:
    values: Iterable[tuple[str, object]] = [("", None)]
    body: list[ast.stmt] = [statement]
    if isinstance(statement, ast.For) and isinstance(statement.target, ast.Name):
        variable = statement.target.id
        values, body = [(variable, v) for v in _items(statement.iter, {})], statement.body
    for name, value in values:
        for inner in body:
            if isinstance(inner, ast.Assign):
                read.replaced[_path(inner.targets[0], {name: value})] = ast.unparse(inner.value)
            elif isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Call):
                where, what = inner.value.args  # of model.set_submodule
                read.replaced[str(_value(where, {name: value}))] = ast.unparse(what)
            else:
                return False
    return True


def _items(node: ast.expr, names: dict[str, object]) -> list[object]:
    """Of `range(…)` and of a list with generators in it."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range":
        return list(range(*(int(ast.literal_eval(a)) for a in node.args)))
    if isinstance(node, ast.GeneratorExp) and isinstance(node.generators[0].target, ast.Name):
        variable = node.generators[0].target.id
        items = _items(node.generators[0].iter, names)
        return [_value(node.elt, {variable: item}) for item in items]
    if not isinstance(node, ast.List):
        raise NotSure(ast.unparse(node))
    found: list[object] = []
    for item in node.elts:
        starred = isinstance(item, ast.Starred)
        found += _items(item.value, names) if starred else [_value(item, names)]  # type: ignore[attr-defined]
    return found


def _value(node: ast.expr, names: dict[str, object]) -> object:
    if isinstance(node, ast.Name):
        return names[node.id]
    if isinstance(node, ast.JoinedStr):
        parts = (v.value if isinstance(v, ast.FormattedValue) else v for v in node.values)
        return "".join(str(_value(part, names)) for part in parts)
    return ast.literal_eval(node)


def _path(node: ast.expr, names: dict[str, object]) -> str:
    """ "net.0" of model.net[0]."""
    parts: list[str] = []
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Attribute):
            parts.insert(0, node.attr)
        elif isinstance(node, ast.Subscript):
            parts.insert(0, str(_value(node.slice, names)))
        else:
            raise NotSure(ast.unparse(node))
        node = node.value
    return ".".join(parts)


# --- the change -------------------------------------------------------------------------------


class _Change:
    def __init__(self, model: torch.nn.Module, place: str | None, code: str) -> None:
        self.model = model
        self.place = place
        self.code = _read(code)
        self.files: dict[str, File] = {}

    def diff(self) -> str | None:
        code = self.code
        if code.replaced:
            self._replace_modules()
        if code.drawn:
            self._add_drawing()
        if code.learning_rate is not None:
            self._change_learning_rate(code.learning_rate)
        if code.clipping:
            self._add_clipping()
        parts = [self._diff_of(file) for file in self.files.values() if file.changes]
        return "".join(parts) or None

    def file(self, path: str) -> File:
        if program.is_library(path):
            raise NotSure(path)
        if path not in self.files:
            self.files[path] = File(path)
        return self.files[path]

    @staticmethod
    def _diff_of(file: File) -> str:
        name = os.path.relpath(file.path)
        name = file.path if name.startswith("..") else name
        lines = difflib.unified_diff(
            file.text.splitlines(), file.changed().splitlines(), name, name, n=1, lineterm=""
        )
        return "".join(f"{line}\n" for line in lines)

    # --- modules

    def _replace_modules(self) -> None:
        for owner, paths in self._by_owner().items():
            _Owner(self, owner).replace(paths)

    def _by_owner(self) -> dict[str, list[str]]:
        """Paths of the replaced modules by the module whose class made them: the nearest above that
        is of no class of torch.nn. "" also stands for a model that is a bare container."""
        owners: dict[str, list[str]] = {}
        for path in self.code.replaced:
            owners.setdefault(self.owner_of(path), []).append(path)
        return owners

    def owner_of(self, path: str) -> str:
        while path:
            path = path.rpartition(".")[0]
            if not is_torchs(self.model.get_submodule(path)):
                return path
        return ""

    # --- the script

    def script(self) -> tuple[File, ast.Call, int]:
        """The file that called watch(), the call, and its line."""
        path, _, number = (self.place or "").rpartition(":")
        if not path or not number.isdecimal() or not os.path.isfile(path):
            raise NotSure("the place of watch()")
        file, line = self.file(os.path.abspath(path)), int(number)
        calls = [
            node
            for node in ast.walk(file.tree)
            if isinstance(node, ast.Call)
            and node.lineno <= line <= (node.end_lineno or node.lineno)
            and (node.func.attr if isinstance(node.func, ast.Attribute) else
                 node.func.id if isinstance(node.func, ast.Name) else "") == "watch"
        ]  # fmt: skip
        if len(calls) != 1:
            raise NotSure("the call of watch()")
        return file, calls[0], calls[0].lineno

    def argument(self, call: ast.Call, index: int, keyword: str) -> str:
        """The name of the variable that an argument of watch() is."""
        values = [k.value for k in call.keywords if k.arg == keyword]
        value = call.args[index] if len(call.args) > index else values[0] if values else None
        if not isinstance(value, ast.Name):
            raise NotSure(keyword)
        return value.id

    def made(self, index: int, keyword: str) -> tuple[File, ast.Assign | ast.AnnAssign, str]:
        """The statement that makes an argument of watch(), and the argument's name."""
        file, call, line = self.script()
        name = self.argument(call, index, keyword)
        return file, program.assignment(program.scope_at(file.tree, line), name, line), name

    def _add_drawing(self) -> None:
        file, statement, name = self.made(0, "model")
        lines = _renamed(self.code.drawn, {"model": name, "nn": file.spelling("torch.nn")})
        file.insert((statement.end_lineno or 0) + 1, statement.col_offset, lines)

    def _change_learning_rate(self, rate: str) -> None:
        file, statement, _ = self.made(1, "optimizer")
        if not isinstance(statement.value, ast.Call):
            raise NotSure("the optimizer")
        values = [k.value for k in statement.value.keywords if k.arg == "lr"]
        values = values or statement.value.args[1:2]
        if not values or not isinstance(values[0], ast.Constant):
            raise NotSure("the learning rate")
        file.replace(values[0], rate)

    def _add_clipping(self) -> None:
        file, call, _ = self.script()
        names = {
            "model": self.argument(call, 0, "model"),
            "torch": file.spelling("torch"),
        }
        optimizer = self.argument(call, 1, "optimizer")
        steps = [s for s in ast.walk(file.tree) if _is_step(s, optimizer)]
        if len(steps) != 1 or not isinstance(steps[0], ast.Expr):
            raise NotSure("optimizer.step()")
        lines = [line for line in self.code.clipping if not line.startswith("#")]
        file.insert(steps[0].lineno, steps[0].col_offset, _renamed(lines, names))


def _is_step(node: ast.AST, optimizer: str) -> bool:
    """`optimizer.step()` as a statement."""
    call = node.value if isinstance(node, ast.Expr) else None
    return (
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "step"
        and program.is_name(call.func.value, optimizer)
    )


def _renamed(lines: list[str], names: dict[str, str]) -> list[str]:
    """The lines with variables called as the program calls them."""
    found = []
    for line in lines:
        changed, behind, before = "", 0, ""
        for token in tokenize.generate_tokens(io.StringIO(line.lstrip() + "\n").readline):
            if token.type == tokenize.NAME and token.string in names and before != ".":
                changed += line.lstrip()[behind : token.start[1]] + names[token.string]
                behind = token.end[1]
            before = token.string
        indent = line[: len(line) - len(line.lstrip())]
        found.append(indent + changed + line.lstrip()[behind:])
    return found


# --- who made a module ------------------------------------------------------------------------


def is_torchs(module: torch.nn.Module) -> bool:
    return type(module).__module__.split(".")[0] == "torch"


class _Owner:
    """A module of the user's class, or the script for a model that is a bare container."""

    def __init__(self, change: _Change, path: str) -> None:
        self.change = change
        self.module = change.model.get_submodule(path)
        self.is_script = is_torchs(self.module)

    def replace(self, paths: list[str]) -> None:
        model = self.change.model
        for kind in sorted({type(model.get_submodule(p)) for p in paths}, key=lambda k: k.__name__):
            wanted = [p for p in paths if type(model.get_submodule(p)) is kind]
            new = {self.change.code.replaced[p] for p in wanted}
            if len(new) != 1:
                raise NotSure("several replacements")
            self._replace_kind(kind, new.pop(), wanted)

    def _replace_kind(self, kind: type, new: str, wanted: list[str]) -> None:
        """All calls that make the modules of this kind behind an attribute make others, if all of
        them are to be replaced and no module that stays comes from the same calls."""
        stay = self._staying(kind)
        for path in wanted:
            attribute = self._attribute(path)
            if attribute in stay:
                file, call = self._only_call(kind, path)
                self._write(file, [call], new)
                continue
            file, calls = self._calls(kind, attribute)
            for other in stay:
                if {id(call) for call in calls} & self._known_calls(kind, other):
                    raise NotSure(path)
            self._write(file, calls, new)

    def _staying(self, kind: type) -> set[str | None]:
        """Attributes behind which, in any module that the same source made, one stays."""
        change, found = self.change, set()
        for path, module in change.model.named_modules():
            if type(module) is kind and path not in change.code.replaced:
                owner = change.model.get_submodule(change.owner_of(path))
                if is_torchs(owner) if self.is_script else type(owner) is type(self.module):
                    found.add(self._attribute(path))
        return found

    def _known_calls(self, kind: type, attribute: str | None) -> set[int]:
        try:
            return {id(call) for call in self._calls(kind, attribute)[1]}
        except NotSure:  # made in a way of its own
            return set()

    def _only_call(self, kind: type, path: str) -> tuple[File, ast.Call]:
        """self.act = nn.Sigmoid(), or an argument of nn.Sequential(…)."""
        *attributes, last = self._below_owner(path).split(".")
        if not attributes and not self.is_script:
            file, calls = self._calls(kind, last)
            if len(calls) != 1:
                raise NotSure(path)
            return file, calls[0]
        if len(attributes) != (0 if self.is_script else 1) or not last.isdecimal():
            raise NotSure(path)
        file, value = self._value(attributes[0] if attributes else None)
        container = self.change.model.get_submodule(path.rpartition(".")[0])
        if not isinstance(value, ast.Call) or file.meaning(value.func) != "torch.nn.Sequential":
            raise NotSure(path)
        arguments = value.args
        if any(isinstance(a, ast.Starred) for a in arguments) or len(arguments) != len(container):  # type: ignore[arg-type]
            raise NotSure(path)
        call = arguments[int(last)]
        if not isinstance(call, ast.Call) or not _is_class(file, call.func, kind):
            raise NotSure(path)
        return file, call

    def _value(self, attribute: str | None) -> tuple[File, ast.expr | None]:
        """What the owner's attribute, or the script's model, is made from: one expression."""
        if attribute is None:
            file, statement, _ = self.change.made(0, "model")
            return file, statement.value
        for file, cls in self._classes():
            values = [v for _, v in _assigned(cls, attribute)]
            if values:
                return file, values[0] if len(values) == 1 else None
        raise NotSure(attribute)

    def _all_are_replaced(self, kind: type) -> bool:
        """In all modules that the same source made."""
        change = self.change
        for path, module in change.model.named_modules():
            if type(module) is kind and path not in change.code.replaced:
                owner = change.model.get_submodule(change.owner_of(path))
                same = is_torchs(owner) if self.is_script else type(owner) is type(self.module)
                if same:
                    return False
        return True

    def _below_owner(self, path: str) -> str:
        owner = self.change.owner_of(path)
        return path[len(owner) + 1 :] if owner else path

    def _attribute(self, path: str) -> str | None:
        """Of the owner, through which the module is reached; None in the script."""
        return None if self.is_script else self._below_owner(path).split(".")[0]

    def _calls(self, kind: type, attribute: str | None) -> tuple[File, list[ast.Call]]:
        if attribute is None:
            file, statement, _ = self.change.made(0, "model")
            assert statement.value is not None
            scope = program.scope_at(file.tree, statement.lineno)
            until = statement.end_lineno or statement.lineno
            parts = program.building(scope, statement.value, until)
            return file, self._of_kind(file, parts + _called_functions(file, statement.value), kind)
        for file, cls in self._classes():
            parts = _given_to(cls, attribute)
            if parts:
                return file, self._of_kind(file, parts, kind)
        raise NotSure(attribute)

    def _classes(self) -> Iterable[tuple[File, ast.ClassDef]]:
        """Of the owner's class and those that it is derived from, as far as they are the user's."""
        for cls in type(self.module).__mro__:
            if cls.__module__.split(".")[0] in ("torch", "builtins"):
                return
            file = self.change.file(_file_of(cls))
            yield file, _class_in(file, cls)

    @staticmethod
    def _of_kind(file: File, parts: list[ast.AST], kind: type) -> list[ast.Call]:
        """The calls that make modules of a kind. One that is made in another way, from the class
        handed around, makes all of them unsure."""
        calls: dict[int, ast.Call] = {}
        functions: set[int] = set()
        named: set[int] = set()
        for part in parts:
            for node in ast.walk(part):
                if isinstance(node, ast.Call) and _is_class(file, node.func, kind):
                    calls[id(node)] = node
                    functions.add(id(node.func))
                elif isinstance(node, (ast.Name, ast.Attribute)) and _is_class(file, node, kind):
                    named.add(id(node))
        if not calls or named - functions:
            raise NotSure(kind.__name__)
        return list(calls.values())

    def _write(self, file: File, calls: list[ast.Call], new: str) -> None:
        for call in calls:
            if isinstance(call.func, ast.Attribute):
                spelled = ast.unparse(call.func.value)
            else:
                spelled = file.spelling("torch.nn")
            file.replace(call, new.replace("nn.", f"{spelled}.", 1))


def _is_class(file: File, node: ast.expr, kind: type) -> bool:
    name = kind.__name__
    return file.meaning(node) in (
        f"torch.nn.{name}",
        f"torch.nn.modules.{name}",
        f"{kind.__module__}.{name}",
    )


def _file_of(cls: type) -> str:
    for member in cls.__dict__.values():
        code = getattr(member, "__code__", None)
        if code is not None and os.path.isfile(code.co_filename):
            return os.path.abspath(code.co_filename)
    raise NotSure(cls.__name__)


def _class_in(file: File, cls: type) -> ast.ClassDef:
    """By its qualified name, and where its __init__ stands must be where the running one does."""
    scopes: list[ast.AST] = [file.tree]
    for name in cls.__qualname__.split("."):
        if name == "<locals>":
            continue
        scopes = [
            node
            for scope in scopes
            for node in _defined_in(scope)
            if getattr(node, "name", None) == name
        ]
    if len(scopes) != 1 or not isinstance(scopes[0], ast.ClassDef):
        raise NotSure(cls.__qualname__)
    found = scopes[0]
    own = cls.__dict__.get("__init__")
    code = getattr(own, "__code__", None)
    for node in found.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__" and code is not None:
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            if code.co_firstlineno != first:
                raise NotSure("the file is another one than that which runs")
    return found


def _defined_in(scope: ast.AST) -> Iterable[ast.AST]:
    """Functions and classes of a scope, also those in its ifs and loops."""
    for node in ast.iter_child_nodes(scope):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node
        elif isinstance(node, ast.stmt):
            yield from _defined_in(node)


def _assigned(cls: ast.ClassDef, attribute: str) -> Iterable[tuple[ast.AST, ast.expr]]:
    """Methods and the values that they give to self.<attribute>."""
    for method in cls.body:
        if not isinstance(method, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for s in program.statements(method):
            targets = s.targets if isinstance(s, ast.Assign) else [getattr(s, "target", None)]
            value = getattr(s, "value", None)
            if value is not None and any(_is_own(t, attribute) for t in targets):
                yield method, value


def _added(cls: ast.ClassDef, attribute: str) -> Iterable[tuple[ast.AST, ast.expr]]:
    """Methods, and what they call of self.<attribute>: self.layers.append(nn.Sigmoid())."""
    for method in cls.body:
        if not isinstance(method, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for s in program.statements(method):
            call = s.value if isinstance(s, ast.Expr) else None
            called = call.func if isinstance(call, ast.Call) else None
            if isinstance(called, ast.Attribute) and _is_own(called.value, attribute):
                yield method, call  # type: ignore[misc]


def _given_to(cls: ast.ClassDef, attribute: str) -> list[ast.AST]:
    """What the class's methods assign to self.<attribute>, with the lists and methods of its own
    that go into it."""
    parts: list[ast.AST] = []
    for method, value in [*_assigned(cls, attribute), *_added(cls, attribute)]:
        parts += program.building(method, value, value.end_lineno or value.lineno)
    for name in {n.attr for part in parts for n in ast.walk(part) if _is_method_call(n)}:
        parts += [f for f in cls.body if isinstance(f, ast.FunctionDef) and f.name == name]
    return parts


def _is_own(node: ast.expr | None, attribute: str) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and node.attr == attribute
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    )


def _is_method_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and program.is_name(node.value, "self")


def _called_functions(file: File, value: ast.expr) -> list[ast.AST]:
    """Functions of the file that make the value: `model = build()`."""
    names = {n.func.id for n in ast.walk(value)
             if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}  # fmt: skip
    return [f for f in file.tree.body if isinstance(f, ast.FunctionDef) and f.name in names]
