-- Who is called with what happens. Of the feed up to cursor, all that the endpoint
-- wants was delivered, given up, or is pending in deliveries.
CREATE TABLE webhooks (
	id            TEXT    PRIMARY KEY,
	settings      TEXT    NOT NULL,
	secret        BLOB    NOT NULL, -- sealed
	old_secret    BLOB,             -- sealed; signs besides, until old_until
	old_until     INTEGER,
	enabled       INTEGER NOT NULL,
	because       TEXT    NOT NULL, -- why it is not enabled
	cursor        INTEGER NOT NULL,
	failing_since INTEGER,          -- no try has worked since
	created_at    INTEGER NOT NULL
) STRICT;

-- What became of an entry of the feed at an endpoint, from its first try on.
CREATE TABLE deliveries (
	webhook      TEXT    NOT NULL,
	cursor       INTEGER NOT NULL,
	account      TEXT    NOT NULL,
	openid       TEXT    NOT NULL, -- '': it is about the account
	state        TEXT    NOT NULL CHECK (state IN ('pending', 'delivered', 'failed')),
	tries        INTEGER NOT NULL,
	first_at     INTEGER NOT NULL, -- of the first try
	next_at      INTEGER NOT NULL, -- of the next one, while pending
	out_of_order INTEGER NOT NULL, -- later ones of the follower may have come before it
	answered     INTEGER NOT NULL, -- the answer in a response was taken
	PRIMARY KEY (webhook, cursor)
) STRICT;
CREATE INDEX deliveries_due ON deliveries (webhook, next_at) WHERE state = 'pending';

CREATE TABLE webhook_attempts (
	id      INTEGER PRIMARY KEY,
	webhook TEXT    NOT NULL,
	at      INTEGER NOT NULL,
	data    TEXT    NOT NULL
) STRICT;
CREATE INDEX webhook_attempts_webhook ON webhook_attempts (webhook, id);

-- What is to be delivered once more: entries after cursor, up to until, not older
-- than since. It is taken up in slices.
CREATE TABLE replays (
	id      INTEGER PRIMARY KEY,
	webhook TEXT    NOT NULL,
	cursor  INTEGER NOT NULL,
	until   INTEGER NOT NULL,
	since   INTEGER NOT NULL
) STRICT;

-- Who answers a follower; NULL: nobody was ever named.
ALTER TABLE conversations ADD COLUMN handler TEXT;
ALTER TABLE conversations ADD COLUMN handler_since INTEGER;
ALTER TABLE conversations ADD COLUMN handler_by TEXT;
ALTER TABLE conversations ADD COLUMN handler_kf TEXT;
