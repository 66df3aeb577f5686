"""The official conformance suite, over HTTP. What fails must be argued in `expected_failures_REVISION.yml`, and what is argued must fail."""

from __future__ import annotations

import os
import re
import unittest

from . import home, node

SUITE = "@modelcontextprotocol/conformance/dist/index.js"
HERE = os.path.dirname(__file__)

# Each with the number of its scenarios that are scored, so that none is lost when the suite is replaced by a newer one.
REVISIONS = {"2025-11-25": 30, "2026-07-28": 37}


class Conformance(unittest.TestCase):
    def judge(self, revision: str) -> None:
        # The suite has no way to be told a token.
        with home().listening("--profile", "conformance") as (url, token):
            arguments = ("server", "--url", url, "--requirements", revision)
            argued = ("--expected-failures", os.path.join(HERE, f"expected_failures_{revision}.yml"))
            options = f"--import={os.path.join(HERE, 'bearer.mjs')}"
            done = node(SUITE, *arguments, *argued, NODE_OPTIONS=options, PYRO_TEST_TOKEN=token)
        report = done.stdout + done.stderr
        self.assertEqual(done.returncode, 0, report[report.find("=== SUMMARY") :])
        judged = re.findall(r"^[✓✗] ([a-z0-9-]+): \d+ passed", report, re.MULTILINE)
        self.assertGreaterEqual(len(set(judged)), REVISIONS[revision], report)

    def test_it_conforms_to_2025_11_25(self) -> None:
        self.judge("2025-11-25")

    def test_it_conforms_to_2026_07_28(self) -> None:
        self.judge("2026-07-28")
