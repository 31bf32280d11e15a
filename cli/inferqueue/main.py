"""The program `inferqueue`."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from inferqueue.commands.options import UsageError
from inferqueue.errors import InferQueueError, InvalidInput, Unreachable
from inferqueue_core.errors import QueueError, QueueUnavailableError

FAILED = 1
USAGE = 2
UNREACHABLE = 3
INTERRUPTED = 130
STDOUT = 1

# Only the module of the command that runs is imported: most need neither Redis nor the supervisor.
COMMANDS = {
    "up": ("inferqueue.up.command", "start Redis, the proxy and workers on this machine"),
    "submit": ("inferqueue.commands.submit", "submit a job"),
    "wait": ("inferqueue.commands.wait", "wait for jobs and write their results"),
    "status": ("inferqueue.commands.status", "show a job, or all queues"),
    "top": ("inferqueue.commands.top", "watch the queues and their workers live"),
    "simulate": ("inferqueue.commands.simulate", "compare scaling laws over a load, in simulated time"),
    "dead": ("inferqueue.commands.dead", "list jobs that used up their attempts, and put them back"),
}

DESCRIPTION = """\
Asynchronous ONNX inference: serve models on this machine, submit jobs, wait for their results.

commands (each has a --help of its own):
"""

EPILOG = """\
exit codes: 0 done; 1 a job failed or the answer is no; 2 the command is not usable as it stands; 3 the proxy or Redis
cannot be reached."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program; raises SystemExit with the exit code."""
    parser = _parser()
    given = sys.argv[1:] if arguments is None else list(arguments)
    if not given:
        parser.print_help(sys.stderr)
        raise SystemExit(USAGE)
    flags = parser.parse_args(given)
    module = import_module(COMMANDS[flags.command][0])
    command = argparse.ArgumentParser(
        prog=f"inferqueue {flags.command}",
        description=module.DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(command)
    command.set_defaults(run=module.run)
    raise SystemExit(run(command.parse_args(flags.rest)))


def run(flags: argparse.Namespace) -> int:
    """Run the command and give its exit code; what goes wrong becomes one clear line."""
    try:
        code: int = flags.run(flags)
        if sys.stdout is not None:  # it is closed from the start in `inferqueue … >&-`
            sys.stdout.flush()
        return code
    except (Unreachable, QueueUnavailableError) as error:
        return _complain(str(error), UNREACHABLE)
    except InvalidInput as error:
        fields = "".join(f"\n  {field}: {message}" for field, message in error.errors if message not in str(error))
        return _complain(f"{error}{fields}", FAILED)
    except (InferQueueError, QueueError) as error:
        return _complain(str(error), FAILED)
    except UsageError as error:
        return _complain(str(error), USAGE)
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        # Or Python tries once more to write what is left, and complains.
        os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
        # The reader of our output may have gone, as `head` does: that is nothing to speak of.
        return FAILED if isinstance(error, BrokenPipeError) else _complain(str(error), FAILED)


def _complain(text: str, code: int) -> int:
    print(f"inferqueue: {text}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="inferqueue",
        usage="inferqueue [-h] COMMAND ...",
        description=DESCRIPTION + "\n".join(f"  {name:<8} {text}" for name, (_, text) in COMMANDS.items()),
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser
