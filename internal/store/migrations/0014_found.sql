-- Where a follower is named is found by an index, whatever else there is: an erasure asks,
-- and everybody waits for it. An attempt names its follower in columns of its own, besides
-- its data, of which those that are there have it between its quotes.
CREATE INDEX deliveries_of ON deliveries (openid, cursor);
ALTER TABLE webhook_attempts ADD COLUMN account TEXT NOT NULL DEFAULT '';
ALTER TABLE webhook_attempts ADD COLUMN openid TEXT NOT NULL DEFAULT '';
UPDATE webhook_attempts SET
	account = substr(data, INSTR(data, '"account":"') + 11, INSTR(substr(data, INSTR(data, '"account":"') + 11), '"') - 1),
	openid = substr(data, INSTR(data, '"openid":"') + 10, INSTR(substr(data, INSTR(data, '"openid":"') + 10), '"') - 1)
WHERE INSTR(data, '"account":"') > 0 AND INSTR(data, '"openid":"') > 0;
CREATE INDEX webhook_attempts_of ON webhook_attempts (openid);

-- The lines about a follower that are in no timeline; a passive answer is in one.
DROP INDEX feed_about;
CREATE INDEX feed_about ON feed (openid) WHERE seq IS NULL AND openid IS NOT NULL
	AND type NOT IN ('message.accepted', 'follower.message', 'follower.event', 'conversation.note', 'conversation.changed', 'conversation.answered');
