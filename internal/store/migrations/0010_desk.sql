-- People at the console. password is an argon2id string, totp sealed.
CREATE TABLE agents (
	id         TEXT    PRIMARY KEY,
	name       TEXT    NOT NULL UNIQUE,
	display    TEXT    NOT NULL,
	role       TEXT    NOT NULL CHECK (role IN ('agent', 'lead', 'admin', 'viewer')),
	accounts   TEXT    NOT NULL,
	password   TEXT,
	totp       BLOB,
	totp_used  INTEGER NOT NULL DEFAULT 0, -- the step of the last code, which opens nothing again
	settings   TEXT    NOT NULL DEFAULT '{}',
	created_at INTEGER NOT NULL,
	disabled   INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE sessions (
	hash       BLOB    PRIMARY KEY CHECK (length(hash) = 32),
	agent      TEXT    NOT NULL,
	created_at INTEGER NOT NULL,
	expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_agent ON sessions (agent);

-- Links that sign in once.
CREATE TABLE links (
	hash       BLOB    PRIMARY KEY CHECK (length(hash) = 32),
	agent      TEXT    NOT NULL,
	expires_at INTEGER NOT NULL
) STRICT;

CREATE TABLE audit (
	cursor INTEGER PRIMARY KEY,
	at     INTEGER NOT NULL,
	who    TEXT    NOT NULL,
	what   TEXT    NOT NULL,
	target TEXT    NOT NULL,
	detail TEXT    NOT NULL
) STRICT;

-- What the team does with a conversation.
CREATE TABLE desk (
	openid   TEXT    NOT NULL,
	account  TEXT    NOT NULL,
	remark   TEXT    NOT NULL DEFAULT '',
	assigned TEXT    NOT NULL DEFAULT '', -- agent; '': nobody
	tags     TEXT    NOT NULL DEFAULT '[]',
	closed   INTEGER NOT NULL DEFAULT 0,  -- cursor up to which it is done with
	seen     INTEGER NOT NULL DEFAULT 0,  -- how many of the follower's messages were read
	PRIMARY KEY (openid, account)
) STRICT;

CREATE TABLE quick_replies (
	id    TEXT PRIMARY KEY,
	owner TEXT NOT NULL, -- agent; '': the team
	title TEXT NOT NULL,
	text  TEXT NOT NULL
) STRICT;
CREATE INDEX quick_replies_owner ON quick_replies (owner);

-- Views: how many messages the follower has sent, the last of them, our last, and
-- the first that had no answer; cursors, 0: none.
ALTER TABLE conversations ADD COLUMN heard INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN heard_last INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN answered INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN waiting INTEGER NOT NULL DEFAULT 0;

-- Who is behind a message: JSON.
ALTER TABLE messages ADD COLUMN author TEXT;
