-- Whoever is erased is erased from the record, too.
CREATE INDEX audit_target ON audit (target);
