"""The command line: `parlance serve`, `chat`, `convert`, `index`, `plan` and `models`.

Turns what a person typed into settings and errors into one sentence and an exit code: 2 for
what the person can correct, 1 for what broke. Knows nothing of engines or HTTP.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import click

from serve.config import ConfigError
from serve.distribution import installed_version
from serve.environment import URL_VARIABLE, strangers
from serve.options import GroupedCommand, make_options, origin, render_config, resolve
from serve.plan.environment import PLAN_ENVIRONMENT
from serve.setting_names import settings

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(
    name="parlance",
    context_settings=_CONTEXT,
    invoke_without_command=True,
    epilog="More on each: parlance serve --help, parlance chat --help, and so on.",
)
@click.version_option(
    installed_version() or "from a source tree that is not installed",
    message="parlance %(version)s",
)
@click.pass_context
def cli(context: click.Context) -> None:
    """Parlance serves the OpenAI Chat Completions API from JAX.

    \b
    Start a server with the bundled model, then talk to it from another terminal:
      parlance serve
      parlance chat

    \b
    Or with any client of the API:
      curl http://127.0.0.1:8000/v1/chat/completions \\
        -H 'Content-Type: application/json' \\
        -d '{"model": "parlance-bundled", "messages": [{"role": "user", "content": "Hello"}]}'
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def _check_jax() -> None:
    """See that JAX can be imported, and is told nothing that we cannot work with.

    Raises:
        ConfigError: a variable of JAX has a value that it, or we, cannot take.
    """
    from serve.engine.config import EngineConfigError

    try:
        from serve.engine.jax_settings import check_settings

        check_settings()
    except EngineConfigError as error:
        raise ConfigError(str(error)) from error
    except ValueError as error:
        # What JAX says when it reads its variables, at its import.
        raise ConfigError(
            f"JAX cannot be imported: {error}; correct the JAX_… variable that this is about, or "
            f"unset it"
        ) from error


def _name_strangers() -> None:
    for sentence in strangers(os.environ):
        click.echo(f"parlance: warning: {sentence}", err=True)


_SERVE_HELP = """Serve chat completions over HTTP.

Without --model it serves the small model that comes with Parlance. A setting is taken from its
flag, else from its PARLANCE_… environment variable, else from the TOML file given with --config,
else it has its default. --print-config shows what holds and why; its output is itself such a file.

\b
Examples:
  parlance serve
  parlance serve --model smollm2
  parlance serve --model Qwen/Qwen3-0.6B
  parlance serve --model ~/models/mine --host 0.0.0.0 --port 8080
  parlance serve --api-key-file keys.txt --certfile chain.pem --keyfile key.pem

Ctrl-C or SIGTERM lets running answers end first; a second Ctrl-C ends at once. Exit codes: 0 after
a stop that was asked for, 1 when the engine failed, 2 when the settings or the model do not work.
"""


@click.pass_context
def _serve(context: click.Context, /, print_config: bool, **values: Any) -> int:
    _name_strangers()
    resolved = resolve(context, values)
    if print_config:
        from serve.model_defaults import in_words, sampling_defaults

        click.echo(render_config(resolved))
        if resolved.config.model.is_dir() or resolved.config.sampling_defaults == "api":
            silent = in_words(sampling_defaults(resolved.config))
        else:
            silent = f"what {resolved.config.model} recommends"
        click.echo(f"# where a request is silent: {silent}")
        return 0
    # JAX takes seconds to import: only a command that needs it pays for it.
    _check_jax()
    from serve.launch import StartupError, launch

    try:
        return launch(resolved.config)
    except StartupError as error:
        raise ConfigError(str(error)) from error


cli.add_command(
    GroupedCommand(
        "serve",
        context_settings=_CONTEXT,
        params=make_options(),
        callback=_serve,
        help=_SERVE_HELP,
        short_help="Serve chat completions over HTTP.",
    )
)


@cli.command()
@click.option(
    "--url",
    default="http://127.0.0.1:8000/v1",
    show_default=True,
    envvar=URL_VARIABLE,
    metavar="URL",
    help=f"Base address of the API. [{URL_VARIABLE}]",
)
@click.option(
    "--model",
    default="",
    metavar="NAME",
    help="Model to ask. [default: the first that the server lists]",
)
@click.option("--system", default="", metavar="TEXT", help="System message to begin with.")
@click.option(
    "--temperature",
    type=click.FloatRange(0, 2),
    help="Randomness of the answers, 0 to 2. [default: the server's]",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(1),
    metavar="TOKENS",
    help="Longest answer. [default: what the context leaves]",
)
@click.option(
    "--cafile",
    default="",
    metavar="FILE",
    help="Certificates that the server's may be signed by, PEM. [default: SSL_CERT_FILE, or those "
    "that everybody trusts]",
)
@click.option("--insecure", is_flag=True, help="Do not check the server's certificate.")
@click.argument("message", nargs=-1)
def chat(
    url: str,
    model: str,
    system: str,
    temperature: float | None,
    max_tokens: int | None,
    cafile: str,
    *,
    insecure: bool,
    message: Sequence[str],
) -> int:
    """Talk to a running server in the terminal.

    With MESSAGE, or with text on standard input, it prints one answer and ends. Else it keeps a
    conversation: /reset forgets it, /system TEXT sets the system message, /temperature N and
    /model NAME change what is asked for, /save FILE writes the conversation to a file, /help lists
    the commands, /quit or Ctrl-D ends; Ctrl-C stops the answer that is being written. What was
    typed is kept for the next time in ~/.local/state/parlance/chat_history.

    The API key, if the server wants one, is read from PARLANCE_API_KEY. Exit codes: 0 after a
    normal end, 1 when the server cannot be reached or refuses, 2 when the options do not work,
    130 when one answer was stopped.
    """
    _name_strangers()
    if cafile and insecure:
        raise ConfigError(
            "--cafile and --insecure contradict each other: give the one by which the server's "
            "certificate is checked, or the other, by which it is not"
        )
    from serve.chat.client import AnswerSettings
    from serve.chat.command import ChatServer, run_chat

    return run_chat(
        ChatServer(url, os.environ.get("PARLANCE_API_KEY", ""), cafile, insecure),
        AnswerSettings(model, temperature, max_tokens),
        system,
        " ".join(message),
    )


def _interrupted() -> Callable[[], bool]:
    """Whether Ctrl-C was pressed, from now on; a second time, it interrupts as usual.

    An interruption inside of Orbax may get lost, or leave its threads' tracebacks behind.
    """
    asked = Event()

    def note(number: int, frame: object) -> None:  # noqa: ARG001  (a handler's arguments)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        asked.set()

    signal.signal(signal.SIGINT, note)
    return asked.is_set


@cli.command()
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST", type=click.Path(path_type=Path))
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16"]),
    help="Write all weights as this. [default: as they are]",
)
def convert(source: str, target: Path, dtype: str | None) -> None:
    """Write the checkpoint SRC as one of ours, DST.

    SRC is what serve takes as --model; DST must not exist yet, or be what this command left when
    it was interrupted: the same command then goes on. Config, tokenizer and templates are copied,
    the weights written by Orbax in parts, so that a model may be larger than memory. Every part
    is read back and compared, and DST cannot be served before all of it is whole. Ctrl-C stops
    it after the part in hand, once more at once.

    Exit codes: 0 when DST is whole, 2 when SRC or DST do not work, 130 when interrupted.
    """
    # The work is copying: an accelerator would only be in the way of whoever uses it.
    os.environ["JAX_PLATFORMS"] = "cpu"
    _check_jax()
    from model.config import CheckpointError
    from model.convert import convert as run
    from serve.model_places import find_model

    try:
        directory = find_model(source).directory
        done = run(directory, target, dtype, _interrupted())
    except CheckpointError as error:
        raise ConfigError(str(error)) from error
    except KeyboardInterrupt:
        click.echo("parlance: interrupted; the same command goes on from here", err=True)
        raise
    earlier = f", {done.resumed} of them from an earlier run" if done.resumed else ""
    click.echo(
        f"{target}: {done.parameters / 1e6:.1f} M parameters, {done.bytes / 1e9:.2f} GB in "
        f"{done.parts} parts{earlier}; written and checked"
    )


@cli.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File of the index. [default: DIR/.parlance-index.sqlite]",
)
@click.option(
    "--base-url",
    default="",
    metavar="URL",
    help="Where DIR is on the web, for citations. [default: its file:// address]",
)
def index(directory: Path, out: Path | None, base_url: str) -> None:
    """Make the search index of a directory's documents, or bring it up to date.

    What serve takes as --search-index. PDF, DOCX, HTML, Markdown, CSV, JSON and text below DIR are
    read, each in a process that it cannot harm; hidden ones are not. Files that have not changed
    since the last run are not read again. A server that searches the old index goes on with the
    new one once it is whole.

    Exit codes: 0 when the index is written, also if files had to be left out, which is said; 2
    when it cannot be made; 130 when interrupted, and the old one stays.
    """
    from serve.indexing import index_directory
    from serve.search.index_file import IndexFileError

    if base_url and not base_url.startswith(("http://", "https://", "file://")):
        raise ConfigError(f"--base-url {base_url}: it begins with http://, https:// or file://")
    try:
        done = index_directory(directory, out, base_url, lambda said: click.echo(said, err=True))
    except IndexFileError as error:
        raise ConfigError(str(error)) from error
    click.echo(
        f"{done.path}: {done.read + done.kept} documents, {done.read} of them read now; "
        f"{len(done.skipped)} could not be read, {done.others} are of other kinds"
    )


@cli.command()
@click.option(
    "--model",
    required=True,
    metavar="MODEL",
    help="What serve takes as --model, of which only config.json is read; or a preset: "
    "gemma-3-27b, gpt-oss-20b, llama-3.1-8b, llama-3.1-70b, qwen3-8b, qwen3-30b-a3b, qwen3-32b, "
    "qwen3-vl-8b.",
)
@click.option(
    "--topology",
    default="",
    metavar="SLICE",
    help="TPU slice, like v5e:2x4 or v5p:2x2x1. [default: the smallest of each chip that fit]",
)
@click.option(
    "--mesh",
    default="",
    metavar="MESH",
    help="How to divide it, like data=2,model=4. [default: as serve would]",
)
@click.option("--rows", type=click.IntRange(1, 4096), default=64, show_default=True)
@click.option(
    "--context",
    type=click.IntRange(1),
    default=2048,
    show_default=True,
    metavar="TOKENS",
    help="Tokens of each row, prompt and answer together.",
)
@click.option(
    "--page-size", type=click.IntRange(1), default=16, show_default=True, metavar="TOKENS"
)
@click.option(
    "--prefill-chunk", type=click.IntRange(1), default=256, show_default=True, metavar="TOKENS"
)
@click.option(
    "--dtype",
    type=click.Choice(["bfloat16", "float32"]),
    default="bfloat16",
    show_default=True,
    help="Of weights and pages.",
)
@click.option(
    "--weights",
    type=click.Choice(["full", "float32", "bfloat16", "int8", "fp8", "int4"]),
    default="full",
    show_default=True,
    help="How the layers' matrices are kept.",
)
@click.option(
    "--cache-dtype",
    type=click.Choice(["auto", "bfloat16", "fp8"]),
    default="auto",
    show_default=True,
    help="Of pages; auto is that of weights.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(model: str, topology: str, mesh: str, *, as_json: bool, **work: Any) -> int:
    """Tell what a model takes and how fast it is on a TPU slice, without a TPU.

    Compiles the steps that serve would run with the TPU's own compiler, and reads from the
    programs what they take of each device, what the devices exchange, and about how long a step
    takes, beside the least that it could.

    \b
    Examples:
      parlance plan --model llama-3.1-70b --topology v6e:2x4
      parlance plan --model ~/models/mine --rows 32 --context 8192

    The compiler comes with pip install '.[plan]', at the top of a checkout. Exit codes: 0 when
    the model fits, 1 when it does not or the compiler fails at it, 2 when the settings or the
    model do not work.
    """
    os.environ.update(PLAN_ENVIRONMENT)
    _check_jax()
    from model.config import CheckpointError
    from model.mesh import MeshError
    from serve.engine.config import EngineConfigError
    from serve.plan.command import run_plan
    from serve.plan.deployment import Workload
    from serve.plan.errors import CompilerError, PlanError

    try:
        fits = run_plan(model, topology, mesh, Workload(**work), as_json=as_json, say=click.echo)
    except (CheckpointError, EngineConfigError, MeshError, PlanError) as error:
        raise ConfigError(str(error)) from error
    except CompilerError as error:
        click.echo(f"parlance: {error}", err=True)
        return 1
    return 0 if fits else 1


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def models(*, as_json: bool) -> None:
    """List the models of the catalogue, and those that have been fetched.

    What stands under name or id is what serve takes as --model: it is fetched at the first start,
    and kept. To remove one, remove the directory that is shown.
    """
    from serve.model_list import models_json, models_text

    click.echo(json.dumps(models_json(), indent=2) if as_json else models_text())


def _sentence(error: click.ClickException) -> str:
    parameter = getattr(error, "param", None)
    context = getattr(error, "ctx", None)
    if isinstance(error, click.BadParameter) and parameter is not None and context is not None:
        where = parameter.opts[0] if parameter.opts else parameter.name
        if parameter.name in settings():
            where = f"{parameter.name} ({origin(context, parameter.name)})"
        return f"{where}: {error.message}"
    return error.format_message()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    try:
        outcome = cli.main(args=arguments, prog_name="parlance", standalone_mode=False)
    except ConfigError as error:
        click.echo(f"parlance: {error}", err=True)
        sys.exit(2)
    except click.ClickException as error:
        click.echo(f"parlance: {_sentence(error)}", err=True)
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
    sys.exit(outcome if isinstance(outcome, int) else 0)


if __name__ == "__main__":
    main()
