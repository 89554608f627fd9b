"""One module a version; `m` begins their names so that they are modules."""
