"""Options that several commands share, and the client that they make."""

import argparse
from math import isfinite

from inferqueue.client import Client

LONGEST_SECONDS = 31_536_000
"""A year."""


class UsageError(Exception):
    """The command is not usable as it stands; the message says why."""


def seconds(text: str) -> float:
    """Read a number of seconds, 0 to a year, for argparse."""
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not isfinite(number) or not 0 <= number <= LONGEST_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0 to {LONGEST_SECONDS}")
    return number


def count(text: str) -> int:
    """Read a whole number above 0, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def add_proxy_options(parser: argparse.ArgumentParser) -> None:
    """Add where the proxy is and how answers look."""
    group = parser.add_argument_group("where and how")
    group.add_argument("--url", help="address of the proxy (INFERQUEUE_URL, default http://127.0.0.1:8000)")
    group.add_argument(
        "--api-key", metavar="KEY", help="key to the proxy (INFERQUEUE_API_KEY is safer: it is in no list)"
    )
    add_json_option(group)


def add_json_option(group: argparse._ActionsContainer) -> None:
    group.add_argument("--json", action="store_true", help="answer in JSON, for programs")


def make_client(arguments: argparse.Namespace) -> Client:
    """Make the client that the options describe; it gives up soon, for a person is waiting."""
    try:
        return Client(arguments.url, api_key=arguments.api_key, patience=3.0)
    except ValueError as error:
        raise UsageError(str(error)) from None
