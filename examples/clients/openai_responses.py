"""The tools of pyro for a model behind OpenAI's Responses API.

    MODEL=gpt-5 python3 openai_responses.py PROFILE PROMPT

PROFILE is `vm-run` for single commands, `workspace-core` for work that lasts. The tools are what `pyro mcp serve` lists;
the server runs here, and may read and write below the current directory.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from mcp import Client, StdioServerParameters
from openai import AsyncOpenAI

MOST_STEPS = 30


async def functions(pyro: Client) -> list[Any]:
    """The tools as the Responses API wants them."""
    listed = await pyro.list_tools()
    return [
        # Not `strict`: that would want every argument in every call.
        {"type": "function", "name": tool.name, "description": tool.description, "parameters": tool.input_schema, "strict": False}
        for tool in listed.tools
    ]


async def perform(pyro: Client, name: str, arguments: dict[str, Any]) -> str:
    """What a call gave, failures too: the model shall read them."""
    print(f"* {name} {json.dumps(arguments)}", file=sys.stderr)
    result = await pyro.call_tool(name, arguments)
    return json.dumps(result.structured_content)


async def main(profile: str, prompt: str) -> None:
    """Answers the prompt, calling tools on the way."""
    server = StdioServerParameters(command="pyro", args=["mcp", "serve", "--profile", profile], env=dict(os.environ))
    async with Client(server) as pyro, AsyncOpenAI() as openai:
        tools, items = await functions(pyro), [{"role": "user", "content": prompt}]
        for _ in range(MOST_STEPS):
            response = await openai.responses.create(
                model=os.environ["MODEL"], instructions=pyro.instructions, tools=tools, input=items  # type: ignore[arg-type]
            )
            items += [item.model_dump(exclude_none=True) for item in response.output]
            calls = [item for item in response.output if item.type == "function_call"]
            if not calls:
                print(response.output_text)
                return
            # Side by side: calls of one answer do not wait for each other.
            outputs = await asyncio.gather(*(perform(pyro, call.name, json.loads(call.arguments)) for call in calls))
            items += [
                {"type": "function_call_output", "call_id": call.call_id, "output": output}
                for call, output in zip(calls, outputs)
            ]


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
