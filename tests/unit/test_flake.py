"""flake.nix keeps its promises, as far as that can be told without fetching nixpkgs.

nix parses it and evaluates `outputs` with stand-ins for its inputs: each package becomes its
attribute's name, each shell a set of what it was given. That the real nixpkgs has packages of
these names, and that `nix develop` starts, is not shown here.
"""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from helpers import paths

FLAKE = paths.ROOT / "flake.nix"
SYSTEMS = {"x86_64-linux", "aarch64-linux", "aarch64-darwin"}

# What the flake may ask of nixpkgs: any other name is an error of the evaluation.
NAMES = ["rustc", "cargo", "lld", "git", "cacert", "zlib", "ansible", "kubectl",
         "kubernetes-helm", "istioctl", "jq", "nixfmt-rfc-style"]

# Evaluating needs no store: the test must pass for a user who may not write to /nix.
WITHOUT_STORE = ("--store", "dummy://")

STUB = """
let
  pkgsFor = system: (builtins.listToAttrs (map (name: { inherit name; value = name; })
      (builtins.fromJSON ''@NAMES@''))) // {
    llvmPackages.clang = "llvmPackages.clang";
    python3 = { outPath = "python3"; withPackages = f:
      builtins.concatStringsSep "+" ([ "python3" ] ++ f {
        pip = "pip"; netaddr = "netaddr"; jmespath = "jmespath"; }); };
    stdenv = { isLinux = builtins.match ".*-linux" system != null; cc.cc.lib = "libstdcxx"; };
    lib.optionalString = yes: text: if yes then text else "";
    lib.makeLibraryPath = builtins.concatStringsSep ":";
    mkShell = given: { kind = "shell"; packages = map toString given.packages;
      inherit (given) shellHook; };
    writeShellApplication = given: { outPath = "/store/${given.name}"; kind = "application";
      inherit (given) name text; };
    runCommand = name: given: text: { kind = "check"; inherit name text;
      inputs = map toString given.nativeBuildInputs; };
  };
  nixpkgs = {
    lib.genAttrs = names: f:
      builtins.listToAttrs (map (name: { inherit name; value = f name; }) names);
  };
  flake = scopedImport { import = path: { system }: pkgsFor system; } @FLAKE@;
  self = flake.outputs { inherit self nixpkgs; } // { outPath = "/store/source"; };
  outputs = flake.outputs { inherit self nixpkgs; };
  show = value: if builtins.isAttrs value && value ? kind && value.kind == "application"
    then { inherit (value) kind name text; } else value;
in {
  inherit (outputs) devShells apps checks formatter;
  packages = builtins.mapAttrs (system: builtins.mapAttrs (name: show)) outputs.packages;
  url = flake.inputs.nixpkgs.url;
}
"""


def nix(*words: str, stdin: str = "") -> str:
    program = shutil.which("nix-instantiate")
    if program is None:
        pytest.fail("nix-instantiate is missing: as root on Debian `./workbook test` installs "
                    "it; elsewhere install nix (Debian's package: nix-bin)")
    done = subprocess.run([program, *words], input=stdin, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@functools.cache
def outputs() -> Any:
    # A Nix path cannot have spaces; toPath of a string can.
    flake = f"(/. + {json.dumps(str(FLAKE), ensure_ascii=False)})"
    text = STUB.replace("@NAMES@", json.dumps(NAMES)).replace("@FLAKE@", flake)
    return json.loads(nix("--eval", "--strict", "--json", *WITHOUT_STORE, "-E", text))


def test_the_flake_parses() -> None:
    assert nix("--parse", *WITHOUT_STORE, str(FLAKE))


@pytest.mark.parametrize("kind", ["devShells", "packages", "apps", "checks", "formatter"])
def test_every_system_has_every_output(kind: str) -> None:
    assert set(outputs()[kind]) == SYSTEMS


def test_the_wasm_shell_has_all_that_the_article_names_and_the_workbook_needs() -> None:
    for system in SYSTEMS:
        shell = outputs()["devShells"][system]["wasm"]
        assert {"rustc", "cargo", "lld", "llvmPackages.clang", "python3"} <= set(shell["packages"])


def test_the_kubespray_shell_has_the_articles_tools() -> None:
    shell = outputs()["devShells"]["x86_64-linux"]["kubespray"]
    assert {"ansible", "python3+pip+netaddr+jmespath", "kubectl", "kubernetes-helm", "istioctl",
            "jq"} <= set(shell["packages"])


def test_the_kubespray_shell_keeps_a_kubeconfig_that_was_chosen_before() -> None:
    hook = outputs()["devShells"]["x86_64-linux"]["kubespray"]["shellHook"]
    done = subprocess.run(["/bin/sh", "-c", hook], env={"KUBECONFIG": "/mine", "HOME": "/h"},
                          capture_output=True, text=True, check=True)
    assert "/mine" in done.stdout


def test_the_default_shell_is_the_wasm_shell() -> None:
    shells = outputs()["devShells"]["x86_64-linux"]
    assert shells["default"] == shells["wasm"]


def test_an_app_runs_the_lab_and_is_the_default() -> None:
    apps = outputs()["apps"]["x86_64-linux"]
    assert apps["lab"]["type"] == "app"
    assert apps["lab"]["program"] == "/store/workbook-lab/bin/workbook-lab"
    assert apps["default"] == apps["lab"]
    assert "workbook lab" in outputs()["packages"]["x86_64-linux"]["lab"]["text"]


def test_a_check_builds_a_module_with_the_wasm_shells_own_toolchain() -> None:
    checks = outputs()["checks"]["x86_64-linux"]
    shell = outputs()["devShells"]["x86_64-linux"]["wasm"]
    assert set(checks["wasm-toolchain"]["inputs"]) <= set(shell["packages"])
    assert "wasm32-unknown-unknown" in checks["wasm-toolchain"]["text"]
    assert "bootstrap" in checks


def test_the_workbook_app_says_where_it_must_be_called(tmp_path: Path) -> None:
    text = outputs()["packages"]["x86_64-linux"]["workbook"]["text"]
    done = subprocess.run(["/bin/sh", "-c", text], cwd=tmp_path, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 1
    assert "clone" in done.stderr


def test_a_package_that_the_flake_has_no_right_to_is_noticed(tmp_path: Path) -> None:
    """The stand-ins are strict: a mistyped name makes the evaluation fail."""
    wrong = tmp_path / "flake.nix"
    wrong.write_text(FLAKE.read_text(encoding="utf-8").replace("pkgs.rustc", "pkgs.rusttc"))
    text = STUB.replace("@NAMES@", json.dumps(NAMES)).replace("@FLAKE@", f"(/. + {str(wrong)!r})"
                                                              .replace("'", '"'))
    done = subprocess.run(["nix-instantiate", "--eval", "--strict", "--json",
                           *WITHOUT_STORE, "-E", text],
                          capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "rusttc" in done.stderr
