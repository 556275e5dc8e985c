"""The assertions by topic. Importing this package registers all of them."""

from catalogue import (  # noqa: F401  (registered by being imported)
    both_eras,
    durability,
    field_findings,
    http_security,
    legacy_basics,
    legacy_input,
    legacy_listing,
    legacy_results,
    legacy_streams,
    modern_basics,
    modern_cancel,
    modern_input,
    modern_listen,
)
