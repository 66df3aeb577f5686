"""What went wrong, as exceptions. Each has the stable `code` of the daemon's contract; there is a class for each code."""

from __future__ import annotations

from typing import Any, Literal, Mapping, cast

Work = Literal["never_started", "running", "finished", "unknown"]


class PyroError(RuntimeError):
    """Something that was asked for did not happen.

    Also raised itself, for a code of a newer release than this package.
    """

    #: What went wrong, for programs. Stable.
    code: str = "unknown"
    #: What went wrong, for people; one line.
    message: str
    #: What to do about it, when there is something to do.
    hint: str | None
    #: Whether the same request may succeed when it is simply sent again.
    retryable: bool = False
    #: What became of the command, where the request was to run one.
    work: Work | None
    #: Whether the command may have run; none when that cannot be said or does not apply.
    work_started: bool | None
    #: The job that the command is, as far as it got onto the record.
    job_id: str | None

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        hint: str | None = None,
        retryable: bool | None = None,
        work: Work | None = None,
        work_started: bool | None = None,
        job_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        self.hint = hint
        if retryable is not None:
            self.retryable = retryable
        self.work = work
        self.work_started = work_started
        self.job_id = job_id

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r}, code={self.code!r}, retryable={self.retryable!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, dict(self.__dict__))


def _rebuild(kind: type[PyroError], message: str, state: dict[str, Any]) -> PyroError:
    error = kind(message)
    error.__dict__.update(state)
    return error


def from_body(body: object) -> PyroError | None:
    """The exception that an error of the daemon is; nothing if it is none."""
    from ._error_codes import BY_CODE

    if not isinstance(body, Mapping):
        return None
    code, message = body.get("code"), body.get("error")
    if not isinstance(code, str) or not isinstance(message, str):
        return None
    started = body.get("work_started")
    return BY_CODE.get(code, PyroError)(
        message,
        code=code,
        hint=_text(body.get("hint")),
        retryable=body.get("retryable") is True,
        work=cast("Work | None", _text(body.get("work"))),
        work_started=started if isinstance(started, bool) else None,
        job_id=_text(body.get("job_id")),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def unavailable(message: str, hint: str | None = None) -> PyroError:
    """There is no daemon."""
    from ._error_codes import DaemonUnavailableError

    return DaemonUnavailableError(message, hint=hint, work_started=False)


def lost(cause: str, retryable: bool) -> PyroError:
    """The connection broke after a request was on its way that may simply be sent again, or not."""
    from ._error_codes import DaemonLostError

    error = DaemonLostError(
        f"the daemon ended before it answered: {cause}",
        hint="`pyro daemon status` names the log; the next call starts a new daemon",
        retryable=retryable,
        work_started=True,
    )
    error.__dict__["_connection_broke"] = True
    return error


def connection_broke(error: PyroError) -> bool:
    """Whether the daemon was lost under us, and did not tell of another one that was."""
    return error.__dict__.get("_connection_broke") is True


def malformed(operation: str, cause: str) -> PyroError:
    """The daemon answered something that is not in the contract."""
    from ._error_codes import InternalError

    return InternalError(f"the daemon answered {operation} with something else than a result: {cause}")


def invalid(message: str) -> PyroError:
    """A request that cannot be sent."""
    from ._error_codes import InvalidRequestError

    return InvalidRequestError(message, work_started=False)
