"""The desk's pages: one module a group of pages, which all go through `shell`."""
