# SPDX-License-Identifier: Apache-2.0
"""The part of JSON Schema that docs/findings.schema.json uses; an unknown keyword is an error."""

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
KNOWN = {"$schema", "$defs", "$ref", "title", "description", "type", "properties", "required",
         "items", "enum", "const", "anyOf"}


def has_type(value, name):
    if name == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if name == "number":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, TYPES[name])


def validate(value, schema, root, place="$"):
    """Yields a sentence for each thing that is not as the schema says. Unknown keys of objects are
    errors too: a document that says more than its schema has an outdated schema."""
    unknown = set(schema) - KNOWN
    if unknown:
        raise ValueError(f"the validator does not know {sorted(unknown)}")
    if "$ref" in schema:
        target = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        yield from validate(value, target, root, place)
    if "const" in schema and value != schema["const"]:
        yield f"{place}: {value!r} is not {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{place}: {value!r} is none of {schema['enum']}"
    if "anyOf" in schema and all(list(validate(value, s, root, place)) for s in schema["anyOf"]):
        yield f"{place}: {value!r} matches no alternative"
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(has_type(value, name) for name in types):
        yield f"{place}: {value!r} is not {' or '.join(types)}"
        return
    if isinstance(value, dict) and "properties" in schema:
        for key in schema.get("required", []):
            if key not in value:
                yield f"{place}: {key} is missing"
        for key, item in value.items():
            if key in schema["properties"]:
                yield from validate(item, schema["properties"][key], root, f"{place}.{key}")
            else:
                yield f"{place}: {key} is not in the schema"
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from validate(item, schema["items"], root, f"{place}[{index}]")
