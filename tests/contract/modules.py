"""Modules by hand that the tests of every mesh need."""

from __future__ import annotations

#: A plugin by its exports, with one import that no Proxy-Wasm host has.
UNKNOWN_IMPORT = """
(module
  (import "env" "proxy_frobnicate" (func (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) i32.const 0)
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) i32.const 0))
"""
