"""Which commands there are: where each lies, and its line in ``coord --help``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """A command of the shell, and ``where`` its function or group lies: ``module:name``.

    ``about`` is the first sentence of its help, kept here so that nothing is loaded to show it.
    """

    name: str
    where: str
    about: str


PANELS: dict[str, tuple[Place, ...]] = {
    "Run a fleet": (
        Place(
            "demo",
            "cli.demo:demo",
            "Show a whole fleet at work: a server, a coordinator and trainers, all real processes",
        ),
        Place(
            "serve",
            "cli.serve:serve",
            "Run the coordinator and a gateway, in the foreground, until Ctrl-C or SIGTERM",
        ),
        Place("stop", "cli.serve:stop", "End the embedded server"),
        Place(
            "up",
            "cli.up:up",
            "Start a fleet that stays: server (unless one is named), coordinator, trainers,"
            " validators",
        ),
        Place(
            "down",
            "cli.up:down",
            "End what `coord up` started, and the embedded server if it was that",
        ),
        Place(
            "trainer",
            "cli.trainer:trainer",
            "Run one trainer until Ctrl-C or for some minutes, and print what it made",
        ),
        Place(
            "validator",
            "cli.validator:validator",
            "Measure what others share, in a sandbox, until Ctrl-C or for some minutes",
        ),
        Place(
            "gateway",
            "cli.gateway:gateway",
            "Run a gateway, in the foreground, until Ctrl-C or SIGTERM",
        ),
        Place(
            "doctor",
            "cli.doctor:doctor",
            "Say what is wrong with this installation, and what to do",
        ),
    ),
    "Look": (
        Place(
            "dashboard",
            "cli.dashboard:dashboard",
            "Serve the dashboard and the HTTP API, in the foreground, until Ctrl-C or SIGTERM",
        ),
        Place(
            "status",
            "cli.status:status",
            "Show how the fleet is: who coordinates, who is there, what the server keeps",
        ),
        Place(
            "top",
            "cli.top.command:top",
            "Watch the fleet in a terminal: AIs, sessions, units and rates; keys sort, filter,"
            " follow",
        ),
        Place(
            "tail",
            "cli.tail:tail",
            "Print what happens in the fleet, a line each, until Ctrl-C; --json prints JSON lines",
        ),
        Place(
            "ais",
            "cli.records:ais",
            "List the AIs that are there, and how much work each has completed",
        ),
        Place(
            "graph",
            "cli.graph:graph",
            "Show who worked with whom: what AIs sent each other, began from each other's, did"
            " together",
        ),
        Place("patterns", "cli.records:patterns", "List the newest patterns"),
        Place("components", "cli.records:components", "List the newest components and features"),
        Place(
            "lineage",
            "cli.lineage:lineage",
            "Show what a pattern or component was begun from, and what others made of it",
        ),
        Place(
            "sessions",
            "cli.sessions:sessions",
            "List collaborations and feature requests, the open ones first, then those that ended"
            " last",
        ),
        Place(
            "session",
            "cli.sessions:session",
            "Show all of one session: who takes part, its units and who tried them, what came out",
        ),
        Place(
            "problems",
            "cli.problems:problems",
            "List what trainers train for: one problem a specialization, and those of two together",
        ),
    ),
    "Work": (
        Place(
            "request-feature",
            "cli.ask:request_feature",
            "Ask the fleet for a feature, and print the id of the request",
        ),
        Place(
            "collaborate",
            "cli.ask:collaborate",
            "Have several AIs work on something together, and print the id of their session",
        ),
        Place(
            "cancel",
            "cli.steer:cancel",
            "End a collaboration or feature request; its units are taken off the queues",
        ),
        Place(
            "retry",
            "cli.steer:retry",
            "Have a failed unit tried again; its session, which failed with it, goes on",
        ),
        Place(
            "kick",
            "cli.steer:kick",
            "Remove an AI from the fleet; what it had to do goes to others",
        ),
        Place(
            "drain",
            "cli.steer:drain",
            "Have an AI finish the units that it has, and take no new ones as long as it stays",
        ),
        Place(
            "send",
            "cli.send:send",
            "Send a message of any type in the operator's name, and print its message_id",
        ),
        Place(
            "retract",
            "cli.send:retract",
            "Take a pattern, component or feature back: it is shown and offered to nobody any more",
        ),
        Place(
            "dead",
            "cli.dead:app",
            "Messages that broke a handler: look at them, have them tried again, drop them",
        ),
        Place(
            "validate",
            "cli.validate:validate_command",
            "Judge a component as a validator does: run it in a sandbox, measure it, print the"
            " report",
        ),
    ),
    "Access": (
        Place(
            "enroll",
            "cli.enroll:enroll",
            "Let an AI join by the gateway: print its token, once, and how to start it",
        ),
        Place(
            "rotate",
            "cli.enroll:rotate",
            "Give an AI a new token in place of those that it has, which end now or after --grace",
        ),
        Place(
            "revoke",
            "cli.revoke:revoke",
            "Shut an AI out at once: its tokens end, its connections close, its units go to others",
        ),
        Place(
            "members",
            "cli.members:members",
            "List who is enrolled: role, restrictions, tokens by their ids, and who is there",
        ),
        Place(
            "audit",
            "cli.audit:audit",
            "List enrolments, revocations, kicks, and logins and messages that were refused, newest"
            " first",
        ),
        Place(
            "acl",
            "cli.acl:acl",
            "Show the Redis user of a trainer, or make it: it may do what that trainer does, and no"
            " more",
        ),
        Place(
            "dev-cert",
            "cli.dev_cert:dev_cert",
            "Make a CA, and of it a certificate for a gateway and one for a client, to try TLS out",
        ),
    ),
    "History": (
        Place(
            "archive",
            "cli.archive:archive",
            "Keep all that happens in the fleet in an SQLite file, until Ctrl-C or SIGTERM",
        ),
        Place(
            "export",
            "cli.export:export_command",
            "Write the tables of an archive as JSON lines, CSV or Parquet, a file each",
        ),
        Place(
            "restore",
            "cli.restore:restore_command",
            "Rebuild an empty fleet's knowledge from an archive: records, verdicts, credit",
        ),
        Place(
            "report",
            "cli.report:report",
            "Write one page about a run: the fleet, what it learned, what sharing did, the best of"
            " it",
        ),
        Place(
            "traces",
            "cli.traces.command:traces",
            "Send what becomes of messages to an OpenTelemetry collector, as spans, until Ctrl-C",
        ),
    ),
    "Experiments": (
        Place("experiment", "cli.experiment:app", "Answer a question about fleets by trying"),
    ),
}
"""In the order of ``coord --help``, whose panels they are."""
