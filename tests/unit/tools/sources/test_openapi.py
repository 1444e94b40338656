"""Operations of an OpenAPI 3 document as tools."""

import json

import pytest

from aria_ray.config.schema import ToolSource
from aria_ray.errors import DataError
from aria_ray.tools.sources import read_tools

DOCUMENT = """
openapi: 3.0.3
info: {title: Pets, version: 2024-01-01}
paths:
  /pets:
    parameters:
      - $ref: '#/components/parameters/Tenant'
    get:
      operationId: listPets
      summary: List all pets
      tags: [read]
      parameters:
        - {name: limit, in: query, description: How many, schema: {type: integer, minimum: 0, exclusiveMinimum: true}}
        - {name: "filter[status]", in: query, schema: {type: string, enum: [sold, free], nullable: true}}
        - {name: Authorization, in: header, schema: {type: string}}
        - {name: session, in: cookie, schema: {type: string}}
      responses: {200: {description: ok}}
    post:
      operationId: pets.create
      description: Create a pet.
      tags: [write, admin]
      requestBody:
        required: true
        content:
          application/xml: {schema: {type: string}}
          application/json: {schema: {$ref: '#/components/schemas/NewPet'}}
  /pets/{petId}/owner:
    get:
      parameters:
        - {name: petId, in: path, schema: {type: string, format: uuid}}
        - {name: where, in: query, content: {application/json: {schema: {type: object, properties: {x: {type: number}}}}}}
    put:
      operationId: setOwner
      tags: [write]
      parameters:
        - {name: petId, in: path, required: true, schema: {type: string}}
        - {name: kind, in: query, schema: {type: string}}
      requestBody: {$ref: '#/components/requestBodies/Owner'}
  /bulk:
    post:
      operationId: bulk
      requestBody:
        required: true
        content: {application/json: {schema: {type: array, items: {$ref: '#/components/schemas/NewPet'}}}}
components:
  parameters:
    Tenant: {name: X-Tenant, in: header, required: true, schema: {type: string}}
  requestBodies:
    Owner:
      content:
        application/json:
          schema:
            allOf:
              - {type: object, required: [name], properties: {name: {type: string}, kind: {type: integer}}}
              - {type: object, properties: {petId: {type: string}, id: {type: integer, readOnly: true}}}
  schemas:
    NewPet:
      type: object
      required: [name]
      properties:
        name: {type: string, example: Rex}
        born: {type: string, format: date, example: 2020-01-02}
        parent: {$ref: '#/components/schemas/NewPet'}
"""


@pytest.fixture
def document(tmp_path):
    path = tmp_path / "pets.yaml"
    path.write_text(DOCUMENT)
    return str(path)


@pytest.fixture
def tools(document):
    return read_tools([document])


def parameters(tool):
    return tool.definition["function"]["parameters"]


def test_names_and_descriptions(tools):
    assert {name: tool.definition["function"]["description"] for name, tool in tools.items()} == {
        "listPets": "List all pets",
        "pets_create": "Create a pet.",
        "get_pets_by_petId_owner": "get pets by petId owner",
        "setOwner": "setOwner",
        "bulk": "bulk",
    }
    assert {tool.backend.kind for tool in tools.values()} == {"reference"}


def test_parameters_of_path_query_and_header_are_one_object(tools):
    assert parameters(tools["listPets"]) == {
        "type": "object",
        "properties": {
            "X-Tenant": {"type": "string"},
            "limit": {"type": "integer", "exclusiveMinimum": 0, "description": "How many"},
            "filter[status]": {"type": ["string", "null"], "enum": ["sold", "free", None]},
        },
        "required": ["X-Tenant"],
    }
    assert parameters(tools["get_pets_by_petId_owner"])["required"] == ["petId"]
    assert parameters(tools["get_pets_by_petId_owner"])["properties"]["where"]["properties"] == {"x": {"type": "number"}}


def test_fields_of_the_body_are_parameters(tools):
    assert parameters(tools["pets_create"]) == {
        "type": "object",
        "properties": {
            "X-Tenant": {"type": "string"},
            "name": {"type": "string", "examples": ["Rex"]},
            "born": {"type": "string", "format": "date", "examples": ["2020-01-02"]},
            "parent": {"type": "object"},
        },
        "required": ["X-Tenant", "name"],
    }
    owner = parameters(tools["setOwner"])
    assert list(owner["properties"]) == ["petId", "kind", "name", "body_kind"]
    assert owner["required"] == ["petId", "name"]
    assert parameters(tools["bulk"])["properties"]["body"]["items"]["required"] == ["name"]
    assert parameters(tools["bulk"])["required"] == ["body"]


@pytest.mark.parametrize(
    ("only", "names"),
    [
        (("write",), ["pets_create", "setOwner"]),
        (("pets.create",), ["pets_create"]),
        (("pets_create", "read"), ["listPets", "pets_create"]),
        (("GET /pets/{petId}/owner",), ["get_pets_by_petId_owner"]),
    ],
)
def test_operations_are_chosen_by_tag_id_name_or_path(document, only, names):
    assert list(read_tools([ToolSource(source=document, only=only)])) == names


def test_only_that_is_not_there(document):
    with pytest.raises(DataError, match=r"only names 'writes', which is not there; there are write"):
        read_tools([ToolSource(source=document, only=("writes",))])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"swagger": "2.0", "paths": {}}, r"is OpenAPI 2.0; convert it to OpenAPI 3"),
        ({"openapi": "3.1.0"}, r"has no paths; give a document with operations"),
        ({"openapi": "3.1.0", "paths": {}}, r"has no tools"),
        ({"openapi": "3.1.0", "paths": {"/a": {"get": {"parameters": [{"$ref": "#/x"}]}}}}, r"GET /a: \$ref #/x leads nowhere"),
        (
            {"openapi": "3.1.0", "paths": {"/a": {"get": {"parameters": [{"in": "query"}]}}}},
            r"GET /a: parameter .* has no name",
        ),
        ({"openapi": "3.1.0", "paths": {"/a": 3}}, r"/a: 3 must be an object"),
    ],
)
def test_what_is_no_document(tmp_path, content, message):
    path = tmp_path / "api.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        read_tools([str(path)])


def test_a_wrong_operation_that_is_not_chosen_does_no_harm(tmp_path):
    path = tmp_path / "api.json"
    paths = {"/a": {"get": {"operationId": "a"}}, "/b": {"get": {"parameters": [{"in": "query"}]}}}
    path.write_text(json.dumps({"openapi": "3.1.0", "paths": paths}))
    assert list(read_tools([ToolSource(source=str(path), only=("a",))])) == ["a"]
