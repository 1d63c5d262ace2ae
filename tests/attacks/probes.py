"""All probes, by theme."""

from __future__ import annotations

from tests.attacks import (
    probes_channel,
    probes_escape,
    probes_files,
    probes_network,
    probes_processes,
    probes_resources,
    probes_source,
)

THEMES = {
    "network": probes_network.PROBES,
    "files": probes_files.PROBES,
    "processes": probes_processes.PROBES,
    "resources": probes_resources.PROBES,
    "escape": probes_escape.PROBES,
    "channel": probes_channel.PROBES,
    "source": probes_source.PROBES,
}
PROBES = {probe.name: probe for theme in THEMES.values() for probe in theme}
assert len(PROBES) == sum(map(len, THEMES.values()))
