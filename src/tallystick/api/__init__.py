"""The HTTP API, version 1: JSON in and out, problem documents for errors, OpenAPI from the validating types."""
