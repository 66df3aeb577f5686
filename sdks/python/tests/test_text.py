"""Bytes in JSON, both ways, and what else travels in another form."""

from __future__ import annotations

import os
import pathlib
import unittest

from pyro_mcp import _operations, _text


class Text(unittest.TestCase):
    def test_bytes_travel_as_text_whenever_they_can(self) -> None:
        name = os.fsdecode(b"a\xff")
        for value, sent in (
            ("grüße", "grüße"),
            (b"gr\xc3\xbc", "grü"),
            (b"\xff", {"base64": "/w=="}),
            (name, {"base64": "Yf8="}),
            (pathlib.PurePath("a/b"), "a/b"),
        ):
            self.assertEqual(_text.to_json(value), sent)
        self.assertEqual(_text.from_json({"base64": "Yf8="}), name)
        self.assertEqual(os.fsencode(name), b"a\xff")

    def test_what_is_no_encoded_bytes_stays(self) -> None:
        for value in ("x", {"base64": "!"}, {"base64": 1}, {"base64": "eA==", "more": 1}, None, 7):
            self.assertEqual(_text.from_json(value), value)

    def test_bytes_are_restored_where_the_type_has_them_and_nowhere_else(self) -> None:
        encoded = {"base64": "/w=="}
        answer = b'{"path":{"base64":"/w=="},"entries":[{"path":{"base64":"/w=="},"link_target":null}],"next_after":null}'
        listed = _operations.WORKSPACE_FILE_LIST.result(answer)
        self.assertEqual((listed["path"], listed["entries"][0]["path"]), ("\udcff", "\udcff"))
        # A label may be called so.
        made = _operations.WORKSPACE_STATUS.result(b'{"labels":{"base64":"/w=="},"workspace_seed":{"seed_path":{"base64":"/w=="}}}')
        self.assertEqual((made["labels"], made["workspace_seed"]["seed_path"]), (encoded, "\udcff"))
        logs = _operations.WORKSPACE_LOGS.result(b'{"entries":[{"cwd":"/","env":{"A":{"base64":"/w=="},"B":"b"}}]}')
        self.assertEqual(logs["entries"][0]["env"], {"A": "\udcff", "B": "b"})

    def test_a_request_has_what_was_said_and_no_more(self) -> None:
        request = _operations.WORKSPACE_EXEC.request
        self.assertEqual(
            request({"workspace": "a", "command": "true", "cwd": None, "detach": False}),
            b'{"workspace":"a","command":"true"}',
        )
        self.assertEqual(
            request({"workspace": "a", "command": ["ls", b"\xff"], "env": {"A": b"b"}}),
            b'{"workspace":"a","command":["ls",{"base64":"/w=="}],"env":{"A":"b"}}',
        )
        self.assertEqual(
            _operations.WORKSPACE_FILE_WRITE.request({"workspace": "a", "path": "f", "content_base64": b"\xff", "mode": 0o755}),
            b'{"workspace":"a","path":"f","content_base64":"/w==","mode":"0755"}',
        )
        for bad in ({"workspace": "\udcff"}, {"workspace": "a", "timeout_seconds": float("nan")}):
            with self.assertRaises(ValueError):
                request({"command": "true", **bad})
        with self.assertRaises(TypeError):
            _operations.WORKSPACE_DIFF.request({"workspace": "a", "paths": "src"})

    def test_paths_of_this_host_are_absolute(self) -> None:
        self.assertEqual(_text.host_path("a"), os.path.abspath("a"))
        self.assertEqual(_text.host_path("~"), os.path.expanduser("~"))
        self.assertEqual(_text.host_path(b"/a\xff"), {"base64": "L2H/"})


if __name__ == "__main__":
    unittest.main()
