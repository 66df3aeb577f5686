"""`pyro demo ollama`, with a stand-in for the model."""

from __future__ import annotations

import socket
import subprocess

from .model import Model, recording
from .world import Smoke


class Demo(Smoke):
    """The model mends the project, or it does not."""

    def demo(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs it to its end."""
        return subprocess.run(
            ["pyro", "demo", "ollama", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600
        )

    def played(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The same, with a model that calls what was recorded."""
        with Model(recording(name)) as model:
            done = self.demo("--base-url", model.url, "--model", "replay", *arguments)
        self.assertEqual(model.faults, [], done)
        return done

    def test_demo_ollama_mends_the_project(self) -> None:
        done = self.played("demo_ollama")
        self.assertEqual(done.returncode, 0, done)
        lines = done.stdout.splitlines()
        self.assertIn("[summary] exit_code=0 fallback_used=false execution_mode=guest_vsock steps=6 calls=7", lines[-1])
        self.assertIn("[model] Touching hours were not joined, and an inner interval cut the outer one short.", lines)
        shown = [line.split()[1] for line in lines if line.startswith("[call] ")]
        self.assertEqual(len(shown), 7 + 4, "those of the model, and our own: create, diff, exec, delete")
        self.assertTrue(any(line.startswith("[result] count_mismatch: ") for line in lines), done.stdout)
        self.assertIn("+            result[-1] = (result[-1][0], max(end, result[-1][1]))", lines)

    def test_demo_ollama_sees_through_a_model_that_changes_the_tests(self) -> None:
        done = self.played("demo_cheats")
        self.assertEqual(done.returncode, 1, done)
        self.assertIn("the model has changed the tests", done.stdout)

    def test_demo_ollama_ends_after_so_many_steps(self) -> None:
        done = self.played("demo_ollama", "--max-steps", "1", "--verbose")
        self.assertEqual(done.returncode, 1, done)
        self.assertIn("[summary] exit_code=1 fallback_used=false execution_mode=guest_vsock steps=1 calls=1", done.stdout)
        self.assertIn('"stderr": ', done.stdout)

    def test_demo_ollama_refuses_what_it_cannot_reach(self) -> None:
        tls = self.demo("--base-url", "https://models.example/v1")
        self.assertEqual(tls.returncode, 2, tls)
        self.assertIn("TLS", tls.stderr)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            nobody = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        refused = self.demo("--endpoint", nobody)
        self.assertEqual((refused.returncode, refused.stdout), (1, ""), refused)
        self.assertIn("hint: ", refused.stderr)
