"""The commands, and one line and an exit code for whatever goes wrong in them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Annotated, Any, NoReturn

import typer

import lopsided
from lopsided.cli.advise import advise
from lopsided.cli.check import check
from lopsided.cli.demo import demo
from lopsided.cli.measure import measure
from lopsided.cli.path import path
from lopsided.cli.phase import phase
from lopsided.cli.predict import predict
from lopsided.cli.reproduce import reproduce
from lopsided.cli.sweep import sweep
from lopsided.cli.thresholds import thresholds
from lopsided.cli.train import train
from lopsided.core.arguments import ArgumentError

INTERRUPTED = 128 + 2
BROKEN_PIPE = 128 + 13

app = typer.Typer(
    name="lopsided",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

# Every command of the program, in the order of `lopsided --help`. A command's module is imported at each start, so at
# its top it may import only what `import lopsided` does, Typer, and this folder; torch, Matplotlib and Rich go inside
# the function that needs them.
for command in (check, advise, predict, thresholds, path, phase, measure, demo, train, sweep, reproduce):
    app.command()(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lopsided {lopsided.__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Predict, measure and prevent the collapse of rare classes in classifiers trained on lopsided data.

    Exit codes: 0 done; 1 done, with a finding to look at; 2 bad input, or a file that cannot be written, in one line on
    standard error.
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words after the program's name; those of this process by default.

    Raises
    ------
    SystemExit
        Always, with code 0 (done), 1 (a finding), 2 (bad input, or a disk that refuses), 130 (interrupted) or 141
        (nobody reads the output).
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a Greek letter must not crash a terminal that cannot show it
    program: Any = typer.main.get_command(app)
    try:
        with program.make_context("lopsided", list(sys.argv[1:] if arguments is None else arguments)) as context:
            program.invoke(context)
        sys.stdout.flush()
        code = 0
    except typer.Exit as stop:
        code = stop.exit_code
    except typer.TyperException as error:
        code = _refuse(error.format_message(), error.exit_code)
    except ArgumentError as error:
        options = _options(program, context.invoked_subcommand)
        if error.argument not in options:
            raise  # not the user's, so a defect of the program: its traceback is wanted
        code = _refuse(error.describe(lambda name: options.get(name, name)), 2)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        _flush()
        code = BROKEN_PIPE
    except OSError as error:  # a full disk, a folder that is gone: the machine's doing
        place = "" if _flush() else "standard output"
        code = _refuse(": ".join(filter(None, (error.filename or place, error.strerror or str(error)))), 2)
    sys.exit(code)


def _flush() -> bool:
    """Whether standard output takes what is buffered; where it does not, send that nowhere.

    Otherwise the interpreter would try again on its way out, and complain.
    """
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def _refuse(message: str, code: int) -> int:
    if message:  # empty where the program was called without a command and has printed its help
        typer.echo(f"lopsided: {' '.join(message.splitlines())}", err=True)
    return code


def _options(program: Any, invoked: str | None) -> dict[str, str]:
    """The option of each argument of the library: the invoked command's own, else that of any command."""
    named = [
        (name == invoked, parameter.opts[0].startswith("-"), parameter.name, parameter.opts[0])
        for name, command in program.commands.items()
        for parameter in command.params
    ]
    # of the others a positional argument must not take the name of an option
    options = {name: option for *_, name, option in sorted(named, key=lambda entry: entry[:2])}
    return options | {"bias=False": "--no-bias"}
