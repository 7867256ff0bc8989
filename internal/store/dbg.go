package store
var DbgN, DbgOps, DbgV int
