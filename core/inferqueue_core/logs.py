"""JSON logs on standard error, one object a line."""

import logging
import sys

from pythonjsonlogger.json import JsonFormatter


def log_to_stderr(level: int = logging.INFO) -> None:
    """Send all logs to standard error as JSON with `time`, `level`, `logger`, `message` and the record's extras."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter(
            "%(asctime)s %(levelname)s %(name)s %(message)s",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            datefmt="%Y-%m-%dT%H:%M:%S%z",
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
