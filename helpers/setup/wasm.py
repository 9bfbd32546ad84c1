"""The toolchain's part of set-up; runs inside the environment as `python -m helpers.setup.wasm`.

Exit status: 0 a toolchain works, 3 none does and the prebuilt modules are used instead.
"""

from __future__ import annotations

import sys

from helpers import files, toolchain
from helpers.errors import ToolchainMissing
from helpers.setup import places, system
from helpers.setup.console import Console
from helpers.setup.system import SetupFailed

#: What makes a minimal Debian 12 able to build for wasm32-unknown-unknown. gcc comes with
#: rustc-web: build scripts of the Wasm std are linked for this computer.
DEBIAN_PACKAGES = ("rustc-web", "cargo-web", "rust-web-src", "lld-19")
