"""A stand-in for a model: an HTTP endpoint on the loopback that replays what one has called.

A recording is a list of turns. A turn may say what the model `sees`, a pattern that must be in what the tools have answered
since the turn before; then it has what the model `calls`, or what it `says`. `$WORKSPACE` stands for the workspace that the
model was told of. It speaks chat completions and OpenAI's Responses API.
"""

from __future__ import annotations

import json
import pathlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Model:
    """The endpoint; `faults` has what was not as it was recorded."""

    def __init__(self, recording: list[dict[str, Any]]) -> None:
        self.turns, self.next, self.faults = recording, 0, list[str]()
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer = json.dumps(model.answer(self.path, asked)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        self.thread = threading.Thread(target=self.server.serve_forever)

    def __enter__(self) -> Model:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    @property
    def is_done(self) -> bool:
        """Whether all was played."""
        return self.next == len(self.turns)

    def answer(self, path: str, asked: dict[str, Any]) -> dict[str, Any]:
        """The next turn, in the form of the API that was called."""
        if self.is_done:
            self.faults.append("asked after the end of the recording")
            return form(path, self.next, {"says": "I have nothing more to say."})
        turn = self.turns[self.next]
        self.next += 1
        told = re.search(r"In the workspace (\w+)", json.dumps(asked))
        turn = json.loads(json.dumps(turn).replace("$WORKSPACE", told[1] if told else ""))
        seen, offered = (responses_state if path.endswith("/responses") else chat_state)(asked)
        if "sees" in turn and not re.search(turn["sees"], seen, re.DOTALL):
            self.faults.append(f"turn {self.next}: no {turn['sees']!r} in {seen}")
        for call in turn.get("calls", []):
            known = offered.get(call["name"])
            if known is None or not set(call["arguments"]) <= set(known.get("properties", {})):
                self.faults.append(f"turn {self.next}: {call} is not among the tools {offered}")
        return form(path, self.next, turn)


def chat_state(asked: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """What the tools answered last, and the parameters of each tool, by name."""
    offered = {tool["function"]["name"]: tool["function"]["parameters"] for tool in asked["tools"]}
    seen: list[str] = []
    for message in reversed(asked["messages"]):
        if message["role"] != "tool":
            break
        seen.insert(0, message["content"])
    return "\n".join(seen), offered


def responses_state(asked: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The same of the Responses API."""
    offered = {tool["name"]: tool["parameters"] for tool in asked["tools"]}
    seen: list[str] = []
    for item in reversed(asked["input"]):
        if item.get("type") != "function_call_output":
            break
        seen.insert(0, item["output"])
    return "\n".join(seen), offered


def form(path: str, number: int, turn: dict[str, Any]) -> dict[str, Any]:
    """A turn as the API has it."""
    calls = [(f"call_{number}_{index}", call["name"], json.dumps(call["arguments"])) for index, call in enumerate(turn.get("calls", []))]
    text = turn.get("says")
    if path.endswith("/responses"):
        output: list[dict[str, Any]] = [
            {"type": "function_call", "id": f"fc_{id}", "call_id": id, "name": name, "arguments": arguments, "status": "completed"}
            for id, name, arguments in calls
        ]
        if text is not None:
            content = [{"type": "output_text", "text": text, "annotations": []}]
            output.append({"type": "message", "id": f"msg_{number}", "role": "assistant", "status": "completed", "content": content})
        common = {"object": "response", "created_at": 0, "model": "replay", "status": "completed", "parallel_tool_calls": True}
        return {**common, "id": f"resp_{number}", "output": output, "tool_choice": "auto", "tools": []}
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = [
            {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}} for id, name, arguments in calls
        ]
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
    return {"id": f"chat_{number}", "object": "chat.completion", "created": 0, "model": "replay", "choices": [choice]}


def recording(name: str) -> list[dict[str, Any]]:
    """One of the recordings beside this file."""
    turns: list[dict[str, Any]] = json.loads((pathlib.Path(__file__).parent / f"recordings/{name}.json").read_text())
    return turns
