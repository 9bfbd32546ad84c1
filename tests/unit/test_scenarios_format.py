"""What a file of scenarios may say, and how one that says something else is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from helpers import paths, scenarios
from helpers.errors import NotFound
from helpers.scenarios import BadScenario, Scenario, format
from helpers.scenarios.reading import parse
from helpers.scenarios.values import Match, read_match


def read(text: str) -> list[Scenario]:
    return parse(yaml.safe_load(text), "plugins/demo/scenarios.yaml", "demo-plugin")


def one(rest: str) -> Scenario:
    (found,) = read(f"scenarios: [{{name: a, {rest}}}]")
    return found


def refused(text: str) -> str:
    with pytest.raises(BadScenario) as caught:
        read(text)
    assert caught.value.fix == "docs/scenarios.md has the format"
    return f"{caught.value.what}\n{caught.value.detail}"


def test_every_field_of_the_format_is_read() -> None:
    (found,) = read("""
scenarios:
  - name: all of it
    why: to have seen each field once
    module: other_module
    plugin_config: {log_level: info}
    vm_config: text
    plugin_name: root
    env: {K: V}
    fail_strategy: FAIL_RELOAD
    node_metadata: {NAME: productpage-v1, LABELS: {app: x}}
    log_level: warning
    callouts: {auth: {status: 201, headers: {x-user: anna}, body: ok}, slow: timeout}
    expect: {logs: [{matches: configured}], no_logs: [panicked]}
    steps:
      - request:
          method: POST
          path: /a
          authority: shop
          headers: {x-one: "1", x-two: [a, b], x-num: 3}
          body: [one, {hex: "59a1"}]
          trailers: {x-sum: "6"}
        upstream: {status: 404, headers: [[x-a, b], [x-a, {hex: ff}]], body: text, trailers: {t: v}}
        callouts: {auth: reset}
        expect:
          status: 404
          upstream:
            method: POST
            path: {matches: ^/a}
            headers: {x-one: absent, X-Two: [a, {matches: b}]}
            body: {hex: "6f6e6559a1"}
            trailers: absent
          client: {headers: {x-a: [b, {hex: ff}]}, body: text, trailers: {t: v}}
          logs: [{level: warning, text: exact}, {text: {matches: x}}]
          no_logs: [never]
          local_reply: {details: x, status: 404, body: text}
          metrics: {requests: 1}
          callouts: [{cluster: auth, path: /check}]
          panic: proxy_on_log
      - wait: 0.5
        expect: {logs: [{text: tick}], metrics: {ticks: 1}}
""")
    assert (found.file, found.plugin, found.module_name, found.filter_name) == (
        "plugins/demo/scenarios.yaml", "demo-plugin", "other_module", "default.demo-plugin")
    assert found.log_level == "warn"
    step, wait = found.steps
    assert step.request is not None
    assert step.request.headers == (
        (b"x-one", b"1"), (b"x-two", b"a"), (b"x-two", b"b"), (b"x-num", b"3"))
    assert step.request.body == (b"one", b"Y\xa1")
    assert step.expect.logs[0].level == "warn"
    assert wait.wait == 0.5


def test_the_module_is_the_folders_name_unless_another_is_named() -> None:
    assert one("steps: [{request: {}}]").module_name == "demo_plugin"


def test_a_service_that_only_a_step_names_resets_elsewhere() -> None:
    found = one("callouts: {a: timeout}, steps: [{request: {}, callouts: {b: {status: 200}}}]")
    assert found.clusters == {"a": "timeout", "b": "reset"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nothing", "at its top: 'nothing' is no mapping"),
        ("{}", "scenarios: this field is needed"),
        ("scenarios: []", "scenarios: []: list should have at least 1 item"),
        ("scenarios: [{steps: [{request: {}}]}]", "scenarios[0].name: this field is needed"),
        ("scenarios: [{name: a, stepz: []}]", 'scenario "a", stepz: there is no such field'),
        ("scenarios: [{name: a}]", 'scenario "a": there are no steps'),
        ("scenarios: [{name: a, refused: true, steps: [{wait: 1}]}]",
         'scenario "a": a plugin that is refused has no steps'),
        ("scenarios: [{name: a, steps: [{}]}]",
         'scenario "a", steps[0]: a step is either a request or a wait'),
        ("scenarios: [{name: a, steps: [{wait: 1, expect: {status: 200}}]}]",
         "steps[0]: a wait has no status"),
        ("scenarios: [{name: a, steps: [{wait: 100}]}]",
         "steps[0].wait: 100: input should be less than or equal to 30"),
        ("scenarios: [{name: a, plugin_config: 3, steps: [{request: {}}]}]",
         'scenario "a", plugin_config: 3 is no configuration'),
        ("scenarios: [{name: a, steps: [{request: {headers: {x: true}}}]}]",
         "steps[0].request.headers: x: true is no text"),
        ("scenarios: [{name: a, steps: [{request: {headers: {':path': x}}}]}]",
         "steps[0].request.headers: the header ':path' cannot be set here"),
        ("scenarios: [{name: a, steps: [{request: {headers: [[a]]}}]}]", "['a'] is no pair"),
        ("scenarios: [{name: a, steps: [{request: {body: {hex: zz}}}]}]",
         "steps[0].request.body: 'zz' is not hexadecimal"),
        ("scenarios: [{name: a, steps: [{request: {}, upstream: never}]}]",
         "steps[0].upstream: 'never' is none of 'reset' or 'timeout'"),
        ("scenarios: [{name: a, steps: [{request: {}, upstream: {status: 20}}]}]",
         "steps[0].upstream.status: 20: input should be greater than or equal to 200"),
        ("scenarios: [{name: a, steps: [{request: {}, expect: {upstream: maybe}}]}]",
         "steps[0].expect.upstream: 'maybe' is none of 'absent'"),
        ("scenarios: [{name: a, steps: [{request: {}, expect: {status: '200'}}]}]",
         "steps[0].expect.status: '200' is no status: write a number"),
        ("scenarios: [{name: a, steps: [{request: {}, expect: {client: {body: {match: x}}}}]}]",
         "steps[0].expect.client.body: {'match': 'x'} is no value"),
        ("scenarios: [{name: a, steps: [{request: {}, expect: {client: {headers: {x: []}}}}]}]",
         "x: an empty list expects nothing: write absent"),
        ("scenarios: [{name: a, steps: [{request: {}, expect: {logs: [{matches: '('}]}}]}]",
         "steps[0].expect.logs[0].matches: '(' is no regular expression"),
        ("scenarios: [{name: a, steps: [{request: {}, expect: {logs: [{level: info}]}}]}]",
         "steps[0].expect.logs[0]: a line has either text (exact) or matches"),
        ("scenarios: [{name: a, steps: [{request: {}, expect: {logs: [{level: loud, text: a}]}}]}]",
         "steps[0].expect.logs[0].level: 'loud' is none of 'trace', 'debug'"),
        ("scenarios: [{name: a, steps: [{request: {}, expect: {metrics: {x: many}}}]}]",
         "steps[0].expect.metrics.x: 'many'"),
    ],
)
def test_a_mistake_is_told_with_scenario_and_field(text: str, said: str) -> None:
    told = refused(text)
    assert told.startswith("plugins/demo/scenarios.yaml, ")
    assert said in told


def test_several_mistakes_are_told_at_once() -> None:
    told = refused("scenarios: [{name: a, x: 1, steps: [{request: {y: 2}}]}, {name: b, z: 3}]")
    assert {line.rpartition(", ")[2] for line in told.splitlines()} == {
        "x: there is no such field", "steps[0].request.y: there is no such field",
        "z: there is no such field"}


def test_many_mistakes_are_counted() -> None:
    steps = ", ".join(["{request: {y: 2}}"] * 20)
    assert refused(f"scenarios: [{{name: a, steps: [{steps}]}}]").endswith("and 12 more")


def test_two_scenarios_of_one_name_are_refused() -> None:
    steps = "steps: [{request: {}}]"
    with pytest.raises(BadScenario, match='two scenarios are called "a"'):
        read(f"scenarios: [{{name: a, {steps}}}, {{name: b, {steps}}}, {{name: a, {steps}}}]")


def test_a_file_that_is_no_yaml_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "scenarios.yaml"
    file.write_text("scenarios:\n  - name: a\n\tsteps: []\n")
    with pytest.raises(BadScenario, match=r"scenarios\.yaml, line 3"):
        scenarios.load(file)
    file.write_text("scenarios:\n  - name: a\n    name: b\n")
    with pytest.raises(BadScenario, match='key "name" is set twice'):
        scenarios.load(file)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(BadScenario, match="is no UTF-8"):
        scenarios.load(file)
    file.write_text("")
    with pytest.raises(BadScenario, match="has 0 documents"):
        scenarios.load(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no file"):
        scenarios.load(tmp_path)


def test_a_folder_stands_for_the_file_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "my-plugin"
    folder.mkdir()
    (folder / "scenarios.yaml").write_text("scenarios: [{name: a, steps: [{request: {}}]}]")
    assert [each.plugin for each in scenarios.load(folder)] == ["my-plugin"]


@pytest.mark.parametrize("name", scenarios.known())
def test_the_scenarios_of_each_plugin_can_be_read(name: str) -> None:
    assert scenarios.load(paths.plugins() / name)


def test_a_pattern_meets_bytes_that_are_no_text() -> None:
    assert read_match({"matches": "^Y.$"}).fits(b"Y\xa1")
    assert not read_match("Y").fits(b"Y\xa1")
    assert not Match("absent").fits(b"")
    assert not read_match("").fits(None)


def test_the_document_tells_every_field_and_its_example_is_of_the_format() -> None:
    text = (paths.ROOT / "docs" / "scenarios.md").read_text(encoding="utf-8")
    example = text.split("```yaml\n")[1].split("```")[0]
    assert len(read(example)) == 1
    for model in (format.Scenario, format.Step, format.Expect, format.Request, format.Answer,
                  format.ExpectedMessage, format.ExpectedReply, format.ExpectedLog):
        for field in model.model_fields:
            assert f"`{field}`" in text or f"{field}," in text or f"{field}}}" in text, field
