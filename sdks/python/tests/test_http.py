"""The reader of responses against golden bytes, cut anywhere."""

from __future__ import annotations

import unittest

from pyro_mcp._http import HttpError, Incomplete, Response, chunk, request_head

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nx: y\r\n\r\n"
MEASURED = b"HTTP/1.1 422 Unprocessable Entity\r\ncontent-length: 2\r\n\r\n{}"
UNTIL_CLOSED = b"HTTP/1.0 500 Internal Server Error\r\n\r\noh"
EMPTY = b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n"
AFTER_INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n" + MEASURED


def read(data: bytes, size: int) -> tuple[int, bytes]:
    response, body = Response(), b""
    for at in range(0, len(data), size):
        body += response.feed(data[at : at + size])
    if not response.ended:
        response.finish()
    return response.status, body


class Responses(unittest.TestCase):
    def test_bodies_of_every_kind_are_read_however_they_are_cut(self) -> None:
        for data, expected in (
            (CHUNKED, (200, b"hello!")),
            (MEASURED, (422, b"{}")),
            (UNTIL_CLOSED, (500, b"oh")),
            (EMPTY, (204, b"")),
            (AFTER_INTERIM, (422, b"{}")),
        ):
            for size in range(1, len(data) + 1):
                self.assertEqual(read(data, size), expected, (data, size))

    def test_an_answer_that_breaks_off_is_noticed(self) -> None:
        for data in (CHUNKED, MEASURED):
            for cut in range(len(data)):
                with self.assertRaises(Incomplete):
                    read(data[:cut], 7)

    def test_what_is_no_answer_is_refused(self) -> None:
        head = b"HTTP/1.1 200 OK\r\n"
        for bad in (
            b"hello there\r\n\r\n",
            b"HTTP/1.1 2x0 OK\r\n\r\n",
            head + b"no header\r\n\r\n",
            head + b"content-length: -1\r\n\r\n",
            head + b"transfer-encoding: gzip\r\n\r\n",
            head + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
            head + b"transfer-encoding: chunked\r\n\r\n-1\r\n",
            head + b"transfer-encoding: chunked\r\n\r\n1\r\nab\r\n",
            b"x" * (65 * 1024),
            head + b"transfer-encoding: chunked\r\n\r\n" + b"1" * 2000,
        ):
            with self.assertRaises(HttpError) as caught:
                read(bad, 4096)
            self.assertNotIsInstance(caught.exception, Incomplete, bad)


class Requests(unittest.TestCase):
    def test_the_head_says_what_the_daemon_wants_to_know(self) -> None:
        self.assertEqual(
            request_head("/v1/gc", "application/json", 2),
            b"POST /v1/gc HTTP/1.1\r\nhost: pyro\r\npyro-api-version: 1\r\ncontent-type: application/json\r\n"
            b"content-length: 2\r\n\r\n",
        )
        self.assertIn(b"\r\ntransfer-encoding: chunked\r\n", request_head("/v1/run", "x", None))
        self.assertEqual(chunk(b"x" * 16), b"10\r\n" + b"x" * 16 + b"\r\n")


if __name__ == "__main__":
    unittest.main()
