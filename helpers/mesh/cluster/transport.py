"""Connections that break: which may be tried again, and how they are put into words."""

from __future__ import annotations

import ssl
from http import HTTPStatus

from kubernetes.client.exceptions import ApiException
from urllib3 import exceptions as http

from helpers.errors import MeshDown, WorkbookError
from helpers.mesh.cluster import answers
from helpers.mesh.cluster.errors import About, KubeconfigProblem, TlsProblem

#: What the kubernetes client raises of its own and of urllib3's.
CAUGHT: tuple[type[Exception], ...] = (ApiException, http.HTTPError, OSError)

_NOT_SENT = (http.NewConnectionError, http.ConnectTimeoutError)
_BROKEN = (http.ProtocolError, http.ReadTimeoutError, ConnectionError, TimeoutError)
# 429 and 503 are said before anything was done (client-go tries these again, too).
_NOT_DONE = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_UNCERTAIN = (HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT)
_CLOSED_IN_HANDSHAKE = ("UNEXPECTED_EOF", "EOF occurred")


def is_passing(error: Exception, *, writes: bool) -> bool:
    """Whether the same call may succeed in a moment, and may be made again.

    Args:
        writes: the call changes something: only what cannot have arrived is made again.
    """
    cause = _root(error)
    if isinstance(cause, ApiException):
        if cause.status in _NOT_DONE:
            return True
        at_fault = cause.status in _UNCERTAIN or (
            cause.status == HTTPStatus.INTERNAL_SERVER_ERROR and "etcd" in str(cause.body)
        )
        return at_fault and not writes
    if isinstance(cause, http.NameResolutionError):
        return False
    if isinstance(cause, (http.SSLError, ssl.SSLError)):
        return any(mark in str(cause) for mark in _CLOSED_IN_HANDSHAKE)
    if isinstance(cause, _NOT_SENT):
        return True
    return isinstance(cause, _BROKEN) and not writes


def is_unauthorized(error: Exception) -> bool:
    """Whether the API server did not know who asked."""
    return isinstance(error, ApiException) and error.status == HTTPStatus.UNAUTHORIZED


def translate(
    error: Exception, *, context: str, server: str, about: About | None = None
) -> WorkbookError:
    """An exception of the client as one that a learner can act on."""
    cause = _root(error)
    if isinstance(cause, ApiException):
        return answers.translate(cause, context=context, server=server, about=about)
    if isinstance(cause, (http.SSLError, ssl.SSLError)):
        return _tls(str(cause), context, server)
    if isinstance(cause, (http.LocationValueError, http.URLSchemeUnknown)):
        return KubeconfigProblem(
            f"context {context} has the server {server!r}, which is no address",
            cause=str(cause),
            fix="kubectl config view shows it",
        )
    return MeshDown(
        f"the API server of context {context} at {server} does not answer",
        cause=_why(cause),
        fix="is the cluster up, the VPN on? kubectl --context "
        f"{context} get --raw /readyz; for the workbook's own: ./workbook cluster status",
    )


def _root(error: Exception) -> Exception:
    """What stands behind: a MaxRetryError's reason; what the client says as "status 0"."""
    while isinstance(error, ApiException) and not error.status:
        behind = error.__cause__ or error.__context__
        if not isinstance(behind, Exception):
            return error
        error = behind
    reason = getattr(error, "reason", None)
    return reason if isinstance(error, http.MaxRetryError) and reason else error


def _tls(text: str, context: str, server: str) -> TlsProblem:
    expired = "expired" in text
    if "alert" in text and "verify failed" not in text:
        cause = "the API server refuses the client's certificate"
        fix = "get a new kubeconfig: its client certificate has expired or is another cluster's"
    elif "WRONG_VERSION_NUMBER" in text or "record layer failure" in text:
        cause = "the other end speaks no TLS: it is no API server, or the address is http://"
        fix = "kubectl config view shows the server's address"
    else:
        cause = (
            "the API server's certificate has expired"
            if expired
            else "the API server's certificate is not the one that the kubeconfig trusts: the "
            "cluster was made anew, or something stands in between"
        )
        fix = "get the cluster's kubeconfig again (kind export kubeconfig, …)"
    return TlsProblem(
        f"no trusted connection to context {context} at {server}",
        cause=cause,
        fix=fix,
        detail=text,
    )


def _why(error: Exception) -> str:
    text = str(error)
    if isinstance(error, http.NameResolutionError):
        return "its name cannot be resolved"
    if "refused" in text:
        return "nothing listens there: the cluster is stopped, or its address has changed"
    if isinstance(error, (http.TimeoutError, TimeoutError)) or "timed out" in text:
        return "no answer in time: a firewall, a VPN that is off, or a server that is gone"
    return f"the connection broke: {text}"
