"""What the package offers: every operation of the contract, and the names of the contract's earlier implementation."""

from __future__ import annotations

import inspect
import json
import pathlib
import subprocess
import sys
import unittest

from pyro_mcp import AsyncPyro, AsyncWorkspaceHandle, Pyro, WorkspaceHandle, _frames, _http, _operations

CONTRACT = json.loads((pathlib.Path(__file__).parents[3] / "docs/reference/api.json").read_text())

# The methods that the contract declares stable.
STABLE = """
    list_environments pull_environment inspect_environment prune_environments create_vm start_vm exec_vm stop_vm delete_vm
    status_vm network_info_vm reap_expired run_in_vm create_workspace list_workspaces update_workspace status_workspace
    logs_workspace delete_workspace stop_workspace start_workspace exec_workspace push_workspace_sync export_workspace
    diff_workspace list_workspace_files read_workspace_file write_workspace_file apply_workspace_patch
    export_workspace_disk list_workspace_disk read_workspace_disk create_snapshot list_snapshots delete_snapshot
    reset_workspace open_shell read_shell write_shell signal_shell close_shell start_service list_services status_service
    logs_service stop_service create_server
""".split()

# Those whose operations do not exist yet, and the server, which is `pyro mcp serve`.
MISSING = """
    open_shell read_shell write_shell signal_shell close_shell start_service list_services status_service logs_service
    stop_service create_server
""".split()

# What the contract lets a caller give: names in their order, those after `*` by name alone.
SIGNATURES = {
    "inspect_environment": "environment",
    "pull_environment": "environment",
    "create_vm": "* environment vcpu_count mem_mib ttl_seconds network allow_host_compat",
    "start_vm": "vm_id",
    "exec_vm": "vm_id * command timeout_seconds",
    "stop_vm": "vm_id",
    "delete_vm": "vm_id",
    "status_vm": "vm_id",
    "network_info_vm": "vm_id",
    "run_in_vm": "* environment command vcpu_count mem_mib timeout_seconds ttl_seconds network allow_host_compat",
    "create_workspace": "* environment vcpu_count mem_mib ttl_seconds network_policy allow_host_compat seed_path secrets name labels",
    "update_workspace": "workspace_id * name clear_name labels clear_labels",
    "status_workspace": "workspace_id",
    "logs_workspace": "workspace_id",
    "delete_workspace": "workspace_id",
    "stop_workspace": "workspace_id",
    "start_workspace": "workspace_id",
    "exec_workspace": "workspace_id * command timeout_seconds secret_env",
    "push_workspace_sync": "workspace_id source_path * dest",
    "export_workspace": "workspace_id path * output_path",
    "diff_workspace": "workspace_id",
    "list_workspace_files": "workspace_id * path recursive",
    "read_workspace_file": "workspace_id path * max_bytes",
    "write_workspace_file": "workspace_id path * text",
    "apply_workspace_patch": "workspace_id * patch",
    "create_snapshot": "workspace_id snapshot_name",
    "list_snapshots": "workspace_id",
    "delete_snapshot": "workspace_id snapshot_name",
    "reset_workspace": "workspace_id * snapshot",
}


class Surface(unittest.TestCase):
    def test_every_operation_is_a_method_of_all_clients_and_handles(self) -> None:
        self.assertEqual([row["name"] for row in CONTRACT["operations"]], list(_operations.METHODS))
        for row in CONTRACT["operations"]:
            method = _operations.METHODS[row["name"]]
            operation = getattr(_operations, row["name"].upper())
            self.assertEqual((operation.name, operation.path), (row["name"], row["path"]))
            self.assertEqual(operation.streaming, row["shape"] == "streaming")
            clients: list[type] = [Pyro, AsyncPyro]
            for client in clients:
                self.assertTrue(callable(getattr(client, method)), method)
            self.assertTrue(inspect.iscoroutinefunction(getattr(AsyncPyro, method)), method)
            self.assertFalse(inspect.iscoroutinefunction(getattr(Pyro, method)), method)
            if "workspace_id" in inspect.signature(getattr(Pyro, method)).parameters:
                name = method.replace("_workspace", "")
                self.assertTrue(hasattr(WorkspaceHandle, name) and hasattr(AsyncWorkspaceHandle, name), name)

    def test_both_clients_take_the_same(self) -> None:
        for name, method in inspect.getmembers(Pyro, inspect.isfunction):
            if not name.startswith("_"):
                ours, theirs = (inspect.signature(each) for each in (method, getattr(AsyncPyro, name)))
                self.assertEqual(list(ours.parameters), list(theirs.parameters), name)

    def test_the_contracts_methods_are_there_and_the_missing_ones_are_named(self) -> None:
        self.assertEqual(len(STABLE), 47)
        self.assertEqual([name for name in STABLE if not hasattr(Pyro, name)], MISSING)
        self.assertLessEqual(set(SIGNATURES), set(STABLE))

    def test_the_contracts_calls_are_understood(self) -> None:
        for name, signature in SIGNATURES.items():
            positional, _, named = signature.partition("*")
            parameters = inspect.signature(getattr(Pyro, name)).parameters
            usual = [parameter for parameter in parameters.values() if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
            self.assertEqual([parameter.name for parameter in usual[1:]][: len(positional.split())], positional.split(), name)
            self.assertLessEqual(set(named.split()), set(parameters), name)
            given = {*positional.split(), *named.split()}
            needed = {parameter.name for parameter in parameters.values() if parameter.default is parameter.empty}
            self.assertLessEqual(needed - {"self"}, given, name)

    def test_numbers_of_the_wire_are_the_contracts(self) -> None:
        self.assertEqual((_http.API_VERSION, _http.FRAMES), (CONTRACT["api_version"], CONTRACT["frames_media_type"]))
        self.assertIn(CONTRACT["version_header"].encode(), _http.request_head("/", "", 0))
        for kind in CONTRACT["frame_kinds"]:
            name = "".join(f"_{letter}" if letter.isupper() else letter for letter in kind["name"]).strip("_").upper()
            self.assertEqual((getattr(_frames, name), kind["byte"] in _frames._JSON_KINDS), (kind["byte"], kind["json"]))

    def test_the_version_is_that_of_the_program(self) -> None:
        import pyro_mcp

        manifest = (pathlib.Path(__file__).parents[3] / "Cargo.toml").read_text()
        self.assertIn(f'[workspace.package]\nversion = "{pyro_mcp.__version__}"\n', manifest)

    def test_a_program_pays_only_for_what_it_uses(self) -> None:
        script = "import sys, pyro_mcp; pyro_mcp.Pyro; print(*sys.modules)"
        loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
        for heavy in ("asyncio", "http.client", "subprocess", "inspect", "dataclasses", "pyro_mcp.types", "pyro_mcp._async_pyro"):
            self.assertNotIn(heavy, loaded)
        self.assertIn("pyro_mcp._pyro", loaded)

    def test_everything_that_is_promised_can_be_had(self) -> None:
        import pyro_mcp
        from pyro_mcp import errors, types

        for name in pyro_mcp.__all__:
            self.assertIsNotNone(getattr(pyro_mcp, name))
            self.assertIn(name, dir(pyro_mcp))
        with self.assertRaises(AttributeError):
            pyro_mcp.nothing
        self.assertTrue(issubclass(errors.DaemonLostError, pyro_mcp.PyroError))
        self.assertIn("from", types.FileChanged.__annotations__)


if __name__ == "__main__":
    unittest.main()
