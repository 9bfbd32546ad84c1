"""A few questions to the API server while the cluster is being brought up or looked at."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import Any

from helpers.cluster.bare.layout import API_PORT, Addresses, Layout

_SECONDS = 5.0
_APPLY = "application/apply-patch+yaml"


class Api:
    """The API server of the bare cluster, asked as cluster-admin.

    Args:
        where: its folders; the certificates must be there.
        addresses: where it listens.
    """

    def __init__(self, where: Layout, addresses: Addresses) -> None:
        self._host = addresses.node
        self._context = ssl.create_default_context(cafile=str(where.certificates / "ca.crt"))
        self._context.load_cert_chain(where.certificates / "admin.crt",
                                      where.certificates / "admin.key")

    def ask(self, path: str, *, method: str = "GET", body: Any = None) -> tuple[int, str]:
        """One request; its status and text. Status 0 and the reason when there is no answer."""
        link = http.client.HTTPSConnection(self._host, API_PORT, timeout=_SECONDS,
                                           context=self._context)
        try:
            headers = {"Content-Type": _APPLY} if body is not None else {}
            data = None if body is None else json.dumps(body)
            link.request(method, path, body=data, headers=headers)
            answer = link.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            return 0, f"{type(error).__name__}: {error}"
        finally:
            link.close()

    def get(self, path: str) -> dict[str, Any] | None:
        """The object at `path`, or None when it is not there or nobody answers."""
        status, text = self.ask(path)
        if status != 200:
            return None
        found: dict[str, Any] = json.loads(text)
        return found

    def apply(self, path: str, document: Any) -> tuple[int, str]:
        """Server-side apply of `document` at its own `path`."""
        return self.ask(f"{path}?fieldManager=istio-wasm-workbook", method="PATCH", body=document)


def condition(document: dict[str, Any] | None, name: str) -> str:
    """A condition of an object's status as "True", or its message, or "unknown"."""
    for each in ((document or {}).get("status") or {}).get("conditions") or ():
        if each["type"] == name:
            if each["status"] == "True":
                return "True"
            return str(each.get("message") or each.get("reason") or each["status"])
    return "unknown"
