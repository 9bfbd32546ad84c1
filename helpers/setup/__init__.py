"""What `./workbook` does before there is an environment: standard library only.

`main` reads the arguments and hands over; `environment` makes the virtual environment;
`system` installs the few packages of the operating system; `wasm` (the one module here that
runs inside the environment) sees to the toolchain.
"""
