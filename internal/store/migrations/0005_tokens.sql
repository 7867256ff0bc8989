-- Who did what to an account's access token, and the notices that were given about
-- it. A fetch is written down before it leaves, so that no crash makes a day's
-- count smaller. outcome is '' while it is on its way.
CREATE TABLE token_events (
	id      INTEGER PRIMARY KEY, -- a number of the log
	at      INTEGER NOT NULL,
	account TEXT    NOT NULL CHECK (account <> ''),
	action  TEXT    NOT NULL CHECK (action IN ('fetched', 'supplied', 'revealed', 'contested', 'low', 'spent', 'waits')),
	why     TEXT    NOT NULL,
	actor   TEXT    NOT NULL,
	outcome TEXT    NOT NULL,
	errcode INTEGER NOT NULL,
	expiry  INTEGER
) STRICT;
CREATE INDEX token_events_account ON token_events (account, id);
CREATE INDEX token_events_at ON token_events (account, at);
