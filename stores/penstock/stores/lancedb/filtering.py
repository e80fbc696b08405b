"""Filters as Lance SQL over the JSON column `metadata`."""

from __future__ import annotations

import json
import re

from penstock.stores.filters import Compares, Condition, Contains, Equals, Exists, Leaf, Path, Scalar, to_sql

_EXACT = 2**53
"""Below it a float64 holds every integer, so one cast compares all numbers exactly."""

_EXPONENT = re.compile(r"e([+-])0")
_LITERAL = re.compile(r"-?\d+\Z")


def to_lance(condition: Condition) -> str | None:
    """The SQL of *condition*; None when it holds for every row.

    Lance binds no parameters. Names were checked by `parse`, and in text a quote is doubled; there is no
    other way out of a literal.

    `$contains` with a number or a bool goes by the number's text, as Lance compares list elements: a list that holds
    both 1.5 and "1.5" is taken for one without the number.
    """
    sql = to_sql(condition, _leaf)
    return None if sql == "(1 = 1)" else sql


def _leaf(leaf: Leaf) -> str:
    match leaf:
        case Exists(path):
            return _bool(f"json_exists(metadata, {_path(path)})")
        case Contains(path, value):
            return _contains(path, value)
        case Compares(path, op, number):
            return _compares(path, op, number)
        case Equals(path, values):
            return f"({' OR '.join(_equals(path, value) for value in values)})" if values else "(1 = 0)"


def _bool(expression: str) -> str:
    return f"coalesce({expression}, false)"


def quoted(text: str) -> str:
    """*text* as a literal of Lance's SQL."""
    return "'" + text.replace("'", "''") + "'"


def _path(path: Path) -> str:
    return quoted("$" + "".join(f'."{name}"' for name in path))


def _text(path: Path) -> str:
    """The field as JSON text: `5`, `"5"`, `true`."""
    return f"json_extract(metadata, {_path(path)})"


def _json(value: Scalar) -> str:
    return json.dumps(value, ensure_ascii=False)


def _equals(path: Path, value: Scalar) -> str:
    if isinstance(value, str | bool):
        return _bool(f"{_text(path)} = {quoted(_json(value))}")
    return _compares(path, "=", value)


def _compares(path: Path, op: str, number: float) -> str:
    """A comparison of numbers. A cast of anything else, text of digits included, is NULL: JSON text has its quotes."""
    text = _text(path)
    as_double = f"TRY_CAST({text} AS DOUBLE)"
    integer = _as_integer(number)
    if integer is None or abs(integer) < _EXACT:
        return _bool(f"{as_double} {op} {float(number)!r}")
    by_float = _float_side(as_double, op, integer)
    return f"coalesce(TRY_CAST({text} AS BIGINT) {op} {integer}, {by_float}, false)"


def _as_integer(number: float) -> int | None:
    """The 64-bit integer that equals *number*."""
    return int(number) if number % 1 == 0 and -(2**63) <= number < 2**63 else None


def _float_side(as_double: str, op: str, number: int) -> str:
    """`double <op> number` for an integer that float64 may not hold, exactly."""
    near = float(number)
    if near != number:
        if op == "=":
            return "false"
        # Between *number* and its nearest float lies no other float.
        op = op.rstrip("=") + ("=" if (near > number) == (op[0] == ">") else "")
    return f"{as_double} {op} {near!r}"


def _contains(path: Path, value: Scalar) -> str:
    if isinstance(value, str):
        return _holds(path, _json(value))
    forms = _number_forms(value) if not isinstance(value, bool) else [_json(value)]
    by_text = " OR ".join(_holds(path, form) for form in forms)
    # The element test takes the text "5" for the number 5 as well. A JSON path tells them apart, but in Lance 13
    # it reads only integers and bools; a fraction must do with the absence of the text.
    if _LITERAL.match(forms[0]) or isinstance(value, bool):
        anywhere = _bool(f"json_exists(metadata, {_path(path)[:-1]}[*] ? (@ == {forms[0]})')")
        return f"(({by_text}) AND {anywhere})"
    return f"(({by_text}) AND NOT ({' OR '.join(_holds(path, _json(form)) for form in forms)}))"


def _holds(path: Path, element: str) -> str:
    return _bool(f"json_array_contains(metadata, {_path(path)}, {quoted(element)})")


def _number_forms(number: float) -> list[str]:
    """How JSON may have written *number*, the integer first."""
    integer = _as_integer(number)
    forms = [] if integer is None else [str(integer)]
    if float(number) == number:
        forms.append(_EXPONENT.sub(r"e\1", repr(float(number))))
    return [*forms, "-0.0"] if number == 0 else forms
