-- commits counts the transactions of the writer: if the answer to a COMMIT is lost,
-- it tells whether that took place.
ALTER TABLE head ADD COLUMN commits INTEGER NOT NULL DEFAULT 0;

-- Who works on the log, where processes on several machines can open it: the
-- holder raises the counter several times in the life of a lease, and who watched
-- it stand still for a whole life takes over and raises head.epoch, the fence. An
-- empty holder has let go.
CREATE TABLE leases (
	id      INTEGER PRIMARY KEY, -- of the head
	holder  TEXT    NOT NULL,
	counter INTEGER NOT NULL
) STRICT;
INSERT INTO leases VALUES (1, '', 0);
