"""Errors of the daemon as exceptions."""

from __future__ import annotations

import json
import pathlib
import pickle
import unittest
from typing import Any

from pyro_mcp import PyroError, errors
from pyro_mcp._errors import connection_broke, from_body, lost

from .stand_in import error_body

CONTRACT = pathlib.Path(__file__).parents[3] / "docs/reference/api.json"


def raised(code: str, **more: Any) -> PyroError:
    error = from_body(error_body(code, **more))
    assert error is not None
    return error


class Errors(unittest.TestCase):
    def test_every_code_of_the_contract_has_its_class(self) -> None:
        table = json.loads(CONTRACT.read_text())["errors"]
        self.assertEqual([row["code"] for row in table], list(errors.BY_CODE))
        for row in table:
            error = raised(row["code"])
            self.assertIs(type(error), errors.BY_CODE[row["code"]])
            self.assertEqual((error.code, type(error).retryable), (row["code"], row["retryable"]))

    def test_an_error_says_all_that_the_daemon_says(self) -> None:
        error = raised("work_unknown", hint="look", retryable=True, work="unknown", work_started=None, job_id="c7")
        self.assertEqual((error.message, error.hint, error.retryable), ("it is work_unknown", "look", True))
        self.assertEqual((error.work, error.work_started, error.job_id), ("unknown", None, "c7"))
        self.assertEqual(str(error), "it is work_unknown\nhint: look")
        self.assertEqual(str(raised("internal")), "it is internal")

    def test_bad_input_is_a_value_error_and_everything_a_runtime_error(self) -> None:
        self.assertIsInstance(raised("unknown_workspace"), ValueError)
        self.assertNotIsInstance(raised("workspace_state"), ValueError)
        self.assertIsInstance(raised("unknown_workspace"), RuntimeError)

    def test_a_code_of_a_newer_release_is_kept(self) -> None:
        error = raised("brand_new")
        self.assertIs(type(error), PyroError)
        self.assertEqual(error.code, "brand_new")

    def test_what_is_no_error_is_none(self) -> None:
        bodies: tuple[object, ...] = (None, [], {}, {"code": "internal"}, {"code": 1, "error": "x"})
        for body in bodies:
            self.assertIsNone(from_body(body))

    def test_errors_go_to_other_processes_and_come_back(self) -> None:
        for error in (raised("brand_new", hint="h", job_id="c1"), lost("x", True)):
            again = pickle.loads(pickle.dumps(error))
            self.assertIs(type(again), type(error))
            self.assertEqual(again.__dict__, error.__dict__)
            self.assertEqual(connection_broke(again), connection_broke(error))


if __name__ == "__main__":
    unittest.main()
