"""Strict YAML documents: scalars keep their spelling, unknown keys are errors, every error has its line."""

from __future__ import annotations

import types
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from ._errors import InputError, Problems, nearest

Location = tuple[str | int, ...]
_PLAIN_TAGS = {"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq", "tag:yaml.org,2002:str"}
_MOST_NODES = 100_000  # a few lines of nested aliases can spell billions of nodes


class Document(BaseModel):
    """A part of a user's YAML file: frozen, and closed to keys that it does not know.

    The text under each key is its description, from which the reference in `docs/` is made.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)


AnyDocument = TypeVar("AnyDocument", bound=Document)


def read_document(path: Path, schema: type[AnyDocument], overrides: Sequence[str] = ()) -> AnyDocument:
    """Read a YAML file as `schema`.

    Parameters
    ----------
    path
        A UTF-8 YAML file.
    schema
        The document's pydantic model.
    overrides
        `key=value` texts, the value in YAML, laid over the file; `a.b=value` reaches inside.

    Raises
    ------
    InputError
        With every problem of the file: unreadable, not YAML, unknown keys (the nearest known one named), wrong
        values, tags that would build Python objects.
    """
    return parse_document(read_text(path), str(path), schema, overrides)


def read_text(path: Path) -> str:
    """Read a UTF-8 text file; raises InputError where that cannot be."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise _single(path, f"the file cannot be read ({error.strerror})", "Give the path of a YAML file") from None
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise _single(path, "the file is not UTF-8 text", "Save it as UTF-8", line) from None


def parse_document(
    text: str,
    where: str,
    schema: type[AnyDocument],
    overrides: Sequence[str] = (),
    arrange: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> AnyDocument:
    """Read YAML text as `schema`; `where` names its source in errors. See `read_document`.

    `arrange` may bring the document into the form of the schema before the overrides are laid over it.
    """
    data, lines = _compose(text, where)
    if data is None:
        raise _single(where, "the document is empty", f"It needs at least: {', '.join(_required(schema))}")
    if not isinstance(data, dict):
        raise _single(where, "the document is not a list of `key: value` lines", "Begin with `name: …`")
    data = apply_overrides(data if arrange is None else arrange(data), overrides)
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        arguments: dict[tuple[str, ...], str] = {
            tuple(override.partition("=")[0].strip().split(".")): override for override in overrides
        }
        raise _explain(error, where, schema, lines, arguments) from None


def parse_options(schema: type[AnyDocument], options: Mapping[str, Any] | Sequence[str]) -> AnyDocument:
    """Read `key=value` texts, or a mapping, as `schema`; raises InputError with every problem of them."""
    data = dict(options) if isinstance(options, Mapping) else apply_overrides({}, options)
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        raise _explain(error, "options", schema, {}, {}) from None


def document_lines(text: str, where: str) -> dict[Location, int]:
    """Return the row, from 1, of every key and item of YAML text; raises InputError where it is none.

    For faults that show only beside other files: `lines[("tasks", "icu")]` is where the task begins.
    """
    return _compose(text, where)[1]


def apply_overrides(data: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return a copy of `data` with each `key=value` laid over it.

    Examples
    --------
    >>> apply_overrides({"protocol": "standard"}, ["protocol=quick", "models=[dinov2_s]"])
    {'protocol': 'quick', 'models': ['dinov2_s']}

    Raises
    ------
    InputError
        When an override is not of the form `key=value`, or reaches into something that is no mapping.
    """
    result = dict(data)
    problems = Problems()
    for override in overrides:
        key, equals, value = override.partition("=")
        steps = key.strip().split(".")
        if not equals or not all(steps):
            problems.add(
                f"argument '{override}'", "it is not of the form key=value", "Write, for example, protocol=quick"
            )
            continue
        try:
            parsed, _ = _compose(value, f"argument '{override}'")
        except InputError as error:
            problems.extend(error)
            continue
        holder: Any = result
        for step in steps[:-1]:
            inner = _inner(holder, step)
            if not isinstance(inner, dict | list):
                problems.add(f"argument '{override}'", f"'{step}' holds no keys of its own", f"Set '{step}' as a whole")
                break
            holder[_place(holder, step)] = inner = inner.copy()
            holder = inner
        else:
            if isinstance(holder, list) and _inner(holder, steps[-1]) is None:
                problems.add(f"argument '{override}'", f"there is no item '{steps[-1]}'", "Count items from 0")
                continue
            holder[_place(holder, steps[-1])] = parsed
    problems.raise_if_any()
    return result


def _place(holder: dict[str, Any] | list[Any], step: str) -> Any:
    return int(step) if isinstance(holder, list) else step


def _inner(holder: dict[str, Any] | list[Any], step: str) -> Any:
    """Return what lies at a step; None where a list has no such item, nothing yet where a mapping has no such key."""
    if isinstance(holder, dict):
        return holder.get(step, {})
    return holder[int(step)] if step.isdigit() and int(step) < len(holder) else None


def _compose(text: str, where: str) -> tuple[Any, dict[Location, int]]:
    """Turn YAML into dicts, lists and texts as spelled, with the line of every key and item."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except RecursionError:
        raise _single(where, "the document is too deeply nested", "Write it with fewer levels") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else mark.line + 1
        raise _single(
            where, f"this is not YAML: {error.problem}", "Check indentation, colons and quotes", line
        ) from None
    except yaml.YAMLError as error:
        raise _single(where, f"this is not YAML: {error}", "Save the file as UTF-8 text") from None
    lines: dict[Location, int] = {}
    problems = Problems()
    value = None if node is None else _Walk(where, lines, problems).value(node, ())
    problems.raise_if_any()
    return value, lines


class _Walk:
    """One pass over the nodes of a document."""

    def __init__(self, where: str, lines: dict[Location, int], problems: Problems) -> None:
        self.where, self.lines, self.problems, self.nodes = where, lines, problems, 0

    def value(self, node: yaml.Node, at: Location) -> Any:
        self.nodes += 1
        if self.nodes > _MOST_NODES or len(at) > 50:
            raise _single(self.where, "the document is too large or too deeply nested", "Write it without aliases")
        line = node.start_mark.line + 1
        self.lines.setdefault(at, line)
        if isinstance(node, yaml.ScalarNode):
            if _is_foreign(node):
                return self._refuse(node, line)
            if any(unicodedata.category(sign) == "Cc" and sign not in "\n\t" for sign in node.value):
                self.problems.add(self.where, "a value holds a control character", "Write printable text", line)
            # Plain text keeps its spelling: `Yes`, `1` and `NA` mean what the table says. Only nothing is nothing.
            return None if node.style is None and node.value == "" else node.value
        if _is_foreign(node):
            return self._refuse(node, line)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*at, index)) for index, item in enumerate(node.value)]
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            key_line = key_node.start_mark.line + 1
            if key is None or _is_foreign(key_node):
                self.problems.add(self.where, "a key is not plain text", "Write it as `key: value`", key_line)
                continue
            if key in result:
                first = self.lines[(*at, key)]
                self.problems.add(
                    self.where, f"'{key}' stands here and in row {first}", "Keep one of the two", key_line
                )
            self.lines[(*at, key)] = key_line
            result[key] = self.value(value_node, (*at, key))
        return result

    def _refuse(self, node: yaml.Node, line: int) -> None:
        self.problems.add(
            self.where, f"the tag '{node.tag}' would build an object", "Write plain text, lists and keys only", line
        )


def _is_foreign(node: yaml.Node) -> bool:
    """Tell a tag that the user wrote (`!!python/…`, `!x`) from those that YAML guesses (`int`, `bool`, …)."""
    if isinstance(node, yaml.ScalarNode):
        return not node.tag.startswith("tag:yaml.org,2002:") or node.tag.startswith("tag:yaml.org,2002:python/")
    return node.tag not in _PLAIN_TAGS


def _explain(
    error: ValidationError,
    source: str,
    schema: type[BaseModel],
    lines: dict[Location, int],
    arguments: Mapping[tuple[str, ...], str],
) -> InputError:
    problems = Problems()
    for item in error.errors(include_url=False):
        location = tuple(item["loc"])
        argument = next((text for key, text in arguments.items() if tuple(map(str, location[: len(key)])) == key), None)
        where = source if argument is None else f"argument '{argument}'"
        row = _line(location, lines) if argument is None else None
        path = ".".join(str(step) for step in location)
        if item["type"] == "extra_forbidden":
            known = _known_keys(schema, location[:-1])
            problems.add(where, f"unknown key '{path}'", nearest(str(location[-1]), known), row)
        elif item["type"] == "missing":
            problems.add(where, f"the key '{path}' is missing", f"Add `{location[-1]}: …`", row)
        elif item["type"] == "value_error":
            what, _, remedy = str(item["ctx"]["error"]).partition(". ")
            inside = f"in '{path}': " if path else ""
            problems.add(where, inside + what, remedy.rstrip(".") or "See the reference of this file in docs/", row)
        else:
            message = item["msg"][0].lower() + item["msg"][1:]
            problems.add(where, f"'{path}' does not fit: {message}", "See the reference of this file in docs/", row)
    return InputError(problems)


def _line(location: Location, lines: dict[Location, int]) -> int | None:
    while location and location not in lines:
        location = location[:-1]
    return lines.get(location)


def _known_keys(schema: type[BaseModel], location: Location) -> list[str]:
    """List the keys that `schema` knows at `location`, looking through lists, mappings and unions."""
    candidates: list[Any] = [schema]
    for step in location:
        found: list[Any] = []
        for candidate in candidates:
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                field = next((f for n, f in candidate.model_fields.items() if step in (n, f.alias)), None)
                if field is not None:
                    found.extend(_branches(field.annotation))
            elif get_origin(candidate) in (list, tuple, Sequence):
                found.extend(_branches(get_args(candidate)[0]))
            elif get_origin(candidate) is dict:
                found.extend(_branches(get_args(candidate)[1]))
        # A step that names a branch of a union leads nowhere in the annotations; it stands still.
        candidates = found or candidates
    keys: list[str] = []
    for candidate in candidates:
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            keys.extend(field.alias or name for name, field in candidate.model_fields.items())
    return keys


def _branches(annotation: Any) -> list[Any]:
    if get_origin(annotation) in (Union, types.UnionType):
        return [branch for part in get_args(annotation) for branch in _branches(part)]
    return [annotation]


def _required(schema: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in schema.model_fields.items() if field.is_required()]


def _single(where: str | Path, what: str, remedy: str, row: int | None = None) -> InputError:
    problems = Problems()
    problems.add(where, what, remedy, row)
    return InputError(problems)
