-- A long text goes out in parts: where its content is cut, JSON [[from,to],…] in bytes,
-- so that a later version cuts a text that is half sent in the same places; how many
-- there are; and on each line how many of them were sent by then.
ALTER TABLE messages ADD COLUMN parts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN cuts TEXT;
ALTER TABLE feed ADD COLUMN parts_sent INTEGER;
