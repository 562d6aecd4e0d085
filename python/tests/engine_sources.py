"""What a Python source declares, read off its text: classes, their methods and parameters, names and attributes."""

from __future__ import annotations

import ast
import dataclasses
import pathlib
from typing import Iterator


@dataclasses.dataclass
class Class:
    """One class as its own text has it, without what it inherits."""

    name: str
    parameters: dict[str, list[str]]  # of each method, self among them
    abstract: set[str]
    attributes: set[str]  # methods, properties, fields, and what self is given in any method

    def __or__(self, base: Class) -> Class:
        """This class with what it inherits of a base."""
        return Class(
            self.name,
            {**base.parameters, **self.parameters},
            (base.abstract | self.abstract) - (set(self.parameters) - self.abstract),
            base.attributes | self.attributes,
        )


class Source:
    """A file of Python, parsed and not run."""

    def __init__(self, path: pathlib.Path) -> None:
        self.text = path.read_text()
        self.tree = ast.parse(self.text)

    def functions(self) -> dict[str, list[str]]:
        return {node.name: _parameters(node) for node in self.tree.body if isinstance(node, ast.FunctionDef)}

    def class_of(self, name: str) -> Class:
        (found,) = (node for node in self.tree.body if isinstance(node, ast.ClassDef) and node.name == name)
        methods = [node for node in found.body if isinstance(node, ast.FunctionDef)]
        return Class(
            name,
            {method.name: _parameters(method) for method in methods},
            {method.name for method in methods if "abstractmethod" in map(ast.unparse, method.decorator_list)},
            set(_attributes(found)),
        )

    def names(self) -> set[str]:
        """All that the module gives a name: classes, functions, values, imports."""
        found: set[str] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                found.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                found.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
        return found

    def imported(self, package: str) -> dict[str, set[str]]:
        """By module of a package: the names that are imported from it."""
        found: dict[str, set[str]] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == package:
                found.setdefault(node.module or "", set()).update(alias.name for alias in node.names)
        return found

    def read_of(self, *variables: str) -> set[str]:
        """The attributes that are read of variables of these names: {"b"} for a.b."""
        return {
            node.attr
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in variables
        }


def _parameters(function: ast.FunctionDef) -> list[str]:
    given = function.args
    return [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)]


def _attributes(found: ast.ClassDef) -> Iterator[str]:
    for node in found.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
    for node in ast.walk(found):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id == "self":
                yield node.attr
