"""The command ``cellsynth``: its verbs, and how every one of them ends.

Exit codes: 0 done, 1 a fault told in one line, 130 interrupted. A bug keeps its traceback.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer

from cellsynth.cli.console import StoppedError, print_error
from cellsynth.cli.evaluate import evaluate
from cellsynth.cli.export import export
from cellsynth.cli.fit import fit
from cellsynth.cli.generate import generate
from cellsynth.cli.latent import latent
from cellsynth.cli.phantom import phantom
from cellsynth.cli.presets import presets
from cellsynth.cli.report import report
from cellsynth.cli.study import study
from cellsynth.cli.texture import texture
from cellsynth.cli.train_preset import train_preset
from cellsynth.cli.train_texture import train_texture
from cellsynth.cli.validate import validate
from cellsynth.errors import CellsynthError

__all__ = ["app", "main"]

INTERRUPTED = 130

app = typer.Typer(
    help="Learn living cells from a few dozen segmented ones, and make new ones for benchmarks.",
    epilog="Begin with: cellsynth generate --preset celegans",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(generate)
app.command()(texture)
app.command("train-preset")(train_preset)
app.command("train-texture")(train_texture)
app.command()(evaluate)
app.command()(report)
app.command()(fit)
app.add_typer(presets, name="presets")
app.command()(phantom)
app.command()(export)
app.command()(latent)
app.command()(study)
app.command()(validate)


def _print_version(wanted: bool) -> None:
    if wanted:
        from cellsynth import __version__

        typer.echo(f"cellsynth {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version)
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line with ``arguments`` (those of the process by default).

    Returns:
        The exit code.
    """
    if arguments is None:
        _silence_libraries()
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = typer.main.get_command(app)
    try:
        code = command.main(given, prog_name="cellsynth", standalone_mode=False, obj=given)
        sys.stdout.flush()
    except CellsynthError as error:
        print_error(str(error))
        return 1
    except typer.TyperException as error:
        # The parser's own verdicts: an unknown option, a missing argument, a word for a number.
        context = getattr(error, "ctx", None)
        verb = context.command_path if context else "cellsynth"
        print_error(f"{error.format_message().rstrip('.')} (see {verb} --help)")
        return 1
    except StoppedError as stopped:
        print_error(str(stopped), word="interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough; the interpreter must not flush at its end.
        sys.stdout = None
        return 1
    if code == INTERRUPTED:
        print_error("nothing was begun", word="interrupted")
    return code if isinstance(code, int) else 0


def _silence_libraries() -> None:
    """What goes wrong is told once and in our words, not in the logs of a library as well."""
    logging.getLogger().addHandler(logging.NullHandler())
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
