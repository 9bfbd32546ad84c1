"""What every mesh does: one suite, run on the local mesh (tests/mesh) and on a cluster.

A test module takes it over with ``from contract.… import *``; its conftest gives the fixtures
`mesh` (Bookinfo, no plugin), `deployed` (the corrected filter at work) and `wasm`.
"""
