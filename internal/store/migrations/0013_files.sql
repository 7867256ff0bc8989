-- When a file was last needed: it came, WeChat got it, a URL led to it. given is from here
-- on 1 for what was uploaded by hand, 2 for what only URLs in messages have led to.
ALTER TABLE assets ADD COLUMN used_at INTEGER NOT NULL DEFAULT 0;
UPDATE assets SET used_at = created_at;
CREATE INDEX assets_used ON assets (used_at) WHERE given = 2;
CREATE INDEX assets_created ON assets (created_at, content);
CREATE INDEX fetched_urls_hash ON fetched_urls (account, hash);
