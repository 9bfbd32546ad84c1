"""What the steps that look into the sidecar say, and that they say it of the request just sent."""

from __future__ import annotations

import pytest

from helpers import steps
from helpers.errors import NotFound
from helpers.mesh.local import LocalMesh


def test_the_filters_are_listed_in_order_with_the_plugin_first(deployed: LocalMesh) -> None:
    names = steps.http_filters(deployed).extra["names"]
    assert names[0].endswith("/default.header-logger~istio-translated-wasmplugin")
    assert names[-1] == "envoy.filters.http.router"


def test_a_listener_that_is_not_there_is_named_with_those_that_are(deployed: LocalMesh) -> None:
    with pytest.raises(NotFound, match="nowhere") as refusal:
        steps.http_filters(deployed, listener="nowhere")
    assert "virtualInbound" in refusal.value.cause


def test_a_traced_request_has_its_plugin_lines_and_its_access_lines(deployed: LocalMesh) -> None:
    seen = steps.trace_request(deployed, user_agent="traced").extra
    assert (seen["status"], seen["plugin"], seen["inbound"], seen["outbound"]) == (200, 3, 1, 2)


def test_from_the_application_a_traced_request_goes_out_before_it_comes_in(
    deployed: LocalMesh,
) -> None:
    seen = steps.trace_request(deployed, container="productpage").extra
    assert (seen["status"], seen["plugin"], seen["inbound"], seen["outbound"]) == (200, 4, 1, 3)


def test_a_changed_match_holds_for_the_very_next_request(deployed: LocalMesh) -> None:
    counts = []
    for mode in ("SERVER", "CLIENT", "CLIENT_AND_SERVER", "SERVER"):
        steps.apply_wasmplugin(deployed, match=[{"mode": mode}])
        counts.append(steps.trace_request(deployed).extra["plugin"])
    assert counts == [1, 2, 3, 1]


def test_a_refused_pluginconfig_leaves_the_running_one_in_force(deployed: LocalMesh) -> None:
    steps.apply_wasmplugin(deployed, pluginConfig={"log_level": "chatty"})
    assert steps.wait_for_log(deployed, "log_level must be").lines
    assert steps.trace_request(deployed).extra["plugin"] == 3


def test_a_new_pod_with_a_refused_pluginconfig_answers_500(deployed: LocalMesh) -> None:
    steps.apply_wasmplugin(deployed, pluginConfig={"log_level": "chatty"})
    deployed.restart(steps.DEPLOYMENT)
    deployed.wait_ready(steps.DEPLOYMENT)
    assert steps.trace_request(deployed).extra["status"] == 500
