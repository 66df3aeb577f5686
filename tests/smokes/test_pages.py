"""The recipe pages agree with themselves and with their table of contents."""

from __future__ import annotations

import ast
import json
import re
import unittest

from .command_line import commands
from .page import Page, read
from .run import ROOT

STORIES = ("repro-fix-loop", "parallel-workspaces", "untrusted-inspection", "review-eval")


def calls_of_blocks(page: Page) -> tuple[int, int]:
    """What the blocks of a page amount to, on the command line and over MCP."""
    lines = [words for step in page.steps for words in commands(step.blocks["sh"]) if words != ["wait"]]
    asked = [json.loads(step.blocks["json"]) for step in page.steps]
    return len(lines), sum(len(block) if isinstance(block, list) else 1 for block in asked)


class Pages(unittest.TestCase):
    """Of every story."""

    def test_the_number_of_calls_is_that_of_the_blocks(self) -> None:
        for name in STORIES:
            page = read(name)
            self.assertEqual(calls_of_blocks(page), (page.calls, page.calls), name)

    def test_the_table_of_contents_says_the_same(self) -> None:
        contents = (ROOT / "docs/use-cases/README.md").read_text()
        listed = re.findall(r"\]\(([a-z-]+)\.md\) \| .* \| (\d+) \|$", contents, re.MULTILINE)
        self.assertEqual(listed, [(name, str(read(name).calls)) for name in STORIES])

    def test_every_block_is_of_its_language(self) -> None:
        for name in STORIES:
            for step in read(name).steps:
                ast.parse(step.blocks["python"])
                for words in commands(step.blocks["sh"]):
                    self.assertIn(words[0], ("pyro", "wait"), f"{name}, {step.title}")
