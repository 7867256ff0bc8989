-- The end of the latest time in which callbacks could not be kept for so long that
-- WeChat gave up, ms: what was known of windows before it is only believed.
CREATE TABLE gap (
	id    INTEGER PRIMARY KEY CHECK (id = 1),
	until INTEGER NOT NULL
) STRICT;
