"""A Hub of one's own, for what is pushed at the end."""

from support.hub_fixtures import faults, hub, reach  # noqa: F401 - fixtures
