-- Version 1. What an index needs is a column; the rest of a record is JSON.
-- `task` everywhere else is the task's sequence.

CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE task (
    sequence     INTEGER PRIMARY KEY,
    id           BLOB NOT NULL UNIQUE,
    owner        TEXT NOT NULL,
    tool         TEXT NOT NULL,
    tool_version TEXT NOT NULL,
    priority     INTEGER NOT NULL,
    suspect      INTEGER NOT NULL,
    -- Limits and rates that must have room before it can be claimed, as JSON; empty without any.
    gates        TEXT NOT NULL,
    -- Limit keys that it holds, and quota keys that it waits under, as JSON; null without any.
    holds        TEXT,
    waits        TEXT,
    phase        TEXT NOT NULL,
    -- Where it stands: its status, with a tool's own error told apart.
    standing     TEXT NOT NULL,
    due_at       INTEGER NOT NULL,
    -- The id of the task that started it.
    parent       BLOB,
    state        TEXT NOT NULL,
    -- What was asked for, if it is short; else it is in `long_spec`, because this row is written
    -- again and again.
    spec         TEXT,
    -- Last, so that a large one is not read with the columns before it.
    outcome      TEXT
) STRICT;

-- The order of claiming; the sequence follows by itself, being the row id.
CREATE INDEX task_ready ON task (tool, tool_version, suspect, gates, priority DESC)
    WHERE phase = 'queued';
CREATE INDEX task_holds ON task (holds) WHERE holds IS NOT NULL;
CREATE INDEX task_waits ON task (waits) WHERE waits IS NOT NULL;
CREATE INDEX task_unfinished ON task (phase) WHERE phase <> 'finished';
CREATE INDEX task_due ON task (due_at);
CREATE INDEX task_owner ON task (owner);
CREATE INDEX task_tool ON task (owner, tool);
CREATE INDEX task_unsuccessful ON task (standing) WHERE standing IN ('error', 'failed', 'cancelled');
-- What people call failed, in the order of creation.
CREATE INDEX task_failed ON task (sequence) WHERE standing IN ('error', 'failed');
CREATE INDEX task_parent ON task (parent) WHERE parent IS NOT NULL;

-- Labels, to find tasks by.
CREATE TABLE label (
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    task  INTEGER NOT NULL,
    PRIMARY KEY (key, value, task)
) STRICT, WITHOUT ROWID;

-- Who waits for whose end. A row is gone once the dependency has ended.
CREATE TABLE dependency (
    dependency BLOB NOT NULL,
    task       INTEGER NOT NULL,
    PRIMARY KEY (dependency, task)
) STRICT, WITHOUT ROWID;

-- Which task a call means, by the caller's idempotency key or the tool's key of the same work.
CREATE TABLE same (
    owner  TEXT NOT NULL,
    tool   TEXT NOT NULL,
    kind   TEXT NOT NULL,
    key    TEXT NOT NULL,
    task   INTEGER NOT NULL,
    digest TEXT NOT NULL,
    until  INTEGER NOT NULL,
    PRIMARY KEY (owner, tool, kind, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX same_task ON same (task);

-- Where rate keys stand, in microseconds; one that lies in the past is as good as none.
CREATE TABLE rate (
    key     TEXT NOT NULL PRIMARY KEY,
    arrival INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX rate_arrival ON rate (arrival);

-- `due_at` is null while a schedule is paused or has no fire time any more.
CREATE TABLE schedule (
    name    TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    due_at  INTEGER,
    record  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX schedule_due ON schedule (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE long_spec (
    task INTEGER PRIMARY KEY,
    spec TEXT NOT NULL
) STRICT;

-- The events that one unit gave to a task, as [[time, kind], …]; `last` is the number of the last.
CREATE TABLE event (
    task   INTEGER NOT NULL,
    last   INTEGER NOT NULL,
    events TEXT NOT NULL,
    PRIMARY KEY (task, last)
) STRICT, WITHOUT ROWID;

CREATE TABLE journal (
    ordinal    INTEGER PRIMARY KEY,
    task       INTEGER NOT NULL,
    kind       TEXT NOT NULL,
    name       TEXT NOT NULL,
    input_hash INTEGER,
    at         INTEGER NOT NULL,
    -- How long the work of a step took, in milliseconds.
    took       INTEGER,
    recorded   TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX journal_key ON journal (task, kind, name);

CREATE TABLE signal (
    task    INTEGER NOT NULL,
    name    TEXT NOT NULL,
    number  INTEGER NOT NULL,
    id      TEXT,
    at      INTEGER NOT NULL,
    payload TEXT NOT NULL,
    PRIMARY KEY (task, name, number)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX signal_id ON signal (task, id) WHERE id IS NOT NULL;

CREATE TABLE log (
    task   INTEGER NOT NULL,
    start  INTEGER NOT NULL,
    at     INTEGER NOT NULL,
    level  TEXT NOT NULL,
    logger TEXT NOT NULL,
    text   BLOB NOT NULL,
    PRIMARY KEY (task, start)
) STRICT, WITHOUT ROWID;

CREATE TABLE log_head (
    task    INTEGER PRIMARY KEY,
    log_end INTEGER NOT NULL,
    mark    INTEGER
) STRICT;

CREATE TABLE record (
    space      TEXT NOT NULL,
    key        TEXT NOT NULL,
    expires_at INTEGER,
    value      BLOB NOT NULL,
    PRIMARY KEY (space, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX record_expiry ON record (expires_at) WHERE expires_at IS NOT NULL;
