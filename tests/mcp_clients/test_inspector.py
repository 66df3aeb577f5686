"""The command line of the MCP Inspector. It is another implementation than the official Python client, and stricter with schemas."""

from __future__ import annotations

import json
import unittest
from typing import Any

from live import ENVIRONMENT

from . import PROFILES, home, node

INSPECTOR = "@modelcontextprotocol/inspector/clients/cli/build/index.js"


class Inspector(unittest.TestCase):
    def ask(self, way: list[str], *arguments: str, status: int = 0) -> Any:
        """One request; what it prints."""
        done = node(INSPECTOR, "--quiet", "--format", "json", *arguments, *way)
        self.assertEqual(done.returncode, status, f"{arguments}: {done.stdout}{done.stderr}")
        return json.loads(done.stdout)["result"]

    def stdio(self, *arguments: str) -> list[str]:
        """A server that the Inspector starts. It passes nothing on but what it is told to."""
        told = [word for name, value in home().variables().items() for word in ("-e", f"{name}={value}")]
        return [*told, "--", *home().server(*arguments)]

    def test_it_lists_the_tools_of_every_profile_and_finds_no_fault_in_their_schemas(self) -> None:
        for profile in PROFILES:
            with home().listening("--profile", profile) as (url, token):
                stdio = self.stdio("--profile", profile)
                http = ["--transport", "http", "--server-url", url, "--header", f"Authorization: Bearer {token}"]
                over_stdio = self.ask(["--protocol-era", "legacy", *stdio], "--method", "tools/list", "--strict")
                over_http = self.ask(["--protocol-era", "modern", *http], "--method", "tools/list", "--strict")
            names, same = ([tool["name"] for tool in listed["tools"]] for listed in (over_stdio, over_http))
            self.assertEqual(names, same, profile)
            self.assertEqual(len(names) == 1, profile == "vm-run")

    def test_a_command_runs_in_a_machine(self) -> None:
        given = json.dumps({"environment": ENVIRONMENT, "command": "echo out; exit 3"})
        call = ("--method", "tools/call", "--tool-name", "vm_run", "--tool-args-json", given)
        self.assertTrue(home().machines)
        result = self.ask(self.stdio("--profile", "vm-run"), *call)
        self.assertEqual((result["structuredContent"]["exit_code"], result["structuredContent"]["stdout"]), (3, "out\n"))

    def test_a_failure_is_a_result_that_says_so(self) -> None:
        call = ("--method", "tools/call", "--tool-name", "vm_run", "--tool-args-json", '{"enviroment": "x"}')
        result = self.ask(self.stdio("--profile", "vm-run"), *call, status=5)
        self.assertTrue(result["isError"])
        self.assertEqual(result["structuredContent"]["code"], "invalid_request")
        self.assertIn("enviroment", result["structuredContent"]["message"])

    def test_prompts_and_resources_are_listed(self) -> None:
        server = self.stdio()
        prompts = self.ask(server, "--method", "prompts/list")["prompts"]
        self.assertEqual(len(prompts), 5)
        templates = self.ask(server, "--method", "resources/templates/list")["resourceTemplates"]
        self.assertEqual(len(templates), 2)
        begin = ("--method", "prompts/get", "--prompt-name", "cold-start-validation", "--prompt-args", "source=/src/x")
        text = self.ask(server, *begin)["messages"][0]["content"]["text"]
        self.assertIn("/src/x", text)
