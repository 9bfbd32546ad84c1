"""The images of the bare cluster, made from what this computer has: no registry takes part."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path

from helpers import paths
from helpers.cluster.bare import archive, binaries, cache, rootfs
from helpers.cluster.bare.archive import Entry, Image
from helpers.errors import NotFound
from helpers.mesh.local import envoy

HUB = "localhost/workbook"
PILOT_HUB = HUB
ISTIO_TAG = binaries.ISTIO_RELEASE
PAUSE = f"{HUB}/pause:1"

#: As in manifests/bookinfo.yaml, so that only the prefix differs.
BOOKINFO_TAG = "1.20.3"
SERVICES = ("productpage", "details", "reviews", "ratings")

#: What Bookinfo's services import of this package; nothing else of it is in the image.
BOOKINFO_MODULES = (
    "helpers/__init__.py", "helpers/errors.py", "helpers/files.py",
    "helpers/mesh/__init__.py", "helpers/mesh/local/__init__.py",
    "helpers/mesh/local/bookinfo.py", "helpers/mesh/local/bookinfo_apps.py",
    "helpers/mesh/local/bookinfo_container.py", "helpers/mesh/local/bookinfo_outbound.py",
)
#: Python packages that they need: pure Python, taken from this environment.
BOOKINFO_PACKAGES = ("anyio", "certifi", "click", "h11", "httpcore", "idna", "starlette",
                     "typing_extensions", "uvicorn")
BOOKINFO_PORT = 9080
_BOOKINFO_USER = 1000


def bookinfo_command(service: str) -> list[str]:
    """The command line of one of Bookinfo's services in a container."""
    return ["python3", "-m", "helpers.mesh.local.bookinfo_container", service,
            "--listen", f"0.0.0.0:{BOOKINFO_PORT}"]


def bookinfo_image(service: str) -> str:
    """The image's name."""
    return f"{HUB}/examples-bookinfo-{service}-v1:{BOOKINFO_TAG}"


def ensure(
    made: Mapping[str, Path], say: Callable[[str], None], log: Path
) -> dict[str, Path]:
    """Every image by name, and the archive that holds it; made where the cache lacks it.

    Args:
        made: what `binaries.ensure` gave.

    Raises:
        CommandFailed: debootstrap failed.
        NotFound: a Python package of Bookinfo's is not installed here.
        NotReady: too little disk.
    """
    base = rootfs.ensure(say, log)
    layers = {
        "pause": [Entry("pause", made["pause"], mode=0o755)],
        "pilot": [Entry("usr/local/bin/pilot-discovery", made["pilot-discovery"], mode=0o755)],
        "proxyv2": list(_proxy(made)),
        "bookinfo": list(_bookinfo()),
    }
    path = cache.folder() / "images" / f"images-{key(base, layers)}.tar"
    names = [PAUSE, f"{HUB}/pilot:{ISTIO_TAG}", f"{HUB}/proxyv2:{ISTIO_TAG}",
             *map(bookinfo_image, SERVICES)]
    if not path.exists():
        say("        packing the images")
        for old in path.parent.glob("images-*.tar"):
            old.unlink()
        written = {name: archive.write_layer(path.with_name(f"layer-{name}.tar"), entries)
                   for name, entries in layers.items()}
        archive.write_archive(path, _images(base, written))
        for layer in written.values():
            layer.unlink()
    return dict.fromkeys(names, path)


def key(base: Path, layers: Mapping[str, list[Entry]]) -> str:
    """Sixteen letters that change when anything changes that the images are made from.

    Names, users and command lines count, too: an archive that lacks an image, or has it with
    another command, must not be taken for the right one.
    """
    digest = hashlib.sha256(base.name.encode())
    for name, entries in layers.items():
        digest.update(f"{name} {_key(entries)}".encode())
    # The layers' own paths differ by computer; which of them an image has does not.
    for image in _images(Path("base"), {name: Path(name) for name in layers}):
        digest.update(repr(image).encode())
    return digest.hexdigest()[:16]


def _images(base: Path, layer: Mapping[str, Path]) -> list[Image]:
    proxy = Image(f"{HUB}/proxyv2:{ISTIO_TAG}", [base, layer["proxyv2"]],
                  ["/usr/local/bin/pilot-agent"])
    return [
        Image(PAUSE, [layer["pause"]], ["/pause"]),
        Image(f"{HUB}/pilot:{ISTIO_TAG}", [base, layer["pilot"]],
              ["/usr/local/bin/pilot-discovery"], user="1337:1337"),
        proxy,
        *(Image(bookinfo_image(service), [base, layer["bookinfo"]], bookinfo_command(service),
                user=str(_BOOKINFO_USER), folder="/app",
                env={"PYTHONPATH": "/app:/app/packages", "PYTHONDONTWRITEBYTECODE": "1",
                     "PYTHONUNBUFFERED": "1"})
          for service in SERVICES),
    ]


def _proxy(made: Mapping[str, Path]) -> Iterator[Entry]:
    yield Entry("usr/local/bin/pilot-agent", made["pilot-agent"], mode=0o755)
    yield Entry("usr/local/bin/envoy", envoy.binary(), mode=0o755)
    yield Entry("var/lib/istio/envoy/envoy_bootstrap_tmpl.json", made[binaries.BOOTSTRAP])


def _bookinfo() -> Iterator[Entry]:
    for name in BOOKINFO_MODULES:
        yield Entry(f"app/{name}", paths.ROOT / name)
    for package in BOOKINFO_PACKAGES:
        try:
            found = metadata.distribution(package)
        except metadata.PackageNotFoundError as error:
            raise NotFound(f"the Python package {package} is not installed",
                           cause="Bookinfo's image is made from this environment's packages",
                           fix="./workbook setup") from error
        for file in found.files or ():
            if file.suffix == ".py" or file.suffix == ".pem":
                yield Entry(f"app/packages/{file.as_posix()}", Path(str(file.locate())))


def _key(entries: list[Entry]) -> str:
    digest = hashlib.sha256()
    for entry in sorted(entries, key=lambda each: each.name):
        source = entry.source
        # The same for every clone: nothing of where a file lies.
        if source is None:
            stamp = hashlib.sha256(entry.data).hexdigest()
        elif source.is_relative_to(cache.folder()):
            # A program's own folder has a key in its name; reading 130 MB each time is slow.
            stamp = f"{source.relative_to(cache.folder())} {source.stat().st_size}"
        else:
            stamp = archive.sha256(source)
        digest.update(repr((entry.name, entry.mode, entry.owner, stamp)).encode())
    return digest.hexdigest()
