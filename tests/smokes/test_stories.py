"""Each recipe, followed through each surface, in real machines."""

from __future__ import annotations

import shutil
import unittest
from typing import Union

from .command_line import CommandLine
from .matching import differences
from .mcp_client import Mcp
from .page import read
from .sdk import Sdk
from .stories import Story
from .stories import parallel_workspaces, repro_fix_loop, review_eval, untrusted_inspection
from .world import Smoke

Surface = Union[CommandLine, Mcp, Sdk]


class Stories(Smoke):
    """Four stories, three ways."""

    def follow(self, story: Story, surface: Surface) -> None:
        """Does what the page says and compares what comes back."""
        page = read(story.name)
        shutil.copytree(page.project, self.place / "project")
        self.assertEqual(len(page.steps), len(story.wanted))
        with surface:
            for number, step in enumerate(page.steps, start=1):
                results = surface.does(step.blocks[surface.language])
                wrong = differences(story.wants(surface.language, number), results)
                self.assertEqual(wrong, [], f"{story.name}, step {step.title}")
        self.assertEqual(surface.calls, page.calls, "calls that the page names")
        story.afterwards(self.place)

    def through_the_command_line(self, story: Story) -> None:
        self.follow(story, CommandLine(self.place))

    def through_mcp(self, story: Story) -> None:
        self.follow(story, Mcp(self.place, self.world.variables, story.profile))

    def through_the_sdk(self, story: Story) -> None:
        self.follow(story, Sdk())

    def test_repro_fix_loop_through_the_command_line(self) -> None:
        self.through_the_command_line(repro_fix_loop.STORY)

    def test_repro_fix_loop_through_mcp(self) -> None:
        self.through_mcp(repro_fix_loop.STORY)

    def test_repro_fix_loop_through_the_sdk(self) -> None:
        self.through_the_sdk(repro_fix_loop.STORY)

    def test_parallel_workspaces_through_the_command_line(self) -> None:
        self.through_the_command_line(parallel_workspaces.STORY)

    def test_parallel_workspaces_through_mcp(self) -> None:
        self.through_mcp(parallel_workspaces.STORY)

    def test_parallel_workspaces_through_the_sdk(self) -> None:
        self.through_the_sdk(parallel_workspaces.STORY)

    def test_untrusted_inspection_through_the_command_line(self) -> None:
        self.through_the_command_line(untrusted_inspection.STORY)

    def test_untrusted_inspection_through_mcp(self) -> None:
        self.through_mcp(untrusted_inspection.STORY)

    def test_untrusted_inspection_through_the_sdk(self) -> None:
        self.through_the_sdk(untrusted_inspection.STORY)

    def test_review_eval_through_the_command_line(self) -> None:
        self.through_the_command_line(review_eval.STORY)

    def test_review_eval_through_mcp(self) -> None:
        self.through_mcp(review_eval.STORY)

    def test_review_eval_through_the_sdk(self) -> None:
        self.through_the_sdk(review_eval.STORY)
