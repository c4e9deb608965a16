"""The dialect of jinja2 that checkpoints publish their chat templates in.

Trimmed blocks, loop controls, `{% generation %}`, a plain `tojson`, and the sandbox. What a
template writes itself comes out marked as its own (`written.py`): the compiler marks the
template's data and constants, and pieces are put together with their marks.
"""

import json
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, cast

import jinja2.compiler
import jinja2.ext
import jinja2.filters
import jinja2.nodes
import jinja2.parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup, soft_str

from serve.text.written import Written, WrittenMarkup, concat, formatted, own, recased


class _GenerationBlocks(jinja2.ext.Extension):
    """`{% generation %}` marks the assistant's words for training; here it is transparent."""

    tags = {"generation"}  # noqa: RUF012  jinja2's own declaration

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.Scope(body).set_lineno(line)


class _Compiler(jinja2.compiler.CodeGenerator):
    """Marks what stands in the template."""

    def visit_Const(  # noqa: N802  jinja2's own name
        self, node: jinja2.nodes.Const, frame: jinja2.compiler.Frame
    ) -> None:
        self.write(_source(node.as_const(frame.eval_ctx)))

    def _output_const_repr(self, group: Iterable[Any]) -> str:
        return _source("".join(group))

    @jinja2.compiler.optimizeconst
    def visit_Concat(  # noqa: N802  jinja2's own name
        self, node: jinja2.nodes.Concat, frame: jinja2.compiler.Frame
    ) -> None:
        if frame.eval_ctx.volatile or frame.eval_ctx.autoescape:
            super().visit_Concat(node, frame)
            return
        self.write("concat(map(str, (")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write(")))")


def _source(constant: object) -> str:
    """A constant of a template in Python, its strings marked."""
    if isinstance(constant, Markup):
        return f"environment.filters['safe'](environment.own({str.__str__(constant)!r}))"
    if isinstance(constant, str):
        return f"environment.own({str.__str__(constant)!r})"
    if isinstance(constant, dict):
        fields = cast("dict[object, object]", constant).items()
        return f"{{{', '.join(f'{_source(key)}: {_source(value)}' for key, value in fields)}}}"
    if isinstance(constant, list | tuple):
        members = "".join(f"{_source(member)}, " for member in cast("list[object]", constant))
        return f"[{members}]" if isinstance(constant, list) else f"({members})"
    return str(constant) if isinstance(constant, float) else repr(constant)


class Dialect(ImmutableSandboxedEnvironment):
    """The environment of chat templates; what they render to is `Written`."""

    code_generator_class = _Compiler
    concat = staticmethod(concat)  # pyright: ignore[reportAssignmentType]

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            autoescape=False,
            extensions=["jinja2.ext.loopcontrols", _GenerationBlocks],
        )
        # What compiled templates call; each of their constants is marked once.
        self.own = cache(own)
        self.filters |= {"join": _join, "safe": _safe, "title": _title, "tojson": _tojson}

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """`str.format` in the sandbox, with marks."""
        wrapped = super().wrap_str_format(value)
        text: object = getattr(value, "__self__", None)
        if wrapped is None or not isinstance(text, Written):
            return wrapped

        name: str = value.__name__

        def fill(pattern: str, *values: object, **named: object) -> str:
            call = super(Dialect, self).wrap_str_format(getattr(pattern, name))
            assert call is not None  # noqa: S101  (it wraps methods of this name)
            return call(*values, **named)

        return lambda *values, **named: formatted(text, fill, values, named)


@jinja2.pass_eval_context
def _join(
    context: jinja2.nodes.EvalContext,
    value: Iterable[Any],
    d: str = "",
    attribute: str | int | None = None,
) -> str:
    between = Written(d) if type(d) is str else d
    return jinja2.filters.sync_do_join(context, value, between, attribute)


def _safe(value: object) -> Markup:
    # Prompts are no HTML: there is nothing to be safe from.
    return WrittenMarkup(value) if isinstance(value, Written) else Markup(value)  # noqa: S704


def _title(value: object) -> str:
    text = soft_str(value)
    return recased(text, jinja2.filters.do_title(text))


def _tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )
