-- What is forgotten. Lines of the feed up to pruned may be missing: those of what was
-- finished, and what followers did, are gone; those of what still waits are there.
CREATE TABLE retention (
	id     INTEGER PRIMARY KEY CHECK (id = 1),
	pruned INTEGER NOT NULL
) STRICT;
INSERT INTO retention VALUES (1, 0);

-- Which conversations were erased: the SHA-256 of the openid, never the openid, so
-- that a backup that still has one can be told to erase it too.
CREATE TABLE erasures (
	account TEXT    NOT NULL,
	hash    BLOB    NOT NULL CHECK (length(hash) = 32),
	at      INTEGER NOT NULL,
	PRIMARY KEY (account, hash)
) STRICT;
CREATE INDEX erasures_at ON erasures (at);

-- The few lines about a follower that are in no timeline, if there are any: an erasure has to find them.
CREATE INDEX feed_about ON feed (openid) WHERE seq IS NULL AND openid IS NOT NULL AND type NOT IN ('follower.message', 'follower.event', 'conversation.note', 'conversation.changed');

-- Whether a file that a follower sent was sent by others, too.
CREATE INDEX inbound_media_hash ON inbound_media (account, hash) WHERE hash IS NOT NULL;
