"""The article's commands, one function each: what the notebooks import.

Each shows the command that a person would type, does the real thing, and returns a result
that reads well in a notebook; on failure it raises a `WorkbookError` with cause and fix.
"""

from __future__ import annotations

from helpers.module import ModuleInfo, inspect
from helpers.steps_build import (
    CONFIGMAP_LIMIT,
    BuildResult,
    Crate,
    CrateMade,
    FileWritten,
    cargo_build,
    cargo_new,
    size_story,
    write_file,
    write_plugin,
)
from helpers.steps_deploy import (
    CONFIGMAP,
    DEPLOYMENT,
    KEY,
    MOUNT_PATH,
    PLUGIN,
    URL,
    USER_AGENT,
    apply_wasmplugin,
    build_plugin,
    check_crd,
    create_configmap,
    curl,
    curl_until,
    deploy_bookinfo,
    patch_deployment,
    user_agent_lines,
    wait_for_event,
    wait_for_log,
)
from helpers.steps_envoy import http_filters, trace_request
from helpers.steps_loop import Deployed, How, deploy
from helpers.steps_start import start_from

__all__ = [
    "CONFIGMAP",
    "CONFIGMAP_LIMIT",
    "DEPLOYMENT",
    "KEY",
    "MOUNT_PATH",
    "PLUGIN",
    "URL",
    "USER_AGENT",
    "BuildResult",
    "Crate",
    "CrateMade",
    "Deployed",
    "FileWritten",
    "How",
    "ModuleInfo",
    "apply_wasmplugin",
    "build_plugin",
    "cargo_build",
    "cargo_new",
    "check_crd",
    "create_configmap",
    "curl",
    "curl_until",
    "deploy",
    "deploy_bookinfo",
    "http_filters",
    "inspect",
    "patch_deployment",
    "size_story",
    "start_from",
    "trace_request",
    "user_agent_lines",
    "wait_for_event",
    "wait_for_log",
    "write_file",
    "write_plugin",
]
