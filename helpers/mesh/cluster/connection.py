"""The way to the API server: one kubeconfig context, loaded when it is first needed."""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from kubernetes import config
from kubernetes.client import ApiClient, Configuration, CoreV1Api
from kubernetes.config import ConfigException
from kubernetes.config.kube_config import KubeConfigMerger
from kubernetes.dynamic import DynamicClient

from helpers.mesh.cluster import errors, transport
from helpers.mesh.cluster.settings import ClusterSettings

#: How long a read is tried again while the API server restarts, in seconds.
RETRY_SECONDS = 20.0
#: The same before it has answered for the first time.
FIRST_SECONDS = 4.0
#: Seconds to connect, and between two parts of an answer.
TIMEOUT = (5.0, 30.0)


class Connection:
    """One context of a kubeconfig.

    Attributes:
        context: the context's name.
        server: the API server's URL.
        namespace: where the learner works.

    Raises:
        KubeconfigProblem: there is no kubeconfig, no such context, or it cannot be read.
    """

    def __init__(self, settings: ClusterSettings) -> None:
        self._settings = settings
        self._file = kubeconfig_path(settings)
        self.context, self.server, of_context = _read(self._file, settings.context)
        self.namespace = settings.namespace or of_context or "default"
        self._answered = False

    # -- the clients ----------------------------------------------------------------------

    def new_api(self) -> ApiClient:
        """An ApiClient of its own: websockets patch the client that they run on."""
        configuration = Configuration()
        try:
            # Never written back: the kubeconfig is the learner's own.
            config.load_kube_config(
                self._file,
                self.context,
                client_configuration=configuration,
                persist_config=False,
            )
        except ConfigException as error:
            raise errors.bad_kubeconfig(self._file, str(error)) from error
        except OSError as error:
            why = f"{error.strerror}: {error.filename}"
            raise errors.bad_kubeconfig(self._file, why) from error
        configuration.retries = False  # `call` decides what is tried again
        return ApiClient(configuration)

    @functools.cached_property
    def api(self) -> ApiClient:
        """The client that requests share."""
        return self.new_api()

    @functools.cached_property
    def core(self) -> CoreV1Api:
        """The typed client for the core group."""
        return CoreV1Api(self.api)

    @functools.cached_property
    def dynamic(self) -> DynamicClient:
        """The dynamic client: any kind, as plain dicts through `request`."""
        return DynamicClient(self.api, discoverer=_NoDiscovery)

    def close(self) -> None:
        """Close the connections; the next call opens them again."""
        api = self.__dict__.pop("api", None)
        for name in ("core", "dynamic"):
            self.__dict__.pop(name, None)
        if api is not None:
            api.rest_client.close()

    # -- calls ----------------------------------------------------------------------------

    def call(
        self,
        function: Callable[..., Any],
        *args: Any,
        _writes: bool = False,
        _about: errors.About | None = None,
        **kwargs: Any,
    ) -> Any:
        """Call a function of the kubernetes client.

        A read is tried again for up to 20 s while the API server cannot be reached or says
        that it is not ready; a write only where it cannot have arrived.

        Args:
            _writes: the call changes something.
            _about: what is being done to what, for messages.

        Raises:
            WorkbookError: see `helpers.mesh.cluster.errors`; anything of kubernetes' or
                urllib3's own is turned into one.
        """
        # A server that never answered is rather a wrong address than one that restarts.
        deadline = time.monotonic() + (RETRY_SECONDS if self._answered else FIRST_SECONDS)
        pause = 0.2
        while True:
            try:
                answer = function(*args, **kwargs)
                self._answered = True
                return answer
            except transport.CAUGHT as error:
                again = transport.is_passing(error, writes=_writes)
                if not again or time.monotonic() + pause > deadline:
                    if transport.is_unauthorized(error):
                        self.close()  # a new login is read from the kubeconfig next time
                    raise transport.translate(
                        error, context=self.context, server=self.server, about=_about
                    ) from error
            time.sleep(pause)
            pause = min(2 * pause, 2.0)

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int | bool] | None = None,
        body: Any = None,
        content_type: str | None = None,
        accept: str = "application/json",
        about: errors.About | None = None,
        writes: bool | None = None,
    ) -> Any:
        """One request through the dynamic client; the answer's JSON as plain dicts.

        Args:
            method: "GET", "POST", "PUT", "PATCH" or "DELETE".
            path: such as "/api/v1/namespaces/default/pods".
            writes: whether it changes something; None is "anything but GET".

        Raises:
            WorkbookError: as for `call`.
        """
        pairs: Sequence[tuple[str, Any]] = [
            (name, str(value).lower() if isinstance(value, bool) else value)
            for name, value in (query or {}).items()
        ]

        def send() -> Any:
            answer = self.dynamic.request(
                method,
                path,
                body=body,
                query_params=list(pairs),
                header_params={"Accept": accept},
                content_type=content_type,
                _request_timeout=TIMEOUT,
                serialize=False,
            )
            try:
                return json.loads(answer.data)
            except ValueError as error:
                raise errors.not_kubernetes(self.context, self.server) from error

        return self.call(send, _writes=method != "GET" if writes is None else writes, _about=about)


def kubeconfig_path(settings: ClusterSettings) -> str:
    """Where kubectl would read it: the setting, else $KUBECONFIG, else ~/.kube/config."""
    named = settings.kubeconfig or os.environ.get("KUBECONFIG")
    return str(Path(named).expanduser()) if named else str(Path.home() / ".kube" / "config")


def _read(path: str, context: str | None) -> tuple[str, str, str]:
    """Context, server and the context's namespace ("" when it names none)."""
    if not any(Path(each).is_file() for each in path.split(os.pathsep) if each):
        raise errors.no_kubeconfig(path)
    try:
        whole = KubeConfigMerger(path).config
        contexts = [str(each["name"]) for each in whole["contexts"]]
        name = context or whole.safe_get("current-context")
        if not name or name not in contexts:
            raise errors.no_context(path, context, contexts)
        found = whole["contexts"].get_with_name(name)["context"]
        cluster = whole["clusters"].get_with_name(found["cluster"])["cluster"]
        return str(name), str(cluster["server"]), str(found.safe_get("namespace") or "")
    except yaml.YAMLError as error:
        raise errors.bad_kubeconfig(path, f"it is not YAML: {error}") from error
    except (ConfigException, OSError, TypeError, AttributeError, ValueError) as error:
        raise errors.bad_kubeconfig(path, str(error)) from error


class _NoDiscovery:
    """In place of the dynamic client's discovery, which asks once for each API group and keeps
    a file in the shared temporary folder; `kinds` asks with two requests for all."""

    def __init__(self, client: Any, cache_file: str | None) -> None:
        """Nothing is looked up."""
