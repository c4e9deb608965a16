"""From flags, environment and TOML file to a `ServeConfig`, and where each value came from.

Flag before environment variable before file before default: click does the choosing, this
file gives it the fields of `ServeConfig` as options. Knows nothing of what settings mean.
"""

import json
import math
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

import click
from click.core import ParameterSource

from serve.config import ConfigError, ServeConfig, expanded
from serve.environment import CONFIG_VARIABLE, service_links
from serve.setting_field import Setting
from serve.setting_names import environment_name, flag_name, settings

_CONFIG_FILE = "parlance.config_file"


@dataclass(frozen=True, slots=True)
class ResolvedConfig:
    """A configuration and the origin of each of its values.

    Attributes:
        config: the settings that hold.
        origins: name → `default`, `flag --x`, `environment PARLANCE_X` or `file PATH`.
    """

    config: ServeConfig
    origins: Mapping[str, str]


def _number(kind: type[int] | type[float], explained: Setting) -> Callable[[Any], int | float]:
    low = -math.inf if explained.low is None else explained.low
    high = math.inf if explained.high is None else explained.high
    words = "a whole number" if kind is int else "a number"
    bounds = f"from {low:g} to {high:g}" if math.isfinite(high) else f"of {low:g} or more"

    def convert(value: Any) -> int | float:
        try:
            number = kind(value)
        except (ValueError, OverflowError):
            number = None
        if number is None or not math.isfinite(number) or not low <= number <= high:
            raise click.BadParameter(f"{value} is not {words} {bounds}")
        return number

    return convert


def _default(name: str) -> Any:
    entry = settings()[name][0]
    if entry.default is not MISSING:
        return entry.default
    return cast("Any", entry.default_factory)()


class _SettingOption(click.Option):
    """An option that takes nothing from a variable which tells of a Kubernetes Service."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        if self.envvar in service_links(os.environ):
            return None
        return super().resolve_envvar_value(ctx)


def _option(name: str, kind: Any) -> click.Option:
    explained = settings()[name][1]
    flag = flag_name(name)
    default = _default(name)
    common: dict[str, Any] = {"envvar": environment_name(name), "help": explained.help}
    if kind is bool:
        off = "--no-" + flag.removeprefix("--")
        return _SettingOption([name, f"{flag}/{off}"], default=default, **common)
    common["metavar"] = explained.metavar or None
    if get_origin(kind) is Literal:
        return _SettingOption(
            [name, flag], type=click.Choice(get_args(kind)), default=default, **common
        )
    if get_origin(kind) is tuple:
        return _SettingOption([name, flag], type=str, multiple=True, default=default, **common)
    if kind in (int, float):
        number = _number(kind, explained)
        return _SettingOption([name, flag], type=number, default=default, **common)
    return _SettingOption([name, flag], type=str, default=str(default), **common)


def make_options() -> list[click.Parameter]:
    """One click option for every setting that has a flag, and `--config`, `--print-config`."""
    kinds = get_type_hints(ServeConfig)
    made: list[click.Parameter] = [
        click.Option(
            ["config_file", "--config"],
            metavar="FILE",
            envvar=CONFIG_VARIABLE,
            is_eager=True,
            expose_value=False,
            callback=_load_file,
            help="TOML file of settings, its keys those that --print-config shows.",
        ),
        click.Option(
            ["print_config", "--print-config"],
            is_flag=True,
            help="Print every setting with where it came from, and exit.",
        ),
    ]
    made.extend(_option(name, kinds[name]) for name in settings() if flag_name(name))
    return made


def _load_file(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value:
        context.default_map = read_config_file(Path(value))
        context.meta[_CONFIG_FILE] = value


def _kind_in_words(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return "a list of strings"
    words = {int: "a whole number", float: "a number", bool: "true or false"}
    return words.get(kind, "a string")


def _fits(value: object, kind: Any) -> bool:
    if get_origin(kind) is tuple:
        return isinstance(value, list) and all(
            isinstance(entry, str) for entry in cast("list[object]", value)
        )
    if kind is bool:
        return isinstance(value, bool)
    if kind in (int, float):
        allowed = (int,) if kind is int else (int, float)
        return isinstance(value, allowed) and not isinstance(value, bool)
    return isinstance(value, str)


def read_config_file(path: Path) -> dict[str, Any]:
    """Settings of a TOML file by name.

    Raises:
        ConfigError: no such file, not TOML, an unknown key, or a value of the wrong type.
    """
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the settings file {path} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"the settings file {path} is not valid TOML: {error}") from error
    kinds = get_type_hints(ServeConfig)
    known = [name for name in settings() if flag_name(name)]
    for key, value in entries.items():
        if key not in known:
            raise ConfigError(
                f"{path} has the unknown key {key!r}; the keys are: {', '.join(known)}"
            )
        if not _fits(value, kinds[key]):
            raise ConfigError(
                f"{key} in {path} is {value!r}; it must be {_kind_in_words(kinds[key])}"
            )
    return entries


def origin(context: click.Context, name: str) -> str:
    """Where the value of the setting `name` came from, in words."""
    source = context.get_parameter_source(name)
    if source is ParameterSource.COMMANDLINE:
        return f"flag {flag_name(name)}"
    if source is ParameterSource.ENVIRONMENT:
        return f"environment {environment_name(name)}"
    if source is ParameterSource.DEFAULT_MAP:
        return f"file {context.meta[_CONFIG_FILE]}"
    return "default"


def resolve(context: click.Context, values: Mapping[str, Any]) -> ResolvedConfig:
    """The configuration that click's parsed `values` make.

    Raises:
        ConfigError: settings that contradict each other.
    """
    kinds = get_type_hints(ServeConfig)
    chosen: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name, (_, explained) in settings().items():
        if explained.secret:
            chosen[name] = os.environ.get(environment_name(name), "")
            origins[name] = f"environment {environment_name(name)}" if chosen[name] else "default"
            continue
        value = values[name]
        chosen[name] = _place(value) if kinds[name] is Path else value
        origins[name] = origin(context, name)
    return ResolvedConfig(ServeConfig(**chosen), origins)


def _place(value: str) -> Path:
    # Without its first dot a path could be the id of a model on the hub, and Path drops that.
    return expanded(value).absolute() if value.startswith(".") else expanded(value)


def _as_toml(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_as_toml(entry) for entry in cast("tuple[object, ...]", value)) + "]"
    if isinstance(value, Path):
        value = str(value)
    # JSON spells numbers, booleans and strings as TOML does.
    return json.dumps(value, ensure_ascii=False)


def render_config(resolved: ResolvedConfig) -> str:
    """Every setting as a line of TOML with its origin as a comment; secrets are not shown."""
    shown: list[tuple[str, str]] = []
    for name, (_, explained) in settings().items():
        value = getattr(resolved.config, name)
        if explained.secret:
            entry = f"# {name} is {'set' if value else 'not set'}"
        else:
            entry = f"{name} = {_as_toml(value)}"
        shown.append((entry, resolved.origins[name]))
    width = max(len(entry) for entry, _ in shown)
    return "\n".join(f"{entry:<{width}}  # {where}" for entry, where in shown)


class GroupedCommand(click.Command):
    """A command whose help lists the settings under their groups, with default and variable."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, group by group."""
        explained = {name: entry for name, (_, entry) in settings().items()}
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            name = parameter.name or ""
            if name in explained:
                default = explained[name].default_text or _default_in_words(_default(name))
                record = (
                    record[0],
                    f"{explained[name].help} [default: {default}; {environment_name(name)}]",
                )
            group = explained[name].group if name in explained else "General"
            groups.setdefault(group, []).append(record)
        general = groups.pop("General", [])
        for group, records in [*groups.items(), ("General", general)]:
            with formatter.section(group):
                formatter.write_dl(records, col_max=34)


def _default_in_words(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)
