"""The part of Go's text/template that `--format` is used for, compiled to plain functions.

Known: fields (.IPAM.Driver, $v.Name), literals, functions with arguments, parentheses and pipes; range (with else and
`$k, $v :=`), if / else if / else, with; comments, and "-" that trims spaces.
"""

from __future__ import annotations

from towline.cli.errors import UsageError
from towline.cli.expression import Scope, compile_pipe, fault, tokens, truth, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from towline.cli.expression import Evaluate

    Render = Callable[[Scope], str]

MAX_DEPTH = 50


def compile_template(source: str) -> Callable[[object], str]:
    """A function that fills the template in with a value. Both it and this raise UsageError."""
    parser = _Parser(_pieces(source))
    render, closing = parser.sequence(0)
    if closing:
        raise fault(f"{{{{{closing}}}}} without a block")
    return lambda value: render(Scope(value, {"$": value}))


def unescape(source: str) -> str:
    """\\t and \\n as written in a shell's single quotes, as docker's list formats take them."""
    return source.replace("\\t", "\t").replace("\\n", "\n")


def _pieces(source: str) -> Iterator[tuple[bool, str]]:
    """(is it an action, its text), with trimming done."""
    trim = False
    while source:
        text, opened, rest = source.partition("{{")
        action, closed, after = rest.partition("}}")
        if opened and not closed:
            raise fault(f'"{{{{{rest[:20]}" is not closed by "}}}}"')
        if trim:
            text = text.lstrip()
        if action.startswith("- "):
            text, action = text.rstrip(), action[2:]
        trim = action.endswith(" -")
        if text:
            yield False, text
        action = action.removesuffix(" -").strip()
        if opened and not action.startswith("/*"):
            yield True, action
        source = after


class _Parser:
    """Recursive descent over the pieces; each block is compiled when its end is reached."""

    def __init__(self, pieces: Iterator[tuple[bool, str]]) -> None:
        self._pieces = pieces

    def sequence(self, depth: int) -> tuple[Render, str]:
        """Everything up to the `end` or `else` that closes this block; answers that action, or "" at the end."""
        if depth > MAX_DEPTH:
            raise fault("blocks are nested too deeply")
        parts: list[Render] = []
        for is_action, text in self._pieces:
            keyword, _, rest = text.partition(" ")
            if not is_action:
                parts.append(_constant(text))
            elif keyword in ("end", "else"):
                return _joined(parts), text
            elif keyword in ("range", "if", "with"):
                parts.append(self._block(keyword, rest, depth))
            else:
                parts.append(_shown(compile_pipe(tokens(text))))
        return _joined(parts), ""

    def _block(self, keyword: str, header: str, depth: int) -> Render:
        names, pipe = _header(header)
        if names and keyword != "range":
            raise fault(f"variables are for range only, not for {keyword}")
        body, closing = self.sequence(depth + 1)
        otherwise = _constant("")
        if closing == "else":
            otherwise, closing = self.sequence(depth + 1)
        elif closing.startswith("else "):
            inner, _, rest = closing.removeprefix("else ").partition(" ")
            if inner not in ("if", "with"):
                raise fault(f"{{{{{closing}}}}} is not understood")
            otherwise, closing = self._block(inner, rest, depth + 1), "end"
        if closing != "end":
            raise fault(f"{{{{{keyword}}}}} has no {{{{end}}}}")
        if keyword == "range":
            return _ranging(names, pipe, body, otherwise)
        return _choosing(keyword == "with", pipe, body, otherwise)


def _header(text: str) -> tuple[list[str], Evaluate]:
    """`$k, $v := pipe` or `pipe`."""
    left, assigned, right = text.partition(":=")
    if not assigned:
        return [], compile_pipe(tokens(text))
    names = [name.strip() for name in left.split(",")]
    if len(names) > 2 or not all(name.startswith("$") and name[1:].isidentifier() for name in names):
        raise fault(f'"{left.strip()}" are not one or two variables')
    return names, compile_pipe(tokens(right))


def _constant(text: str) -> Render:
    return lambda scope: text


def _shown(pipe: Evaluate) -> Render:
    return lambda scope: words(pipe(scope))


def _joined(parts: list[Render]) -> Render:
    return lambda scope: "".join([part(scope) for part in parts])


def _choosing(moves_dot: bool, pipe: Evaluate, body: Render, otherwise: Render) -> Render:
    def render(scope: Scope) -> str:
        value = pipe(scope)
        if not truth(value):
            return otherwise(scope)
        return body(Scope(value, scope.variables) if moves_dot else scope)

    return render


def _ranging(names: list[str], pipe: Evaluate, body: Render, otherwise: Render) -> Render:
    def render(scope: Scope) -> str:
        pairs = _pairs(pipe(scope))
        if not pairs:
            return otherwise(scope)
        parts = []
        for key, value in pairs:
            found = (key, value) if len(names) == 2 else (value,)
            parts.append(body(Scope(value, {**scope.variables, **dict(zip(names, found, strict=False))})))
        return "".join(parts)

    return render


def _pairs(value: object) -> list[tuple[object, object]]:
    """What range walks over; maps in order of their keys, as Go does."""
    if isinstance(value, dict):
        return sorted(value.items(), key=lambda pair: str(pair[0]))
    if isinstance(value, list):
        return list(enumerate(value))
    if value is None:
        return []
    raise UsageError(f"--format: range over {words(value)!r}, which is neither a list nor a map")
