"""The format of plugins/NAME/scenarios.yaml: docs/scenarios.md tells it to authors."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    model_validator,
)

from helpers.scenarios import values
from helpers.scenarios.values import Match, Pairs

Value = Annotated[bytes, BeforeValidator(values.read_value)]
Text = Annotated[Match, BeforeValidator(values.read_match)]
Pattern = Annotated[str, BeforeValidator(values.read_pattern)]
SentHeaders = Annotated[Pairs, BeforeValidator(values.read_pairs)]
SentBody = Annotated[tuple[bytes, ...], BeforeValidator(values.read_body)]
ExpectedHeaders = Annotated[
    tuple[tuple[str, tuple[Match, ...]], ...], BeforeValidator(values.read_headers_expected)
]
#: "absent", or what is expected of each trailer.
ExpectedTrailers = Annotated[Any, BeforeValidator(values.read_trailers_expected)]
#: A number, "reset" (no whole response: it was broken off) or "paused" (held for ever).
Status = Annotated[Any, BeforeValidator(values.read_status)]
Config = Annotated[Any, BeforeValidator(values.read_config)]
Level = Literal["trace", "debug", "info", "warn", "error", "critical"]


def _level(given: Any) -> Any:
    return "warn" if given == "warning" else given  # Envoy's word and the SDK's


AnyLevel = Annotated[Level, BeforeValidator(_level)]


class _Model(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, arbitrary_types_allowed=True, strict=True
    )


class Answer(_Model):
    """What the upstream or another service answers."""

    status: int = Field(default=200, ge=200, le=999)
    headers: SentHeaders = ()
    body: SentBody = ()
    trailers: SentHeaders = ()


# A word is judged by the words only and a mapping by its fields only, so that a mistake is
# told once.
_WORD_OR_FIELDS = Discriminator(lambda given: "word" if isinstance(given, str) else "fields")
_Absent = Annotated[Literal["absent"], Tag("word")]

#: "reset": the stream is broken off; "timeout": no answer ever comes.
AnyAnswer = Annotated[
    Annotated[Answer, Tag("fields")] | Annotated[Literal["reset", "timeout"], Tag("word")],
    _WORD_OR_FIELDS,
]


class Request(_Model):
    """What the client sends."""

    method: Value = b"GET"
    path: Value = b"/"
    authority: Value = b"sandbox"
    headers: SentHeaders = ()
    body: SentBody = ()
    trailers: SentHeaders = ()


class ExpectedMessage(_Model):
    """What one side has to get; a field that is left out is not looked at."""

    method: Text | None = None
    path: Text | None = None
    headers: ExpectedHeaders = ()
    body: Text | None = None
    trailers: ExpectedTrailers = ()


class ExpectedCallout(ExpectedMessage):
    """What a plugin has to ask of another service."""

    cluster: str


class ExpectedLog(_Model):
    """A line that a plugin has to log: `text` exactly, or a regular expression in it."""

    level: AnyLevel | None = None
    text: Text | None = None
    matches: Pattern | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.text is None) == (self.matches is None):
            raise ValueError("a line has either text (exact) or matches (a regular expression)")
        return self

    @property
    def match(self) -> Match:
        """What its text has to be."""
        return self.text or Match("matches", (self.matches or "").encode())

    def __str__(self) -> str:
        return f"{self.level or 'any level'}: {self.match}"


class ExpectedReply(_Model):
    """An answer in the upstream's place; `details` is a regular expression for all of it."""

    details: Pattern | None = None
    status: int | None = None
    body: Text | None = None


class Start(_Model):
    """What has to be seen of the plugin's start."""

    logs: list[ExpectedLog] = []
    no_logs: list[Pattern] = []


class Waited(Start):
    """What has to be seen once time has passed."""

    metrics: dict[str, int] = {}


class Expect(Waited):
    """What has to be seen of a request."""

    status: Status = None
    upstream: Annotated[
        Annotated[ExpectedMessage, Tag("fields")] | _Absent, _WORD_OR_FIELDS
    ] | None = None
    client: ExpectedMessage | None = None
    local_reply: Annotated[
        Annotated[ExpectedReply, Tag("fields")] | _Absent, _WORD_OR_FIELDS
    ] | None = None
    callouts: list[ExpectedCallout] | None = None
    panic: str | None = None


class Step(_Model):
    """One request, or a time to wait."""

    request: Request | None = None
    wait: float | None = Field(default=None, gt=0, le=30, strict=False)
    upstream: AnyAnswer = Answer()
    callouts: dict[str, AnyAnswer] = {}
    expect: Expect = Expect()

    @model_validator(mode="after")
    def _kind(self) -> Self:
        if (self.request is None) == (self.wait is None):
            raise ValueError("a step is either a request or a wait (request: {} is a plain GET /)")
        if self.wait is not None:
            foreign = self.expect.model_fields_set - {"logs", "no_logs", "metrics"}
            foreign |= self.model_fields_set & {"upstream", "callouts"}
            if foreign:
                raise ValueError(f"a wait has no {', '.join(sorted(foreign))}: "
                                 "it may expect logs, no_logs and metrics")
        return self


class Scenario(_Model):
    """A plugin with its configuration, what is done to it, and what has to come of it."""

    name: str = Field(min_length=1)
    why: str = ""
    module: str = ""
    plugin_config: Config = None
    vm_config: Config = None
    plugin_name: str = ""
    env: dict[str, str] = {}
    fail_strategy: Literal["FAIL_CLOSE", "FAIL_OPEN", "FAIL_RELOAD"] = "FAIL_CLOSE"
    node_metadata: dict[str, Any] = {}
    refused: bool = False
    log_level: AnyLevel = "trace"
    callouts: dict[str, AnyAnswer] = {}
    expect: Start = Start()
    steps: list[Step] = []

    _file: str = PrivateAttr(default="")
    _plugin: str = PrivateAttr(default="")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.refused and self.steps:
            raise ValueError("a plugin that is refused has no steps; what it logs is in expect")
        if not self.refused and not self.steps:
            raise ValueError("there are no steps: a scenario sends a request or waits")
        return self

    @property
    def file(self) -> str:
        """The file that it was read from, with the folders from the clone's top."""
        return self._file

    @property
    def plugin(self) -> str:
        """The plugin's folder name: the filter is called default.PLUGIN."""
        return self._plugin

    @property
    def clusters(self) -> dict[str, Answer | Literal["reset", "timeout"]]:
        """All services that it names, with their answer; one named in a step only resets."""
        named: dict[str, Answer | Literal["reset", "timeout"]] = {
            name: "reset" for step in self.steps for name in step.callouts
        }
        return {**named, **self.callouts}

    @property
    def module_name(self) -> str:
        """The module's name without .wasm."""
        return self.module or self._plugin.replace("-", "_")

    @property
    def filter_name(self) -> str:
        """The name of the filter: what Istio makes of a WasmPlugin in the namespace default."""
        return f"default.{self._plugin}"

    def located(self, file: str, plugin: str) -> Scenario:
        """The same with where it comes from."""
        self._file, self._plugin = file, plugin
        return self


class File(_Model):
    """All of a scenarios.yaml."""

    scenarios: list[Scenario] = Field(min_length=1)
