"""The OpenAPI document is true: every documented route answers as described, and nothing else is served (contract §2.3)."""

import re
import uuid

import httpx
import pytest
from world import API_KEY, TIMEOUT_SECONDS, wait_until

ASSET = "OPENUSDT"
JSON = "application/json"


@pytest.fixture(scope="module")
def document(service):
    return service.get("/openapi.json").json()


@pytest.fixture(scope="module")
def held(service, broker):
    broker.fill(ASSET, "Buy", "1.5", "100", fees="0.5")
    service.expect(ASSET, version=1)
    broker.fill(ASSET, "Sell", "0.5", "110", mode="hedge")
    service.expect(ASSET, "hedge", version=1)
    broker.market(ASSET, markPrice="120")
    return service.expect(ASSET, version=2)


def resolve(document, node):
    while "$ref" in node:
        target = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def has_type(value, wanted):
    return {"string": lambda: isinstance(value, str), "integer": lambda: isinstance(value, int) and not isinstance(value, bool),
            "number": lambda: isinstance(value, (int, float)) and not isinstance(value, bool), "boolean": lambda: isinstance(value, bool),
            "array": lambda: isinstance(value, list), "object": lambda: isinstance(value, dict)}[wanted]()


def faults(document, schema, value, at="$"):
    """What of the value is not as the schema says."""
    schema = resolve(document, schema)
    if value is None:
        return [] if schema.get("nullable") else [f"{at} is null"]
    found = []
    for part in schema.get("allOf", []):
        found += faults(document, part, value, at)
    if "anyOf" in schema:
        found += min((faults(document, part, value, at) for part in schema["anyOf"]), key=len)
    if "type" in schema and not has_type(value, schema["type"]):
        return found + [f"{at} is no {schema['type']}: {value!r}"]
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{at} is none of {schema['enum']}: {value!r}")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        found.append(f"{at} does not match {schema['pattern']}: {value!r}")
    if schema.get("format") == "uuid" and str(uuid.UUID(value)) != value:
        found.append(f"{at} is no UUID: {value!r}")
    if schema.get("format") == "date-time" and not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", value):
        found.append(f"{at} is no time: {value!r}")
    if "minimum" in schema and value < schema["minimum"]:
        found.append(f"{at} is below {schema['minimum']}")
    for name in schema.get("required", []):
        if name not in value:
            found.append(f"{at}.{name} is missing")
    if isinstance(value, dict) and schema.get("type") == "object":
        properties = schema.get("properties", {})
        others = schema.get("additionalProperties")
        for name, member in value.items():
            if name in properties:
                found += faults(document, properties[name], member, f"{at}.{name}")
            elif isinstance(others, dict):
                found += faults(document, others, member, f"{at}.{name}")
            elif properties and others is not True:
                found.append(f"{at}.{name} is not documented")
    if isinstance(value, list):
        for index, member in enumerate(value):
            found += faults(document, schema.get("items", {}), member, f"{at}[{index}]")
    return found


def operations(document):
    return [(path, method, operation) for path, methods in document["paths"].items() for method, operation in methods.items()]


def ask(service, path, method, key=API_KEY, query=""):
    return httpx.request(method.upper(), f"http://127.0.0.1:{service.port}{path.replace('{asset}', ASSET)}{query}",
                         headers={} if key is None else {"X-API-Key": key}, timeout=TIMEOUT_SECONDS)


def expect_described(document, operation, answer):
    described = operation["responses"].get(str(answer.status_code))
    assert described is not None, f"{answer.status_code} is not documented: {answer.text[:300]}"
    described = resolve(document, described)
    for name in described.get("headers", {}):
        assert name in answer.headers, name
    content = described.get("content", {})
    media = answer.headers.get("Content-Type", "").split(";")[0]
    if content and answer.request.method != "HEAD":
        assert media in content
        if media == JSON:
            assert faults(document, content[JSON].get("schema", {}), answer.json()) == []


def test_every_route_answers_as_described(service, document, held):
    for path, method, operation in operations(document):
        answer = ask(service, path, method)
        if path == "/health":  # a neighbour that this machine held up makes it a 503, for a moment
            answer = wait_until(lambda: next((one for one in [ask(service, path, method)] if one.status_code == 200), None), what="health")  # noqa: B023
        assert answer.status_code in (200, 201), (method, path, answer.status_code, answer.text[:300])
        expect_described(document, operation, answer)


def test_every_route_that_needs_a_key_says_so(service, document, held):
    for path, method, operation in operations(document):
        needs_key = operation.get("security", document.get("security", [])) != []
        answer = ask(service, path, method, key=None)
        assert (answer.status_code == 401) is needs_key, (method, path)
        if needs_key:
            expect_described(document, operation, answer)


def test_other_methods_are_405_with_those_that_are_documented(service, document, held):
    known = {"get", "head", "post", "put", "patch", "delete", "options"}
    for path, methods in document["paths"].items():
        for method in sorted(known - set(methods)):
            answer = ask(service, path, method)
            assert answer.status_code == 405, (method, path, answer.status_code)
            allowed = {word.strip().lower() for word in answer.headers["Allow"].split(",")}
            assert allowed - {"options"} == set(methods) - {"options"}, (path, allowed)


def test_every_parameter_is_read_and_its_nonsense_refused(service, document, held):
    for path, method, operation in operations(document):
        for parameter in operation.get("parameters", []):
            parameter = resolve(document, parameter)
            if parameter["in"] != "query":
                continue
            answer = ask(service, path, method, query=f"?{parameter['name']}=%00nonsense")
            assert answer.status_code == 400, (method, path, parameter["name"], answer.status_code)
            expect_described(document, operation, answer)
            if method != "head":
                assert parameter["name"] in answer.text


def test_examples_and_defaults_obey_their_schemas(document):
    for name, schema in document["components"]["schemas"].items():
        for member, described in schema.get("properties", {}).items():
            if "example" in described:
                assert faults(document, described, described["example"], f"{name}.{member}") == []


def test_every_operation_has_an_id_of_its_own(document):
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    for path, _, operation in operations(document):
        named = [resolve(document, parameter)["name"] for parameter in operation.get("parameters", [])
                 if resolve(document, parameter)["in"] == "path"]
        assert named == re.findall(r"{(\w+)}", path)


def test_snapshots_and_validations_that_have_something_to_say_are_as_described(service, db, document, held):
    db.query("""create table orders (order_id text primary key, asset varchar(20), side varchar(10), status varchar(20),
                filled_quantity numeric(20,8), average_price numeric(20,8), executed_at timestamp, is_dry_run boolean)""")
    db.query("insert into orders values ('o', %s, 'Buy', 'filled', 5, 100, now(), false)", ASSET)
    path = "/api/v1/positions/{asset}"
    for part, method, query, status in (("/snapshot", "post", "", 201), ("/snapshots", "get", "?limit=5", 200), ("/snapshots", "get", "?at=2001-01-01T00:00:00Z", 404),
                                        ("/snapshots", "get", "?at=2999-01-01T00:00:00Z", 200), ("/validate", "post", "?fix_discrepancies=no", 200),
                                        ("/validate", "post", "", 200), ("/validate", "post", "?mode=hedge", 200), ("/snapshot", "post", "?mode=nonsense", 400)):
        answer = ask(service, path + part, method, query=query)
        assert answer.status_code == status, (part, query, answer.text)
        expect_described(document, document["paths"][path + part][method], answer)
    service.expect(ASSET, size="5.0")
    # With at= the answer is the snapshot, and a list of it beside.
    body = ask(service, path + "/snapshots", "get", query="?at=2999-01-01T00:00:00Z").json()
    schemas = document["components"]["schemas"]
    listed = {name: body.pop(name) for name in ("snapshots", "count")}
    assert faults(document, schemas["SnapshotList"], listed) == [] and faults(document, schemas["PositionSnapshot"], body) == []
    assert listed == {"snapshots": [body], "count": 1}
