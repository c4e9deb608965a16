"""Where a checkpoint keeps its chat templates, and which of them is used.

Knows nothing of what templates say.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from model.unreadable import git_pointer, not_read
from serve.text.template import ChatTemplate, TemplateError

# Later places win over earlier ones, as in the library that writes them: first the two JSON
# files, then the files that replaced them.
_JSON_PLACES = ("chat_template.json", "tokenizer_config.json")
_DEFAULT_FILE = "chat_template.jinja"
_NAMED_FILES = "additional_chat_templates"
_DEFAULT = "default"
_STRANGE = "must be JSON whose chat_template is a string, or a list of objects {name, template}"


def load_chat_template(
    directory: Path, variables: Mapping[str, str], chosen: str = ""
) -> ChatTemplate:
    """The chat template of a checkpoint, or the one that a person chose.

    Args:
        directory: the checkpoint.
        variables: what the template sees besides the conversation (`bos_token`, …).
        chosen: a template's file, or the name of one of the checkpoint's templates; empty for
            the checkpoint's default.

    Raises:
        TemplateError: there is no such template, or it is wrong.
    """
    if chosen and Path(chosen).is_file():
        return ChatTemplate(_read(Path(chosen)), variables, chosen)
    found = _templates(directory)
    name = chosen or _DEFAULT
    if name in found:
        source, place = found[name]
        return ChatTemplate(source, variables, place)
    names = ", ".join(sorted(found))
    if chosen:
        known = f"of {directory}: {names}" if found else f"({directory} has none)"
        raise TemplateError(
            f"chat_template is {chosen}, which is no file and not the name of a template {known}"
        )
    if found:
        raise TemplateError(
            f"{directory} has the chat templates {names}, none of them named {_DEFAULT}; choose "
            f"one with --chat-template"
        )
    raise TemplateError(
        f"{directory} has no chat template, neither {_DEFAULT_FILE} nor in tokenizer_config.json; "
        f"give the file of one with --chat-template"
    )


def _templates(directory: Path) -> dict[str, tuple[str, str]]:
    """Name → source and place of the checkpoint's templates."""
    found: dict[str, tuple[str, str]] = {}
    for place in _JSON_PLACES:
        path = directory / place
        if path.is_file():
            sources = _from_json(path)
            found |= {name: (source, str(path)) for name, source in sources.items()}
    files = {path.stem: path for path in sorted(directory.glob(f"{_NAMED_FILES}/*.jinja"))}
    if (directory / _DEFAULT_FILE).is_file():
        files[_DEFAULT] = directory / _DEFAULT_FILE
    return found | {name: (_read(path), str(path)) for name, path in files.items()}


def _from_json(path: Path) -> dict[str, str]:
    """The templates of `chat_template`: one string, a list of named ones, or a map of them."""
    text = _read(path)
    try:
        fields = json.loads(text)
        value = fields.get("chat_template") or {}
        if isinstance(value, list):
            value = {entry["name"]: entry["template"] for entry in cast("list[Any]", value)}
        sources = {_DEFAULT: value} if isinstance(value, str) else dict(value)
        strange = [name for name, source in sources.items() if not isinstance(source, str)]
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise TemplateError(f"{path} {_STRANGE} ({error!r})") from error
    if strange:
        raise TemplateError(f"{path} {_STRANGE} (see {strange[0]})")
    return sources


def _read(path: Path) -> str:
    if pointer := git_pointer(path):
        # It would be a template that says the same whatever it is asked.
        raise TemplateError(pointer)
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise TemplateError(not_read(path, error)) from error
    except UnicodeDecodeError as error:
        raise TemplateError(f"{path} cannot be read ({error}); give a readable template") from error
