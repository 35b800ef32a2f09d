"""What stands between {{ and }}: fields, literals, functions and pipes, compiled to functions of a scope."""

from __future__ import annotations

from towline.cli import jsontext
from towline.cli.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Evaluate = Callable[["Scope"], object]

_BREAKS = " \t\r\n|()"
_CLOSING = {'"': '"', "`": "`"}
_CONSTANTS: dict[str, object] = {"true": True, "false": False, "nil": None}


class Scope:
    """dot: what "." means here. variables: by name, "$" being the whole value."""

    __slots__ = ("dot", "variables")

    def __init__(self, dot: object, variables: dict[str, object]) -> None:
        self.dot = dot
        self.variables = variables


def fault(why: str) -> UsageError:
    return UsageError(f"--format: {why}", "A template looks like '{{.Name}}'; docs/cli.md has what it may hold.")


def tokens(text: str) -> list[str]:
    """Words, quoted strings (with their quotes), "|", "(" and ")"."""
    found: list[str] = []
    position = 0
    while position < len(text):
        first = text[position]
        end = position + 1
        if first in _CLOSING:
            end = _string_end(text, position)
        elif first not in _BREAKS:
            while end < len(text) and text[end] not in _BREAKS:
                end += 1
        if first not in " \t\r\n":
            found.append(text[position:end])
        position = end
    return found


def _string_end(text: str, start: int) -> int:
    mark, position = text[start], start + 1
    while position < len(text) and text[position] != mark:
        position += 2 if mark == '"' and text[position] == "\\" else 1
    if position >= len(text):
        raise fault(f"{text[start:]} is not closed")
    return position + 1


def compile_pipe(parts: list[str]) -> Evaluate:
    """`a b | c`: c is called with the result of (a b) as its last argument."""
    rest = list(parts)
    result = _pipe(rest, 0)
    if rest:
        raise fault('")" without "("')
    return result


def _pipe(rest: list[str], depth: int) -> Evaluate:
    """Takes tokens off the front of `rest` up to its end or an unmatched ")"."""
    if depth > 20:
        raise fault("parentheses are nested too deeply")
    result: Evaluate | None = None
    while True:
        parts: list[str | Evaluate] = []
        while rest and rest[0] not in ("|", ")"):
            word = rest.pop(0)
            parts.append(_parenthesis(rest, depth) if word == "(" else word)
        result = _stage(parts, result)
        if not rest or rest[0] == ")":
            return result
        rest.pop(0)


def _parenthesis(rest: list[str], depth: int) -> Evaluate:
    inner = _pipe(rest, depth + 1)
    if not rest:
        raise fault('"(" without ")"')
    rest.pop(0)
    return inner


def _stage(parts: list[str | Evaluate], piped: Evaluate | None) -> Evaluate:
    if not parts:
        raise fault("an action is empty")
    head, *tail = parts
    arguments = [_operand(part) for part in tail] + ([piped] if piped else [])
    if isinstance(head, str) and (head.isidentifier() and head not in _CONSTANTS):
        from towline.cli.functions import function

        return _calling(function(head), head, arguments)
    value = _operand(head)
    return _method(value, arguments) if arguments else value


def _calling(call: Callable[..., object], name: str, arguments: list[Evaluate]) -> Evaluate:
    def evaluate(scope: Scope) -> object:
        values = [argument(scope) for argument in arguments]
        try:
            return call(*values)
        except (TypeError, ValueError, LookupError, AttributeError):
            shown = " ".join(words(value) for value in values)
            raise fault(f"{name} cannot be used on: {shown[:80]}") from None

    return evaluate


def _method(value: Evaluate, arguments: list[Evaluate]) -> Evaluate:
    def evaluate(scope: Scope) -> object:
        call = value(scope)
        if not callable(call):
            raise fault("only functions take arguments")
        return _calling(call, "it", arguments)(scope)

    return evaluate


def _operand(word: str | Evaluate) -> Evaluate:
    if not isinstance(word, str):
        return word
    if word[0] in "$.":
        return _path(word)
    value = _literal(word)
    return lambda scope: value


def _literal(word: str) -> object:
    if word in _CONSTANTS:
        return _CONSTANTS[word]
    if word[0] == "`":
        return word[1:-1]
    try:
        value = jsontext.loads(word.encode("utf-8", "surrogatepass"))
    except ValueError:
        raise fault(f'"{word}" is not understood') from None
    return value


def _path(word: str) -> Evaluate:
    root, *names = word.split(".")
    if word == ".":
        return lambda scope: scope.dot
    if not all(names):
        raise fault(f'"{word}" is not understood')

    def evaluate(scope: Scope) -> object:
        value = scope.dot
        if root:
            if root not in scope.variables:
                raise fault(f"there is no variable {root}")
            value = scope.variables[root]
        for index, name in enumerate(names):
            value = _field(value, name, known=index == 0 and value is scope.variables["$"])
        return value

    return evaluate


def _field(value: object, name: str, known: bool) -> object:
    """A member; None where a nested map lacks it, but a mistake where the object itself does."""
    if isinstance(value, dict):
        if known and name not in value:
            raise fault(f"there is no field .{name}; there are: {', '.join(map(str, value))}")
        return value.get(name)
    if value is None:
        return None
    raise fault(f"{words(value)[:40]!r} has no field .{name}")


def truth(value: object) -> bool:
    """As Go: false, 0, "", nil and empty collections are false."""
    return bool(value)


def words(value: object) -> str:
    """As Go prints a value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "<no value>"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{words(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(words, value)) + "]"
    return str(value)
